//! One visit to the database.

use std::cell::{Cell, RefCell};

use sled::transaction::{
    ConflictableTransactionError, ConflictableTransactionResult, TransactionError, Transactional, TransactionalTree,
};
use sled::{IVec, Tree};

use super::keys::{CxnKey, DueKey, JobNo, Place, status_key};
use super::record::{CxnRecord, DueRecord, IdRecord, Record, StatusRecord};
use super::{judge, keys, meta};
use crate::error::{Error, Kind, Result};
use crate::model::{Cxn, CxnId, PollStatus};

/// The database, opened for one short piece of work by [`super::Store::session`].
pub struct Session {
    pub(super) id: Tree,
    pub(super) cxn: Tree,
    pub(super) status: Tree,
    pub(super) due: Tree,
    pub(super) meta: Tree,
    db: sled::Db,
    written: Cell<bool>,
    pub(super) names: RefCell<meta::Names>,
}

/// The trees of a store that can be visited entry by entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TreeName {
    /// cxnId to key.
    Id,
    /// Connections.
    Cxn,
    /// Poll statuses.
    Status,
    /// The index of what is due.
    Due,
    /// Numbers and names.
    Meta,
}

/// The trees within a transaction.
pub(super) struct Tx<'a> {
    pub(super) id: &'a TransactionalTree,
    pub(super) cxn: &'a TransactionalTree,
    pub(super) status: &'a TransactionalTree,
    pub(super) due: &'a TransactionalTree,
    pub(super) meta: &'a TransactionalTree,
    written: &'a Cell<bool>,
}

/// What a step of a transaction returns. An error of ours undoes all of it.
pub(super) type TxResult<T> = ConflictableTransactionResult<T, Error>;

/// Undoes the transaction with an error of ours.
pub(super) fn abort(error: impl Into<Error>) -> ConflictableTransactionError<Error> {
    ConflictableTransactionError::Abort(error.into())
}

impl Tx<'_> {
    /// Writes an entry of one of the trees.
    pub(super) fn insert<K>(&self, tree: &TransactionalTree, key: K, value: impl Into<IVec>) -> TxResult<()>
    where
        K: AsRef<[u8]> + Into<IVec>,
    {
        self.written.set(true);
        tree.insert(key, value)?;
        Ok(())
    }

    /// Removes an entry of one of the trees, if it is there.
    pub(super) fn remove<K>(&self, tree: &TransactionalTree, key: K) -> TxResult<()>
    where
        K: AsRef<[u8]> + Into<IVec>,
    {
        self.written.set(true);
        tree.remove(key)?;
        Ok(())
    }

    /// Reads a record, if it is there.
    pub(super) fn read<R: Record>(tree: &TransactionalTree, key: &[u8]) -> TxResult<Option<R>> {
        tree.get(key)?.map(|bytes| R::from_bytes(&bytes).map_err(abort)).transpose()
    }

    /// A connection's status for a job, if it has one.
    pub(super) fn status(&self, job: JobNo, place: Place) -> TxResult<Option<PollStatus>> {
        let record = Self::read::<StatusRecord>(self.status, &status_key(job, place))?;
        record.map(|record| PollStatus::try_from(record).map_err(abort)).transpose()
    }

    /// Moves a connection's status and its entry in the due index together.
    ///
    /// `old` is the status and the disabled flag that the index knows, `new` those that it shall know.
    pub(super) fn move_status(
        &self,
        job: JobNo,
        place: Place,
        old: Option<(&PollStatus, bool)>,
        new: Option<(&PollStatus, bool, u32)>,
    ) -> TxResult<()> {
        if let Some((status, disabled)) = old {
            self.remove(self.due, &DueKey::of(job, place, status, disabled).to_bytes())?;
        }
        let Some((status, disabled, host)) = new else {
            self.remove(self.status, &status_key(job, place))?;
            return Ok(());
        };
        let due = DueRecord { host, level: status.level, count: status.count };
        self.insert(self.due, &DueKey::of(job, place, status, disabled).to_bytes(), due.to_bytes())?;
        self.insert(self.status, &status_key(job, place), StatusRecord::from(status).to_bytes())?;
        Ok(())
    }
}

impl Session {
    /// Opens what is in a database of a store.
    pub(super) fn open(db: sled::Db) -> Result<Self> {
        let session = Self::trees(db)?;
        if meta::check_version(&session.meta)? {
            meta::write_version(&session.meta)?;
            session.written.set(true);
        }
        Ok(session)
    }

    /// Makes a fresh database that of a store.
    pub(super) fn found(db: sled::Db) -> Result<Self> {
        let session = Self::trees(db)?;
        meta::write_version(&session.meta)?;
        session.written.set(true);
        Ok(session)
    }

    fn trees(db: sled::Db) -> Result<Self> {
        Ok(Self {
            id: db.open_tree("id")?,
            cxn: db.open_tree("cxn")?,
            status: db.open_tree("status")?,
            due: db.open_tree("due")?,
            meta: db.open_tree("meta")?,
            db,
            written: Cell::new(false),
            names: RefCell::default(),
        })
    }

    /// Whether anything was written, so that it has to be synced.
    pub(super) fn has_written(&self) -> bool {
        self.written.get()
    }

    /// Pushes everything out to the file.
    pub(super) fn flush(&self) -> Result<()> {
        self.db.flush()?;
        Ok(())
    }

    /// Runs a transaction over all trees: all of it happens or nothing.
    pub(super) fn transact<T>(&self, work: impl Fn(&Tx) -> TxResult<T>) -> Result<T> {
        let written = &self.written;
        (&self.id, &self.cxn, &self.status, &self.due, &self.meta)
            .transaction(|(id, cxn, status, due, meta)| work(&Tx { id, cxn, status, due, meta, written }))
            .map_err(|error| match error {
                TransactionError::Abort(error) => error,
                TransactionError::Storage(error) => error.into(),
            })
    }

    /// A tree by its name.
    pub(super) fn tree(&self, tree: TreeName) -> &Tree {
        match tree {
            TreeName::Id => &self.id,
            TreeName::Cxn => &self.cxn,
            TreeName::Status => &self.status,
            TreeName::Due => &self.due,
            TreeName::Meta => &self.meta,
        }
    }

    /// Writes entries as they are, all of them or none.
    pub(super) fn write(&self, writes: &[judge::Write]) -> Result<()> {
        self.transact(|tx| {
            for (tree, key, value) in writes {
                let tree = match tree {
                    TreeName::Id => tx.id,
                    TreeName::Cxn => tx.cxn,
                    TreeName::Status => tx.status,
                    TreeName::Due => tx.due,
                    TreeName::Meta => tx.meta,
                };
                match value {
                    Some(value) => tx.insert(tree, key.as_slice(), value.as_slice())?,
                    None => tx.remove(tree, key.as_slice())?,
                }
            }
            Ok(())
        })
    }

    /// The entries of a tree that begin with `prefix`, in order, behind `after` where it is given.
    pub(super) fn entries(
        &self,
        tree: TreeName,
        prefix: &[u8],
        after: Option<&[u8]>,
    ) -> impl Iterator<Item = sled::Result<(IVec, IVec)>> + use<> {
        use std::ops::Bound::{Excluded, Included, Unbounded};
        let tree = self.tree(tree);
        let prefix = prefix.to_vec();
        let from = after.map_or(Included(prefix.as_slice()), Excluded);
        tree.range::<&[u8], _>((from, Unbounded))
            .take_while(move |entry| entry.as_ref().map_or(true, |(key, _)| key.starts_with(&prefix)))
    }

    /// Where a connection is kept, if it is there.
    ///
    /// # Errors
    /// [`Kind::Store`] where the store can't be read.
    pub fn find(&self, cxn_id: &CxnId) -> Result<Option<CxnKey>> {
        let Some(bytes) = self.id.get(cxn_id.as_str())? else { return Ok(None) };
        Ok(Some(IdRecord::from_bytes(&bytes)?.try_into()?))
    }

    /// The connection at a key, if it is there.
    ///
    /// # Errors
    /// [`Kind::Store`] where the store can't be read, or what it holds is no connection.
    pub fn cxn(&self, key: CxnKey) -> Result<Option<Cxn>> {
        let Some(bytes) = self.cxn.get(key.to_bytes())? else { return Ok(None) };
        self.decode_cxn(key, &bytes).map(Some)
    }

    /// Puts a connection together from its record, its key and what it shares.
    pub(super) fn decode_cxn(&self, key: CxnKey, bytes: &[u8]) -> Result<Cxn> {
        let record = CxnRecord::from_bytes(bytes)?;
        let shared = self.shared(record.shared)?;
        let damaged = |what: &str| Error::new(Kind::Store, format!("the {what} of a stored connection can't be read"));
        Ok(Cxn {
            cxn_id: record.cxn_id.parse().map_err(|_| damaged("cxnId"))?,
            secret: crate::model::Secret::from_bytes(record.secret),
            app_id: self.app_name(key.app)?,
            app_url: shared.app_url,
            site_url: record.site_url,
            perm: shared.perm,
            via_port: record.via_port.map(|text| text.parse()).transpose().map_err(|_| damaged("viaPort"))?,
            batch_code: key.place.batch_code,
            disabled: record.disabled,
        })
    }

    /// A connection's status for a job; `None` where it was not enrolled yet.
    ///
    /// # Errors
    /// [`Kind::Store`] where the store can't be read.
    pub fn status(&self, job: JobNo, place: Place) -> Result<Option<PollStatus>> {
        let Some(bytes) = self.status.get(keys::status_key(job, place))? else { return Ok(None) };
        Ok(Some(StatusRecord::from_bytes(&bytes)?.try_into()?))
    }
}

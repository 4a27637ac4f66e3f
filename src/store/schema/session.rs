//! An open database, for reading or for reading and writing.

use std::cell::RefCell;
use std::ops::Deref;

use super::host_key::HostKey;
use super::keys::CxnKey;
use super::names::NameCache;
use super::records::{CxnRecord, IdRecord, Record, first_text};
use super::version;
use crate::model::CxnId;
use crate::store::engine::{Get, TreeName, TreeReader, Trees, Tx, TxResult};
use crate::store::error::{Error, Item, Problem, Result, if_readable};
use crate::store::skipped::{Skipped, SkippedEntries};

/// The database, open for reading.
pub struct ReadSession {
    pub(in crate::store) trees: TreeReader,
    pub(in crate::store) names: RefCell<NameCache>,
    pub(in crate::store) host_key: HostKey,
    skipped: SkippedEntries,
}

/// Identifies an entry: its tree, its key, and the connection that it belongs to.
pub type EntryId = (TreeName, Vec<u8>, Option<CxnId>);

/// The database, open for reading and writing.
pub struct WriteSession {
    reader: ReadSession,
    pub(in crate::store) trees: Trees,
}

impl Deref for WriteSession {
    type Target = ReadSession;

    fn deref(&self) -> &ReadSession {
        &self.reader
    }
}

impl AsRef<Trees> for WriteSession {
    fn as_ref(&self) -> &Trees {
        &self.trees
    }
}

impl WriteSession {
    /// Opens the database of a store. A store of an older version becomes one of this version.
    ///
    /// # Errors
    /// [`Error::NewerFormat`](crate::store::Error::NewerFormat); those of the database.
    pub(in crate::store) fn open(trees: Trees, skipped: SkippedEntries) -> Result<Self> {
        let host_key = version::upgrade(&trees)?;
        Ok(Self::of(trees, host_key, skipped))
    }

    /// Makes an empty database that of a store.
    ///
    /// # Errors
    /// Those of the database.
    pub(in crate::store) fn create(trees: Trees) -> Result<Self> {
        let host_key = version::write(&trees)?;
        Ok(Self::of(trees, host_key, SkippedEntries::default()))
    }

    fn of(trees: Trees, host_key: HostKey, skipped: SkippedEntries) -> Self {
        let reader = ReadSession { trees: TreeReader::clone(&trees), names: RefCell::default(), host_key, skipped };
        Self { reader, trees }
    }

    /// Fails if anything was skipped. For a database that takes the place of another.
    ///
    /// # Errors
    /// [`Problem::Unreadable`].
    pub(in crate::store) fn check_nothing_skipped(&self) -> Result<()> {
        self.skipped.take().into_iter().next().map_or(Ok(()), |skipped| Err(skipped.item.into()))
    }

    /// Works on each item in one transaction.
    ///
    /// If something of an item cannot be read, each item gets a transaction of its own, and that item is skipped, with
    /// `None` as its result. `entry_id` is that of an item's entry.
    ///
    /// # Errors
    /// Those of `work` and of the database.
    pub(in crate::store) fn transact_each<I, T>(
        &self,
        items: &[I],
        entry_id: impl Fn(&I) -> EntryId,
        work: impl Fn(&Tx, &I) -> TxResult<T>,
    ) -> Result<Vec<Option<T>>> {
        let one = |item: &I| self.trees.transact(|tx| work(tx, item));
        let all = self.trees.transact(|tx| items.iter().map(|item| work(tx, item)).collect::<TxResult<Vec<_>>>());
        match if_readable(all)? {
            Some(done) => Ok(done.into_iter().map(Some).collect()),
            None => items.iter().map(|item| self.skip(one(item), || entry_id(item))).collect(),
        }
    }

    /// Forgets that entries were skipped which have been removed since.
    pub(in crate::store) fn forget_removed(&self) {
        for tree in [TreeName::Id, TreeName::Cxn, TreeName::Status, TreeName::Due] {
            self.skipped.retain(tree.name(), |key| self.trees.contains(tree, key).unwrap_or(true));
        }
    }
}

impl ReadSession {
    /// The key of the hashes of hosts in this store.
    #[must_use]
    pub fn host_key(&self) -> HostKey {
        self.host_key
    }

    /// Reads the value of a key as bytes; `None` if there is none.
    pub(in crate::store) fn get(&self, tree: TreeName, key: impl AsRef<[u8]>) -> Result<Option<sled::IVec>> {
        self.trees.get(tree, key.as_ref())
    }

    /// Skips what cannot be read: `None` in place of that error.
    ///
    /// All that scans and commands skip passes through here, and is reported when the command ends.
    ///
    /// # Errors
    /// Every other error.
    pub(in crate::store) fn skip<T>(&self, read: Result<T>, entry_id: impl FnOnce() -> EntryId) -> Result<Option<T>> {
        let item = match &read {
            Err(Error::Database { problem: Problem::Unreadable(item), .. }) => *item,
            Err(Error::Database { problem: Problem::MissingCxn(_), .. }) => Item::Record(CxnRecord::TREE.name()),
            _ => return read.map(Some),
        };
        let (tree, key, cxn_id) = entry_id();
        self.skipped.add(Skipped { tree: tree.name(), key, cxn_id, item });
        Ok(None)
    }

    /// The cxnId of a connection, also if the rest of its record cannot be decoded.
    ///
    /// `None` if it is not known.
    pub(in crate::store) fn known_cxn_id(&self, key: CxnKey) -> Option<CxnId> {
        let bytes = self.get(CxnRecord::TREE, key.to_bytes()).ok()??;
        let cxn_id: CxnId = first_text::<CxnRecord>(&bytes)?.parse().ok()?;
        // Bytes that only look like a text lead nowhere.
        let id = self.get(IdRecord::TREE, cxn_id.as_str()).ok()?;
        let is_found = id.is_some_and(|id| IdRecord::from_bytes(&id).and_then(CxnKey::try_from) == Ok(key));
        (is_found || CxnRecord::from_bytes(&bytes).is_ok()).then_some(cxn_id)
    }

    /// Identifies an entry of a connection.
    pub(in crate::store) fn entry_id(&self, tree: TreeName, key: &[u8], cxn: CxnKey) -> EntryId {
        (tree, key.to_vec(), self.known_cxn_id(cxn))
    }
}

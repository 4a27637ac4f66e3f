//! The trees of an open database, as bytes.

use std::cell::Cell;
use std::ops::Bound::{Excluded, Included, Unbounded};
use std::ops::Deref;

use sled::{Db, IVec, Tree};

use crate::store::error::{Error, Result};

/// The trees of a store.
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

impl TreeName {
    /// The name in the database, which is part of the store's format.
    pub(in crate::store) fn name(self) -> &'static str {
        match self {
            Self::Id => "id",
            Self::Cxn => "cxn",
            Self::Status => "status",
            Self::Due => "due",
            Self::Meta => "meta",
        }
    }
}

/// A key with its value.
pub type Entry = (IVec, IVec);

/// Reads single entries: of the database, or of a transaction.
pub trait Get {
    /// The error of the whole operation.
    type Error: From<Error>;

    /// Reads the value of a key; `None` if there is none.
    ///
    /// # Errors
    /// Those of the database.
    fn get(&self, tree: TreeName, key: &[u8]) -> Result<Option<IVec>, Self::Error>;
}

/// The trees of an open database, for reading.
#[derive(Clone)]
pub struct TreeReader {
    pub(super) id: Tree,
    pub(super) cxn: Tree,
    pub(super) status: Tree,
    pub(super) due: Tree,
    pub(super) meta: Tree,
}

/// An open database.
pub struct Trees {
    reader: TreeReader,
    db: Db,
    pub(super) written: Cell<bool>,
}

impl Deref for Trees {
    type Target = TreeReader;

    fn deref(&self) -> &TreeReader {
        &self.reader
    }
}

impl Trees {
    /// Opens the trees of a database; creates those that are missing.
    pub(super) fn open(db: Db) -> sled::Result<Self> {
        let tree = |name: TreeName| db.open_tree(name.name());
        let reader = TreeReader {
            id: tree(TreeName::Id)?,
            cxn: tree(TreeName::Cxn)?,
            status: tree(TreeName::Status)?,
            due: tree(TreeName::Due)?,
            meta: tree(TreeName::Meta)?,
        };
        Ok(Self { reader, db, written: Cell::new(false) })
    }

    /// Whether anything was written, so that it has to be synced.
    pub(super) fn has_written(&self) -> bool {
        self.written.get()
    }

    /// Writes everything to the file, without syncing it.
    pub(super) fn flush(&self) -> Result<()> {
        self.db.flush()?;
        Ok(())
    }
}

impl TreeReader {
    /// A tree by its name, which could also write.
    pub(super) fn tree(&self, tree: TreeName) -> &Tree {
        match tree {
            TreeName::Id => &self.id,
            TreeName::Cxn => &self.cxn,
            TreeName::Status => &self.status,
            TreeName::Due => &self.due,
            TreeName::Meta => &self.meta,
        }
    }

    /// Whether a tree has an entry for a key.
    ///
    /// # Errors
    /// Those of the database.
    pub fn contains(&self, tree: TreeName, key: &[u8]) -> Result<bool> {
        Ok(self.tree(tree).contains_key(key)?)
    }

    /// Iterates over the entries of a tree that begin with `prefix`, in order.
    ///
    /// With `after`, it begins behind that key.
    pub fn entries(
        &self,
        tree: TreeName,
        prefix: &[u8],
        after: Option<&[u8]>,
    ) -> impl Iterator<Item = sled::Result<Entry>> + use<> {
        let prefix = prefix.to_vec();
        let from = after.map_or(Included(prefix.as_slice()), Excluded);
        self.tree(tree)
            .range::<&[u8], _>((from, Unbounded))
            .take_while(move |entry| entry.as_ref().map_or(true, |(key, _)| key.starts_with(&prefix)))
    }

    /// Iterates over the entries of a tree from `from` on and before `to`, in order.
    pub fn range(
        &self,
        tree: TreeName,
        from: &[u8],
        to: &[u8],
    ) -> impl DoubleEndedIterator<Item = sled::Result<Entry>> + use<> {
        self.tree(tree).range(from..to)
    }
}

impl Get for Trees {
    type Error = Error;

    fn get(&self, tree: TreeName, key: &[u8]) -> Result<Option<IVec>> {
        self.reader.get(tree, key)
    }
}

impl Get for TreeReader {
    type Error = Error;

    fn get(&self, tree: TreeName, key: &[u8]) -> Result<Option<IVec>> {
        Ok(self.tree(tree).get(key)?)
    }
}

//! Transactions over all trees.

use std::cell::Cell;

use sled::IVec;
use sled::transaction::{
    ConflictableTransactionError, ConflictableTransactionResult, TransactionError, Transactional, TransactionalTree,
};

use super::trees::{Get, TreeName, Trees};
use crate::store::error::{Error, Result};

/// How many connections are written in one transaction.
pub const TX_BATCH: usize = 256;

/// The trees within a transaction.
pub struct Tx<'a> {
    id: &'a TransactionalTree,
    cxn: &'a TransactionalTree,
    status: &'a TransactionalTree,
    due: &'a TransactionalTree,
    meta: &'a TransactionalTree,
    written: &'a Cell<bool>,
}

/// The result of a step of a transaction. An error of the store undoes the whole transaction.
pub type TxResult<T> = ConflictableTransactionResult<T, Error>;

impl From<Error> for ConflictableTransactionError<Error> {
    fn from(error: Error) -> Self {
        Self::Abort(error)
    }
}

/// One entry that is to be written, or removed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Write {
    /// The tree.
    pub tree: TreeName,
    /// The key.
    pub key: Vec<u8>,
    /// The value; `None` removes the entry.
    pub value: Option<Vec<u8>>,
}

impl Write {
    /// Writes an entry.
    pub fn put(tree: TreeName, key: impl Into<Vec<u8>>, value: impl Into<Vec<u8>>) -> Self {
        Self { tree, key: key.into(), value: Some(value.into()) }
    }

    /// Removes an entry.
    pub fn remove(tree: TreeName, key: impl Into<Vec<u8>>) -> Self {
        Self { tree, key: key.into(), value: None }
    }
}

impl Tx<'_> {
    fn tree(&self, tree: TreeName) -> &TransactionalTree {
        match tree {
            TreeName::Id => self.id,
            TreeName::Cxn => self.cxn,
            TreeName::Status => self.status,
            TreeName::Due => self.due,
            TreeName::Meta => self.meta,
        }
    }

    /// Writes an entry.
    ///
    /// # Errors
    /// Those of the database.
    pub fn insert(&self, tree: TreeName, key: &[u8], value: impl Into<IVec>) -> TxResult<()> {
        self.written.set(true);
        self.tree(tree).insert(key, value)?;
        Ok(())
    }

    /// Removes an entry, if it exists.
    ///
    /// # Errors
    /// Those of the database.
    pub fn remove(&self, tree: TreeName, key: &[u8]) -> TxResult<()> {
        self.written.set(true);
        self.tree(tree).remove(key)?;
        Ok(())
    }
}

impl Get for Tx<'_> {
    type Error = ConflictableTransactionError<Error>;

    fn get(&self, tree: TreeName, key: &[u8]) -> TxResult<Option<IVec>> {
        Ok(self.tree(tree).get(key)?)
    }
}

impl Trees {
    /// Runs a transaction over all trees: all of it happens or nothing.
    ///
    /// `work` may be run again. It must not read the trees other than through the transaction, which holds their locks.
    ///
    /// # Errors
    /// Those of `work` and of the database.
    pub fn transact<T>(&self, work: impl Fn(&Tx) -> TxResult<T>) -> Result<T> {
        let written = &self.written;
        (&self.id, &self.cxn, &self.status, &self.due, &self.meta)
            .transaction(|(id, cxn, status, due, meta)| work(&Tx { id, cxn, status, due, meta, written }))
            .map_err(|error| match error {
                TransactionError::Abort(error) => error,
                TransactionError::Storage(error) => error.into(),
            })
    }

    /// Writes entries, all of them or none.
    ///
    /// # Errors
    /// Those of the database.
    pub fn apply(&self, writes: &[Write]) -> Result<()> {
        self.transact(|tx| {
            writes.iter().try_for_each(|Write { tree, key, value }| match value {
                Some(value) => tx.insert(*tree, key, value.as_slice()),
                None => tx.remove(*tree, key),
            })
        })
    }
}

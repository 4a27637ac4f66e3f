//! An open database, for reading or for reading and writing.

use std::cell::RefCell;
use std::ops::Deref;

use super::host_key::HostKey;
use super::names::NameCache;
use super::version;
use crate::store::engine::{Get, TreeName, TreeReader, Trees};
use crate::store::error::Result;

/// The database, open for reading.
pub struct ReadSession {
    pub(in crate::store) trees: TreeReader,
    pub(in crate::store) names: RefCell<NameCache>,
    pub(in crate::store) host_key: HostKey,
}

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
    pub(in crate::store) fn open(trees: Trees) -> Result<Self> {
        let host_key = version::upgrade(&trees)?;
        Ok(Self::of(trees, host_key))
    }

    /// Makes an empty database that of a store.
    ///
    /// # Errors
    /// Those of the database.
    pub(in crate::store) fn create(trees: Trees) -> Result<Self> {
        let host_key = version::write(&trees)?;
        Ok(Self::of(trees, host_key))
    }

    fn of(trees: Trees, host_key: HostKey) -> Self {
        let reader = ReadSession { trees: TreeReader::clone(&trees), names: RefCell::default(), host_key };
        Self { reader, trees }
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
}

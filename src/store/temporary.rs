//! A store that exists only while a function works on it.

use std::path::Path;

use super::engine::{SLED_LOCK_TIMEOUT, StoreLayout, wait_until_closed};
use super::error::Error;
use super::exclusive::ExclusiveStore;
use super::face::Store;

impl Store {
    /// Runs `work` on an empty store in a private temporary directory, which the caller removes.
    ///
    /// # Errors
    /// Those of `work` and of [`Store::lock_exclusively`].
    pub fn with_temporary<T, E: From<Error>>(
        dir: &Path,
        work: impl FnOnce(&ExclusiveStore) -> Result<T, E>,
    ) -> Result<T, E> {
        let result = Self::lock_exclusively(dir, SLED_LOCK_TIMEOUT, "store restore", work);
        // sled's threads may still write files, and the directory is removed next.
        if let Ok(Some(database)) = StoreLayout::existing(dir).and_then(|layout| layout.database()) {
            let _ = wait_until_closed(&database, SLED_LOCK_TIMEOUT);
        }
        result
    }
}

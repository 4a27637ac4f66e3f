//! What cannot be read and was skipped, collected for one report.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::error::Item;
use crate::model::CxnId;

/// How many entries are remembered. It bounds the memory in a store where nothing can be read.
const MAX_SKIPPED: usize = 1000;

/// An entry that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Skipped {
    /// The tree that the entry is in.
    pub tree: &'static str,
    /// The key of the entry.
    pub key: Vec<u8>,
    /// The connection that the entry belongs to; `None` if it is not known.
    pub cxn_id: Option<CxnId>,
    /// What cannot be read: the entry, or something that it refers to.
    pub item: Item,
}

/// The entries by tree and key.
type Entries = BTreeMap<(&'static str, Vec<u8>), Skipped>;

/// Collects what the sessions of a store skip. Clones share one collection.
#[derive(Debug, Clone, Default)]
pub struct SkippedEntries(Arc<Mutex<Entries>>);

impl SkippedEntries {
    fn entries(&self) -> MutexGuard<'_, Entries> {
        // No code panics while it holds the lock.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds an entry, unless it was added before.
    pub(super) fn add(&self, skipped: Skipped) {
        let mut entries = self.entries();
        if entries.len() < MAX_SKIPPED {
            entries.entry((skipped.tree, skipped.key.clone())).or_insert(skipped);
        }
    }

    /// Forgets the entries of a tree that are no longer stored.
    pub(super) fn retain(&self, tree: &'static str, is_stored: impl Fn(&[u8]) -> bool) {
        self.entries().retain(|(of, key), _| *of != tree || is_stored(key));
    }

    /// Whether nothing was skipped.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries().is_empty()
    }

    /// How many of the entries cannot be derived from others, at most 1,000.
    #[must_use]
    pub fn lost(&self) -> usize {
        self.entries().keys().filter(|(tree, _)| !matches!(*tree, "id" | "due" | "results")).count()
    }

    /// Takes all entries, ordered by tree and key.
    #[must_use]
    pub fn take(&self) -> Vec<Skipped> {
        std::mem::take(&mut *self.entries()).into_values().collect()
    }
}

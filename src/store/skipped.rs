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

#[derive(Debug, Default)]
struct Entries {
    /// The entries that are remembered, by tree and key.
    by_key: BTreeMap<(&'static str, Vec<u8>), Skipped>,
    /// How often others were skipped that cannot be derived.
    lost_beyond: usize,
}

/// Collects what the sessions of a store skip. Clones share one collection.
#[derive(Debug, Clone, Default)]
pub struct SkippedEntries(Arc<Mutex<Entries>>);

/// Whether an entry cannot be derived from others.
fn is_lost(tree: &str, key: &[u8]) -> bool {
    !matches!((tree, key), ("id" | "due" | "results", _) | ("meta", b"counters"))
}

impl SkippedEntries {
    fn entries(&self) -> MutexGuard<'_, Entries> {
        // No code panics while it holds the lock.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds an entry, unless it was added before.
    pub(super) fn add(&self, skipped: Skipped) {
        let mut entries = self.entries();
        if entries.by_key.len() < MAX_SKIPPED {
            entries.by_key.entry((skipped.tree, skipped.key.clone())).or_insert(skipped);
        } else {
            entries.lost_beyond += usize::from(is_lost(skipped.tree, &skipped.key));
        }
    }

    /// Forgets the entries of a tree that are no longer stored.
    pub(super) fn retain(&self, tree: &'static str, is_stored: impl Fn(&[u8]) -> bool) {
        self.entries().by_key.retain(|(of, key), _| *of != tree || is_stored(key));
    }

    /// Whether nothing was skipped.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries().by_key.is_empty()
    }

    /// How many entries cannot be derived from others. Beyond 1,000, each is counted as often as it was skipped.
    #[must_use]
    pub fn lost(&self) -> usize {
        let entries = self.entries();
        entries.lost_beyond + entries.by_key.keys().filter(|(tree, key)| is_lost(tree, key)).count()
    }

    /// Takes all entries, ordered by tree and key.
    #[must_use]
    pub fn take(&self) -> Vec<Skipped> {
        std::mem::take(&mut *self.entries()).by_key.into_values().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_lost_counts_beyond_what_is_remembered() {
        let skipped = SkippedEntries::default();
        let add = |tree: &'static str, key: &[u8]| {
            skipped.add(Skipped { tree, key: key.to_vec(), cxn_id: None, item: Item::Key });
        };
        add("meta", b"counters");
        (1..MAX_SKIPPED).for_each(|number| add("due", &number.to_be_bytes()));
        assert_eq!(skipped.lost(), 0, "all of them can be derived");
        add("due", b"one more");
        add("cxn", b"one");
        add("meta", b"J1");
        assert_eq!((skipped.lost(), skipped.take().len()), (2, MAX_SKIPPED));
        assert!(skipped.is_empty() && skipped.lost() == 0);
    }
}

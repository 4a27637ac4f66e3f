//! Which connections an input holds.

use std::collections::{BTreeSet, HashSet};

use sha2::{Digest, Sha256};

use crate::model::{AppId, CxnId};

/// The cxnIds and apps of an input. Of each cxnId it keeps 16 bytes of a hash, so that a million fit into memory.
#[derive(Debug, Default)]
pub struct InputIndex {
    cxns: HashSet<[u8; 16]>,
    apps: BTreeSet<AppId>,
}

impl InputIndex {
    /// Adds a connection; returns whether it is the first with this cxnId.
    pub fn insert(&mut self, cxn_id: &CxnId, app_id: &AppId) -> bool {
        if !self.apps.contains(app_id) {
            self.apps.insert(app_id.clone());
        }
        self.cxns.insert(hash(cxn_id))
    }

    /// Whether the input holds a connection.
    #[must_use]
    pub fn contains(&self, cxn_id: &CxnId) -> bool {
        self.cxns.contains(&hash(cxn_id))
    }

    /// Whether the input holds connections of an app.
    #[must_use]
    pub fn has_app(&self, app_id: &AppId) -> bool {
        self.apps.contains(app_id)
    }

    /// Whether the input holds no connection.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.cxns.is_empty()
    }
}

fn hash(cxn_id: &CxnId) -> [u8; 16] {
    *Sha256::digest(cxn_id.as_str()).first_chunk().expect("32 bytes hold 16")
}

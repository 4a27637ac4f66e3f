//! What many connections have in common, stored once: appUrl and perm.

use std::sync::Arc;

use serde_json::Value;
use sha2::{Digest, Sha256};

use super::counters::{bump_counters, take_next};
use super::keys::{meta_key, parse_number};
use super::names::Shared;
use super::records::{Record, SharedRecord};
use super::session::{ReadSession, WriteSession};
use crate::store::engine::TreeName;
use crate::store::error::{Item, Result};

/// The largest value that is written, in bytes; the rest of a longer one goes into further entries.
///
/// sled keeps a leaf of more than 128 KiB in a separate file, which it neither syncs nor removes in order, so that a
/// power cut could damage the database. A leaf has some twenty entries, so it stays below that size.
pub const MAX_VALUE_BYTES: usize = 4096;

impl SharedRecord {
    fn new(app_url: &str, perm: &Value) -> Self {
        Self { app_url: app_url.to_owned(), perm: perm.to_string() }
    }

    /// The key that leads from the content to the number.
    fn hash_key(&self) -> Vec<u8> {
        let hash = Sha256::new().chain_update(&self.app_url).chain_update([0]).chain_update(&self.perm).finalize();
        meta_key(b's', &hash[..16])
    }
}

impl ReadSession {
    /// What connections share, by its number.
    ///
    /// # Errors
    /// [`Item::Shared`] where there is none.
    pub(in crate::store) fn shared(&self, no: u32) -> Result<Shared> {
        if let Some(shared) = self.names.borrow().shared.get(&no) {
            return Ok(shared.clone());
        }
        let no_bytes = no.to_be_bytes();
        let first = self.get(TreeName::Meta, meta_key(b'S', &no_bytes))?.ok_or(Item::Shared)?;
        let mut bytes = first.to_vec();
        if bytes.len() == MAX_VALUE_BYTES {
            for piece in self.trees.entries(TreeName::Meta, &meta_key(b'T', &no_bytes), None) {
                bytes.extend_from_slice(&piece?.1);
            }
        }
        let record = SharedRecord::from_bytes(&bytes)?;
        let perm = serde_json::from_str(&record.perm).map_err(|_| Item::Perm)?;
        let shared = Shared { app_url: record.app_url.into(), perm: Arc::new(perm) };
        self.names.borrow_mut().shared.insert(no, shared.clone());
        Ok(shared)
    }

    /// The number of what connections share; `None` if no connection has it yet.
    ///
    /// # Errors
    /// Those of the database.
    pub(in crate::store) fn shared_no(&self, app_url: &str, perm: &Value) -> Result<Option<u32>> {
        let bytes = self.get(TreeName::Meta, SharedRecord::new(app_url, perm).hash_key())?;
        Ok(bytes.map(|bytes| parse_number(&bytes)).transpose()?)
    }
}

impl WriteSession {
    /// The number of what connections share, assigned now if it has none.
    ///
    /// # Errors
    /// Those of the database.
    pub(in crate::store) fn intern_shared(&self, app_url: &str, perm: &Value) -> Result<u32> {
        if let Some(no) = self.shared_no(app_url, perm)? {
            return Ok(no);
        }
        let record = SharedRecord::new(app_url, perm);
        self.trees.transact(|tx| {
            let no = bump_counters(tx, |counters| take_next(&mut counters.shared))?;
            let no_bytes = no.to_be_bytes();
            tx.insert(TreeName::Meta, &record.hash_key(), &no_bytes)?;
            let bytes = record.to_bytes()?;
            let (first, rest) = bytes.split_at(bytes.len().min(MAX_VALUE_BYTES));
            tx.insert(TreeName::Meta, &meta_key(b'S', &no_bytes), first)?;
            for (piece, bytes) in (0_u32..).zip(rest.chunks(MAX_VALUE_BYTES)) {
                let key = meta_key(b'T', &[no_bytes, piece.to_be_bytes()].concat());
                tx.insert(TreeName::Meta, &key, bytes)?;
            }
            Ok(no)
        })
    }
}

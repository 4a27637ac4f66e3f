//! Hashes of hosts, by which a run limits and interleaves polls.
//!
//! Strangers choose the names of hosts. Each store has a key of its own, so that they cannot choose names with the same hash.

use sha2::{Digest, Sha256};

use crate::store::engine::{Get, TreeName, Write};
use crate::store::error::{Error, Result};

/// The hash of a host; another one in each store.
pub type HostHash = u64;

const META_KEY: &[u8] = b"host-key";
const KEY_BYTES: usize = 16;
/// Set in every hash with a key. Former builds wrote hashes of 32 bits.
const KEYED: HostHash = 1 << 63;

/// The key of the hashes in one store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HostKey([u8; KEY_BYTES]);

impl HostKey {
    /// A key for tests and simulations.
    pub const TEST: Self = Self([7; KEY_BYTES]);

    /// Reads the key of a store; `None` if it has none.
    ///
    /// # Errors
    /// Those of the database.
    pub(super) fn read<G: Get>(from: &G) -> Result<Option<Self>, G::Error> {
        let bytes = from.get(TreeName::Meta, META_KEY)?;
        Ok(bytes.and_then(|bytes| bytes.as_ref().try_into().ok()).map(Self))
    }

    /// Draws a new key.
    ///
    /// # Errors
    /// [`Error::Random`].
    pub(super) fn random() -> Result<Self> {
        let mut key = [0; KEY_BYTES];
        getrandom::fill(&mut key).map_err(Error::Random)?;
        Ok(Self(key))
    }

    /// The write that makes this the key of a store.
    pub(super) fn write(self) -> Write {
        Write::put(TreeName::Meta, META_KEY, self.0)
    }

    /// The hash of a host.
    #[must_use]
    pub fn hash(self, host: &str) -> HostHash {
        self.hash_bytes(host.as_bytes())
    }

    /// The hash of bytes that a stranger chose.
    pub(super) fn hash_bytes(self, bytes: &[u8]) -> HostHash {
        let digest = Sha256::new().chain_update(self.0).chain_update(bytes).finalize();
        HostHash::from_be_bytes(*digest.first_chunk().expect("32 bytes hold 8")) | KEYED
    }
}

/// Whether a stored hash was made with a key. Former builds made others.
pub fn is_keyed(hash: HostHash) -> bool {
    hash & KEYED != 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_of_a_host_depends_on_all_of_the_key() {
        let key = HostKey([7; KEY_BYTES]);
        let other = |at: usize| {
            let mut bytes = key.0;
            bytes[at] ^= 1;
            HostKey(bytes)
        };
        let hash = key.hash("example.org");
        assert_eq!(hash, key.hash("example.org"));
        assert_ne!(hash, key.hash("example.com"));
        assert!((0..KEY_BYTES).all(|at| other(at).hash("example.org") != hash));
        assert!(is_keyed(hash) && !is_keyed(u32::MAX.into()));
    }

    #[test]
    fn every_key_is_another() {
        assert_ne!(HostKey::random().unwrap(), HostKey::random().unwrap());
    }
}

//! The version of the store.

use super::host_key::HostKey;
use super::keys::parse_number;
use crate::store::engine::{Get, TreeName, Trees, Write};
use crate::store::error::{Error, Item, Result};

/// The version of stores that this program writes. It reads older ones, and makes them stores of this version.
pub const STORE_VERSION: u32 = 8;
const VERSION_KEY: &[u8] = b"version";

/// Makes a store of an older version one of this version, and returns its key for hosts.
///
/// Its records are rewritten when they change.
///
/// # Errors
/// [`Error::NewerFormat`]; [`Item::Version`] where there is no version.
pub(super) fn upgrade(trees: &Trees) -> Result<HostKey> {
    let version = trees.get(TreeName::Meta, VERSION_KEY)?.ok_or(Item::Version)?;
    match (parse_number(&version)?, HostKey::read(trees)?) {
        (STORE_VERSION, Some(key)) => Ok(key),
        (1..=STORE_VERSION, key) => write_with(trees, key.map_or_else(HostKey::random, Ok)?),
        (found, _) => Err(Error::NewerFormat { found, known: STORE_VERSION }),
    }
}

/// Writes this program's version and a new key for hosts, and returns the key.
///
/// # Errors
/// [`Error::Random`]; those of the database.
pub(super) fn write(trees: &Trees) -> Result<HostKey> {
    write_with(trees, HostKey::random()?)
}

fn write_with(trees: &Trees, key: HostKey) -> Result<HostKey> {
    trees.apply(&[Write::put(TreeName::Meta, VERSION_KEY, STORE_VERSION.to_be_bytes()), key.write()])?;
    Ok(key)
}

//! What all benches share: the app, the times of the simulated clock, and the import of connections.

use std::env;
use std::error::Error;

use cxnpoll::store::{CxnPatch, Store};

/// 2026-01-01T00:00:00Z, in Unix seconds.
pub const MIDNIGHT: i64 = 1_767_225_600;
/// An hour, in seconds.
pub const HOUR: i64 = 3600;
/// The app of all connections.
pub const APP: &str = "app:org.example.myapp";

/// The number of connections per store session, as in `cxnpoll import`.
pub const IMPORT_GROUP: usize = 4096;

pub type Result<T, E = Box<dyn Error>> = std::result::Result<T, E>;

/// Imports connections into a store, in groups.
pub fn import(store: &Store, cxns: impl IntoIterator<Item = Result<CxnPatch>>) -> Result<()> {
    let mut cxns = cxns.into_iter();
    loop {
        let group = cxns.by_ref().take(IMPORT_GROUP).collect::<Result<Vec<_>>>()?;
        if group.is_empty() {
            return Ok(());
        }
        store.write(|session| session.upsert(&group, false))?;
    }
}

/// Returns whether to measure. `cargo bench` passes `--bench`; `cargo test` does not, and tries a small case only.
pub fn is_measuring() -> bool {
    env::args().any(|arg| arg == "--bench")
}

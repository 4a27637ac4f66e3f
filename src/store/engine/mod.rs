//! Bytes and files: where the store's files are, its locks, and the sled databases in it.
//!
//! Nothing here knows what a key or a value means.

mod access;
mod backups;
mod copy;
mod database;
mod fsync_thread;
mod kept;
mod layout;
mod lock;
mod log;
mod recovery;
mod session;
mod swap;
mod tail;
mod trees;
mod tx;

pub use access::Access;
pub use backups::{BackupTimes, Backups, SEQUENCE_NOTE, backup_name};
pub use copy::StoreCopy;
pub use database::{SLED_LOCK_TIMEOUT, catch_sled_panic, open_database, sync_log, use_small_cache, wait_until_closed};
pub use layout::StoreLayout;
pub use lock::Locks;
pub use recovery::remove_incomplete_snapshots;
pub use session::{Closed, build, run};
pub use tail::DB_FILE;
pub use trees::{Entry, Get, TreeName, TreeReader, Trees};
pub use tx::{TX_BATCH, Tx, TxResult, Write};

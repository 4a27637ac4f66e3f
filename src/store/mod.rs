//! The store: connections, their poll statuses and an index of what is due, in an embedded sled database.
//!
//! [`Store`] is the only door. It lets one process at a time work on the database, in short [`Session`]s: take the
//! lock, open, do the work, flush, sync, close. Nothing is held between sessions, so that a crontab's eight runners and
//! a curious administrator get along. Long work goes in slices ([`Store::paged`]).
//!
//! ```text
//! <store>/            0700; who owns the folder owns the store
//!   CURRENT           names the folder of the database
//!   db-1/             the database; `.new` behind the name while it is being made
//!   use.lock          shared by all who work on the store; held alone while the database is replaced
//!   turn.lock         held by the one whose session is next
//!   store.lock        held for the length of a session, with a word about the holder
//!   runs/             locks of runs
//!   backups/          complete exports, compressed, the newest first by name
//!   kept/             databases that were replaced, and in set-aside.jsonl what a repair removed
//! ```
//!
//! The database is opened as sled wants it (see `gate.rs`). Where it is damaged it is mended from its own log on a copy, and
//! where that fails too nothing is touched: the newest backup is then one command away.

mod check;
mod disk;
mod folder;
mod gate;
mod judge;
mod keys;
mod meta;
mod put;
mod record;
mod recording;
mod replace;
mod select;
mod session;

use crate::error::{Error, Kind};

pub use check::{Check, Counts};
pub(crate) use folder::{BACKUP_ENDS, private_file, private_folder, sync_folder};
pub(crate) use gate::SLICE;
pub use gate::Store;
pub use keys::{AppNo, CxnKey, JobNo, Place};
pub use meta::{Job, RunRecord};
pub use put::{Change, CxnLine};
pub use recording::Replacement;
pub use replace::Alone;
pub use select::{Candidate, Tally, Task};
pub use session::{Session, TreeName};

impl From<sled::Error> for Error {
    fn from(error: sled::Error) -> Self {
        match error {
            sled::Error::Corruption { .. } => Error::new(Kind::Store, "the store's database is damaged"),
            other => Error::new(Kind::Store, format!("the store's database failed: {other}")),
        }
    }
}

impl From<record::Unreadable> for Error {
    fn from(error: record::Unreadable) -> Self {
        Error::new(Kind::Store, error.to_string())
    }
}

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
//!   outlook           what the next run would find due, for one that need not open the database
//!   use.lock          shared by all who work on the store; held alone while the database is replaced
//!   turn.lock         held by the one whose session is next
//!   store.lock        held for the length of a session, with a word about the holder
//!   results.lock      held for the length of a visit to results/
//!   results/          the database of kept results; not in backups
//!   runs/             locks of runs
//!   backups/          complete exports, compressed, the newest first by name
//!   kept/             databases that were replaced, and in set-aside.jsonl what a repair removed
//! ```
//!
//! Where sled calls the database damaged and the snapshots are that it starts from, a copy is rebuilt from the log without
//! them; where the log is damaged, or that fails too, nothing is touched, and the newest backup is one command away.
//!
//! # Figures
//! Measured on two shared cores, with one job and ten attempts a connection; opening is a session that does nothing.
//!
//! | connections | file | opening | finding that nothing is due | memory of that | finding that all is due |
//! | ---: | ---: | ---: | ---: | ---: | ---: |
//! | 10,000 | 15 MB | 6 ms | 6 ms | 15 MB | 18 ms |
//! | 100,000 | 180 MB | 27 ms | 28 ms | 30 MB | 120 ms |
//! | 1,000,000 | 2.0 GB | 240 to 320 ms | 240 ms | 210 MB | 1.8 s |
//!
//! - What connections share is stored once. With a `perm` of 300 bytes of its own for each, 100,000 take 301 MB instead of
//!   181 MB; opening takes as long, since sled reads its page table and not the pages.
//! - Segments of 64 KiB, 128 KiB, 256 KiB, 512 KiB and 1 MiB make the file of 100,000 connections 131, 158, 188, 181 and
//!   184 MB, and opening it 53, 41, 32, 33 and 27 ms; that of 10,000 opens in 5, 6, 4, 6 and 12 ms. sled's own 512 KiB stay.
//! - A cache of 8 MiB instead of 32 costs no time and saves 33 MB of memory at 100,000; sled's other mode changes nothing;
//!   compression needs a C library and was not tried.
//! - 5,000 sessions that each record a tenth of 10,000 connections make the file grow to 97 MB, which it reaches after about
//!   2,000; it then opens in 10 ms.

mod alter;
mod check;
mod disk;
mod folder;
mod gate;
mod judge;
mod keys;
mod meta;
mod outlook;
mod put;
mod record;
mod recording;
mod replace;
mod results;
mod select;
mod session;

use crate::error::{Error, Kind};

pub use alter::{Alteration, Target};
pub use check::{Check, Counts};
pub(crate) use folder::{BACKUP_ENDS, private_file, private_folder, sync_folder};
pub(crate) use gate::SLICE;
pub use gate::Store;
pub use keys::{AppNo, CxnKey, JobNo, Place};
pub use meta::{Job, RunRecord};
pub use put::{Change, CxnLine, StatusLine};
pub use recording::Replacement;
pub use replace::Alone;
pub use results::{Kept, Limits, Packed};
pub use select::{Candidate, Statuses, Tally, Task};
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

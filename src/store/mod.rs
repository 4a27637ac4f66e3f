//! The store: connections, their poll statuses and an index of what is due.
//!
//! It is an embedded sled database. [`Store`] is the only type through which the rest of the program reaches a
//! database. One process at a time works on it, in short sessions: acquire the locks, open, work, make durable, close.
//! Nothing is held between sessions. Long work is done in batches.
//!
//! ```text
//! <store>/            0700; the owner of the directory owns the store
//!   CURRENT           names the directory of the database
//!   db-1/             the database; `db-1.new` while it is built
//!   outlook           the due hint: what is due next, for a run that need not open the database
//!   entry.lock        shared on the way to use.lock; exclusive while a process waits for that one exclusively
//!   use.lock          shared by all processes that use the store; exclusive while the database is replaced
//!   turn.lock         held by the process that gets the next session
//!   store.lock        held for the length of a session, with a note about its owner
//!   results.lock      held while results/ is open
//!   results/          the database of kept results; not in backups
//!   runs/             locks of runs
//!   registration/     requests of sites that wait to be applied: see `registration`; `rates` limits how many come
//!   history/          what changed, one file per month; what the last runs did
//!   notify.*          what notifications have reported and still have to deliver
//!   backups/          complete exports, compressed, named after their time
//!   kept/             databases and histories that were replaced, and what a repair removed
//! ```
//!
//! # Layers
//! Imports point one way: `temporary` → [`ExclusiveStore`], `registration` → [`Store`] (`face`) → `check` → `results`, `ops` → `sessions` →
//! `due_hint` → `history` → `schema` → `engine` → `skipped` → `error`, `failpoint`.

mod check;
mod due_hint;
mod engine;
pub mod error;
mod exclusive;
mod face;
pub mod failpoint;
mod history;
mod ops;
mod registration;
mod results;
mod schema;
mod sessions;
mod skipped;
mod temporary;

pub use check::{Check, Counts};
pub use engine::use_small_cache;
pub(crate) use engine::{BackupTimes, Backups, SEQUENCE_NOTE, TX_BATCH, backup_name};
pub use error::{Damage, Error, Item, Problem, Refusal, Result};
pub use exclusive::ExclusiveStore;
pub use face::Store;
pub(crate) use history::is_file_name as is_history_file;
pub use history::{
    AdminEntry, Audit, CxnHash, Entry, Frame, History, JobTransition, Position, Positions, Restores, RunEntry,
    RunProblems, SiteTransition, StagedHistory,
};
pub use ops::{
    AdminAction, AdminTarget, Change, CxnPatch, DueEntry, FieldPatch, InputIndex, Moved, PollTask, Registration,
    RegistrationChange, RegistrationOutcome, StateCounts, StatusPatch, StatusUpdate,
};
pub use results::{EncodedResult, Limits, StoredResult, Which as WhichResults};
pub use schema::{
    AppNo, CxnKey, CxnLocator, HostHash, HostKey, Job, JobNo, Message, ReadSession, RunOutage, RunRecord, SkipReason,
    SkippedHost, Statuses, WriteSession,
};
pub(crate) use sessions::SLICE;
pub use skipped::{Skipped, SkippedEntries};

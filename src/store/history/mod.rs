//! History: what changed, when, and what runs did. It answers how available a site was, and what broke last night.
//!
//! Only changes are stored, so a healthy site takes no space. The entries are appended to one file per month, which is opened
//! only to add something or to read a part. So the size of the history has no effect on sessions of the store.
//!
//! ```text
//! <store>/history/
//!   2026-11.log         the changes of a month, by the clock of the schedule
//!   runs-<job>.log      what the last runs of a job did; <job> is a hash of its app and name
//!   runs.lock           held while a file of runs is written
//!   ends                how far each of these files has come: see `ends`
//!   restored.json       what restores did to these files: see [`Restores`]
//! ```
//!
//! A change is appended, and synced, before the store records its outcome. If a process is killed in between, the history has
//! a transition that the store does not know: see [`SiteTransition`].

mod ends;
mod entry;
mod frames;
mod keep;
mod log;
mod names;
mod restores;
mod runs;
mod staged;

pub use entry::{AdminEntry, Audit, CxnHash, Entry, Frame, JobTransition, RunProblems, SiteTransition};
pub(super) use keep::FileFaults;
pub use log::{History, Position, Positions};
pub use names::is_file_name;
pub use restores::Restores;
pub use runs::RunEntry;
pub use staged::StagedHistory;

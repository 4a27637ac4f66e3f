//! One execution of `poll`, for one app, job and batch.
//!
//! Data flows in one direction: selection, queue, listener, outcome, next state, recorder, store. `state` holds every
//! decision of a run and is pure. `coordinator` carries its decisions out and never waits for the store. `recorder`
//! works on the store on its own thread, in short sessions; the store is not held while sites are polled.

mod around;
mod backlog;
mod breaker;
mod clock;
mod coordinator;
mod error;
mod event;
mod execute;
mod fd_limit;
mod follow;
pub mod forecast;
mod last_host;
mod machine;
mod message;
mod metrics;
mod order;
#[doc(hidden)]
pub mod outage;
mod poll_run;
mod queue;
mod recorder;
mod retry_change;
mod run_lock;
mod run_note;
mod selection;
mod signals;
pub mod simulation;
mod spread;
mod state;
mod summary;
#[cfg(test)]
mod testdata;
mod ticks;
mod update;
mod worker_count;
mod workers;

pub use backlog::{Backlog, Lack};
pub use error::Error;
pub use fd_limit::max_workers;
pub use follow::find_target;
pub use machine::available as available_memory;
pub use poll_run::PollRun;
pub use queue::Queue;
pub use retry_change::RetryChange;
pub use run_note::{ActiveRun, active_runs, ticks_of};
pub use signals::{Signals, survive_file_size_limit};
pub use spread::Spread;
pub use summary::{Summary, run_json, run_text};
pub use ticks::{Ticks, no_run_since};
pub use update::{FILE_ONLY, Update, Warning};

pub(crate) use summary::by_count;

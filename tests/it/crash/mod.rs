//! What was acknowledged survives SIGKILL at any time.
//!
//! - [`commands`] kills every command that writes, at each failpoint and at random times. A model says what may be left.
//! - [`writer`] kills a process that writes to a store through the library.
//! - [`registration`] kills processes that register sites at the same time.
//!
//! `CXNPOLL_KILLS=2000 cargo test --release --test it crash::` runs longer. By default 40 commands and 120 writers are
//! killed at random times. `CXNPOLL_SEED` repeats the commands and the random times of a run.

mod action;
mod commands;
mod content;
mod files;
mod registration;
mod scene;
mod writer;

/// One hour in seconds.
const HOUR: i64 = 3600;

//! What was acknowledged survives SIGKILL at any time.
//!
//! `CXNPOLL_KILLS=2000 cargo test --release --test it crash::` runs longer; the default is 200 kills at random times.
//! `CXNPOLL_SEED` repeats the random times of a run.

mod commands;
mod writer;

use crate::testkit::number_from_env;

/// One hour in seconds.
const HOUR: i64 = 3600;

/// Returns how many kills make up a percentage of all.
fn kills(percent: u64) -> u64 {
    (number_from_env("CXNPOLL_KILLS").unwrap_or(200) * percent / 100).max(1)
}

//! A name, and what is known of its addresses.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::store::PollTask;

/// A name of which tasks wait or are being polled.
#[derive(Debug)]
pub(super) struct Name {
    pub(super) waiting: usize,
    pub(super) polling: usize,
    /// Its own limit of polls in flight; `None` if it has none.
    pub(super) limit: Option<usize>,
    pub(super) answer: Answer,
}

#[derive(Debug)]
pub(super) enum Answer {
    /// The name has to be looked up for these tasks.
    Awaited(Vec<Arc<PollTask>>),
    Known(Found),
}

/// What is known of the addresses of a name.
#[derive(Debug, Clone)]
pub(super) struct Found {
    /// In order; empty if they are not known.
    pub(super) addresses: Arc<[IpAddr]>,
    /// When the lookup began, and when it ended without an answer; `None` if it has one.
    pub(super) failed: Option<(Duration, Duration)>,
}

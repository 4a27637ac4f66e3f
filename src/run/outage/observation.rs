//! What a poll shows about this machine.

use std::time::Duration;

use super::fingerprint::fingerprint;
use super::witness::Key;
use crate::model::{Failure, FailureClass, Outcome, PollStatus, PollTrace};
use crate::store::HostHash;

/// A poll that ended.
#[derive(Debug)]
pub struct Poll<'a> {
    /// The status of the site before the poll.
    pub before: &'a PollStatus,
    /// The hash of the host's name.
    pub host: HostHash,
    /// The name of the site's host, as it may stand in messages.
    pub site: &'a str,
    /// The short hash of the network of the trace's address; `None` if it has no address.
    pub network: Option<u32>,
    /// When the poll began, since the run did.
    pub began: Duration,
    /// How it ended.
    pub outcome: &'a Outcome,
    /// What its calls showed.
    pub trace: PollTrace,
}

/// What a poll shows about this machine.
#[derive(Debug)]
pub struct Observation {
    pub(super) key: Key,
    /// The key by the network that answered before, whatever was called now.
    pub(super) former_key: Key,
    /// Whether the site's previous poll succeeded.
    pub(super) is_witness: bool,
    pub(super) began: Duration,
    pub(super) answered: bool,
    /// `None` is a success.
    pub(super) failure: Option<Evidence>,
}

/// A failure, as far as it shows whose fault it is.
#[derive(Debug, Clone)]
pub(super) struct Evidence {
    pub(super) failure: Failure,
    pub(super) fingerprint: u64,
    pub(super) trace: PollTrace,
    /// How many polls are in the history of the site.
    pub(super) attempts: usize,
    /// How many of them failed with the same class.
    pub(super) alike: usize,
}

impl Observation {
    /// Works out what a poll shows.
    #[must_use]
    pub fn new(poll: &Poll<'_>) -> Self {
        let attempts = &poll.before.attempts;
        let failure = poll.outcome.as_ref().err().map(|failure| Evidence {
            failure: failure.clone(),
            fingerprint: fingerprint(failure, poll.site),
            trace: poll.trace,
            attempts: attempts.len(),
            alike: attempts.iter().filter(|attempt| attempt.class == Some(failure.class)).count(),
        });
        Self {
            former_key: Key::new(None, poll.before.network, poll.host),
            key: Key::new(poll.before.network, poll.network, poll.host),
            is_witness: attempts.last().is_some_and(|last| last.class.is_none()),
            began: poll.began,
            answered: poll.trace.answered,
            failure,
        }
    }

    /// Whether the site replied.
    ///
    /// A reply that broke off proves nothing: the network may have gone down meanwhile.
    pub(super) fn has_replied(&self) -> bool {
        let broke_off =
            |evidence: &Evidence| matches!(evidence.failure.class, FailureClass::Timeout | FailureClass::Disconnected);
        self.answered && !self.failure.as_ref().is_some_and(broke_off)
    }

    /// Whether the site could not be reached, and no poll that began later was answered.
    ///
    /// `last_reply` is when the last poll began that was answered. One that began at the same time counts as later.
    pub(super) fn is_silent_since(&self, last_reply: Option<Duration>) -> bool {
        // A listener may fail before it calls the site.
        let called = |evidence: &Evidence| evidence.failure.class != FailureClass::Listener;
        let is_silent = !self.answered && self.failure.as_ref().is_some_and(called);
        is_silent && last_reply.is_none_or(|reply| reply < self.began)
    }
}

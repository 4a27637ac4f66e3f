//! What the calls of one poll have in common.

use std::sync::{Mutex, MutexGuard, PoisonError};

use super::adoption::Redirection;
use super::transport::idle::{IdleConnections, Origin};
use crate::model::PollTrace;

/// The calls of one poll, which use connections again and add to one trace. They are made one after the other.
#[derive(Debug, Default)]
pub struct PollCalls(Mutex<State>);

/// What is known between the calls.
#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) trace: PollTrace,
    /// `None` if connections are closed after each call.
    pub(super) idle: Option<IdleConnections>,
    /// Where the first call went; `None` before it.
    pub(super) origin: Option<Origin>,
    /// Where redirects led the last call; `None` if there were none.
    pub(super) redirection: Option<Redirection>,
}

impl PollCalls {
    /// Begins a poll. Its connections are kept open after a call if `keeps_connections`.
    #[must_use]
    pub fn new(keeps_connections: bool) -> Self {
        Self(State { idle: keeps_connections.then(Vec::new), ..State::default() }.into())
    }

    /// Where redirects led the last call; `None` if there were none, or if they led nowhere.
    #[must_use]
    pub fn redirection(&self) -> Option<Redirection> {
        self.lock().redirection.clone()
    }

    /// Waits until no other thread makes a call of the poll.
    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn into_state(self) -> State {
        self.0.into_inner().unwrap_or_else(PoisonError::into_inner)
    }
}

//! The state of a connection for a job.

use std::fmt;

use serde::{Serialize, Serializer};

use super::Policy;
use crate::model::{PollStatus, UnixTime};

/// The state of a connection for a job. The names are a part of the command line's contract.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum State {
    /// It was never polled.
    New,
    /// It is at the start of the expression: its last poll succeeded.
    Healthy,
    /// It fails, and is polled again.
    Retrying,
    /// It is beyond the last level, and not polled again.
    GivenUp,
    /// It is disabled.
    Disabled,
    /// It asked to wait, and that time has not passed.
    Deferred,
}

impl State {
    /// All states.
    pub const ALL: [Self; 6] =
        [Self::New, Self::Healthy, Self::Retrying, Self::GivenUp, Self::Disabled, Self::Deferred];

    /// The name that is shown and that scripts use.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::New => "new",
            Self::Healthy => "healthy",
            Self::Retrying => "retrying",
            Self::GivenUp => "given-up",
            Self::Disabled => "disabled",
            Self::Deferred => "deferred",
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl Serialize for State {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

impl Policy {
    /// The state of a connection at `now`.
    ///
    /// If several apply, the state is the first of these: disabled, given up, new, deferred. A site that a wrong clock
    /// deferred is due, and not deferred.
    #[must_use]
    pub fn state(&self, status: &PollStatus, disabled: bool, now: UnixTime) -> State {
        if disabled {
            State::Disabled
        } else if self.level(status.level).is_none() {
            State::GivenUp
        } else if status.is_new() {
            State::New
        } else if status.not_before.is_some_and(|time| time > now) && !self.clock_was_wrong(status, now) {
            State::Deferred
        } else if (status.level, status.count, status.deferrals) == (0, 0, 0) {
            State::Healthy
        } else {
            State::Retrying
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states() {
        let policy: Policy = "1 hour (x1); 1 day (x2)".parse().unwrap();
        let polled = PollStatus { last_run: 1_000, ..PollStatus::default() };
        let deferred = PollStatus { not_before: Some(5_000), ..polled.clone() };
        for (status, now, name) in [
            (PollStatus::default(), 2_000, "new"),
            (polled.clone(), 2_000, "healthy"),
            (PollStatus { level: 1, ..polled.clone() }, 2_000, "retrying"),
            (PollStatus { level: 1, count: 1, ..polled.clone() }, 2_000, "retrying"),
            (PollStatus { level: 2, ..polled.clone() }, 2_000, "given-up"),
            (PollStatus { level: 2, ..PollStatus::default() }, 2_000, "given-up"),
            (PollStatus { level: 2, ..deferred.clone() }, 2_000, "given-up"),
            (deferred.clone(), 4_999, "deferred"),
            (deferred.clone(), 5_000, "healthy"),
            (deferred.clone(), 700, "deferred"),
            // The clock was wrong.
            (deferred.clone(), 699, "healthy"),
        ] {
            assert_eq!(policy.state(&status, false, now).to_string(), name, "{status:?}");
            assert_eq!(policy.state(&status, true, now), State::Disabled);
        }
        assert_eq!(serde_json::to_string(&State::GivenUp).unwrap(), "\"given-up\"");
    }
}

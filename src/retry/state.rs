//! The state of a connection, in a word.

use std::fmt;

use serde::{Serialize, Serializer};

use super::Policy;
use crate::model::{PollStatus, UnixTime};

/// Where a connection stands with a job. The names are part of the command line's contract.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum State {
    /// Never polled.
    New,
    /// At the start of the expression: its last poll was good.
    Healthy,
    /// Failing, and tried again.
    Retrying,
    /// Beyond the last level: not tried again.
    GivenUp,
    /// Switched off.
    Disabled,
    /// Left alone for now, because it asked for that.
    Deferred,
}

impl State {
    /// All states.
    pub const ALL: [Self; 6] =
        [Self::New, Self::Healthy, Self::Retrying, Self::GivenUp, Self::Disabled, Self::Deferred];

    /// The name that people and scripts see.
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
    /// The state at `now` of a connection that is `disabled` or not. Where several apply, the one that explains best
    /// why it isn't polled: disabled, given up, new, deferred.
    #[must_use]
    pub fn state(&self, status: &PollStatus, disabled: bool, now: UnixTime) -> State {
        if disabled {
            State::Disabled
        } else if self.level(status.level).is_none() {
            State::GivenUp
        } else if status.is_new() {
            State::New
        } else if status.not_before.is_some_and(|time| time > now) {
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
        ] {
            assert_eq!(policy.state(&status, false, now).to_string(), name, "{status:?}");
            assert_eq!(policy.state(&status, true, now), State::Disabled);
        }
        assert_eq!(serde_json::to_string(&State::GivenUp).unwrap(), "\"given-up\"");
    }
}

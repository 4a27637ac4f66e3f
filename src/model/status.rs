//! The poll status of a connection for a job.

use super::{Failure, FailureClass, UnixTime};

/// The poll status of one connection for one job.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PollStatus {
    /// The index of the level of the retry expression. From the number of its levels on, the site is given up.
    pub level: u32,
    /// The failures in a row at this level.
    pub count: u32,
    /// The `now` of the run that polled last; 0 if the connection was never polled, or was revived since.
    pub last_run: UnixTime,
    /// The time before which the site is not due, because it asked for that; `None` if it did not.
    pub not_before: Option<UnixTime>,
    /// The deferrals in a row, 0..=2.
    pub deferrals: u8,
    /// The time of the last success; `None` if there was none.
    pub last_success: Option<UnixTime>,
    /// The last failure and its time; `None` if there was none.
    pub last_failure: Option<(UnixTime, Failure)>,
    /// The last [`PollStatus::ATTEMPTS`] attempts, the oldest first.
    pub attempts: Vec<Attempt>,
    /// The duration of the last poll in milliseconds; 0 if it is not known.
    pub last_duration_ms: u32,
}

/// One attempt to poll a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attempt {
    /// The `now` of the run.
    pub at: UnixTime,
    /// The class of the failure; `None` is success.
    pub class: Option<FailureClass>,
}

impl Attempt {
    /// The class name of a success.
    pub const OK: &str = "ok";

    /// The name of the failure's class; [`Attempt::OK`] for a success.
    #[must_use]
    pub fn class_name(&self) -> &'static str {
        self.class.map_or(Self::OK, FailureClass::name)
    }
}

impl PollStatus {
    /// How many attempts are kept.
    pub const ATTEMPTS: usize = 10;

    /// Whether the connection was never polled for the job, or was revived since.
    #[must_use]
    pub fn is_new(&self) -> bool {
        self.last_run == 0
    }

    /// Makes the connection due at once, as if it were new. Its history is kept.
    pub fn revive(&mut self) {
        (self.level, self.count, self.last_run, self.not_before, self.deferrals) = (0, 0, 0, None, 0);
    }

    /// Records an attempt of the run of `now` in the history. The schedule does not change.
    pub fn remember(&mut self, now: UnixTime, outcome: &super::Outcome) {
        let class = match outcome {
            Ok(()) => {
                self.last_success = Some(now);
                None
            }
            Err(failure) => {
                self.last_failure = Some((now, failure.clone()));
                Some(failure.class)
            }
        };
        if self.attempts.len() >= Self::ATTEMPTS {
            self.attempts.drain(..=self.attempts.len() - Self::ATTEMPTS);
        }
        self.attempts.push(Attempt { at: now, class });
    }
}

//! Where a connection stands with a job.

use super::{Failure, FailureClass, UnixTime};

/// The poll status of one connection for one job.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PollStatus {
    /// Index of the level of the retry expression; at or beyond its number of levels the site is given up.
    pub level: u32,
    /// Failures in a row at this level.
    pub count: u32,
    /// The `now` of the run that polled last; 0 for a connection that was never polled, or was revived since.
    pub last_run: UnixTime,
    /// Not due before this moment, because the site asked for it.
    pub not_before: Option<UnixTime>,
    /// Deferrals in a row, 0..=2.
    pub deferrals: u8,
    /// When the last success was.
    pub last_success: Option<UnixTime>,
    /// The last failure and when it was.
    pub last_failure: Option<(UnixTime, Failure)>,
    /// The last ten attempts, oldest first.
    pub attempts: Vec<Attempt>,
    /// How long the last poll took, milliseconds; 0 where that is not known.
    pub took_ms: u32,
}

/// One attempt that was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attempt {
    /// The `now` of the run that made it.
    pub at: UnixTime,
    /// `None` is success.
    pub class: Option<FailureClass>,
}

impl PollStatus {
    /// How many attempts are remembered.
    pub const ATTEMPTS: usize = 10;

    /// Whether the connection was never polled for the job, or was revived since.
    #[must_use]
    pub fn is_new(&self) -> bool {
        self.last_run == 0
    }

    /// Makes the connection due at once, as if it were new; its history stays.
    pub fn revive(&mut self) {
        (self.level, self.count, self.last_run, self.not_before, self.deferrals) = (0, 0, 0, None, 0);
    }

    /// Writes down an attempt of the run of `now`: the history only, not the schedule.
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

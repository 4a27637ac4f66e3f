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
    /// By how many seconds the next poll comes earlier than one period after `last_run`.
    ///
    /// A run brings polls forward where it polls more sites than others would. A deferral takes the place of it.
    pub early_s: u32,
    /// The time before which the site is not due, because it asked for that; `None` if it did not.
    pub not_before: Option<UnixTime>,
    /// The deferrals in a row, 0..=2.
    pub deferrals: u8,
    /// The time of the last success; `None` if there was none.
    pub last_success: Option<UnixTime>,
    /// The last failure and its time; `None` if there was none.
    pub last_failure: Option<(UnixTime, Failure)>,
    /// A short hash of the network that answered the last poll that succeeded; `None` if it is not known.
    pub network: Option<u32>,
    /// The last [`PollStatus::ATTEMPTS`] attempts, the oldest first.
    pub attempts: Vec<Attempt>,
    /// The permanent redirect that the last poll met; `None` if it met none, or if runs follow none.
    pub redirect: Option<SeenRedirect>,
    /// What the last poll led to, if a revival or an import changed level, count or `last_run` since.
    ///
    /// `None` if it led to these, or if the connection was never polled. The history needs it until the next poll.
    pub last_poll: Option<Schedule>,
}

/// The place of a connection in its schedule that a poll led to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Schedule {
    /// As in [`PollStatus`].
    pub level: u32,
    /// As in [`PollStatus`].
    pub count: u32,
    /// The `now` of the run that polled; 0 if none did.
    pub last_run: UnixTime,
}

/// A permanent redirect that polls in a row met.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SeenRedirect {
    /// Identifies the siteUrl and the target.
    pub fingerprint: u64,
    /// On how many days it was met, in UTC.
    pub days: u8,
    /// The last of them, in days since 1970.
    pub last_day: i64,
}

impl SeenRedirect {
    /// A redirect that a poll of the run of `now` met, where `before` is the one of the poll before.
    #[must_use]
    pub fn again(before: Option<Self>, fingerprint: u64, now: UnixTime) -> Self {
        let day = now.div_euclid(86_400);
        match before {
            // A day ahead was by a wrong clock.
            Some(seen) if seen.fingerprint == fingerprint && seen.last_day <= day => {
                let days = seen.days.saturating_add(u8::from(seen.last_day < day));
                Self { fingerprint, days, last_day: day }
            }
            _ => Self { fingerprint, days: 1, last_day: day },
        }
    }
}

/// One attempt to poll a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attempt {
    /// The `now` of the run.
    pub at: UnixTime,
    /// The class of the failure; `None` is success.
    pub class: Option<FailureClass>,
    /// How long the poll took in milliseconds; 0 if it is not known.
    pub duration_ms: u32,
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
    /// A site that has failed for as many seconds is unwell.
    const UNWELL_AFTER_S: UnixTime = 86_400;

    /// Whether the connection was never polled for the job, or was revived since.
    #[must_use]
    pub fn is_new(&self) -> bool {
        self.last_run == 0
    }

    /// The time from which the period until the next poll counts.
    ///
    /// That is `last_run` less `early_s`. 0 if the connection is new, and only then.
    #[must_use]
    pub fn period_start(&self) -> UnixTime {
        self.last_run.saturating_sub(self.early_s.into()).max(self.last_run.min(1))
    }

    /// What the last poll led to, also if level, count or `last_run` changed since.
    #[must_use]
    pub fn last_poll(&self) -> Schedule {
        let &Self { level, count, last_run, .. } = self;
        self.last_poll.unwrap_or_else(|| {
            // A former build may have revived it.
            let attempted = self.attempts.last().filter(|_| self.is_new()).map(|last| last.at);
            Schedule { level, count, last_run: attempted.unwrap_or(last_run) }
        })
    }

    /// Keeps what the last poll led to, as the status has it that this one replaces.
    ///
    /// A later poll of this status takes precedence.
    pub fn keep_last_poll(&mut self, known: Schedule) {
        let own = self.last_poll();
        if known.last_run >= own.last_run && known.last_run != 0 && known != own {
            self.last_poll = Some(known);
        }
    }

    /// Makes the connection due at once, as if it were new.
    ///
    /// Its history is kept, so deferrals in a row stay that.
    pub fn revive(&mut self) {
        let known = self.last_poll();
        (self.level, self.count, self.last_run, self.early_s) = (0, 0, 0, 0);
        self.not_before = None;
        self.keep_last_poll(known);
    }

    /// The duration of the last poll in milliseconds; 0 if it is not known.
    #[must_use]
    pub fn last_duration_ms(&self) -> u32 {
        self.attempts.last().map_or(0, |last| last.duration_ms)
    }

    /// The message of the last poll, if that failed.
    ///
    /// `None` if it succeeded, or if the message is not known.
    #[must_use]
    pub fn last_message(&self) -> Option<&str> {
        let last = self.attempts.last().filter(|last| last.class.is_some())?;
        let (_, failure) = self.last_failure.as_ref().filter(|(at, _)| *at == last.at)?;
        Some(&failure.message)
    }

    /// The longest duration of the attempts that are kept, in milliseconds.
    #[must_use]
    pub fn slowest_ms(&self) -> u32 {
        self.attempts.iter().map(|attempt| attempt.duration_ms).max().unwrap_or(0)
    }

    /// Whether the last poll failed, and no poll of the last day before `now` succeeded.
    ///
    /// A site whose first failure is not a day old is not unwell.
    #[must_use]
    pub fn is_unwell(&self, now: UnixTime) -> bool {
        let [Some(first), Some(last)] = [self.attempts.first(), self.attempts.last()] else { return false };
        let well_until = self.last_success.unwrap_or(first.at);
        last.class.is_some() && now.saturating_sub(well_until) >= Self::UNWELL_AFTER_S
    }

    /// Records an attempt of the run of `now` in the history. The schedule does not change.
    ///
    /// The duration of the attempt is not known.
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
        self.attempts.push(Attempt { at: now, class, duration_ms: 0 });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: UnixTime = 86_400;

    #[test]
    fn a_site_is_unwell_after_a_day_without_a_success() {
        let failed = Err(Failure::new(FailureClass::Timeout, "connecting"));
        let mut status = PollStatus::default();
        assert!(!status.is_unwell(9 * DAY), "it was never polled");
        status.remember(DAY, &failed);
        assert!(!status.is_unwell(2 * DAY - 1) && status.is_unwell(2 * DAY));
        status.remember(2 * DAY, &Ok(()));
        assert!(!status.is_unwell(9 * DAY), "the last poll succeeded");
        status.remember(3 * DAY - 1, &failed);
        assert!(!status.is_unwell(3 * DAY - 1) && status.is_unwell(3 * DAY));
    }

    #[test]
    fn a_redirect_counts_once_a_day_while_it_stays_the_same() {
        let mut seen = None;
        for (fingerprint, now, days) in [
            (7, DAY, 1),
            (7, 2 * DAY - 1, 1),
            (7, 2 * DAY, 2),
            (7, 9 * DAY, 3),
            (8, 10 * DAY, 1),
            (8, 11 * DAY, 2),
            (8, 9 * DAY, 1),
            (8, 10 * DAY, 2),
        ] {
            let again = SeenRedirect::again(seen, fingerprint, now);
            assert_eq!(again.days, days, "{fingerprint} {now}");
            seen = Some(again);
        }
    }

    #[test]
    fn the_slowest_of_the_attempts_counts() {
        let mut status = PollStatus::default();
        assert_eq!((status.slowest_ms(), status.last_duration_ms()), (0, 0));
        for duration_ms in 1..=12 {
            status.remember(1, &Ok(()));
            status.attempts.last_mut().unwrap().duration_ms = 100 - duration_ms;
        }
        // The first two are no longer kept.
        assert_eq!((status.slowest_ms(), status.last_duration_ms()), (97, 88));
    }
}

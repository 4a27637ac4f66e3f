//! What a poll changes in the history of a connection.

use super::Policy;
use crate::model::{Attempt, Condition, PollStatus, Transition, UnixTime};

/// A longer time between two polls, in periods, is a gap.
pub const MAX_GAP_PERIODS: i64 = 3;

impl Policy {
    /// What the last counted poll showed, according to a status.
    ///
    /// A former program may have stored no attempts. Then level and count decide.
    #[must_use]
    pub fn condition(&self, status: &PollStatus) -> Condition {
        let is_down = match last_counted(status) {
            Some(attempt) => attempt.class.is_some(),
            // All that it did was to ask for later polls.
            None if status.is_new() || !status.attempts.is_empty() => return Condition::New,
            None => (status.level, status.count) != (0, 0),
        };
        match (is_down, self.level(status.level)) {
            (false, _) => Condition::Up,
            (true, Some(_)) => Condition::Failing,
            (true, None) => Condition::GivenUp,
        }
    }

    /// The time one period after the last poll, and the time after which nothing is known.
    ///
    /// The second is three periods after the poll. A given-up connection has the period of the last level. `None` if it was
    /// never polled.
    #[must_use]
    pub fn known_until(&self, status: &PollStatus) -> Option<(UnixTime, UnixTime)> {
        let polled = last_polled(status)?;
        let last_level = u32::try_from(self.levels().len()).unwrap_or(u32::MAX).saturating_sub(1);
        let next = self.next_due(status.level.min(last_level), polled)?;
        Some((next, polled.saturating_add(next.saturating_sub(polled).saturating_mul(MAX_GAP_PERIODS))))
    }

    /// The time after which nothing is known of a connection until its next poll.
    ///
    /// That is three periods after its last poll, or the first of `outages` since. These are the times of the runs of the job
    /// that ended for our own fault. `None` if it was never polled.
    #[must_use]
    pub fn unknown_from(&self, status: &PollStatus, outages: impl Iterator<Item = UnixTime>) -> Option<UnixTime> {
        let (polled, (_, known_until)) = (last_polled(status)?, self.known_until(status)?);
        outages.filter(|outage| *outage >= polled).chain([known_until]).min()
    }

    /// What the change of a status from `before` to `after`, which is that of a poll, adds to history.
    ///
    /// `outages` are the times of the runs of the job that ended for our own fault. `None` if the condition is the same and
    /// was known all the time, or if the poll was not counted.
    #[must_use]
    pub fn transition(&self, before: &PollStatus, after: &PollStatus, outages: &[UnixTime]) -> Option<Transition> {
        if after.deferrals > 0 {
            return None;
        }
        let (from, to, at) = (self.condition(before), self.condition(after), after.last_run);
        let unknown_from = self.known_until(before).and_then(|(next, known_until)| {
            let polled = last_polled(before).unwrap_or(at);
            let outage = outages.iter().copied().filter(|outage| (polled..at).contains(outage)).min();
            let gap = (at > known_until).then_some(next);
            [outage, gap].into_iter().flatten().min()
        });
        let class = last_counted(after).and_then(|attempt| attempt.class).filter(|_| to.is_down());
        (from != to || unknown_from.is_some()).then_some(Transition { at, from, to, class, unknown_from })
    }
}

/// The last attempt whose outcome was counted; `None` if no attempt is known.
fn last_counted(status: &PollStatus) -> Option<&Attempt> {
    let counted = status.attempts.len().saturating_sub(status.deferrals.into());
    status.attempts[..counted].last()
}

/// When a connection was polled last; `None` if it never was.
///
/// A revived connection was polled at its last attempt. A deferral shows that the site is there, so it counts.
#[must_use]
pub fn last_polled(status: &PollStatus) -> Option<UnixTime> {
    match status.last_run {
        0 => status.attempts.last().map(|attempt| attempt.at),
        last_run => Some(last_run),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Failure, FailureClass, Outcome};

    const HOUR: UnixTime = 3600;

    fn policy() -> Policy {
        "1 hour (x2); 1 day (x1)".parse().unwrap()
    }

    fn failed() -> Outcome {
        Err(Failure::new(FailureClass::Timeout, "connecting"))
    }

    fn deferred() -> Outcome {
        Err(Failure { retry_after: Some(60), ..Failure::new(FailureClass::Http, "status 503") })
    }

    /// The status after polls, and the last transition.
    fn polls(polls: &[(UnixTime, Outcome)], outages: &[UnixTime]) -> (PollStatus, Option<Transition>) {
        let (mut status, mut last) = (PollStatus::default(), None);
        for (at, outcome) in polls {
            let before = status.clone();
            policy().apply(&mut status, *at, outcome);
            last = policy().transition(&before, &status, outages);
        }
        (status, last)
    }

    fn last(all: &[(UnixTime, Outcome)], outages: &[UnixTime]) -> Option<(Condition, Condition, Option<UnixTime>)> {
        polls(all, outages).1.map(|last| (last.from, last.to, last.unknown_from))
    }

    #[test]
    fn only_changes_are_transitions() {
        use Condition::{Failing, GivenUp, New, Up};
        assert_eq!(last(&[(HOUR, Ok(()))], &[]), Some((New, Up, None)));
        assert_eq!(last(&[(HOUR, failed())], &[]), Some((New, Failing, None)));
        assert_eq!(last(&[(HOUR, Ok(())), (2 * HOUR, Ok(()))], &[]), None);
        let fails: Vec<_> = [1, 2, 3, 27].map(|hour| (hour * HOUR, failed())).into();
        assert_eq!(last(&fails[..2], &[]), None);
        assert_eq!(last(&fails, &[]), None, "the level is given up before");
        assert_eq!(last(&fails[..3], &[]), Some((Failing, GivenUp, None)));
        assert_eq!(last(&[&fails[..2], &[(26 * HOUR, Ok(()))]].concat(), &[]), Some((Failing, Up, None)));
        assert_eq!(polls(&fails[..1], &[]).1.unwrap().class, Some(FailureClass::Timeout));
    }

    #[test]
    fn more_than_three_periods_between_polls_are_a_gap() {
        use Condition::Up;
        let polled = |at| last(&[(HOUR, Ok(())), (at, Ok(()))], &[]);
        assert_eq!(polled(4 * HOUR), None);
        assert_eq!(polled(4 * HOUR + 1), Some((Up, Up, Some(2 * HOUR))));
    }

    #[test]
    fn the_time_after_an_outage_is_unknown_until_the_next_poll() {
        use Condition::Up;
        let polled = |outages: &[UnixTime]| last(&[(HOUR, Ok(())), (2 * HOUR, Ok(()))], outages);
        assert_eq!(polled(&[7000, 6000, 9000]), Some((Up, Up, Some(6000))));
        assert_eq!(polled(&[HOUR - 1, 2 * HOUR]), None);
        assert_eq!(polled(&[HOUR]), Some((Up, Up, Some(HOUR))), "the run counted this site before its outage");
    }

    #[test]
    fn a_deferral_changes_nothing() {
        let (status, transition) = polls(&[(HOUR, Ok(())), (2 * HOUR, deferred())], &[]);
        assert_eq!((policy().condition(&status), transition), (Condition::Up, None));
        assert_eq!(last(&[(HOUR, Ok(())), (4 * HOUR, deferred()), (5 * HOUR, Ok(()))], &[]), None);
    }

    #[test]
    fn a_revived_connection_has_its_former_condition() {
        let (mut status, _) = polls(&[(HOUR, failed())], &[]);
        status.revive();
        assert_eq!(policy().condition(&status), Condition::Failing);
        assert_eq!(policy().known_until(&status), Some((2 * HOUR, 4 * HOUR)));
        assert_eq!(policy().known_until(&PollStatus::default()), None);
    }

    #[test]
    fn level_and_count_decide_where_no_attempt_is_known() {
        let condition = |level, count, last_run| {
            policy().condition(&PollStatus { level, count, last_run, ..PollStatus::default() })
        };
        assert_eq!(condition(0, 0, 0), Condition::New);
        assert_eq!(condition(0, 0, 1), Condition::Up);
        assert_eq!(condition(0, 1, 1), Condition::Failing);
        assert_eq!(condition(2, 0, 1), Condition::GivenUp);
    }
}

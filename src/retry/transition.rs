//! What a poll changes in the history of a connection.

use super::Policy;
use crate::model::{Attempt, Condition, PollStatus, Transition, UnixTime};

/// A longer time between two polls, in periods, is a gap.
pub const MAX_GAP_PERIODS: i64 = 3;

impl Policy {
    /// What the last counted poll showed, according to a status.
    ///
    /// A former program may have stored no attempts. Then level and count decide. A given-up connection that was revived is
    /// failing.
    #[must_use]
    pub fn condition(&self, status: &PollStatus) -> Condition {
        let is_down = match last_counted(status) {
            Some(attempt) => attempt.class.is_some(),
            // All that it did was to ask for later polls.
            None if !status.attempts.is_empty() || last_polled(status).is_none() => return Condition::New,
            None if status.is_new() => (status.last_poll().level, status.last_poll().count) != (0, 0),
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
        let next = self.next_due(status.last_poll().level.min(last_level), polled)?;
        Some((next, polled.saturating_add(next.saturating_sub(polled).saturating_mul(MAX_GAP_PERIODS))))
    }

    /// The time after which nothing is known of a connection until its next poll.
    ///
    /// That is three periods after its last poll, or the first of `outages` since. These are the times of the runs of the job
    /// that ended for our own fault. `None` if it was never polled.
    #[must_use]
    pub fn unknown_from(&self, status: &PollStatus, outages: impl Iterator<Item = UnixTime>) -> Option<UnixTime> {
        let (_, known_until) = self.known_until(status)?;
        first_outage(status, outages, UnixTime::MAX).into_iter().chain([known_until]).min()
    }

    /// What the change of a status from `before` to `after`, which is that of a poll, adds to history.
    ///
    /// `outages` are the times of the runs of the job that ended for our own fault. `None` if the condition is the same and
    /// was known all the time. A poll that was not counted only ends a gap.
    #[must_use]
    pub fn transition(&self, before: &PollStatus, after: &PollStatus, outages: &[UnixTime]) -> Option<Transition> {
        Some(self.change(before, after, outages)).filter(Transition::is_news)
    }

    /// As [`Policy::transition`], also if it is not news.
    #[must_use]
    pub fn change(&self, before: &PollStatus, after: &PollStatus, outages: &[UnixTime]) -> Transition {
        let (from, to, at) = (self.condition(before), self.condition(after), after.last_poll().last_run);
        let unknown_from = self.known_until(before).and_then(|(next, known_until)| {
            let gap = (at > known_until).then_some(next);
            let outage = if after.deferrals > 0 { None } else { first_outage(before, outages.iter().copied(), at) };
            [outage, gap].into_iter().flatten().min()
        });
        let class = last_counted(after).and_then(|attempt| attempt.class).filter(|_| to.is_down());
        Transition { at, from, to, class, unknown_from }
    }

    /// The transition of a status that goes away at `now` without a poll.
    ///
    /// `outages` are as for [`Policy::unknown_from`]. `now` may be by another clock, so the last poll counts if it is later.
    /// `None` if no poll was counted.
    #[must_use]
    pub fn loss(
        &self,
        status: &PollStatus,
        outages: impl Iterator<Item = UnixTime>,
        now: UnixTime,
    ) -> Option<Transition> {
        let from = Some(self.condition(status)).filter(|from| *from != Condition::New)?;
        let at = last_polled(status).map_or(now, |polled| now.max(polled));
        let unknown_from = self.unknown_from(status, outages).filter(|unknown_from| *unknown_from < at);
        Some(Transition { at, from, to: Condition::New, class: None, unknown_from })
    }

    /// The transition of a connection that a job gives up at `at` because of its new expression `next`.
    ///
    /// `outages` are those of [`Policy::transition`]. `None` if the connection does not fail, or is not given up by it.
    #[must_use]
    pub fn giving_up(
        &self,
        next: &Self,
        status: &PollStatus,
        at: UnixTime,
        outages: &[UnixTime],
    ) -> Option<Transition> {
        let (from, to) = (self.condition(status), next.condition(status));
        let class = last_counted(status).and_then(|attempt| attempt.class);
        let unknown_from = self.unknown_from(status, outages.iter().copied()).filter(|unknown_from| *unknown_from < at);
        let is_given_up = (from, to) == (Condition::Failing, Condition::GivenUp);
        is_given_up.then_some(Transition { at, from, to, class, unknown_from })
    }
}

/// The last attempt whose outcome was counted; `None` if no attempt is known.
fn last_counted(status: &PollStatus) -> Option<&Attempt> {
    let counted = status.attempts.len().saturating_sub(status.deferrals.into());
    status.attempts[..counted].last()
}

/// The first of outages between the last counted poll and `end`; `None` if there is none.
fn first_outage(status: &PollStatus, outages: impl Iterator<Item = UnixTime>, end: UnixTime) -> Option<UnixTime> {
    let counted = last_counted(status).filter(|_| status.deferrals > 0).map(|attempt| attempt.at);
    let counted = counted.or_else(|| last_polled(status))?;
    outages.filter(|outage| (counted..end).contains(outage)).min()
}

/// When a connection was polled last; `None` if it never was.
///
/// A revived connection was polled before. A deferral shows that the site is there, so it counts.
#[must_use]
pub fn last_polled(status: &PollStatus) -> Option<UnixTime> {
    Some(status.last_poll().last_run).filter(|last_run| *last_run != 0)
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
    fn a_revived_connection_is_known_for_as_long_as_before() {
        let fails: Vec<_> = [1, 2, 26].map(|hour| (hour * HOUR, failed())).into();
        let known = Some((50 * HOUR, 98 * HOUR));
        for (polled, is_given_up) in
            [(&fails[..], true), (&[&fails[..2], &[(26 * HOUR, deferred())]].concat()[..], false)]
        {
            let (mut status, _) = polls(polled, &[]);
            assert_eq!(policy().condition(&status) == Condition::GivenUp, is_given_up);
            assert_eq!(policy().known_until(&status), known);
            for _ in 0..2 {
                status.revive();
                assert_eq!((policy().condition(&status), policy().known_until(&status)), (Condition::Failing, known));
            }
            for outcome in [failed(), deferred(), Ok(())] {
                let mut next = status.clone();
                policy().apply(&mut next, 36 * HOUR, &outcome);
                let change = policy().change(&status, &next, &[]);
                let to = if outcome.is_ok() { Condition::Up } else { Condition::Failing };
                assert_eq!((change.from, change.to, change.unknown_from), (Condition::Failing, to, None));
                assert_eq!(policy().known_until(&next), Some((37 * HOUR, 39 * HOUR)), "of level 0 again");
            }
        }
    }

    #[test]
    fn a_connection_that_is_revived_before_its_first_poll_is_new() {
        for outcomes in [&[][..], &[deferred()]] {
            let mut status = PollStatus::default();
            for outcome in outcomes {
                policy().apply(&mut status, HOUR, outcome);
            }
            status.revive();
            assert_eq!(policy().condition(&status), Condition::New);
            assert_eq!(status == PollStatus::default(), outcomes.is_empty());
        }
    }

    #[test]
    fn a_status_that_goes_away_was_known_until_then_or_for_three_periods() {
        use Condition::{Failing, New, Up};
        let loss = |all: &[(UnixTime, Outcome)], outages: &[UnixTime], now| {
            let loss = policy().loss(&polls(all, &[]).0, outages.iter().copied(), now);
            loss.map(|loss| (loss.from, loss.to, loss.at, loss.unknown_from))
        };
        let up = [(HOUR, Ok(()))];
        assert_eq!(loss(&up, &[], 4 * HOUR), Some((Up, New, 4 * HOUR, None)));
        assert_eq!(loss(&up, &[], 11 * HOUR), Some((Up, New, 11 * HOUR, Some(4 * HOUR))));
        assert_eq!(loss(&up, &[30, 2 * HOUR, 3 * HOUR], 3 * HOUR), Some((Up, New, 3 * HOUR, Some(2 * HOUR))));
        assert_eq!(loss(&up, &[2 * HOUR], 90), Some((Up, New, HOUR, None)), "the poll has another clock");
        assert_eq!(loss(&[(HOUR, failed())], &[], 2 * HOUR), Some((Failing, New, 2 * HOUR, None)));
        assert_eq!(loss(&[(HOUR, deferred())], &[], 2 * HOUR), None);
        assert_eq!(loss(&[], &[], 2 * HOUR), None);
    }

    #[test]
    fn another_expression_gives_up_what_fails_at_levels_that_it_does_not_have() {
        use Condition::{Failing, GivenUp};
        let given_up = |polled: &[(UnixTime, Outcome)], at, outages: &[UnixTime]| {
            let next = "1 hour (x1)".parse().unwrap();
            let transition = policy().giving_up(&next, &polls(polled, &[]).0, at, outages)?;
            Some((transition.from, transition.to, transition.class.is_some(), transition.unknown_from))
        };
        let fails: Vec<_> = [1, 2].map(|hour| (hour * HOUR, failed())).into();
        let known = (Failing, GivenUp, true);
        assert_eq!(given_up(&fails, 3 * HOUR, &[]), Some((known.0, known.1, known.2, None)));
        assert_eq!(given_up(&fails, 99 * HOUR, &[]), Some((known.0, known.1, known.2, Some(74 * HOUR))));
        assert_eq!(given_up(&fails, 9 * HOUR, &[5 * HOUR]), Some((known.0, known.1, known.2, Some(5 * HOUR))));
        assert_eq!(given_up(&fails[..1], 3 * HOUR, &[]), None, "it is at the first level");
        assert_eq!(given_up(&[(HOUR, Ok(()))], 3 * HOUR, &[]), None);
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
        for ((level, count), expected) in [((0, 0), Condition::Up), ((1, 0), Condition::Failing)] {
            let mut status = PollStatus { level, count, last_run: HOUR, ..PollStatus::default() };
            let before = policy().known_until(&status);
            status.revive();
            assert_eq!((policy().condition(&status), policy().known_until(&status)), (expected, before));
        }
    }
}

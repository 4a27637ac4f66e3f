//! Our own outage, told by witnesses.
//!
//! A witness is a site whose previous poll answered. When witnesses on ten hosts have failed before any byte arrived, and
//! no poll that began since the first of those did was answered, our own network may be down: what comes in over connections
//! of before proves nothing. A crowd of dead sites has no witness in it, but for those that died since they were polled
//! last, as ten sites of one hoster may: so a few more polls are made, and those under way are waited for, before it is
//! said.

use std::collections::HashSet;
use std::time::Instant;

use crate::model::{FailureClass, Outcome, PollStatus, UnixTime};

/// How many hosts it takes.
const HOSTS: usize = 10;
/// How many polls more are made before it is said.
pub(super) const PROBES: usize = 10;
/// For how many seconds runs that all ended in an outage are believed.
const PATIENCE: UnixTime = 86_400;

/// What outcomes so far say of our own network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Weather {
    /// Nothing: failures are the sites' own.
    Clear,
    /// Witnesses have failed: failures may turn out to be ours.
    Doubtful,
    /// So many have failed that we are offline, unless somebody replies.
    Suspected,
}

/// Watches the outcomes of a run.
pub(super) struct Guard {
    enabled: bool,
    /// Hosts of the witnesses that failed since a site replied last, by their hashes.
    hosts: HashSet<u32>,
    /// When the first of those polls began.
    first: Option<Instant>,
    /// When the last of the polls began that were answered.
    proof: Option<Instant>,
}

impl Guard {
    /// A guard for a run at `now`. Where every run since `outage_since` ended in an outage, for a day or more, it is
    /// taken for a lasting state of affairs and nobody is spared any longer.
    pub(super) fn new(now: UnixTime, outage_since: Option<UnixTime>) -> Self {
        let enabled = outage_since.is_none_or(|since| now.saturating_sub(since) < PATIENCE);
        Self { enabled, hosts: HashSet::new(), first: None, proof: None }
    }

    /// Takes the outcome of a poll that began at this moment.
    pub(super) fn saw(&mut self, before: &PollStatus, host: u32, began: Instant, outcome: &Outcome) -> Weather {
        if is_reply(outcome) {
            self.proof = self.proof.max(Some(began));
            if self.first.is_some_and(|first| began >= first) {
                self.hosts.clear();
                self.first = None;
            }
        } else if self.enabled
            && outcome.as_ref().is_err_and(|failure| failure.unreached)
            && is_witness(before)
            && self.proof.is_none_or(|proof| proof < began)
        {
            self.hosts.insert(host);
            self.first = Some(self.first.map_or(began, |first| first.min(began)));
        }
        self.weather()
    }

    /// What is to be made of all that was seen.
    pub(super) fn weather(&self) -> Weather {
        match self.hosts.len() {
            0 => Weather::Clear,
            1..HOSTS => Weather::Doubtful,
            _ => Weather::Suspected,
        }
    }
}

/// Whether the site's previous poll was answered, well or not.
fn is_witness(before: &PollStatus) -> bool {
    before.attempts.last().is_some_and(|attempt| attempt.class.is_none_or(is_told))
}

/// Whether a poll ended in what a site has told us: success, or a failure of its own.
pub(super) fn is_reply(outcome: &Outcome) -> bool {
    outcome.as_ref().err().is_none_or(|failure| is_told(failure.class))
}

fn is_told(class: FailureClass) -> bool {
    use FailureClass::{Api, Garbled, Gone, Http, Protocol, Redirect, TooLarge};
    matches!(class, Http | Gone | Redirect | TooLarge | Garbled | Protocol | Api)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Failure;
    use std::time::Duration;

    fn fail(class: FailureClass) -> Outcome {
        let unreached = matches!(class, FailureClass::Dns | FailureClass::Connect);
        Err(Failure { unreached, ..Failure::new(class, "…") })
    }

    /// A site whose previous poll ended so.
    fn after(outcome: &Outcome) -> PollStatus {
        let mut status = PollStatus::default();
        status.remember(1, outcome);
        status
    }

    /// The weather after polls of `count` hosts that all end the same.
    fn weather(guard: &mut Guard, before: &PollStatus, count: u32, outcome: &Outcome) -> Weather {
        (0..count).map(|n| guard.saw(before, n, Instant::now(), outcome)).last().unwrap()
    }

    #[test]
    fn ten_witnesses_are_suspicious_and_nine_are_not() {
        let mut guard = Guard::new(0, None);
        assert_eq!(weather(&mut guard, &after(&Ok(())), 9, &fail(FailureClass::Connect)), Weather::Doubtful);
        let dns = fail(FailureClass::Dns);
        assert_eq!(guard.saw(&after(&Ok(())), 3, Instant::now(), &dns), Weather::Doubtful);
        assert_eq!(guard.saw(&after(&Ok(())), 9, Instant::now(), &dns), Weather::Suspected);
    }

    #[test]
    fn a_crowd_of_dead_sites_is_none() {
        let mut guard = Guard::new(0, None);
        let dead = after(&fail(FailureClass::Dns));
        assert_eq!(weather(&mut guard, &dead, 500, &fail(FailureClass::Dns)), Weather::Clear);
        assert_eq!(weather(&mut guard, &PollStatus::default(), 500, &fail(FailureClass::Dns)), Weather::Clear);
    }

    #[test]
    fn a_site_that_answered_with_an_error_is_a_witness_and_a_slow_one_no_suspect() {
        let mut guard = Guard::new(0, None);
        assert_eq!(weather(&mut guard, &after(&Ok(())), 50, &fail(FailureClass::Disconnected)), Weather::Clear);
        let complained = after(&fail(FailureClass::Api));
        assert_eq!(weather(&mut guard, &complained, 10, &fail(FailureClass::Connect)), Weather::Suspected);
    }

    /// Moments are those at which polls began, whenever they are looked at.
    #[test]
    fn a_reply_to_a_poll_that_began_since_clears_the_sky() {
        let mut guard = Guard::new(0, None);
        let moments: Vec<_> = (0..4).map(|second| Instant::now() + Duration::from_secs(second)).collect();
        let (witness, failed, replied) = (after(&Ok(())), fail(FailureClass::Connect), fail(FailureClass::Http));
        for host in 0..9 {
            guard.saw(&witness, host, moments[1], &failed);
        }
        assert_eq!(guard.saw(&witness, 10, moments[0], &replied), Weather::Doubtful, "of before");
        assert_eq!(guard.saw(&witness, 11, moments[2], &replied), Weather::Clear);
        assert_eq!(guard.saw(&witness, 12, moments[1], &failed), Weather::Clear, "the network was up later");
        assert_eq!(guard.saw(&witness, 13, moments[3], &failed), Weather::Doubtful);
    }

    #[test]
    fn a_suspicion_ends_with_a_reply_over_a_new_connection() {
        let mut guard = Guard::new(0, None);
        let early = Instant::now();
        let witness = after(&Ok(()));
        std::thread::sleep(Duration::from_millis(1));
        assert_eq!(weather(&mut guard, &witness, 10, &fail(FailureClass::Connect)), Weather::Suspected);
        assert_eq!(guard.saw(&witness, 10, early, &Ok(())), Weather::Suspected);
        assert_eq!(guard.saw(&witness, 11, Instant::now(), &Ok(())), Weather::Clear);
    }

    #[test]
    fn after_a_day_nobody_is_spared() {
        let failed = fail(FailureClass::Connect);
        for (now, weather_then) in [(PATIENCE - 1, Weather::Suspected), (PATIENCE, Weather::Clear)] {
            assert_eq!(weather(&mut Guard::new(now, Some(0)), &after(&Ok(())), 10, &failed), weather_then);
        }
    }
}

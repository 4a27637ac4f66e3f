//! Our own outage, told by witnesses.
//!
//! A witness is a site whose previous poll answered. When witnesses on ten hosts have failed before any byte arrived, and
//! nobody has replied since the first of those polls began, it is our own network that is down. A crowd of dead sites
//! has no witness in it.

use std::collections::HashSet;
use std::time::Instant;

use crate::model::{FailureClass, Outcome, PollStatus, UnixTime};

/// How many hosts it takes.
const HOSTS: usize = 10;
/// For how many seconds runs that all ended in an outage are believed.
const PATIENCE: UnixTime = 86_400;

/// What outcomes so far say of our own network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Weather {
    /// Nothing: failures are the sites' own.
    Clear,
    /// Witnesses have failed: failures may turn out to be ours.
    Doubtful,
    /// We are offline.
    Outage,
}

/// Watches the outcomes of a run.
pub(super) struct Guard {
    enabled: bool,
    /// Hosts of the witnesses that failed since a site replied last.
    hosts: HashSet<String>,
    last_reply: Option<Instant>,
    outage: bool,
}

impl Guard {
    /// A guard for a run at `now`. Where every run since `outage_since` ended in an outage, for a day or more, it is
    /// taken for a lasting state of affairs and nobody is spared any longer.
    pub(super) fn new(now: UnixTime, outage_since: Option<UnixTime>) -> Self {
        let enabled = outage_since.is_none_or(|since| now.saturating_sub(since) < PATIENCE);
        Self { enabled, hosts: HashSet::new(), last_reply: None, outage: false }
    }

    /// Takes the outcome of a poll that began at `began` and is over now.
    pub(super) fn saw(&mut self, before: &PollStatus, host: &str, began: Instant, outcome: &Outcome) -> Weather {
        match outcome {
            Err(failure) if !is_reply(failure.class) => {
                let is_suspect = failure.unreached && is_witness(before);
                if self.enabled && is_suspect && self.last_reply.is_none_or(|reply| reply < began) {
                    self.hosts.insert(host.to_owned());
                    self.outage |= self.hosts.len() >= HOSTS;
                }
            }
            _ => {
                self.last_reply = Some(Instant::now());
                self.hosts.clear();
            }
        }
        match (self.outage, self.hosts.is_empty()) {
            (true, _) => Weather::Outage,
            (false, true) => Weather::Clear,
            (false, false) => Weather::Doubtful,
        }
    }
}

/// Whether the site's previous poll was answered, well or not.
fn is_witness(before: &PollStatus) -> bool {
    before.attempts.last().is_some_and(|attempt| attempt.class.is_none_or(is_reply))
}

/// Whether a failure of this class is one that a site has told us.
fn is_reply(class: FailureClass) -> bool {
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
    fn weather(guard: &mut Guard, before: &PollStatus, count: usize, outcome: &Outcome) -> Weather {
        (0..count).map(|n| guard.saw(before, &n.to_string(), Instant::now(), outcome)).last().unwrap()
    }

    #[test]
    fn ten_witnesses_are_an_outage_and_nine_are_not() {
        let mut guard = Guard::new(0, None);
        assert_eq!(weather(&mut guard, &after(&Ok(())), 9, &fail(FailureClass::Connect)), Weather::Doubtful);
        assert_eq!(guard.saw(&after(&Ok(())), "3", Instant::now(), &fail(FailureClass::Dns)), Weather::Doubtful);
        assert_eq!(guard.saw(&after(&Ok(())), "9", Instant::now(), &fail(FailureClass::Dns)), Weather::Outage);
        assert_eq!(guard.saw(&after(&Ok(())), "x", Instant::now(), &Ok(())), Weather::Outage);
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
        assert_eq!(weather(&mut guard, &complained, 10, &fail(FailureClass::Connect)), Weather::Outage);
    }

    #[test]
    fn a_reply_clears_the_sky_also_for_polls_that_began_before_it() {
        let mut guard = Guard::new(0, None);
        let early = Instant::now();
        weather(&mut guard, &after(&Ok(())), 9, &fail(FailureClass::Connect));
        std::thread::sleep(Duration::from_millis(1));
        assert_eq!(guard.saw(&after(&Ok(())), "a", Instant::now(), &fail(FailureClass::Http)), Weather::Clear);
        assert_eq!(guard.saw(&after(&Ok(())), "b", early, &fail(FailureClass::Connect)), Weather::Clear);
    }

    #[test]
    fn after_a_day_nobody_is_spared() {
        let failed = fail(FailureClass::Connect);
        for (now, weather_then) in [(PATIENCE - 1, Weather::Outage), (PATIENCE, Weather::Clear)] {
            assert_eq!(weather(&mut Guard::new(now, Some(0)), &after(&Ok(())), 10, &failed), weather_then);
        }
    }
}

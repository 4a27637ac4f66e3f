//! Detects an outage of this machine's network, so that its failures are not counted against the sites.
//!
//! A witness is a site whose previous poll ended in a reply. When witnesses on ten hosts have failed before any byte
//! arrived, and no poll that began since the first of these was answered, this machine's network may be down. A reply over a
//! connection from before the outage proves nothing, so replies count by the time at which their poll began. Ten sites
//! of one dead provider look the same at first. The run therefore makes a few more polls, and waits for those in flight,
//! before it ends.

use std::collections::HashSet;
use std::time::Duration;

use crate::model::{FailureClass, Outcome, PollStatus, UnixTime};
use crate::store::HostHash;

/// How many hosts with a failed witness make an outage.
const MIN_HOSTS: usize = 10;
/// How many more polls are made before an outage is declared.
pub(super) const PROBES: usize = 10;
/// For how long runs that all end in an outage do not count failures, in seconds.
const MAX_OUTAGE_S: UnixTime = 86_400;

/// What the outcomes so far show about this machine's network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It works: failures are the sites' own.
    Online,
    /// Some witnesses failed: their failures may be ours.
    Unsure,
    /// Enough witnesses failed: it is down, unless a site replies.
    Offline,
}

/// Observes the outcomes of a run. Times are durations since the run began.
pub(super) struct OutageDetector {
    enabled: bool,
    /// The hosts, as hashes, of the witnesses that failed since the last reply.
    hosts: HashSet<HostHash>,
    /// When the first of their polls began.
    first_failure: Option<Duration>,
    /// When the last poll began that was answered.
    last_reply: Option<Duration>,
}

impl OutageDetector {
    /// A detector for a run at `now`. If every run since `outage_since` ended in an outage, for a day or longer, it is
    /// disabled: outcomes are counted again.
    pub(super) fn new(now: UnixTime, outage_since: Option<UnixTime>) -> Self {
        let enabled = outage_since.is_none_or(|since| now.saturating_sub(since) < MAX_OUTAGE_S);
        Self { enabled, hosts: HashSet::new(), first_failure: None, last_reply: None }
    }

    /// Takes the outcome of a poll that began at `began`; `before` is the status of the site before it.
    pub(super) fn observe(
        &mut self,
        before: &PollStatus,
        host: HostHash,
        began: Duration,
        outcome: &Outcome,
    ) -> Verdict {
        if is_reply(outcome) {
            self.last_reply = self.last_reply.max(Some(began));
            if self.first_failure.is_some_and(|first| began >= first) {
                self.hosts.clear();
                self.first_failure = None;
            }
        } else if self.enabled
            && outcome.as_ref().is_err_and(|failure| failure.before_first_byte)
            && is_witness(before)
            && self.last_reply.is_none_or(|reply| reply < began)
        {
            self.hosts.insert(host);
            self.first_failure = Some(self.first_failure.map_or(began, |first| first.min(began)));
        }
        self.verdict()
    }

    /// The verdict on all outcomes so far.
    pub(super) fn verdict(&self) -> Verdict {
        match self.hosts.len() {
            0 => Verdict::Online,
            1..MIN_HOSTS => Verdict::Unsure,
            _ => Verdict::Offline,
        }
    }
}

/// Whether the site's previous poll ended in a reply: a success, or a failure of the site itself.
fn is_witness(before: &PollStatus) -> bool {
    before.attempts.last().is_some_and(|attempt| attempt.class.is_none_or(is_replied))
}

/// Whether a poll ended in a reply.
///
/// That is a success, or a failure that the site reported or caused by its reply.
pub(super) fn is_reply(outcome: &Outcome) -> bool {
    outcome.as_ref().err().is_none_or(|failure| is_replied(failure.class))
}

fn is_replied(class: FailureClass) -> bool {
    use FailureClass::{Api, Garbled, Gone, Http, Protocol, Redirect, TooLarge};
    matches!(class, Http | Gone | Redirect | TooLarge | Garbled | Protocol | Api)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Failure;

    fn failed(class: FailureClass) -> Outcome {
        let before_first_byte = matches!(class, FailureClass::Dns | FailureClass::Connect);
        Err(Failure { before_first_byte, ..Failure::new(class, "…") })
    }

    /// The status of a site whose previous poll ended in `outcome`.
    fn after(outcome: &Outcome) -> PollStatus {
        let mut status = PollStatus::default();
        status.remember(1, outcome);
        status
    }

    const fn second(second: u64) -> Duration {
        Duration::from_secs(second)
    }

    /// The verdict after polls of `count` hosts that all began at once and ended in `outcome`.
    fn verdict(detector: &mut OutageDetector, before: &PollStatus, count: u64, outcome: &Outcome) -> Verdict {
        (0..count).map(|host| detector.observe(before, host, second(1), outcome)).last().unwrap()
    }

    #[test]
    fn ten_hosts_with_a_witness_make_an_outage_and_nine_do_not() {
        let mut detector = OutageDetector::new(0, None);
        assert_eq!(detector.verdict(), Verdict::Online);
        assert_eq!(verdict(&mut detector, &after(&Ok(())), 9, &failed(FailureClass::Connect)), Verdict::Unsure);
        let dns = failed(FailureClass::Dns);
        assert_eq!(detector.observe(&after(&Ok(())), 3, second(1), &dns), Verdict::Unsure, "a host counts once");
        assert_eq!(detector.observe(&after(&Ok(())), 9, second(1), &dns), Verdict::Offline);
    }

    #[test]
    fn sites_that_were_failing_before_make_no_outage() {
        let mut detector = OutageDetector::new(0, None);
        let dns = failed(FailureClass::Dns);
        assert_eq!(verdict(&mut detector, &after(&dns), 500, &dns), Verdict::Online);
        assert_eq!(verdict(&mut detector, &PollStatus::default(), 500, &dns), Verdict::Online);
    }

    #[test]
    fn every_class_is_either_a_reply_or_silence() {
        use FailureClass::{Blocked, Connect, Disconnected, Dns, Listener, Timeout, Tls};
        let silent = [Dns, Connect, Tls, Timeout, Disconnected, Blocked, Listener];
        for class in FailureClass::ALL {
            let replied = !silent.contains(&class);
            assert_eq!(is_reply(&failed(class)), replied, "{class}");
            // A site whose last poll ended in a reply is a witness.
            let mut detector = OutageDetector::new(0, None);
            let expected = if replied { Verdict::Offline } else { Verdict::Online };
            assert_eq!(verdict(&mut detector, &after(&failed(class)), 10, &failed(Connect)), expected, "{class}");
            // And a reply ends the suspicion.
            let mut detector = OutageDetector::new(0, None);
            verdict(&mut detector, &after(&Ok(())), 10, &failed(Connect));
            let expected = if replied { Verdict::Online } else { Verdict::Offline };
            assert_eq!(detector.observe(&after(&Ok(())), 77, second(2), &failed(class)), expected, "{class}");
        }
    }

    #[test]
    fn only_failures_before_the_first_byte_are_suspicious() {
        let mut detector = OutageDetector::new(0, None);
        let disconnected = failed(FailureClass::Disconnected);
        assert_eq!(verdict(&mut detector, &after(&Ok(())), 50, &disconnected), Verdict::Online);
    }

    #[test]
    fn a_reply_counts_by_the_time_at_which_its_poll_began() {
        let mut detector = OutageDetector::new(0, None);
        let (witness, connect) = (after(&Ok(())), failed(FailureClass::Connect));
        for host in 0..9 {
            detector.observe(&witness, host, second(1), &connect);
        }
        assert_eq!(detector.observe(&witness, 10, second(0), &Ok(())), Verdict::Unsure, "from before");
        assert_eq!(detector.observe(&witness, 11, second(2), &Ok(())), Verdict::Online);
        assert_eq!(detector.observe(&witness, 12, second(1), &connect), Verdict::Online, "the network worked later");
        assert_eq!(detector.observe(&witness, 12, second(2), &connect), Verdict::Online, "or at the same time");
        assert_eq!(detector.observe(&witness, 13, second(3), &connect), Verdict::Unsure);
    }

    #[test]
    fn the_earliest_failure_decides_which_replies_are_new() {
        let mut detector = OutageDetector::new(0, None);
        let (witness, connect) = (after(&Ok(())), failed(FailureClass::Connect));
        detector.observe(&witness, 1, second(5), &connect);
        detector.observe(&witness, 2, second(3), &connect);
        assert_eq!(detector.observe(&witness, 3, second(3), &Ok(())), Verdict::Online);
    }

    #[test]
    fn after_a_day_of_outages_failures_count_again() {
        let connect = failed(FailureClass::Connect);
        for (now, expected) in [(MAX_OUTAGE_S - 1, Verdict::Offline), (MAX_OUTAGE_S, Verdict::Online)] {
            let mut detector = OutageDetector::new(now, Some(0));
            assert_eq!(verdict(&mut detector, &after(&Ok(())), 10, &connect), expected);
        }
    }
}

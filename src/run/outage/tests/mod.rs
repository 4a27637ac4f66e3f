//! The rules, poll by poll.

mod faults;

use std::net::IpAddr;
use std::time::Duration;

use super::*;
use crate::model::{Attempt, Cause, Failure, FailureClass, Fault, Outcome, PollStatus, PollTrace, TlsCause};

/// A run whose polls end one after the other. Each site has a name of its own, and its number is its item.
struct Run {
    detector: OutageDetector<u64>,
    /// When the next poll begins, in seconds.
    at: u64,
    counted: Vec<u64>,
}

/// The status of a site after polls that ended so, the last one last.
fn after(outcomes: &[Option<FailureClass>]) -> PollStatus {
    let attempts = outcomes.iter().map(|class| Attempt { at: 1, class: *class, duration_ms: 0 }).collect();
    PollStatus { last_run: 1, attempts, ..PollStatus::default() }
}

fn failed(class: FailureClass, cause: Cause) -> Outcome {
    Err(Failure { cause, ..Failure::new(class, "it failed") })
}

fn refused() -> Outcome {
    failed(FailureClass::Connect, Cause::Message)
}

fn status(status: u16) -> Outcome {
    failed(FailureClass::Http, Cause::Status(status, None))
}

impl Run {
    fn new() -> Self {
        Self { detector: OutageDetector::new(0, None), at: 0, counted: Vec::new() }
    }

    /// A poll of a site that was in the state `before`.
    fn poll_of(&mut self, before: &PollStatus, number: u64, outcome: &Outcome, trace: PollTrace) {
        self.at += 1;
        let site = format!("site{number}.example");
        let network = trace.address.map(|address| network_hash(crate::store::HostKey::TEST, address));
        let began = Duration::from_secs(self.at);
        let poll = Poll { before, host: number, site: &site, network, began, outcome, trace };
        self.counted.extend(self.detector.observe(Observation::new(&poll), number));
    }

    /// Polls of witnesses with these numbers. Sites of class `connect`, `dns` and `local` do not answer.
    fn poll(&mut self, numbers: impl IntoIterator<Item = u64>, outcome: &Outcome) {
        use FailureClass::{Connect, Dns, Listener, Local};
        let is_silent =
            |failure: &Failure| matches!(failure.class, Connect | Dns | Local | Listener | FailureClass::Blocked);
        let trace = PollTrace { answered: !outcome.as_ref().is_err_and(is_silent), ..PollTrace::default() };
        for number in numbers {
            self.poll_of(&after(&[None]), number, outcome, trace);
        }
    }

    fn suspicion(&self) -> Suspicion {
        self.detector.suspicion()
    }

    /// How many are counted after all, and the cause of the outage.
    fn end(mut self) -> (usize, Option<Fault>) {
        let Conclusion { outage, counted } = self.detector.conclude();
        (self.counted.len() + counted.len(), outage.map(|outage| outage.fault))
    }

    fn outage(mut self) -> Outage {
        self.detector.conclude().outage.unwrap()
    }
}

#[test]
fn three_witnesses_make_an_outage_before_any_answer_and_more_after_one() {
    for (answers, needed) in [(0, 3), (1, 5), (40, 4)] {
        let mut run = Run::new();
        run.poll(100..100 + answers, &Ok(()));
        run.poll(1..needed, &refused());
        assert_eq!(run.suspicion(), Suspicion::None);
        run.poll([1], &failed(FailureClass::Dns, Cause::NameServer));
        assert_eq!(run.suspicion(), Suspicion::None, "a witness counts once");
        run.poll([needed], &refused());
        assert_eq!(run.suspicion(), Suspicion::Network(10));
        assert_eq!(run.end(), (usize::try_from(answers).unwrap(), Some(Fault::Network)));
    }
}

#[test]
fn an_answer_ends_the_suspicion_of_earlier_polls_only() {
    let mut run = Run::new();
    run.poll(1..=5, &refused());
    // This poll began together with the fourth.
    run.at = 3;
    run.poll([9], &Ok(()));
    assert_eq!((run.suspicion(), run.counted.as_slice()), (Suspicion::None, [1, 2, 3, 4, 9].as_slice()));
    run.at = 9;
    run.poll([8], &Ok(()));
    assert_eq!(run.counted, [1, 2, 3, 4, 9, 5, 8]);
}

#[test]
fn a_reply_that_broke_off_ends_no_suspicion() {
    let mut run = Run::new();
    run.poll(1..=3, &refused());
    run.poll([4], &failed(FailureClass::Timeout, Cause::Message));
    assert_eq!((run.suspicion(), run.counted.len()), (Suspicion::Network(10), 0));
    run.poll([5], &Ok(()));
    assert_eq!((run.suspicion(), run.counted.len()), (Suspicion::None, 5));
}

#[test]
fn a_failure_is_counted_at_once_where_sites_answered_since() {
    let mut run = Run::new();
    run.at = 5;
    run.poll([1, 2, 3], &Ok(()));
    run.at = 1;
    run.poll([4], &refused());
    run.at = 9;
    run.poll([5], &Ok(()));
    assert_eq!(run.counted, [1, 2, 3, 4, 5]);
}

#[test]
fn sites_that_were_failing_before_are_counted_at_once() {
    let mut run = Run::new();
    let trace = PollTrace::default();
    for number in 0..500 {
        run.poll_of(&after(&[None, Some(FailureClass::Connect)]), number, &refused(), trace);
        run.poll_of(&PollStatus::default(), 500 + number, &refused(), trace);
    }
    assert_eq!(run.counted.len(), 1000);
    // Not so after the failure of a witness.
    run.poll([1000], &refused());
    run.poll_of(&PollStatus::default(), 1001, &refused(), trace);
    run.poll([1002, 1003], &refused());
    assert_eq!(run.end(), (1000, Some(Fault::Network)));
}

#[test]
fn one_network_is_one_witness() {
    let answered =
        |number: u8| PollTrace { address: Some(IpAddr::from([203, 0, 113, number])), ..PollTrace::default() };
    let network = Some(network_hash(crate::store::HostKey::TEST, [203, 0, 113, 0].into()));
    for (before, expected) in [(network, None), (None, None), (Some(1), Some(Fault::Network))] {
        let mut run = Run::new();
        for number in 0..20 {
            let before = PollStatus { network: before, ..after(&[None]) };
            run.poll_of(&before, number.into(), &refused(), answered(number));
        }
        assert_eq!(run.end().1, expected, "{before:?}");
    }
}

#[test]
fn ten_same_answers_make_a_suspicion_and_thirty_are_enough() {
    let mut run = Run::new();
    run.poll(100..103, &Ok(()));
    run.poll(0..9, &status(403));
    assert_eq!(run.suspicion(), Suspicion::None);
    run.poll([9], &status(403));
    assert_eq!((run.suspicion(), run.detector.is_outage()), (Suspicion::SameAnswer(20), false));
    run.poll(10..30, &status(403));
    assert_eq!((run.suspicion(), run.detector.is_outage()), (Suspicion::SameAnswer(0), true));
    let outage = run.outage();
    assert_eq!((outage.sites, outage.uncounted, outage.ends_run), (30, 30, true));
    assert_eq!((outage.fault, outage.detail), (Fault::Refused, Detail::Status(403, None)));
}

#[test]
fn all_sites_of_a_small_installation_must_fail() {
    for (others, same, expected) in [
        (vec![], 3, Some(Fault::Refused)),
        (vec![], 2, None),
        (vec![Ok(())], 5, None),
        // Another site may fail for a reason of its own.
        (vec![refused()], 3, Some(Fault::Refused)),
        (vec![status(500)], 4, Some(Fault::Refused)),
        (vec![status(500), status(502)], 3, Some(Fault::Refused)),
        (vec![status(500), status(500), status(502), status(501), status(404)], 3, None),
    ] {
        for others_first in [true, false] {
            let mut run = Run::new();
            if !others_first {
                run.poll(0..same, &status(403));
            }
            others.iter().zip(10..).for_each(|(other, number)| run.poll([number], other));
            if others_first {
                run.poll(0..same, &status(403));
            }
            assert_eq!(run.end().1, expected, "{same} {others:?} {others_first}");
        }
    }
}

#[test]
fn half_of_the_sites_are_no_outage_wherever_they_stand() {
    let refuses = |_| status(403);
    for order in [
        (0..60).map(|number| number % 2 == 0).collect::<Vec<_>>(),
        (0..60).map(|number| number < 29).collect(),
        (0..60).map(|number| number >= 31).collect(),
        (0..60).map(|number| number / 11 % 2 == 0).collect(),
    ] {
        let mut run = Run::new();
        for (number, fails) in (0..).zip(&order) {
            run.poll([number], &if *fails { refuses(number) } else { Ok(()) });
        }
        assert_eq!(run.end(), (60, None));
    }
}

#[test]
fn the_same_answer_from_the_middle_of_a_run_on_is_an_outage() {
    for (before, same, expected) in [(20, 40, (20, Some(Fault::Portal))), (20, 29, (49, None))] {
        let mut run = Run::new();
        run.poll(0..before, &Ok(()));
        run.poll(before..before + same, &failed(FailureClass::Redirect, Cause::Redirect("portal.example".into())));
        assert_eq!(run.end(), expected);
    }
}

#[test]
fn an_answer_that_sites_give_now_and_then_is_no_outage() {
    for (failures, expected) in [(0, Some(Fault::Refused)), (2, None)] {
        let mut run = Run::new();
        let history = [vec![None; 9 - failures], vec![Some(FailureClass::Http); failures], vec![None]].concat();
        let trace = PollTrace { answered: true, ..PollTrace::default() };
        (0..40).for_each(|number| run.poll_of(&after(&history), number, &status(403), trace));
        assert_eq!(run.end().1, expected, "{failures}");
    }
}

#[test]
fn successes_and_other_failures_end_the_window() {
    let mut run = Run::new();
    run.poll(0..9, &status(403));
    run.poll([50], &Ok(()));
    assert_eq!(run.counted, [50], "nine of ten");
    run.poll([51], &Ok(()));
    assert_eq!(run.counted.len(), 11);
    (0..4).for_each(|number| run.poll([60 + number], &status(500 + u16::try_from(number).unwrap())));
    assert_eq!((run.counted.len(), run.counted[11]), (12, 60), "the first of four that differ");
}

#[test]
fn a_deferral_is_counted_at_once() {
    let mut run = Run::new();
    let deferral = Err(Failure { retry_after: Some(60), ..Failure::new(FailureClass::Http, "status 503") });
    run.poll(0..50, &deferral);
    assert_eq!((run.counted.len(), run.end()), (50, (50, None)));
}

#[test]
fn one_host_with_any_number_of_sites_holds_back_a_bounded_number() {
    let mut run = Run::new();
    for number in 0..20_000 {
        let before = after(&[None]);
        let (outcome, trace) = (refused(), PollTrace::default());
        let (began, network, site) = (Duration::ZERO, None, "");
        let poll = Poll { before: &before, host: 7, site, network, began, outcome: &outcome, trace };
        run.counted.extend(run.detector.observe(Observation::new(&poll), number));
    }
    assert!(run.counted.len() > 10_000 && run.counted.is_sorted());
    assert_eq!(run.end(), (20_000, None));
}

#[test]
fn a_suspicion_that_never_ends_holds_back_a_bounded_number() {
    let mut run = Run::new();
    run.poll(100..200, &Ok(()));
    (0..1000).for_each(|_| run.poll(0..11, &status(403)));
    assert_eq!((run.suspicion(), run.counted.len()), (Suspicion::SameAnswer(19), 100));
    (0..1000).for_each(|_| run.poll(0..11, &status(403)));
    assert!(run.counted.len() > 4000);
    assert_eq!(run.end(), (22_100, None));
}

#[test]
fn what_this_machine_could_not_do_is_never_counted() {
    for since in [None, Some(0)] {
        let mut run = Run { detector: OutageDetector::new(86_400, since), ..Run::new() };
        run.poll(0..2, &Err(Failure::local(Fault::NoPort, "no local port")));
        run.poll([2], &Err(Failure::local(Fault::NoRoute, "no route")));
        run.poll(10..15, &Ok(()));
        assert_eq!(run.counted, [10, 11, 12, 13, 14]);
        let outage = run.outage();
        assert_eq!((outage.fault, outage.sites, outage.uncounted, outage.ends_run), (Fault::NoPort, 3, 3, false));
        assert_eq!(outage.detail, Detail::Local("no local port".into()));
    }
}

#[test]
fn what_this_machine_could_not_do_ends_a_run_as_other_outages_do() {
    let mut run = Run::new();
    run.poll(0..3, &Err(Failure::local(Fault::OpenFiles, "too many open files")));
    assert_eq!(run.suspicion(), Suspicion::Network(10));
    let outage = run.outage();
    assert_eq!((outage.fault, outage.uncounted, outage.ends_run), (Fault::OpenFiles, 3, true));
}

#[test]
fn after_a_day_of_outages_failures_count_again() {
    for (now, expected) in [(86_399, (0, Some(Fault::Network))), (86_400, (40, None))] {
        let mut run = Run { detector: OutageDetector::new(now, Some(0)), ..Run::new() };
        run.poll(0..40, &refused());
        assert_eq!(run.end(), expected);
    }
}

#[test]
fn more_sites_must_be_silent_where_some_are_dead() {
    let mut run = Run::new();
    for number in 0..20 {
        run.poll([number], &if number % 3 == 0 { refused() } else { Ok(()) });
    }
    run.poll(20..27, &refused());
    assert_eq!(run.suspicion(), Suspicion::None);
    run.poll(27..30, &refused());
    assert_eq!(run.suspicion(), Suspicion::Network(10));
}

#[test]
fn polls_that_hang_since_before_an_outage_are_not_counted() {
    let mut run = Run::new();
    run.poll(0..40, &Ok(()));
    run.poll(40..43, &refused());
    // They began before, and one has received half of its reply.
    run.at = 5;
    run.poll([43], &refused());
    run.at = 5;
    run.poll([44], &failed(FailureClass::Timeout, Cause::Message));
    run.at = 99;
    run.poll([45], &refused());
    let outage = run.outage();
    assert_eq!((outage.fault, outage.uncounted), (Fault::Network, 6));
}

#[test]
fn without_any_success_two_answers_may_alternate() {
    for count in [12, 40] {
        let mut run = Run::new();
        for number in 0..count {
            let redirect = failed(FailureClass::Redirect, Cause::Redirect("portal.example".into()));
            let tls = failed(FailureClass::Tls, Cause::Tls(TlsCause::WrongName));
            run.poll([number], &if number % 2 == 0 { redirect } else { tls });
        }
        assert_eq!((run.counted.len(), run.detector.is_outage()), (0, true));
    }
}

#[test]
fn nine_of_ten_names_without_an_address_are_our_own_fault() {
    let mut run = Run::new();
    run.poll([1], &Ok(()));
    run.poll(2..13, &failed(FailureClass::Dns, Cause::NoSuchName));
    run.poll([13], &status(500));
    assert_eq!(run.end(), (1, Some(Fault::NameServers)));
}

#[test]
fn names_of_one_provider_count_once_if_a_site_has_answered() {
    for (answers, expected) in [(0, Some(Fault::NameServers)), (1, None)] {
        let mut run = Run::new();
        run.poll(100..100 + answers, &Ok(()));
        let before = PollStatus { network: Some(1), ..after(&[None]) };
        let dns = failed(FailureClass::Dns, Cause::NameServer);
        (0..9).for_each(|number| run.poll_of(&before, number, &dns, PollTrace::default()));
        assert_eq!(run.end().1, expected);
    }
}

#[test]
fn slow_failures_are_no_outage_although_they_end_last() {
    for outcome in [refused(), failed(FailureClass::Timeout, Cause::Message)] {
        let mut run = Run::new();
        // All polls begin before the first ends. Those that fail are among the others.
        for (number, began) in (0..80).map(|number| (number, number * 2)).chain((80..115).map(|n| (n, n * 2 - 99))) {
            run.at = began;
            run.poll([number], if number < 80 { &Ok(()) } else { &outcome });
        }
        assert_eq!(run.end(), (115, None));
    }
}

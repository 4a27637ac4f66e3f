//! Tables of polls and of what they lead to.

use super::*;
use crate::model::Fault;

const ONE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(203, 0, 113, 1));
const OTHER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(203, 0, 113, 2));

/// How a poll ends.
#[derive(Debug, Clone, Copy)]
enum End {
    /// With a success and a reply.
    Fine,
    /// With a request to wait.
    Wait,
    /// With a failure of this class, and a reply.
    Replied(FailureClass),
    /// With a failure of this class after it connected, without a reply.
    Silent(FailureClass),
    /// With a failure of this class before it connected.
    Unconnected(FailureClass),
    /// With a failure of this class before any address was called.
    Uncalled(FailureClass),
    /// With a success that needed no reply.
    Unanswered,
    /// As in a pause of the process.
    Paused,
}

use End::{Fine, Paused, Replied, Silent, Unanswered, Uncalled, Unconnected, Wait};
use FailureClass::{Connect, Disconnected, Dns, Http, Listener, Local, Redirect, Timeout, Tls};

const HANGS: End = Silent(Timeout);
const REFUSES: End = Unconnected(Connect);

/// The polls of a host in virtual time, in seconds.
#[derive(Debug, Default)]
struct Polls {
    breaker: Breaker,
    limit: usize,
    addresses: Vec<IpAddr>,
    last_seq: u64,
}

impl Polls {
    fn new(limit: usize) -> Self {
        Self { limit, addresses: vec![ONE], ..Self::default() }
    }

    /// Returns what a poll leads to that calls `address`.
    fn call(&mut self, address: IpAddr, began: u64, ended: u64, end: End) -> Vec<String> {
        self.last_seq += 1;
        let failure = |class| Err(Failure::new(class, "…"));
        let outcome: Option<Outcome> = match end {
            Fine | Unanswered => Some(Ok(())),
            Wait => Some(Err(Failure { retry_after: Some(60), ..Failure::new(Http, "status 503") })),
            Replied(class) | Silent(class) | Unconnected(class) | Uncalled(class) => Some(failure(class)),
            Paused => None,
        };
        let replied = matches!(end, Fine | Wait | Replied(_));
        let connected = replied || matches!(end, Silent(_));
        let is_called = !matches!(end, Unconnected(Dns | Listener) | Uncalled(_) | Unanswered);
        let trace = PollTrace { address: is_called.then_some(address), connected, replied, ..PollTrace::default() };
        let (began, ended) = (Duration::from_secs(began), Duration::from_secs(ended));
        let (addresses, outcome) = (&self.addresses, outcome.as_ref());
        let poll = PollEnd { seq: self.last_seq, addresses, limit: self.limit, began, ended, outcome, trace };
        let mut effects = Vec::new();
        self.breaker.observe(&poll, &mut effects);
        texts(&effects)
    }

    fn poll(&mut self, began: u64, ended: u64, end: End) -> Vec<String> {
        self.call(self.addresses[0], began, ended, end)
    }

    /// Returns the effects of all these polls.
    fn all(&mut self, polls: impl IntoIterator<Item = (u64, u64, End)>) -> Vec<String> {
        polls.into_iter().flat_map(|(began, ended, end)| self.poll(began, ended, end)).collect()
    }

    fn probe(&mut self, at: u64) -> Vec<String> {
        let mut effects = Vec::new();
        self.breaker.probe(Duration::from_secs(at), &mut effects);
        texts(&effects)
    }
}

fn texts(effects: &[Effect]) -> Vec<String> {
    effects.iter().map(|effect| format!("{effect:?}")).collect()
}

fn held(address: IpAddr) -> String {
    format!("HoldHost({address}, Down)")
}

fn released(address: IpAddr) -> String {
    format!("ReleaseHost({address})")
}

fn probed(address: IpAddr) -> String {
    format!("ProbeHost({address})")
}

/// A host with a limit of 4 that is down since second 5.
fn down() -> Polls {
    let mut polls = Polls::new(4);
    assert_eq!(polls.all([(0, 5, HANGS); 4]), [held(ONE)]);
    polls
}

#[test]
fn a_host_is_down_once_as_many_polls_failed_as_it_allows_at_once() {
    for limit in [1, 2, 4, 32] {
        for end in [HANGS, REFUSES, Unconnected(Timeout), Silent(Connect)] {
            let mut polls = Polls::new(limit);
            assert!(polls.all(vec![(0, 5, end); limit - 1]).is_empty(), "{limit} {end:?}");
            assert_eq!(polls.poll(0, 5, end), [held(ONE)], "{limit} {end:?}");
            assert!(polls.all([(5, 10, end); 40]).is_empty(), "it is down already");
        }
    }
}

#[test]
fn any_reply_among_the_first_polls_shows_that_a_host_is_up() {
    let ends = [Fine, Wait, Replied(Http), Replied(Timeout), Replied(Connect), Silent(Disconnected), Silent(Tls)];
    for end in ends {
        for place in 0..4 {
            let mut first = [(0, 5, HANGS); 4];
            first[place].2 = end;
            assert!(Polls::new(4).all(first).is_empty(), "{end:?} {place}");
        }
    }
}

#[test]
fn polls_that_show_nothing_of_the_host_do_not_count() {
    let unconnected = [Dns, Local, Listener].map(Unconnected);
    for end in unconnected.into_iter().chain([Uncalled(Timeout), Silent(Listener), Unanswered, Paused]) {
        let mut polls = Polls::new(4);
        assert!(polls.all([(0, 5, HANGS), (0, 5, HANGS), (0, 5, HANGS), (0, 5, end), (0, 5, end)]).is_empty());
        assert_eq!(polls.poll(5, 10, HANGS), [held(ONE)], "{end:?} is no answer");
    }
}

#[test]
fn a_redirect_to_a_host_that_hangs_and_a_second_call_that_hangs_are_answers() {
    assert!(Polls::new(2).all([(0, 60, Replied(Timeout)); 9]).is_empty());
    assert!(Polls::new(2).all([(0, 1, Replied(Redirect)); 9]).is_empty());
}

#[test]
fn a_host_that_has_answered_is_down_after_three_times_as_many_failures() {
    for limit in [1, 4, 32] {
        let mut polls = Polls::new(limit);
        assert!(polls.poll(0, 1, Fine).is_empty());
        assert!(polls.all(vec![(1, 6, HANGS); 3 * limit - 1]).is_empty(), "{limit}");
        assert_eq!(polls.poll(6, 11, HANGS), [held(ONE)], "{limit}");
    }
}

#[test]
fn failures_that_began_before_an_answer_came_do_not_count() {
    let mut polls = Polls::new(1);
    assert!(polls.all([(0, 10, Fine), (9, 14, HANGS), (9, 14, HANGS), (9, 14, HANGS)]).is_empty());
    assert!(polls.all([(10, 15, HANGS), (10, 15, HANGS), (11, 12, Fine), (12, 15, HANGS)]).is_empty());
    assert_eq!(polls.all([(13, 18, HANGS), (13, 18, HANGS)]), [held(ONE)]);
}

#[test]
fn a_host_of_which_every_fourth_site_hangs_is_never_down() {
    let mut rng = fastrand::Rng::with_seed(1);
    for _ in 0..500 {
        let mut sites: Vec<End> = (0..40).map(|number| if number % 4 == 0 { HANGS } else { Fine }).collect();
        rng.shuffle(&mut sites);
        // Otherwise nothing tells it from a host that is down.
        let well = sites[..4].iter().any(|end| matches!(end, Fine));
        let (mut polls, mut free, mut ends) = (Polls::new(4), [0; 4], Vec::new());
        for end in sites {
            let slot = free.iter_mut().min().unwrap();
            let began = *slot;
            *slot += if matches!(end, Fine) { 1 } else { 60 };
            ends.push((*slot, began, end));
        }
        ends.sort_by_key(|(ended, ..)| *ended);
        let effects = polls.all(ends.into_iter().map(|(ended, began, end)| (began, ended, end)));
        assert!(!well || effects.is_empty(), "{effects:?}");
    }
}

#[test]
fn an_answer_of_a_poll_in_flight_releases_a_host() {
    let mut polls = Polls::new(2);
    assert_eq!(polls.all([(0, 0, REFUSES), (0, 0, REFUSES)]), [held(ONE)]);
    assert_eq!(polls.poll(0, 1, Fine), [released(ONE)]);
    assert!(polls.all([(1, 1, REFUSES); 5]).is_empty(), "it has answered");
}

#[test]
fn a_host_that_is_down_is_probed_every_half_minute() {
    let mut polls = down();
    assert!(polls.probe(34).is_empty());
    assert_eq!(polls.probe(35), [probed(ONE)]);
    assert!(polls.poll(5, 40, HANGS).is_empty(), "this poll is no probe");
    assert!(polls.probe(65).is_empty(), "the probe has not ended");
    assert!(polls.poll(35, 66, HANGS).is_empty());
    assert_eq!(polls.probe(67), [probed(ONE)]);
    assert!(polls.poll(67, 68, HANGS).is_empty());
    assert!(polls.probe(96).is_empty());
    assert_eq!(polls.probe(97), [probed(ONE)]);
}

#[test]
fn a_probe_that_is_answered_releases_the_host() {
    for end in [Fine, Wait, Replied(Http), Silent(Disconnected)] {
        let mut polls = down();
        polls.probe(35);
        assert_eq!(polls.poll(35, 36, end), [released(ONE)], "{end:?}");
        assert!(polls.probe(100).is_empty());
        assert!(polls.all([(36, 41, HANGS); 11]).is_empty());
        assert_eq!(polls.poll(36, 41, HANGS), [held(ONE)], "it has answered before");
        assert!(polls.probe(70).is_empty());
        assert_eq!(polls.probe(71), [probed(ONE)]);
    }
}

#[test]
fn a_probe_that_shows_nothing_is_followed_by_another() {
    for end in [Unconnected(Dns), Unconnected(Local), Unanswered, Paused] {
        let mut polls = down();
        polls.probe(35);
        assert!(polls.poll(35, 36, end).is_empty());
        assert_eq!((polls.probe(64), polls.probe(65)), (vec![], vec![probed(ONE)]), "{end:?}");
    }
}

#[test]
fn a_host_of_which_two_sites_asked_to_wait_is_held_and_not_probed() {
    let mut polls = Polls::new(4);
    polls.last_seq = 7;
    assert!(polls.poll(0, 1, Wait).is_empty());
    polls.last_seq = 7;
    assert!(polls.poll(1, 2, Wait).is_empty(), "the same site");
    assert!(polls.call(OTHER, 1, 2, Wait).is_empty(), "another host");
    assert_eq!(polls.poll(1, 2, Wait), [format!("HoldHost({ONE}, AskedToWait)")]);
    assert!(polls.all([(1, 2, Wait), (1, 2, Fine)]).is_empty());
    assert!(polls.all([(2, 3, HANGS); 20]).is_empty() && polls.probe(100).is_empty());
}

#[test]
fn a_failure_to_connect_is_one_of_all_addresses_of_a_host() {
    let mut polls = Polls::new(2);
    polls.addresses.push(OTHER);
    assert!(polls.poll(0, 5, REFUSES).is_empty());
    assert_eq!(polls.poll(0, 5, REFUSES), [held(ONE), held(OTHER)]);
    assert_eq!(polls.probe(35), [probed(ONE), probed(OTHER)]);
    assert_eq!(polls.call(OTHER, 35, 36, Fine), [released(OTHER)]);
    assert_eq!(polls.probe(65), [probed(ONE)], "a probe that called the other address has ended");
}

#[test]
fn a_failure_after_connecting_is_one_of_the_address_that_was_called() {
    let mut polls = Polls::new(2);
    polls.addresses.push(OTHER);
    assert!(polls.call(OTHER, 0, 5, Fine).is_empty());
    assert_eq!(polls.all([(0, 5, HANGS), (0, 5, HANGS)]), [held(ONE)]);
    assert!(polls.call(OTHER, 5, 10, HANGS).is_empty());
}

#[test]
fn the_address_that_was_tried_counts_where_no_other_is_known() {
    let mut polls = Polls::new(2);
    polls.addresses.clear();
    assert!(polls.call(ONE, 0, 5, REFUSES).is_empty());
    assert_eq!(polls.call(ONE, 0, 5, REFUSES), [held(ONE)]);
}

#[test]
fn hosts_are_independent() {
    let mut polls = Polls::new(2);
    for (address, expected) in [(ONE, vec![]), (OTHER, vec![]), (ONE, vec![held(ONE)]), (OTHER, vec![held(OTHER)])] {
        assert_eq!(polls.call(address, 0, 5, HANGS), expected);
    }
}

#[test]
fn what_this_machine_could_not_do_shows_nothing() {
    let trace = PollTrace { address: Some(ONE), ..PollTrace::default() };
    assert_eq!(sign(&Err(Failure::local(Fault::NoRoute, "…")), trace), Sign::None);
}

#[test]
fn answers_of_a_million_addresses_take_bounded_memory() {
    let mut polls = Polls::new(1);
    let addresses = (0..).map(|number: u32| IpAddr::from(number.to_be_bytes()));
    addresses.take(MAX_ANSWERS + 10).for_each(|address| drop(polls.call(address, 0, 1, Fine)));
    assert_eq!(polls.breaker.polls.len(), MAX_ANSWERS);
    assert_eq!(polls.call(ONE, 1, 2, HANGS), [held(ONE)], "failures are remembered in any case");
}

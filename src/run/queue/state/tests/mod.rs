//! Tests of the queue's state in virtual time.

mod holding;
mod property;

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};

use super::*;
use crate::config::LimitTable;
use crate::model::{Attempt, PollStatus};
use crate::run::testdata;

const LOOKUP_LIMIT: Duration = Duration::from_secs(10);

/// A queue with these limits.
fn limited(per_host: usize, by_host: &[(&str, usize)], tables: &[&str]) -> State {
    let by_host: BTreeMap<_, _> = by_host.iter().map(|(host, limit)| ((*host).to_owned(), *limit)).collect();
    let tables: Vec<LimitTable> = tables.iter().map(|table| toml::from_str(table).unwrap()).collect();
    State::new(64, 0, HostLimits::new(per_host, &by_host, &tables), LOOKUP_LIMIT)
}

/// A queue with a number of polls per address.
fn state(per_host: usize) -> State {
    limited(per_host, &[], &[])
}

/// A site on a host that the text names.
fn task(seq: u64, host: &str) -> PollTask {
    let mut hasher = DefaultHasher::new();
    host.hash(&mut hasher);
    let mut task = testdata::task(seq, hasher.finish());
    task.cxn.site_url = format!("http://{host}/{seq}").into();
    task
}

fn unwell(task: PollTask) -> PollTask {
    let status = PollStatus { count: 3, level: 1, ..task.status };
    PollTask { status, ..task }
}

fn slow(task: PollTask) -> PollTask {
    let attempts = vec![Attempt { at: 1, class: None, duration_ms: 5000 }];
    PollTask { status: PollStatus { attempts, ..task.status }, ..task }
}

fn address(last: u8) -> IpAddr {
    [203, 0, 113, last].into()
}

impl State {
    /// Starts lookups, and answers each with what `addresses` returns for the text of its host.
    fn look_up(&mut self, addresses: impl Fn(&str) -> Vec<IpAddr>) {
        while let Some((no, task)) = self.start_lookup() {
            self.answer(no, addresses(&task.cxn.host()));
        }
    }

    /// The sequence numbers of all that can be taken now.
    fn take_all(&mut self) -> Vec<u64> {
        std::iter::from_fn(|| self.take()).map(|(task, ..)| task.locator.seq).collect()
    }

    /// Ends the poll of a site.
    fn end(&mut self, seq: u64, good: Option<IpAddr>) {
        let task = Arc::clone(&self.in_flight[&seq].task);
        self.done(&task, good);
    }

    /// Whether nothing of a task is left.
    fn is_empty(&self) -> bool {
        let is_empty = self.hosts.is_empty() && self.numbers.is_empty() && self.names.is_empty();
        is_empty && self.in_flight.is_empty() && self.lookups.len() == 0 && self.turns.len() == 0
    }
}

#[test]
fn names_with_the_same_addresses_share_their_limit() {
    let mut state = state(4);
    for seq in 0..40 {
        state.push(task(seq, &format!("name{seq}.example.org")));
    }
    assert_eq!((state.take_all().len(), state.view().waiting), (0, 40), "no name is known");
    state.look_up(|_| vec![address(2), address(1)]);
    assert_eq!(state.take_all(), [0, 1, 2, 3]);
    state.end(2, None);
    assert_eq!(state.take_all(), [4]);
    state.push(task(40, "203.0.113.1"));
    assert!(state.take_all().is_empty(), "a literal address counts with names");
    state.push(task(41, "203.0.113.3"));
    assert_eq!(state.take_all(), [41]);
}

#[test]
fn a_host_with_several_addresses_gets_its_turn() {
    let mut state = state(1);
    for seq in 0..100 {
        state.push(task(seq, &format!("203.0.113.{}", 1 + seq % 2)));
    }
    assert_eq!(state.take_all(), [0, 1]);
    state.push(task(100, "both.example.org"));
    state.look_up(|_| vec![address(1), address(2)]);
    // On each address, one task was there before.
    for (ends, next) in [(0, Some(2)), (1, Some(3)), (2, None), (3, Some(5)), (5, Some(100))] {
        state.end(ends, None);
        assert_eq!(state.take_all(), Vec::from_iter(next), "after {ends}");
    }
}

#[test]
fn sites_of_a_host_that_were_failing_come_last() {
    let mut state = state(1);
    state.push(unwell(task(0, "203.0.113.1")));
    state.push(task(1, "203.0.113.1"));
    state.push(unwell(task(2, "203.0.113.1")));
    state.push(task(3, "203.0.113.1"));
    let mut order = Vec::new();
    while let Some((task, ..)) = state.take() {
        order.push(task.locator.seq);
        state.done(&task, None);
    }
    assert_eq!(order, [1, 3, 0, 2]);
    assert!(state.is_empty());
}

#[test]
fn a_bounded_number_of_lookups_is_under_way_at_most_half_of_them_for_slow_sites() {
    let mut state = state(4);
    for seq in 0..300 {
        state.push(slow(task(seq, &format!("slow{seq}.example.org"))));
    }
    let start = |state: &mut State| -> Vec<_> { std::iter::from_fn(|| state.start_lookup()).collect() };
    let slow = start(&mut state);
    assert_eq!(slow.len(), 32);
    for seq in 300..600 {
        state.push(task(seq, &format!("name{seq}.example.org")));
    }
    let others = start(&mut state);
    assert!(others.len() == 32 && others.iter().all(|(_, task)| task.locator.seq >= 300));
    state.answer(slow[0].0, vec![address(1)]);
    state.answer(others[0].0, vec![address(2)]);
    let next: Vec<_> = start(&mut state).iter().map(|(_, task)| task.locator.seq).collect();
    assert_eq!(next, [32, 332]);
}

#[test]
fn limited_permits_go_to_names_anywhere_in_the_order() {
    let mut state = state(4);
    for seq in 0..1000 {
        state.push(task(seq, &format!("name{seq}.example.org")));
    }
    // Only the first names are known, and the next ones are being looked up.
    let under_way: Vec<_> = std::iter::from_fn(|| state.start_lookup()).collect();
    let answer = |state: &mut State, no, task: &PollTask| {
        state.answer(no, vec![IpAddr::from(u128::from(task.locator.seq).to_be_bytes())]);
    };
    for (no, task) in &under_way[..10] {
        answer(&mut state, *no, task);
    }
    state.set_permits(Some(10));
    let mut taken = state.take_all();
    assert!(taken.len() < 10);
    for (no, task) in &under_way[10..] {
        answer(&mut state, *no, task);
    }
    while let Some((no, task)) = state.start_lookup() {
        answer(&mut state, no, &task);
        taken.extend(state.take_all());
    }
    assert_eq!(taken.len(), 10);
    for third in [0..333, 333..667, 667..1000] {
        assert!(taken.iter().any(|seq| third.contains(seq)), "{taken:?}");
    }
}

#[test]
fn a_name_is_looked_up_once_while_it_is_in_the_queue() {
    let mut state = state(4);
    state.push(task(0, "a.example.org"));
    state.push(task(1, "a.example.org"));
    let (no, _) = state.start_lookup().unwrap();
    assert!(state.start_lookup().is_none());
    state.answer(no, vec![address(1)]);
    state.push(task(2, "a.example.org"));
    assert!(state.start_lookup().is_none());
    assert_eq!(state.take_all(), [0, 1, 2]);
}

#[test]
fn a_lookup_without_an_answer_makes_a_name_a_host_of_its_own() {
    let mut state = state(1);
    state.advance(Duration::from_secs(1));
    state.push(task(0, "silent.example.org"));
    state.push(task(1, "silent.example.org"));
    state.push(task(2, "unknown.example.org"));
    assert_eq!(state.start_lookup().unwrap().1.locator.seq, 0);
    let (unknown, _) = state.start_lookup().unwrap();
    state.answer(unknown, Vec::new());
    state.advance(Duration::from_millis(10_999));
    state.expire_lookups();
    assert_eq!(state.take_all(), [2]);
    state.advance(Duration::from_secs(11));
    state.expire_lookups();
    let (taken, found) = state.take().unwrap();
    assert_eq!((taken.locator.seq, found.addresses.len()), (0, 0));
    assert_eq!(found.failed, Some((Duration::from_secs(1), Duration::from_secs(11))));
    assert!(state.take().is_none(), "its limit is that of a host");
}

#[test]
fn an_answer_that_is_late_counts_for_the_other_sites_of_the_name() {
    let mut state = state(1);
    state.push(task(0, "late.example.org"));
    state.push(task(1, "late.example.org"));
    state.push(task(2, &address(1).to_string()));
    let (late, _) = state.start_lookup().unwrap();
    state.advance(LOOKUP_LIMIT);
    state.expire_lookups();
    assert_eq!(state.take_all(), [2, 0]);
    state.answer(late, vec![address(1)]);
    state.end(0, None);
    assert!(state.take().is_none(), "its address has no room");
    state.end(2, None);
    let (taken, found) = state.take().unwrap();
    assert_eq!((taken.locator.seq, &*found.addresses, found.failed), (1, &[address(1)][..], None));
    state.end(1, None);
    assert!(state.is_empty());
}

#[test]
fn the_limit_of_a_name_raises_that_of_its_addresses_or_limits_its_own_polls() {
    let mut state = limited(2, &[("Proxy.example.org", 5), ("small.example.org", 1), ("203.0.113.9", 3)], &[]);
    let mut push = |from: u64, host: &str, addresses: &[u8]| {
        for seq in from..from + 9 {
            state.push(task(seq, host));
        }
        state.look_up(|_| addresses.iter().copied().map(address).collect());
        state.take_all().len()
    };
    assert_eq!(push(0, "proxy.example.org", &[1]), 5);
    assert_eq!(push(10, "other.example.org", &[1]), 0, "the limit is that of the address");
    assert_eq!(push(20, "small.example.org", &[2]), 1);
    assert_eq!(push(30, "other-small.example.org", &[2]), 1, "the address has room for two");
    assert_eq!(push(40, "nine.example.org", &[9]), 3);
}

#[test]
fn hosts_share_the_limit_of_a_table() {
    let mut state =
        limited(4, &[], &["net = '203.0.113.0/28'\nconcurrent = 3", "host = '*.example.org'\nconcurrent = 2"]);
    for seq in 0..8 {
        let (last, domain) = if seq < 4 { (seq + 1, "org") } else { (seq + 100, "com") };
        state.push(task(seq, &format!("203.0.113.{last}")));
        state.push(task(100 + seq, &format!("name{seq}.example.{domain}")));
    }
    state.look_up(|_| vec![address(200)]);
    let taken = state.take_all();
    let count = |of: fn(u64) -> bool| taken.iter().filter(|seq| of(**seq)).count();
    assert_eq!((count(|seq| seq < 4), count(|seq| (4..8).contains(&seq))), (3, 4), "{taken:?}");
    assert_eq!((count(|seq| (100..104).contains(&seq)), count(|seq| seq >= 100)), (2, 4), "{taken:?}");
}

#[test]
fn starts_are_spaced_evenly_and_hold_up_no_other_site() {
    let mut state = limited(4, &[], &["net = '203.0.113.0/28'\nper-minute = 60"]);
    for seq in 0..4 {
        state.push(task(seq, &format!("203.0.113.{}", 1 + seq)));
    }
    assert_eq!((state.take_all(), state.next_start()), (vec![0], Some(Duration::from_secs(1))));
    state.end(0, None);
    assert_eq!(state.view().waiting_for_starts, 3);
    state.push(task(9, "203.0.113.100"));
    assert_eq!(state.take_all(), [9]);
    assert_eq!(state.view().last_host, None);
    state.end(9, None);
    let last = state.view().last_host.expect("hosts that wait for their starts are one");
    assert_eq!(last.slowest, Duration::ZERO);
    for (ms, expected) in [(999, vec![]), (1500, vec![1]), (2499, vec![]), (2500, vec![2]), (3500, vec![3])] {
        state.advance(Duration::from_millis(ms));
        assert_eq!(state.take_all(), expected, "{ms} ms");
    }
    assert_eq!(state.next_start(), None);
}

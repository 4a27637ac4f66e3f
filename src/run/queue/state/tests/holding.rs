//! Tests of hosts that are held.

use super::*;
use crate::store::{SkipReason, SkippedHost};

const HELD: &str = "203.0.113.1";
const OTHER: &str = "203.0.113.2";

/// A queue with sites on two hosts: those with an even number on `HELD`.
fn two_hosts(sites: u64) -> State {
    let mut state = state(2);
    for seq in 0..sites {
        state.push(task(seq, if seq % 2 == 0 { HELD } else { OTHER }));
    }
    state
}

#[test]
fn of_a_held_host_no_task_is_taken_but_a_probe() {
    let mut state = two_hosts(12);
    assert_eq!(state.take_all(), [0, 1, 2, 3]);
    state.hold(address(1), SkipReason::Down);
    assert_eq!((state.view().waiting, state.view().held), (4, 4));
    for seq in 0..4 {
        state.end(seq, None);
    }
    assert_eq!(state.take_all(), [5, 7]);
    state.probe(address(1));
    assert_eq!((state.take_all(), state.view().held), (vec![4], 3));
    state.end(4, None);
    assert!(state.take_all().is_empty());
    state.release_hold(address(1));
    assert_eq!(state.take_all(), [6, 8]);
    assert_eq!((state.view().waiting, state.view().held), (3, 0));
}

#[test]
fn a_probe_without_a_task_is_the_next_task_that_comes() {
    let mut state = two_hosts(0);
    state.hold(address(1), SkipReason::Down);
    state.probe(address(1));
    state.push(task(0, HELD));
    state.push(task(1, HELD));
    assert_eq!(state.take_all(), [0]);
}

#[test]
fn a_host_with_an_address_that_is_good_is_not_held() {
    let mut state = state(4);
    let push = |state: &mut State, seq| {
        state.push(task(seq, "both.example.org"));
        state.look_up(|_| vec![address(1), address(2)]);
    };
    for seq in 0..9 {
        push(&mut state, seq);
    }
    assert_eq!(state.take_all(), [0, 1, 2, 3]);
    state.hold(address(1), SkipReason::Down);
    state.end(0, Some(address(1)));
    assert!(state.take_all().is_empty(), "a late reply of an address that is held does not count");
    state.end(1, Some(address(2)));
    assert_eq!(state.take_all(), [4, 5]);
    state.hold(address(2), SkipReason::Down);
    state.end(4, None);
    assert!(state.take_all().is_empty(), "it is not good any longer");
    state.release_hold(address(1));
    state.end(5, Some(address(1)));
    assert_eq!(state.take_all().len(), 2);
    state.hold(address(2), SkipReason::AskedToWait);
    assert_eq!((state.view().waiting, state.view().held), (0, 1), "it asked to wait");
    state.hold(address(1), SkipReason::Down);
    for seq in [2, 3, 6, 7] {
        state.end(seq, None);
    }
    state.probe(address(1));
    push(&mut state, 9);
    assert!(state.take_all().is_empty(), "what asked to wait is not probed");
}

#[test]
fn a_held_host_keeps_no_place_of_others() {
    let mut state = state(1);
    state.push(task(0, OTHER));
    state.push(task(1, "both.example.org"));
    state.look_up(|_| vec![address(1), address(2)]);
    state.push(task(2, HELD));
    assert_eq!(state.take_all(), [0], "the first address is kept for the host with both");
    state.hold(address(2), SkipReason::Down);
    assert_eq!(state.take_all(), [2]);
}

#[test]
fn skipped_tasks_are_counted_once_and_kept_to_a_bound() {
    let mut state = state(1);
    for seq in 0..5000 {
        state.push(task(seq, if seq % 2 == 0 { HELD } else { "held.example.org" }));
    }
    state.look_up(|_| vec![address(1)]);
    state.hold(address(1), SkipReason::Down);
    let kept = |state: &State| state.hosts.values().map(Host::waiting).sum::<usize>();
    assert_eq!((kept(&state), state.view().held), (MAX_HELD, 5000));
    for seq in 5000..6000 {
        state.push(task(seq, HELD));
    }
    assert_eq!((kept(&state), state.view().held, state.view().waiting), (MAX_HELD, 6000, 0));
    let mut names = vec![task(0, HELD).host, task(0, "held.example.org").host];
    names.sort_unstable();
    let skipped = SkippedHost { address: address(1), reason: SkipReason::Down, sites: 6000, names };
    assert_eq!(state.skip_held(), [skipped]);
    assert!(state.skip_held().is_empty() && state.is_empty());
}

#[test]
fn cancelled_tasks_are_those_that_wait_with_those_that_are_held() {
    let mut state = two_hosts(12);
    state.push(task(12, "name.example.org"));
    assert_eq!(state.take_all(), [0, 1, 2, 3]);
    state.hold(address(1), SkipReason::Down);
    assert_eq!((state.cancel_pending(), state.take_all().len()), (9, 0));
    for seq in 0..4 {
        state.end(seq, None);
    }
    assert!(state.is_empty() && state.is_over());
}

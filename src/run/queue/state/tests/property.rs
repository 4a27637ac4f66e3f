//! Any sequence of what may happen to a queue.

use std::collections::{BTreeMap, BTreeSet};

use super::*;
use crate::run::queue::lookups::LookupNo;
use crate::store::{SkipReason, SkippedHost};
use proptest::prelude::*;

/// The interval of starts in the second table.
const START_INTERVAL: Duration = Duration::from_secs(1);
const TABLES: [&str; 2] =
    ["net = '203.0.113.0/31'\nconcurrent = 3", "host = 'name1*.example.org'\nper-minute = 60\nconcurrent = 2"];

#[derive(Debug, Clone, Copy)]
enum Step {
    /// A site on the host with this number comes.
    Push(u8),
    Take,
    /// The poll in flight at this place ends; an address replied if there is one.
    End(usize, Option<u8>),
    /// The lookup at this place is answered.
    Answer(usize),
    Hold(u8, bool),
    Probe(u8),
    Release(u8),
    SkipHeld,
    Wait(u64),
    Permits(Option<usize>),
}

fn step() -> impl Strategy<Value = Step> {
    let host = 0..5u8;
    prop_oneof![
        6 => (0..16u8).prop_map(Step::Push),
        8 => Just(Step::Take),
        5 => (any::<usize>(), proptest::option::of(host.clone())).prop_map(|(at, good)| Step::End(at, good)),
        4 => any::<usize>().prop_map(Step::Answer),
        1 => (host.clone(), any::<bool>()).prop_map(|(at, asked)| Step::Hold(at, asked)),
        1 => host.clone().prop_map(Step::Probe),
        1 => host.prop_map(Step::Release),
        1 => Just(Step::SkipHeld),
        2 => (0..3000u64).prop_map(Step::Wait),
        1 => proptest::option::of(0..4usize).prop_map(Step::Permits),
    ]
}

/// A poll in flight, and the addresses of its host.
type InFlight = (Arc<PollTask>, Arc<[IpAddr]>);

/// A queue, and what must be true of it.
struct Model {
    state: State,
    per_host: usize,
    /// The addresses of names, by their number, in bits.
    names: Vec<u8>,
    pushed: u64,
    lookups: Vec<(LookupNo, u8)>,
    in_flight: Vec<InFlight>,
    ended: BTreeSet<u64>,
    skipped: u64,
    last_start: Option<Duration>,
}

impl Model {
    fn host(number: u8) -> String {
        if number < 4 { address(number).to_string() } else { format!("name{number}.example.org") }
    }

    fn addresses(&self, number: u8) -> Vec<IpAddr> {
        (0..5).filter(|bit| self.names[usize::from(number)] & (1 << bit) != 0).map(address).collect()
    }

    fn apply(&mut self, step: Step) {
        match step {
            Step::Push(number) => {
                let new = task(self.pushed, &Self::host(number));
                self.state.push(if number % 3 == 0 { slow(new) } else { new });
                self.pushed += 1;
            }
            Step::Take => self.take(),
            Step::End(at, good) => {
                if let Some(at) = at.checked_rem(self.in_flight.len()) {
                    let (task, _) = self.in_flight.swap_remove(at);
                    self.state.done(&task, good.map(address));
                    assert!(self.ended.insert(task.locator.seq), "ended twice");
                }
            }
            Step::Answer(at) => {
                if let Some(at) = at.checked_rem(self.lookups.len()) {
                    let (no, number) = self.lookups.swap_remove(at);
                    self.state.answer(no, self.addresses(number));
                }
            }
            Step::Hold(at, true) => self.state.hold(address(at), SkipReason::AskedToWait),
            Step::Hold(at, false) => self.state.hold(address(at), SkipReason::Down),
            Step::Probe(at) => self.state.probe(address(at)),
            Step::Release(at) => self.state.release_hold(address(at)),
            Step::SkipHeld => self.skipped += skipped_sites(&self.state.skip_held()),
            Step::Wait(ms) => {
                self.state.advance(self.state.at + Duration::from_millis(ms));
                self.state.expire_lookups();
            }
            Step::Permits(permits) => self.state.set_permits(permits),
        }
        while let Some((no, task)) = self.state.start_lookup() {
            let number = (4..16).find(|number| Self::host(*number) == task.cxn.host()).unwrap();
            self.lookups.push((no, number));
        }
        self.check();
    }

    fn take(&mut self) {
        let Some((task, found)) = self.state.take() else { return };
        if task.cxn.host().starts_with("name1") {
            let since = self.last_start.map(|last| self.state.at.saturating_sub(last));
            assert!(since.is_none_or(|since| since >= START_INTERVAL), "started after {since:?}");
            self.last_start = Some(self.state.at);
        }
        self.in_flight.push((task, found.addresses));
    }

    fn check(&self) {
        let mut polls = BTreeMap::<IpAddr, usize>::new();
        self.in_flight
            .iter()
            .flat_map(|(_, addresses)| addresses.iter())
            .for_each(|at| *polls.entry(*at).or_default() += 1);
        assert!(polls.values().all(|count| *count <= self.per_host), "{polls:?}");
        let count =
            |is_limited: &dyn Fn(&InFlight) -> bool| self.in_flight.iter().filter(|poll| is_limited(poll)).count();
        assert!(count(&|(_, addresses)| addresses.iter().any(|at| *at <= address(1))) <= 3);
        assert!(count(&|(task, _)| task.cxn.host().starts_with("name1")) <= 2);
        let view = self.state.view();
        let hosts = self.state.hosts.values().filter(|host| !host.is_held && host.waits_for_starts());
        assert_eq!(view.waiting_for_starts, hosts.map(Host::waiting).sum::<usize>());
        let known = view.waiting as u64 + view.held as u64 + self.in_flight.len() as u64;
        assert_eq!(known + self.ended.len() as u64 + self.skipped, self.pushed, "a task is lost or counted twice");
    }

    /// Ends all polls and lookups until nothing is left.
    fn finish(&mut self) {
        self.apply(Step::Permits(None));
        for round in 0.. {
            assert!(round < 1000, "tasks are left that can never be taken: {:?}", self.state.view());
            self.apply(Step::Take);
            self.apply(Step::End(round, None));
            self.apply(Step::Answer(round));
            let view = self.state.view();
            if view.waiting == 0 && self.in_flight.is_empty() {
                break;
            }
            if !self.state.has_ready() {
                self.apply(Step::Wait(1000));
            }
        }
        self.apply(Step::SkipHeld);
        assert!(self.state.is_empty() && self.state.slow == 0 && self.state.view().held == 0, "{:?}", self.state);
    }
}

fn skipped_sites(hosts: &[SkippedHost]) -> u64 {
    hosts.iter().map(|host| host.sites).sum()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]
    #[test]
    fn no_limit_is_exceeded_and_every_task_ends_once(
        steps in proptest::collection::vec(step(), 0..200),
        names in proptest::collection::vec(0..32u8, 16),
        per_host in 1..4usize,
        releases in any::<bool>(),
    ) {
        let state = limited(per_host, &[], &TABLES);
        let (lookups, in_flight, ended) = (Vec::new(), Vec::new(), BTreeSet::new());
        let mut model =
            Model { state, per_host, names, pushed: 0, lookups, in_flight, ended, skipped: 0, last_start: None };
        for step in steps {
            model.apply(step);
        }
        if releases {
            for at in 0..5 {
                model.apply(Step::Release(at));
            }
        }
        model.finish();
        prop_assert_eq!(model.ended.len() as u64 + model.skipped, model.pushed);
    }
}

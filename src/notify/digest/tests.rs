mod sites;

use std::collections::HashSet;
use std::net::IpAddr;

use proptest::prelude::*;

use super::*;
use crate::model::{FailureClass, Transition};

const HOUR: i64 = 3600;
const NOW: i64 = 500_000 * HOUR;

fn job() -> JobId {
    ("app:org.example.myapp".parse().unwrap(), "default".parse().unwrap())
}

/// Sites as the store knows them, and the history that their polls make.
#[derive(Default)]
struct Fleet {
    sites: Sites,
    hosts: BTreeMap<u64, IpAddr>,
    entries: Vec<(UnixTime, Entry)>,
    tracker: Tracker,
}

impl Fleet {
    /// Sites with these numbers on a host.
    fn with(hosts: &[(u8, std::ops::Range<u64>)]) -> Self {
        let mut fleet = Self::default();
        for (host, numbers) in hosts {
            numbers.clone().for_each(|number| fleet.add(number, *host));
        }
        fleet
    }

    fn add(&mut self, number: u64, host: u8) {
        let site = Site {
            cxn_id: format!("cxn:{number}").parse().unwrap(),
            url: format!("https://{number}.example.org/"),
            host: format!("{number}.example.org"),
            condition: Condition::Up,
            last_run: 0,
        };
        self.hosts.insert(number, [203, 0, 113, host].into());
        self.sites.0.entry(job()).or_default().insert(number, site);
    }

    fn site(&mut self, number: u64) -> &mut Site {
        self.sites.0.get_mut(&job()).unwrap().get_mut(&number).unwrap()
    }

    /// Polls a site, which fails or not.
    fn poll(&mut self, at: UnixTime, number: u64, fails: bool) {
        let site = self.site(number);
        let was_down = site.condition.is_down();
        let condition = |is_down| if is_down { Condition::Failing } else { Condition::Up };
        site.last_run = at;
        if was_down != fails {
            site.condition = condition(fails);
            self.event(at, number, condition(was_down), condition(fails));
        }
    }

    fn event(&mut self, at: UnixTime, number: u64, from: Condition, to: Condition) {
        let class = to.is_down().then_some(FailureClass::Http);
        let transition = Transition { at, from, to, class, unknown_from: None };
        let host = self.hosts.get(&number).copied();
        self.entries.push((at, Entry::Transition(SiteTransition { cxn: CxnHash(number), host, transition })));
    }

    fn problems(&mut self, at: UnixTime, problems: RunProblems) {
        self.entries.push((at, Entry::RunProblems(problems)));
    }

    /// The changes of the message that is made now, as kind, count and hosts.
    fn message(&mut self, now: UnixTime) -> Vec<(Kind, u64, usize)> {
        self.changes(now).iter().map(|change| (change.kind, change.count, change.hosts.len())).collect()
    }

    fn changes(&mut self, now: UnixTime) -> Vec<Change> {
        let entries = std::mem::take(&mut self.entries).into_iter();
        let frames: Vec<_> = entries.map(|(at, entry)| Frame { at, job: Some(job()), entries: vec![entry] }).collect();
        // The state is kept in a file.
        let json = serde_json::to_string(&self.tracker).unwrap();
        self.tracker = serde_json::from_str(&json).unwrap();
        self.tracker.digest(now, &frames, &self.sites)
    }
}

#[test]
fn a_host_whose_sites_fail_one_after_another_is_one_change_and_one_when_it_is_over() {
    // A hundred in each of the four runs of a period, for two hours; messages may be made in each run.
    let mut fleet = Fleet::with(&[(1, 0..400), (2, 400..800)]);
    let mut messages = Vec::new();
    for tick in 0..48 {
        let now = NOW + tick * 300;
        let group = u64::try_from(tick % 4).unwrap();
        for number in (0..800).filter(|number| number % 4 == group) {
            fleet.poll(now, number, number < 400 && (8..32).contains(&tick));
        }
        messages.extend(fleet.message(now));
    }
    assert_eq!(messages, [(Kind::Failing, 100, 1), (Kind::Recovered, 400, 1)]);
    assert_eq!(fleet.tracker.hosts, BTreeMap::new());
}

#[test]
fn a_host_that_is_down_is_one_change_and_is_over_when_all_that_failed_were_polled() {
    let mut fleet = Fleet::with(&[(1, 0..400)]);
    let down = |sites| RunProblems { down: vec![([203, 0, 113, 1].into(), sites)], ..RunProblems::default() };
    let mut messages = Vec::new();
    // Four sites are tried in each run, and back off.
    for run in 0..10 {
        let now = NOW + run * 300;
        let first = u64::try_from(run * 4).unwrap();
        (first..first + 4).for_each(|number| fleet.poll(now, number, true));
        fleet.problems(now, down(396 - first));
        messages.extend(fleet.message(now));
    }
    assert_eq!(messages, [(Kind::HostDown, 400, 1)]);
    fleet.problems(NOW + HOUR, RunProblems::default());
    (40..400).for_each(|number| fleet.poll(NOW + HOUR, number, false));
    (0..20).for_each(|number| fleet.poll(NOW + HOUR, number, false));
    assert_eq!(fleet.message(NOW + HOUR), [], "twenty sites are not due yet");
    assert!(fleet.tracker.is_waiting());
    (20..38).for_each(|number| fleet.poll(NOW + 2 * HOUR, number, false));
    assert_eq!(fleet.message(NOW + 2 * HOUR), []);
    (38..40).for_each(|number| fleet.poll(NOW + 3 * HOUR, number, true));
    let changes = fleet.changes(NOW + 3 * HOUR);
    let counts: Vec<_> = changes.iter().map(|change| (change.kind, change.count, change.sites.len())).collect();
    // Those that were never tried answer as well.
    assert_eq!(counts, [(Kind::Failing, 2, 2), (Kind::Recovered, 398, 20)]);
    // The two that still fail are sites like any other.
    fleet.poll(NOW + 4 * HOUR, 38, false);
    assert_eq!(fleet.message(NOW + 4 * HOUR), [(Kind::Recovered, 1, 1)]);
}

#[test]
fn a_dead_site_does_not_hide_that_its_host_fails_later() {
    let mut fleet = Fleet::with(&[(1, 0..400), (2, 400..401), (3, 500..501)]);
    for number in [0, 400, 500] {
        fleet.poll(NOW, number, true);
    }
    assert_eq!(fleet.message(NOW), [(Kind::Failing, 3, 3)], "sites on different hosts are one change");
    (1..400).for_each(|number| fleet.poll(NOW + 2 * HOUR, number, true));
    assert_eq!(fleet.message(NOW + 2 * HOUR), [(Kind::Failing, 400, 1)]);
    (0..300).for_each(|number| fleet.poll(NOW + 3 * HOUR, number, false));
    fleet.poll(NOW + 3 * HOUR, 500, false);
    assert_eq!(fleet.message(NOW + 3 * HOUR), [(Kind::Recovered, 1, 1)]);
}

#[test]
fn a_site_that_is_repaired_alone_does_not_end_the_failure_of_its_host() {
    let mut fleet = Fleet::with(&[(1, 0..100)]);
    (0..100).for_each(|number| fleet.poll(NOW, number, true));
    assert_eq!(fleet.message(NOW), [(Kind::Failing, 100, 1)]);
    fleet.poll(NOW + HOUR, 7, false);
    assert_eq!(fleet.message(NOW + HOUR), []);
    (0..100).for_each(|number| fleet.poll(NOW + 2 * HOUR, number, number != 7));
    assert_eq!(fleet.message(NOW + 2 * HOUR), [(Kind::Recovered, 1, 1)]);
    (0..100).for_each(|number| fleet.poll(NOW + 3 * HOUR, number, false));
    assert_eq!(fleet.message(NOW + 3 * HOUR), [(Kind::Recovered, 99, 1)]);
}

#[test]
fn given_up_sites_are_always_reported() {
    use Condition::{Failing, GivenUp};
    let mut fleet = Fleet::with(&[(1, 0..10)]);
    (0..10).for_each(|number| fleet.poll(NOW, number, true));
    fleet.changes(NOW);
    let give_up = |fleet: &mut Fleet, at: UnixTime, number: u64| {
        fleet.site(number).condition = GivenUp;
        fleet.event(at, number, Failing, GivenUp);
    };
    (0..10).for_each(|number| give_up(&mut fleet, NOW + HOUR, number));
    assert_eq!(fleet.message(NOW + HOUR), [(Kind::GivenUp, 10, 1)]);
    // Nothing is polled there again.
    assert_eq!(fleet.message(NOW + 2 * HOUR), []);
    assert_eq!(fleet.tracker.hosts, BTreeMap::new());
    fleet.poll(NOW + 3 * HOUR, 5, false);
    assert_eq!(fleet.message(NOW + 3 * HOUR), [(Kind::Recovered, 1, 1)], "it was revived");
    // One that is revived, or that another retry expression brings back, is given up once more.
    fleet.site(6).condition = Failing;
    fleet.poll(NOW + 4 * HOUR, 5, true);
    assert_eq!(fleet.message(NOW + 4 * HOUR), [(Kind::Failing, 1, 1)]);
    give_up(&mut fleet, NOW + 5 * HOUR, 6);
    assert_eq!(fleet.message(NOW + 5 * HOUR), [(Kind::GivenUp, 1, 1)]);
}

#[test]
fn a_host_that_returns_counts_each_of_its_sites_once() {
    let mut fleet = Fleet::with(&[(1, 0..400)]);
    let down = |sites| RunProblems { down: vec![([203, 0, 113, 1].into(), sites)], ..RunProblems::default() };
    // Four sites are tried in each run, and back off. Then the host returns, but a few sites fail once more at first.
    for run in 0..27 {
        let first = u64::try_from(run * 4).unwrap();
        (first..first + 4).for_each(|number| fleet.poll(NOW + run * 300, number, true));
        fleet.problems(NOW + run * 300, down(396 - first));
    }
    assert_eq!(fleet.message(NOW + 27 * 300), [(Kind::HostDown, 400, 1)]);
    let now = NOW + 3 * HOUR;
    fleet.problems(now, RunProblems::default());
    (0..10).for_each(|number| fleet.poll(now, number, false));
    (0..10).for_each(|number| fleet.poll(now + 60, number, true));
    (200..210).for_each(|number| fleet.poll(now + 60, number, true));
    assert_eq!(fleet.message(now + 60), []);
    (0..400).for_each(|number| fleet.poll(now + HOUR, number, false));
    assert_eq!(fleet.message(now + HOUR), [(Kind::Recovered, 400, 1)]);
    assert_eq!((fleet.tracker.hosts.len(), fleet.tracker.jobs[&job()].untried.len()), (0, 0));
}

#[test]
fn own_outages_and_lateness_begin_and_end() {
    let mut fleet = Fleet::with(&[]);
    let outage = RunProblems { fault: Some(Fault::Clock), behind_since: Some(NOW - HOUR), ..RunProblems::default() };
    fleet.problems(NOW, outage.clone());
    let changes = fleet.changes(NOW);
    assert_eq!(
        (changes[0].kind, changes[0].over, changes[0].cause.as_deref()),
        (Kind::OwnOutage, false, Some("clock"))
    );
    assert_eq!((changes[1].kind, changes[1].over, changes[1].since), (Kind::Late, false, NOW - HOUR));
    fleet.problems(NOW + 60, outage);
    assert_eq!(fleet.changes(NOW + 60), []);
    fleet.problems(NOW + HOUR, RunProblems::default());
    let over: Vec<_> =
        fleet.changes(NOW + HOUR).iter().map(|change| (change.kind, change.over, change.since)).collect();
    assert_eq!(over, [(Kind::OwnOutage, true, NOW), (Kind::Late, true, NOW - HOUR)]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Each site that fails is in a message, or on a host that is. Once all answer, nothing is left.
    #[test]
    fn nothing_that_fails_is_missing(
        seed in proptest::collection::vec((0_u64..30, any::<bool>(), 1_i64..90), 1..150),
        every in 1_usize..6,
    ) {
        let hosts: Vec<_> = (0..10).map(|host: u8| (host, u64::from(host) * 3..u64::from(host) * 3 + 3)).collect();
        let mut fleet = Fleet::with(&hosts);
        let mut now = NOW;
        let mut reported: BTreeSet<u64> = BTreeSet::new();
        let end = (0..30).map(|number| (number, false, 60)).collect::<Vec<_>>();
        for (step, (number, fails, minutes)) in seed.into_iter().chain(end).enumerate() {
            now += minutes * 60;
            fleet.poll(now, number, fails);
            if step % every > 0 {
                continue;
            }
            let failing_hosts: BTreeSet<_> = fleet.tracker.hosts.keys().cloned().collect();
            let changes = fleet.changes(now);
            let sites = changes.iter().flat_map(|change| change.sites.iter().map(move |site| (site.at, change, site)));
            let mut sites: Vec<_> = sites.collect();
            sites.sort_by_key(|(at, ..)| *at);
            for (_, change, site) in sites.into_iter().filter(|(_, change, _)| change.kind != Kind::FailedMeanwhile) {
                let number = site.cxn_id.as_str()[4..].parse().unwrap();
                let is_over = change.kind == Kind::Recovered;
                let was_reported = if is_over { reported.remove(&number) } else { reported.insert(number) };
                prop_assert!(!is_over || was_reported || failing_hosts.contains(&change.hosts[0]), "{change:?}");
            }
            for number in 0..30 {
                let host = fleet.hosts[&number].to_string();
                let is_known = reported.contains(&number) || fleet.tracker.hosts.contains_key(&host);
                prop_assert!(!fleet.site(number).condition.is_down() || is_known, "{number} at step {step}");
            }
        }
        // All answer, and every host that was reported as failing is reported as over.
        fleet.changes(now);
        prop_assert_eq!(&fleet.tracker.hosts, &BTreeMap::new());
        let failing: usize = fleet.tracker.jobs.values().map(|state| state.failing.len()).sum();
        prop_assert_eq!(failing, 0);
    }
}

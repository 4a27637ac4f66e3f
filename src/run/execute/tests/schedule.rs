//! Which sites a run polls, around the ends of months, after wrong clocks and with deferrals.
//!
//! For generated statuses and expressions, the due hint, the dry run and the run agree with the rule: the sites for which
//! [`Policy::is_due`].

use std::collections::BTreeSet;
use std::env;

use chrono::NaiveDate;
use proptest::prelude::*;
use proptest::test_runner::{Config as Cases, TestRunner};

use super::*;
use crate::model::PollStatus;
use crate::retry::{MAX_LEEWAY_S, Period, Policy};

const DAY_S: UnixTime = 86_400;
/// How many cases share a store. Its due hint has one entry for each.
const CASES_PER_STORE: u32 = 40;

/// A job with the statuses of its connections.
#[derive(Debug, Clone)]
struct Case {
    policy: Policy,
    statuses: Vec<PollStatus>,
    /// Of the times at which something changes, the one of the run.
    pick: prop::sample::Index,
}

fn any_policy() -> impl Strategy<Value = Policy> {
    let unit =
        prop_oneof![3 => Just("month"), 2 => prop::sample::select(vec!["sec", "min", "hour", "day", "week", "year"])];
    let level = (1..=14_u32, unit, 1..=3_u32);
    (prop::collection::vec(level, 1..4), any::<bool>()).prop_map(|(levels, forever)| {
        let mut levels: Vec<_> =
            levels.iter().map(|(number, unit, times)| format!("{number} {unit} (x{times})")).collect();
        if forever && let Some(last) = levels.last_mut() {
            last.replace_range(last.find('x').unwrap().., "x*)");
        }
        levels.join("; ").parse().unwrap()
    })
}

/// The last days of a month, and a time in any of them.
fn month_end(year: i32, month: u32) -> impl Strategy<Value = UnixTime> {
    let first = NaiveDate::from_ymd_opt(year, month, 1).unwrap();
    let seconds = prop_oneof![0..DAY_S, prop::sample::select(vec![0, 1, 10_800, 36_000, 86_399])];
    (prop::sample::select(vec![0_u8, 0, 0, 1, 1, 1, 2, 2, 3, 4]), seconds).prop_map(move |(days, second)| {
        let last = first + chrono::Months::new(1) - chrono::Days::new(1 + u64::from(days));
        last.and_time(chrono::NaiveTime::MIN).and_utc().timestamp() + second
    })
}

/// Statuses of sites that were polled at the end of a month, most of them at the first level.
fn any_status(year: i32, month: u32) -> impl Strategy<Value = PollStatus> {
    let level = prop_oneof![3 => Just(0), 1 => 0..4_u32];
    let any_month = (2027..=2028, 1..=12_u32).prop_flat_map(|(year, month)| month_end(year, month));
    let last_run = prop_oneof![4 => month_end(year, month), 1 => any_month];
    let deferral = prop_oneof![5 => Just(None), 1 => (1..=DAY_S).prop_map(Some)];
    let early_s = prop_oneof![3 => Just(0), 1 => 0..4_000_u32, 1 => 0..3_000_000_u32];
    let polled =
        (level, 0..3_u32, last_run, early_s, deferral).prop_map(|(level, count, last_run, early_s, deferral)| {
            let deferrals = u8::from(deferral.is_some());
            let not_before = deferral.map(|seconds| last_run + seconds);
            PollStatus { level, count, last_run, early_s, not_before, deferrals, ..PollStatus::default() }
        });
    prop_oneof![29 => polled, 1 => Just(PollStatus::default())]
}

/// Jobs whose sites were polled at the end of one month of two years with a leap day.
fn any_case() -> impl Strategy<Value = Case> {
    let statuses =
        (2027..=2028, 1..=12_u32).prop_flat_map(|(year, month)| prop::collection::vec(any_status(year, month), 1..9));
    (any_policy(), statuses, any::<prop::sample::Index>()).prop_map(|(policy, statuses, pick)| Case {
        policy,
        statuses,
        pick,
    })
}

impl Case {
    /// The times just before and after anything changes, and some between.
    fn times(&self) -> Vec<UnixTime> {
        let leeway = |period: Period| (period.mean_seconds() / 20).min(30);
        let mut times = BTreeSet::new();
        for status in &self.statuses {
            let period = self.policy.levels().get(status.level as usize).map(|level| level.period);
            let next = self.policy.next_due_of_status(status);
            times.extend(next.zip(period).map(|(next, period)| next - leeway(period)));
            times.extend(next.into_iter().flat_map(|next| [next, next - DAY_S, next - 2 * DAY_S]));
            times.extend(status.not_before);
            times.extend([status.last_run, status.last_run - 300, status.period_start(), status.period_start() - 300]);
        }
        let times: BTreeSet<_> =
            times.iter().flat_map(|time| [time - 1, *time, time + 1]).filter(|time| *time > 0).collect();
        times.into_iter().collect()
    }

    /// The numbers of the connections that are due.
    fn due(&self, now: UnixTime) -> BTreeSet<usize> {
        let statuses = self.statuses.iter().enumerate();
        statuses.filter(|(_, status)| self.policy.is_due(status, now)).map(|(number, _)| number).collect()
    }
}

/// A store of many apps, each with the connections of one case.
struct Schedules {
    fixture: Fixture,
    polled: Arc<Mutex<BTreeSet<usize>>>,
    apps: u32,
}

/// The number in the id of a connection, whose app has another one: `cxn:APP-NUMBER`.
fn number_of(cxn_id: &str) -> usize {
    cxn_id.rsplit_once('-').unwrap().1.parse().unwrap()
}

impl Schedules {
    fn new() -> Self {
        let mut fixture = Fixture::new(0, |_| Ok(()));
        fixture.run.listeners = Listeners::default();
        let polled = Arc::new(Mutex::new(BTreeSet::new()));
        let numbers = Arc::clone(&polled);
        let poll = move |event: &mut PollEvent<'_>| {
            numbers.lock().unwrap().insert(number_of(event.cxn.cxn_id.as_str()));
            Ok(())
        };
        fixture.add("civi_cxn.poll", 0, Action::Poll(Box::new(poll)));
        Self { fixture, polled, apps: 0 }
    }

    /// Stores a case as the next app.
    fn store(&mut self, case: &Case) {
        self.apps += 1;
        let app_id: AppId = format!("app:org.example.app{}", self.apps).parse().unwrap();
        let patches = case.statuses.iter().enumerate().map(|(number, status)| {
            let mut patch = transfer::parse(&line(0)).unwrap();
            patch.cxn_id = format!("cxn:{}-{number}", self.apps).parse().unwrap();
            patch.app_id = app_id.clone();
            patch.poll_status = vec![(JobName::default(), status.clone())];
            patch
        });
        let patches: Vec<_> = patches.collect();
        let retry = case.policy.to_string();
        let store = |session: &crate::store::WriteSession| {
            session.restore_job(&app_id, &JobName::default(), Some(&retry), None, None, &[])?;
            session.upsert(&patches, false).map(drop)
        };
        self.fixture.store.write(store).unwrap();
        self.fixture.run.app.app_id = app_id;
        self.fixture.run.policy = case.policy.clone();
    }

    fn is_certainly_idle(&self, now: UnixTime) -> bool {
        let PollRun { app, job, policy, .. } = &self.fixture.run;
        self.fixture.store.is_certainly_idle(&app.app_id, job, policy, now)
    }

    fn dry_run(&self) -> BTreeSet<usize> {
        let mut listed = BTreeSet::new();
        let list = |task: PollTask| {
            listed.insert(number_of(task.cxn.cxn_id.as_str()));
            Ok::<_, Error>(())
        };
        self.fixture.run.dry_run(&self.fixture.store, list).unwrap();
        listed
    }

    fn check(&mut self, case: &Case) -> Result<(), TestCaseError> {
        self.store(case);
        let times = case.times();
        for now in &times {
            let (is_idle, due) = (self.is_certainly_idle(*now), case.due(*now));
            prop_assert!(!is_idle || due.is_empty(), "not idle at {}: {:?}", now, due);
            // The database is opened for nothing on one day at most.
            let next = case.statuses.iter().filter_map(|status| case.policy.next_due_of_status(status)).min();
            let is_near = next.is_some_and(|next| next < now + DAY_S + MAX_LEEWAY_S);
            prop_assert!(is_idle || is_near || !due.is_empty(), "idle at {}", now);
        }
        let now = *case.pick.get(&times);
        let due = case.due(now);
        self.fixture.run.now = now;
        prop_assert_eq!(self.dry_run(), due.clone(), "the dry run at {}", now);
        let summary = self.fixture.run().unwrap();
        prop_assert_eq!(std::mem::take(&mut *self.polled.lock().unwrap()), due.clone(), "the run at {}", now);
        // Every outcome is recorded, also after a wrong clock.
        prop_assert_eq!((summary.run.ok, summary.run.dropped), (due.len() as u64, 0));
        prop_assert_eq!(self.fixture.run().unwrap().run.due, 0, "polled twice at {}", now);
        Ok(())
    }
}

/// `CXNPOLL_SCHEDULES` sets the number of cases.
#[test]
fn the_due_hint_the_dry_run_and_the_run_agree() {
    let mut cases = env::var("CXNPOLL_SCHEDULES").map_or(200, |cases| cases.parse().unwrap());
    while cases > 0 {
        let number = cases.min(CASES_PER_STORE);
        cases -= number;
        let schedules = std::cell::RefCell::new(Schedules::new());
        let config = Cases { cases: number, failure_persistence: None, max_shrink_iters: 200, ..Cases::default() };
        TestRunner::new(config).run(&any_case(), |case| schedules.borrow_mut().check(&case)).unwrap();
    }
}

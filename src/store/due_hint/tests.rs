//! Hints, also of a store whose clock was wrong.

use std::cell::Cell;
use std::time::Duration;

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use serde_json::json;

use super::*;
use crate::store::Store;
use crate::store::engine::Write;
use crate::store::schema::{CxnLocator, DueFacts, WriteSession, status_key, status_writes};

const NOW: UnixTime = 1_767_225_600;
const HOUR: UnixTime = 3600;
const DAY: UnixTime = 24 * HOUR;

fn policy() -> Policy {
    "1 hour (x3); 1 day (x9)".parse().unwrap()
}

fn hint_of(levels: &[(u32, UnixTime, UnixTime)], deferred: Option<(UnixTime, UnixTime)>) -> JobHint {
    JobHint {
        app_id: "app:org.example.myapp".parse().unwrap(),
        name: JobName::default(),
        retry: policy().to_string(),
        levels: levels.to_vec(),
        deferred: deferred.map(|(first_end, newest_last_run)| DeferredHint { first_end, newest_last_run }),
    }
}

#[test]
fn a_job_is_idle_while_the_oldest_and_the_newest_of_each_level_are_not_due() {
    for (levels, is_idle) in [
        (&[][..], true),
        (&[(0, NOW - 60, NOW - 10)], true),
        (&[(0, NOW - HOUR, NOW - 10)], false),
        (&[(0, NOW - 60, NOW - 10), (1, NOW - 2 * DAY, NOW - 60)], false),
        (&[(0, NOW - 60, NOW - 10), (1, NOW - HOUR, NOW - 60)], true),
        // From a run whose clock was wrong, or from another server.
        (&[(0, NOW - 60, NOW + 301)], false),
        (&[(0, NOW - 60, NOW + 300)], true),
        // Never polled.
        (&[(0, 0, NOW - 60)], false),
        // Given up.
        (&[(2, 0, NOW - 99 * DAY)], true),
    ] {
        assert_eq!(hint_of(levels, None).is_idle(&policy(), NOW), is_idle, "{levels:?}");
    }
}

#[test]
fn an_end_of_a_month_is_due_in_another_order() {
    let monthly: Policy = "1 month (x*)".parse().unwrap();
    let january = NOW + 29 * DAY;
    let february = NOW + (31 + 27) * DAY;
    // January 30, 12:00 and January 31, 23:00. One of January 31, 00:00 may be between them.
    let level = (0, january + 12 * HOUR, january + DAY + 23 * HOUR);
    assert!(hint_of(&[level], None).is_idle(&monthly, february - HOUR));
    assert!(!hint_of(&[level], None).is_idle(&monthly, february + HOUR));
    // Without another one it is certain until the time has come.
    let lone = hint_of(&[(0, level.1, level.1)], None);
    assert!(lone.is_idle(&monthly, february + 12 * HOUR - 31));
    assert!(!lone.is_idle(&monthly, february + 12 * HOUR - 30));
}

#[test]
fn a_deferral_counts_until_its_end_and_if_the_clock_was_right() {
    for ((end, last_run), is_idle) in [
        ((NOW + MAX_LEEWAY_S + 1, NOW), true),
        ((NOW + MAX_LEEWAY_S, NOW), false),
        ((NOW - HOUR, NOW - 2 * HOUR), false),
        ((NOW + DAY, NOW - 9 * DAY), true),
        ((NOW + 2 * DAY, NOW + 300), true),
        ((NOW + 2 * DAY, NOW + 301), false),
        ((NOW + 2 * DAY, UnixTime::MAX), false),
    ] {
        assert_eq!(hint_of(&[], Some((end, last_run))).is_idle(&policy(), NOW), is_idle, "{end} {last_run}");
    }
}

#[test]
fn the_deferrals_of_former_builds_are_read_and_theirs_do_not_read_ours() {
    let json = serde_json::to_value(hint_of(&[], Some((NOW, NOW - HOUR)))).unwrap();
    assert!(serde_json::from_value::<Option<(UnixTime, UnixTime)>>(json["deferred"].clone()).is_err());
    let former: DeferredHint = serde_json::from_value(json!([NOW + HOUR, NOW + DAY])).unwrap();
    assert_eq!(former, DeferredHint { first_end: NOW + HOUR, newest_last_run: NOW + DAY });
    assert!(serde_json::from_value::<DeferredHint>(json!([NOW])).is_err());
}

#[test]
fn only_the_job_and_the_expression_of_the_hint_are_certain() {
    let hints = [hint_of(&[], None)];
    let (app, other_app) = (hints[0].app_id.clone(), "app:org.example.other".parse().unwrap());
    let (job, other_job) = (JobName::default(), "other".parse().unwrap());
    let other_policy = "2 hour (x3)".parse().unwrap();
    assert!(is_certainly_idle(&hints, &app, &job, &policy(), NOW) && knows_app(&hints, &app));
    assert!(!is_certainly_idle(&hints, &other_app, &job, &policy(), NOW) && !knows_app(&hints, &other_app));
    assert!(!is_certainly_idle(&hints, &app, &other_job, &policy(), NOW));
    assert!(!is_certainly_idle(&hints, &app, &job, &other_policy, NOW));
}

#[test]
fn a_hint_counts_for_the_unchanged_file_of_its_database_only() {
    let directory = tempfile::tempdir().unwrap();
    let database = directory.path().join("db-1");
    fs::create_dir(&database).unwrap();
    fs::write(database.join("db"), "content").unwrap();
    let file = ReplacedFile::new(directory.path(), "hint");
    assert!(query(&file, &database).is_none());
    publish(&file, &database, vec![hint_of(&[(0, 1, 2)], None)]).unwrap();
    assert_eq!(query(&file, &database).unwrap()[0].levels, [(0, 1, 2)]);
    let good = fs::read(&file.path).unwrap();
    let flipped = [&good[..20], &[good[20] ^ 1], &good[21..]].concat();
    for bad in [flipped, good[..good.len() / 2].to_vec(), Vec::new()] {
        fs::write(&file.path, bad).unwrap();
        assert!(query(&file, &database).is_none());
    }
    fs::write(&file.path, &good).unwrap();
    assert!(query(&file, &database).is_some());
    fs::write(database.join("db"), "longer content").unwrap();
    assert!(query(&file, &database).is_none());
    assert!(remove(&file).unwrap() && !remove(&file).unwrap());
}

fn any_policy() -> impl Strategy<Value = Policy> {
    let units = ["sec", "min", "hour", "day", "week", "month", "year"];
    let level = (1..40_u32, prop::sample::select(units.to_vec()));
    prop::collection::vec(level, 1..4).prop_map(|levels| {
        let levels: Vec<_> = levels.iter().map(|(number, unit)| format!("{number} {unit} (x2)")).collect();
        levels.join("; ").parse().unwrap()
    })
}

/// Statuses of right clocks, of clocks some hours or days ahead, and new ones.
fn any_status(now: UnixTime) -> impl Strategy<Value = PollStatus> {
    let last_run = prop_oneof![
        3 => -70 * DAY..0,
        3 => -2 * HOUR..0,
        1 => 0..8 * HOUR,
        1 => 0..400 * DAY,
        1 => Just(-now),
    ];
    let deferral = prop_oneof![2 => Just(None), 1 => (0..2 * DAY).prop_map(Some), 1 => (0..40 * DAY).prop_map(Some)];
    let early_s = prop_oneof![2 => Just(0), 1 => 0..7_200_u32, 1 => 0..3_000_000_u32];
    (0..4_u32, last_run, early_s, deferral).prop_map(move |(level, offset, early_s, deferral)| {
        let last_run = now + offset;
        let not_before = deferral.map(|seconds| last_run + seconds);
        PollStatus { level, last_run, early_s, not_before, ..PollStatus::default() }
    })
}

/// Writes statuses for a new job; returns its hint, and how many connections are due.
fn ask(
    session: &WriteSession,
    name: &str,
    policy: &Policy,
    statuses: &[PollStatus],
    now: UnixTime,
) -> Result<(JobHint, usize)> {
    let (app_id, name) = ("app:org.example.myapp".parse().unwrap(), name.parse().unwrap());
    session.restore_job(&app_id, &name, Some(&policy.to_string()), None, None, &[])?;
    let job = session.ensure_job(session.intern_app(&app_id)?, &name)?;
    for (seq, status) in (0..).zip(statuses) {
        let locator = CxnLocator { batch_code: 7.try_into().unwrap(), seq };
        session.trees.apply(&status_writes(job.no, locator, status, DueFacts { disabled: false, host: 1 })?)?;
    }
    let batch = 0.try_into().unwrap()..=9_999.try_into().unwrap();
    let due = session.due(&job, policy, &batch, now)?.len();
    Ok((hint(session, job)?.unwrap(), due))
}

#[test]
fn nothing_is_due_where_the_hint_shows_an_idle_job() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::create(&directory.path().join("store"), Duration::from_secs(5)).unwrap();
    let cases = (NOW..NOW + 800 * DAY)
        .prop_flat_map(|now| (any_policy(), prop::collection::vec(any_status(now), 0..4), Just(now)));
    let run = |session: &WriteSession| {
        let count = |counter: &Cell<u32>, counted: bool| counter.set(counter.get() + u32::from(counted));
        let [number, idle, idle_and_deferred, hidden] = [const { Cell::new(0) }; 4];
        let mut runner = TestRunner::new(Config { cases: 600, failure_persistence: None, ..Config::default() });
        let tested = runner.run(&cases, |(policy, statuses, now)| {
            count(&number, true);
            let (hint, due) = ask(session, &format!("job{}", number.get()), &policy, &statuses, now).unwrap();
            let is_idle = hint.is_idle(&policy, now);
            prop_assert!(!is_idle || due == 0, "{policy} at {now}: {due} are due");
            prop_assert_eq!(due, statuses.iter().filter(|status| policy.is_due(status, now)).count());
            // The database is not opened for days before anything is due.
            let next = statuses.iter().filter_map(|status| policy.next_due_of_status(status)).min();
            prop_assert!(
                is_idle || due > 0 || next.is_some_and(|next| next < now + DAY + MAX_LEEWAY_S),
                "{policy} at {now}"
            );
            count(&idle, is_idle && hint.deferred.is_none());
            count(&idle_and_deferred, is_idle && hint.deferred.is_some());
            // Due, although no level shows it and no deferral has ended.
            let is_level_due = !JobHint { deferred: None, ..hint }.is_idle(&policy, now);
            let ends_later = hint.deferred.is_some_and(|deferred| deferred.first_end > now + MAX_LEEWAY_S);
            count(&hidden, due > 0 && !is_level_due && ends_later);
            Ok(())
        });
        tested.unwrap();
        // Every kind of case is among them.
        assert!(
            [&idle, &idle_and_deferred, &hidden].iter().all(|count| count.get() > 5),
            "{idle_and_deferred:?} {hidden:?}"
        );
        Ok(())
    };
    store.write(run).unwrap();
}

#[test]
fn a_deferred_connection_counts_when_it_is_due() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::create(&directory.path().join("store"), Duration::from_secs(5)).unwrap();
    let deferred = |level| PollStatus { level, last_run: NOW, not_before: Some(NOW + 60), ..PollStatus::default() };
    let run = |session: &WriteSession| {
        let (hint, _) = ask(session, "early", &policy(), &[deferred(1), deferred(0)], NOW)?;
        assert_eq!(hint.deferred, Some(DeferredHint { first_end: NOW + HOUR, newest_last_run: NOW }));
        let (hint, _) = ask(session, "given-up", &policy(), &[deferred(2)], NOW)?;
        assert_eq!(hint.deferred, None, "it is never due");
        Ok(())
    };
    store.write(run).unwrap();
}

#[test]
fn an_unreadable_status_makes_runs_open_the_database() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::create(&directory.path().join("store"), Duration::from_secs(5)).unwrap();
    let deferred = PollStatus { last_run: NOW, not_before: Some(NOW + DAY), ..PollStatus::default() };
    let run = |session: &WriteSession| {
        let (known, _) = ask(session, "known", &policy(), std::slice::from_ref(&deferred), NOW)?;
        assert!(known.is_idle(&policy(), NOW));
        let job = session.jobs(None)?.remove(0);
        let key = status_key(job.no, CxnLocator { batch_code: 7.try_into().unwrap(), seq: 0 });
        session.trees.apply(&[Write::put(TreeName::Status, key, [99])])?;
        assert!(!hint(session, job)?.unwrap().is_idle(&policy(), NOW));
        Ok(())
    };
    store.write(run).unwrap();
}

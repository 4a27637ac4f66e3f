//! What a diff predicts, an upsert reports; and what an upsert writes agrees.

use std::time::Duration;

use proptest::prelude::*;
use serde_json::json;

use super::{Change, CxnPatch, FieldPatch, InputIndex, StatusPatch};
use crate::model::{JobName, PollStatus, Secret};
use crate::store::{Error, Result, Store, WriteSession};

fn store() -> (tempfile::TempDir, Store) {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::create(&directory.path().join("store"), Duration::from_secs(30)).unwrap();
    (directory, store)
}

fn patch(number: u8) -> CxnPatch {
    CxnPatch {
        cxn_id: format!("cxn:{number}").parse().unwrap(),
        secret: Secret::from_bytes([7; 32]),
        app_id: "app:org.example.one".parse().unwrap(),
        app_url: "https://app.example/".to_owned(),
        site_url: format!("https://{number}.example/").into(),
        perm: FieldPatch::Keep,
        via_port: FieldPatch::Keep,
        batch_code: None,
        disabled: FieldPatch::Keep,
        poll_status: Vec::new(),
    }
}

fn polled(level: u32, last_run: i64) -> Vec<(JobName, PollStatus)> {
    vec![(JobName::default(), PollStatus { level, last_run, ..PollStatus::default() })]
}

/// Applies one patch and returns what changed, which must be what the diff predicted.
fn apply(session: &WriteSession, patch: &CxnPatch, force: bool) -> Result<Change> {
    let patches = std::slice::from_ref(patch);
    let predicted = session.diff(patches, force)?;
    let reported = session.upsert(patches, force)?;
    assert_eq!(predicted, reported, "{patch:?}");
    Ok(reported[0])
}

fn any_patch() -> impl Strategy<Value = CxnPatch> {
    let statuses = proptest::collection::vec((0..2_u8, 0..4_u32, 0..4_i64), 0..3).prop_map(|statuses| {
        let status = |(job, level, last_run)| {
            (format!("job{job}").parse().unwrap(), PollStatus { level, last_run, ..PollStatus::default() })
        };
        statuses.into_iter().map(status).collect::<Vec<(JobName, PollStatus)>>()
    });
    let perm = prop_oneof![
        Just(FieldPatch::Keep),
        Just(FieldPatch::Clear),
        Just(FieldPatch::Set(json!({"a": 1, "b": 2}))),
        // Equal as a value, but not as text.
        Just(FieldPatch::Set(json!({"b": 2, "a": 1}))),
    ];
    let via_port = prop_oneof![
        Just(FieldPatch::Keep),
        Just(FieldPatch::Clear),
        Just(FieldPatch::Set("proxy.example:80".parse().unwrap())),
    ];
    let disabled = prop_oneof![
        2 => Just(FieldPatch::Keep),
        1 => Just(FieldPatch::Clear),
        1 => any::<bool>().prop_map(FieldPatch::Set),
    ];
    ((0..4_u8, 0..2_u8, 0..2_u8, 0..2_u8, 0..2_u8), (perm, via_port, disabled, statuses)).prop_map(
        |((number, app, app_url, site, secret), (perm, via_port, disabled, poll_status))| CxnPatch {
            secret: Secret::from_bytes([secret; 32]),
            app_id: format!("app:org.example.app{app}").parse().unwrap(),
            app_url: format!("https://app{app_url}.example/"),
            site_url: format!("https://site{site}.example/").into(),
            perm,
            via_port,
            disabled,
            poll_status,
            ..patch(number)
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn a_diff_predicts_what_an_upsert_reports(
        patches in proptest::collection::vec((any_patch(), proptest::bool::weighted(0.2)), 1..24),
        retry in prop_oneof![Just("1 hour (x1)"), Just("1 hour (x1); 1 day (x9)")],
    ) {
        let (_directory, store) = store();
        store
            .write(|session| {
                for (patch, force) in &patches {
                    apply(session, patch, *force)?;
                    // So that some statuses are given up.
                    for job in session.jobs(None)? {
                        session.remember_retry(job.no, retry)?;
                    }
                }
                Ok(())
            })
            .unwrap();
        let check = store.check(false).unwrap();
        prop_assert_eq!(check.faults, 0, "{:?}", check);
    }
}

#[test]
fn each_kind_of_patch_changes_what_it_should() {
    let (_directory, store) = store();
    let first = CxnPatch { perm: FieldPatch::Set(json!({"a": 1})), poll_status: polled(1, 100), ..patch(1) };
    let steps: [(&str, CxnPatch, bool, Change); 14] = [
        ("a new connection", first.clone(), false, Change::Added),
        ("the same again", first.clone(), false, Change::Unchanged),
        ("nothing optional", patch(1), false, Change::Unchanged),
        ("an older status", CxnPatch { poll_status: polled(0, 99), ..patch(1) }, false, Change::Unchanged),
        ("an older status, forced", CxnPatch { poll_status: polled(0, 99), ..patch(1) }, true, Change::Updated),
        ("the same status, forced", CxnPatch { poll_status: polled(0, 99), ..patch(1) }, true, Change::Unchanged),
        ("a newer status", CxnPatch { poll_status: polled(0, 101), ..patch(1) }, false, Change::Updated),
        ("no perm", CxnPatch { perm: FieldPatch::Clear, ..patch(1) }, false, Change::Updated),
        (
            "a proxy",
            CxnPatch { via_port: FieldPatch::Set("p.example:80".parse().unwrap()), ..patch(1) },
            false,
            Change::Updated,
        ),
        ("no proxy", CxnPatch { via_port: FieldPatch::Clear, ..patch(1) }, false, Change::Updated),
        ("disabled", CxnPatch { disabled: FieldPatch::Set(true), ..patch(1) }, false, Change::Updated),
        ("still disabled", patch(1), false, Change::Unchanged),
        ("enabled", CxnPatch { disabled: FieldPatch::Clear, ..patch(1) }, false, Change::Updated),
        ("another app", CxnPatch { app_id: "app:org.example.two".parse().unwrap(), ..patch(1) }, false, Change::Moved),
    ];
    store
        .write(|session| {
            for (name, patch, force, expected) in &steps {
                assert_eq!(apply(session, patch, *force)?, *expected, "{name}");
            }
            Ok(())
        })
        .unwrap();
    assert_eq!(store.check(false).unwrap().faults, 0);
}

#[test]
fn a_reconnected_site_that_was_given_up_is_new_again() {
    let (_directory, store) = store();
    let given_up = CxnPatch { poll_status: polled(1, 100), ..patch(1) };
    let level = |session: &WriteSession| {
        let key = session.find(&given_up.cxn_id)?.unwrap();
        let job = session.job(key.app, &JobName::default())?.unwrap();
        Ok::<_, Error>(session.status(job.no, key.locator)?.unwrap().level)
    };
    store
        .write(|session| {
            apply(session, &given_up, false)?;
            let app = session.app_no(&given_up.app_id)?.unwrap();
            let job = session.job(app, &JobName::default())?.unwrap();
            session.remember_retry(job.no, "1 hour (x1)")?;
            assert_eq!(
                apply(session, &CxnPatch { disabled: FieldPatch::Set(false), ..patch(1) }, false)?,
                Change::Unchanged
            );
            assert_eq!(level(session)?, 1);
            let moved = CxnPatch { site_url: "https://new.example/".into(), ..patch(1) };
            assert_eq!(apply(session, &moved, false)?, Change::Updated);
            assert_eq!(level(session)?, 0);
            Ok(())
        })
        .unwrap();
}

#[test]
fn an_import_keeps_the_network_of_the_last_success() {
    let (_directory, store) = store();
    let known = |last_success, network| {
        let status = PollStatus { last_run: 9, last_success, network, ..PollStatus::default() };
        CxnPatch { poll_status: vec![(JobName::default(), status)], ..patch(1) }
    };
    store
        .write(|session| {
            apply(session, &known(Some(5), Some(7)), false)?;
            assert_eq!(apply(session, &known(Some(5), None), true)?, Change::Unchanged);
            assert_eq!(apply(session, &known(Some(6), None), true)?, Change::Updated);
            let key = session.find(&patch(1).cxn_id)?.unwrap();
            assert_eq!(session.connection(key)?.unwrap().1, known(Some(6), None).poll_status);
            Ok(())
        })
        .unwrap();
}

#[test]
fn a_status_patch_changes_nothing_else() {
    let (_directory, store) = store();
    let first = CxnPatch { perm: FieldPatch::Set(json!({"a": 1})), disabled: FieldPatch::Set(true), ..patch(1) };
    store
        .write(|session| {
            apply(session, &first, false)?;
            let key = session.find(&first.cxn_id)?.unwrap();
            let before = session.cxn(key)?;
            let status = StatusPatch { cxn_id: first.cxn_id.clone(), poll_status: polled(0, 5) };
            let of_status = session.patch_of(&status)?.unwrap();
            assert_eq!(apply(session, &of_status, false)?, Change::Updated);
            assert_eq!((session.cxn(key)?, session.connection(key)?.unwrap().1), (before, polled(0, 5)));
            let missing = StatusPatch { cxn_id: "cxn:missing".parse().unwrap(), ..status };
            assert_eq!(session.patch_of(&missing)?, None);
            Ok(())
        })
        .unwrap();
}

#[test]
fn an_input_has_the_connections_and_apps_that_were_added() {
    let mut input = InputIndex::default();
    assert!(input.is_empty());
    let one = patch(1);
    assert!(input.insert(&one.cxn_id, &one.app_id) && !input.insert(&one.cxn_id, &one.app_id));
    assert!(input.contains(&one.cxn_id) && !input.contains(&patch(2).cxn_id) && !input.is_empty());
    assert!(input.has_app(&one.app_id) && !input.has_app(&"app:org.example.two".parse().unwrap()));
}

#[test]
fn an_import_adds_changes_of_conditions_to_history() {
    use crate::model::{Attempt, Condition::*, FailureClass, Transition};
    const DAY: i64 = 86_400;
    let (_directory, store) = store();
    let history = store.history();
    let status = |last_run: i64, class: Option<FailureClass>| PollStatus {
        last_run,
        attempts: vec![Attempt { at: last_run, class, duration_ms: 1 }],
        ..PollStatus::default()
    };
    let deferred = |last_run| {
        let mut status = status(last_run - 3600, None);
        (status.last_run, status.deferrals) = (last_run, 1);
        status.attempts.push(Attempt { at: last_run, class: Some(FailureClass::Http), duration_ms: 1 });
        status
    };
    let import = |number, status: PollStatus, force| {
        let patches = [CxnPatch { poll_status: vec![(JobName::default(), status)], ..patch(number) }];
        let (mut before, mut after) = (0, Vec::new());
        history
            .scan(0, |_| {
                before += 1;
                Ok::<_, Error>(())
            })
            .unwrap();
        store
            .write(|session| {
                session.note_upsert(&history, &patches, force, 400 * DAY)?;
                session.upsert(&patches, force)
            })
            .unwrap();
        history
            .scan(0, |frame| {
                after.push(frame);
                Ok::<_, Error>(())
            })
            .unwrap();
        let entries = after.into_iter().skip(before).flat_map(|frame| {
            assert_eq!((frame.at, frame.job), (400 * DAY, Some((patch(1).app_id, JobName::default()))));
            frame.entries
        });
        let transitions: Vec<_> = entries.map(|entry| *entry.transition().unwrap()).collect();
        assert!(transitions.iter().all(|entry| entry.cxn == (&patches[0].cxn_id).into() && entry.host.is_none()));
        transitions.into_iter().map(|entry| entry.transition).collect::<Vec<_>>()
    };
    let timeout = Some(FailureClass::Timeout);
    let change = |at, from, to, class| vec![Transition { at, from, to, class, unknown_from: None }];
    assert_eq!(import(1, PollStatus::default(), false), []);
    assert_eq!(import(2, status(DAY, timeout), false), change(DAY, New, Failing, timeout));
    assert_eq!(import(3, deferred(DAY), false), change(DAY, New, Up, None));
    assert_eq!(import(2, status(DAY, timeout), false), []);
    assert_eq!(import(2, status(DAY + 3600, timeout), false), []);
    assert_eq!(import(2, status(DAY + 7200, None), false), change(DAY + 7200, Failing, Up, None));
    // The default expression polls every hour.
    let gap = Transition { at: 2 * DAY, from: Up, to: Up, class: None, unknown_from: Some(DAY + 10_800) };
    assert_eq!(import(2, status(2 * DAY, None), false), [gap]);
    assert_eq!(import(2, status(DAY, timeout), false), [], "it is older");
    assert_eq!(import(2, status(DAY, timeout), true), change(2 * DAY, Up, Failing, timeout));
    // The last poll is known until the next one, whatever an import makes of level and lastRun.
    assert_eq!(import(2, status(DAY - 60, timeout), true), []);
    assert_eq!(import(2, status(2 * DAY, None), false), change(2 * DAY, Failing, Up, None));
    // A revived connection was polled before it was revived.
    let mut revived = status(2 * DAY + 120, None);
    revived.level = 1;
    revived.revive();
    assert_eq!(import(4, revived.clone(), false), change(2 * DAY + 120, New, Up, None));
    assert_eq!(import(4, status(2 * DAY, timeout), false), [], "it is older");
    assert_eq!(import(2, revived, false), []);
    let (condition, known_until) = store
        .read(|session| {
            let key = session.find(&patch(2).cxn_id)?.unwrap();
            let status = session.connection(key)?.unwrap().1.remove(0).1;
            let policy = crate::retry::Policy::default();
            Ok((policy.condition(&status), policy.known_until(&status)))
        })
        .unwrap();
    assert_eq!((condition, known_until), (Up, Some((3 * DAY + 120, 5 * DAY + 120))));
    let loss = change(400 * DAY, Up, New, None).remove(0);
    assert_eq!(
        import(2, PollStatus::default(), true),
        [Transition { unknown_from: Some(5 * DAY + 120), ..loss }],
        "its status goes away"
    );
    assert_eq!(import(2, PollStatus::default(), true), []);
    // A connection that was removed is new.
    store
        .write(|session| {
            let key = session.find(&patch(2).cxn_id)?.unwrap();
            session.admin(&[(key, Vec::new())], crate::store::AdminAction::Remove)
        })
        .unwrap();
    assert_eq!(import(2, status(3 * DAY, None), false), change(3 * DAY, New, Up, None));
}

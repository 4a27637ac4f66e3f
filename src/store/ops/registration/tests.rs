use std::time::Duration;

use serde_json::json;

use super::*;
use crate::model::{BatchCode, Cxn, JobName, PollStatus};
use crate::retry::Policy;
use crate::store::engine::Write;
use crate::store::history::Entry;
use crate::store::schema::status_key;
use crate::store::{Limits, Store, StoredResult, WhichResults};

const NOW: UnixTime = 1_800_000_000;
const HOUR: UnixTime = 3600;
/// The app of the samples.
const APP: &str = "app:org.example.one";

struct Scene {
    _dir: tempfile::TempDir,
    store: Store,
    messages: std::cell::Cell<u8>,
}

impl Scene {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::create(&dir.path().join("store"), Duration::from_secs(10)).unwrap();
        Self { _dir: dir, store, messages: std::cell::Cell::new(0) }
    }

    /// A registration with a message of its own.
    fn message(&self, change: RegistrationChange) -> Registration {
        self.messages.update(|messages| messages + 1);
        Registration { change, hmac: [self.messages.get(); 32], ttl: NOW + 2 * HOUR, origin: "203.0.113.7".to_owned() }
    }

    fn register(&self, patch: &CxnPatch) -> RegistrationOutcome {
        self.done(&self.message(new(patch)))
    }

    fn unregister(&self, patch: &CxnPatch) -> RegistrationOutcome {
        self.done(&self.message(end(patch)))
    }

    /// What becomes of a registration, which must be that of its preview.
    fn done(&self, registration: &Registration) -> RegistrationOutcome {
        let preview = self.store.preview_registration(registration, NOW).unwrap();
        let done = self.store.register(registration, NOW).unwrap();
        assert_eq!(done, preview);
        assert_eq!(self.store.check(false).unwrap().faults, 0);
        done
    }

    fn cxns(&self) -> Vec<Cxn> {
        let mut cxns = Vec::new();
        self.store
            .for_each_cxn(|_, cxn, _| {
                cxns.push(cxn);
                Ok::<_, Error>(())
            })
            .unwrap();
        cxns
    }

    /// The actions in history, with their connections.
    fn actions(&self) -> Vec<(String, usize)> {
        let mut actions = Vec::new();
        let scan = |frame: crate::store::Frame| {
            for entry in frame.entries {
                if let Entry::Admin(action) = entry {
                    assert_eq!((&*action.user, &*action.detail), ("site", "203.0.113.7"));
                    actions.push((action.action, action.cxns.len()));
                }
            }
            Ok::<_, Error>(())
        };
        self.store.history().scan(0, scan).unwrap();
        actions
    }
}

fn sample(number: u8) -> CxnPatch {
    CxnPatch { perm: FieldPatch::Set(json!({"api": [number]})), ..CxnPatch::sample(number) }
}

fn new(patch: &CxnPatch) -> RegistrationChange {
    RegistrationChange::Register { patch: Box::new(patch.clone()), hold: false, per_host: None }
}

fn end(patch: &CxnPatch) -> RegistrationChange {
    let CxnPatch { cxn_id, secret, app_id, .. } = patch.clone();
    RegistrationChange::Unregister { cxn_id, secret, app_id }
}

#[test]
fn a_new_connection_is_added_and_the_same_again_changes_nothing() {
    use RegistrationOutcome::{Done, Repeated};
    let scene = Scene::new();
    let first = scene.message(new(&sample(1)));
    assert_eq!((scene.done(&first), scene.done(&first)), (Done, Repeated));
    assert_eq!(scene.register(&sample(1)), Done);
    let cxns = scene.cxns();
    assert_eq!((cxns.len(), cxns[0].cxn_id.as_str(), cxns[0].disabled), (1, "cxn:1", false));
    assert_eq!((&cxns[0].perm.to_string()[..], cxns[0].secret == sample(1).secret), (r#"{"api":[1]}"#, true));
    assert_eq!(scene.actions(), [("register".to_owned(), 1)]);
    for number in 2..8 {
        assert_eq!(scene.register(&sample(number)), Done);
    }
    let codes: HashSet<_> = scene.cxns().iter().map(|cxn| cxn.batch_code.get()).collect();
    assert!(codes.len() > 3, "batch codes are random: {codes:?}");
}

#[test]
fn new_details_replace_the_old_ones_and_the_rest_stays() {
    let scene = Scene::new();
    let via_port = FieldPatch::Set("proxy.example:80".parse().unwrap());
    let stored = CxnPatch { batch_code: Some(BatchCode::MAX), disabled: FieldPatch::Set(true), via_port, ..sample(1) };
    let polled = PollStatus { last_run: NOW - HOUR, level: 1, count: 1, ..PollStatus::default() };
    let stored = CxnPatch { poll_status: vec![(JobName::default(), polled)], ..stored };
    let remembers = |session: &WriteSession| {
        session.upsert(std::slice::from_ref(&stored), false)?;
        let app = session.app_no(&stored.app_id)?.unwrap();
        session.remember_retry(session.job(app, &JobName::default())?.unwrap().no, "1 hour (x3); 1 day (x3)")
    };
    scene.store.write(remembers).unwrap();
    let patch = CxnPatch {
        app_url: "https://new.example/".to_owned(),
        site_url: "https://moved.example/".into(),
        perm: FieldPatch::Set(json!(["new"])),
        ..sample(1)
    };
    assert_eq!(scene.register(&patch), RegistrationOutcome::Done);
    let cxn = scene.cxns().remove(0);
    assert_eq!((&*cxn.app_url, cxn.site_url.with_credentials()), ("https://new.example/", "https://moved.example/"));
    assert_eq!((cxn.perm.to_string(), cxn.via_port), (r#"["new"]"#.to_owned(), None));
    assert_eq!((cxn.batch_code, cxn.disabled), (BatchCode::MAX, true));
    let status = scene.store.read(|session| {
        let key = session.find(&stored.cxn_id)?.unwrap();
        session.status(session.job(key.app, &JobName::default())?.unwrap().no, key.locator)
    });
    assert_eq!(status.unwrap().unwrap().level, 1, "it is not given up");
    assert_eq!(scene.actions(), [("register".to_owned(), 1)]);
}

#[test]
fn a_registration_revives_where_the_connection_is_given_up_and_is_due_at_once() {
    let scene = Scene::new();
    let policy: Policy = "1 hour (x2)".parse().unwrap();
    let idle = |job: &str| {
        let app_id = APP.parse().unwrap();
        scene.store.is_certainly_idle(&app_id, &job.parse().unwrap(), &policy, NOW)
    };
    let status = |level| PollStatus { last_run: NOW, level, count: 1, ..PollStatus::default() };
    let poll_status = vec![("lost".parse().unwrap(), status(1)), ("well".parse().unwrap(), status(0))];
    let stored = CxnPatch { poll_status, ..sample(1) };
    let prepare = |session: &WriteSession| {
        session.upsert(std::slice::from_ref(&stored), false)?;
        for job in session.jobs(None)? {
            session.remember_retry(job.no, &policy.to_string())?;
            assert!(session.backfill(&job)?);
        }
        Ok(())
    };
    scene.store.write(prepare).unwrap();
    assert!(idle("lost") && idle("well"));
    assert_eq!(scene.register(&sample(1)), RegistrationOutcome::Done);
    let levels = scene.store.read(|session| {
        let key = session.find(&stored.cxn_id)?.unwrap();
        let jobs = session.jobs(None)?;
        jobs.iter().map(|job| Ok(session.status(job.no, key.locator)?.unwrap().is_new())).collect::<Result<Vec<_>>>()
    });
    assert_eq!(levels.unwrap(), [true, false]);
    assert!(!idle("lost") && idle("well"));
    assert_eq!(scene.register(&sample(2)), RegistrationOutcome::Done);
    assert!(!idle("lost") && !idle("well"), "a new connection is due for each job");
}

#[test]
fn another_secret_or_app_changes_nothing() {
    use RegistrationOutcome::{Done, OtherApp, OtherSecret};
    let scene = Scene::new();
    assert_eq!(scene.register(&sample(1)), Done);
    let before = scene.cxns();
    let secret = |byte| CxnPatch { secret: Secret::from_bytes([byte; 32]), ..sample(1) };
    let other_app = CxnPatch { app_id: "app:org.example.two".parse().unwrap(), ..sample(1) };
    let both = CxnPatch { app_id: other_app.app_id.clone(), ..secret(9) };
    for (patch, refusal) in [(secret(9), OtherSecret), (other_app, OtherApp), (both, OtherSecret)] {
        assert_eq!((scene.register(&patch), scene.unregister(&patch)), (refusal, refusal));
        let registered = scene.store.is_registered(&patch.cxn_id, &patch.secret, &patch.app_id);
        assert!(!registered.unwrap());
        assert_eq!(scene.cxns(), before);
    }
    assert!(scene.store.is_registered(&before[0].cxn_id, &before[0].secret, &before[0].app_id).unwrap());
    assert_eq!(scene.store.read(ReadSession::apps).unwrap().len(), 1);
    // A refusal is not remembered: the same message counts once it is right.
    let refused = scene.message(new(&secret(9)));
    assert_eq!(scene.done(&refused), OtherSecret);
    assert_eq!((scene.unregister(&sample(1)), scene.done(&refused)), (Done, Done));
}

#[test]
fn a_connection_goes_with_its_statuses_and_results_and_can_come_back() {
    use RegistrationOutcome::{Done, Repeated};
    let scene = Scene::new();
    assert_eq!(scene.unregister(&sample(1)), Done, "it is as the site wants it");
    assert_eq!(scene.actions(), []);
    let status = PollStatus { last_run: NOW - HOUR, ..PollStatus::default() };
    let patch = CxnPatch { poll_status: vec![(JobName::default(), status)], ..sample(1) };
    scene.store.write(|session| session.upsert(&[patch, sample(2)], false)).unwrap();
    let limits = Limits::default();
    let kept = [1, 2].map(|number| {
        let CxnPatch { cxn_id, app_id, .. } = sample(number);
        let (job, value) = (JobName::default(), json!({}));
        StoredResult { cxn_id, app_id, job, at: NOW, failure: None, value, bytes: 2 }.encode(&limits).unwrap()
    });
    scene.store.keep_results(&kept, &limits).unwrap();
    let results = || {
        let mut of = Vec::new();
        let emit = |result: StoredResult| {
            of.push(result.cxn_id.to_string());
            Ok::<_, Error>(())
        };
        scene.store.for_each_result(None, None, WhichResults::All, emit).unwrap();
        of
    };
    assert_eq!(results(), ["cxn:1", "cxn:2"]);
    let left = scene.message(end(&sample(1)));
    assert_eq!(scene.done(&left), Done);
    assert_eq!((results(), scene.cxns().len()), (vec!["cxn:2".to_owned()], 1));
    assert_eq!(scene.actions(), [("unregister".to_owned(), 1)]);
    // It comes back, and the old message does not remove it.
    assert_eq!((scene.register(&sample(1)), scene.done(&left)), (Done, Repeated));
    assert_eq!(scene.cxns().len(), 2);
    // Once the message has expired, it is refused before the store is asked.
    assert_eq!(scene.store.preview_registration(&left, left.ttl + 1).unwrap(), Done);
}

#[test]
fn held_connections_are_disabled_until_they_are_enabled() {
    let scene = Scene::new();
    let held = |patch: CxnPatch| {
        let change = RegistrationChange::Register { patch: Box::new(patch), hold: true, per_host: None };
        assert_eq!(scene.done(&scene.message(change)), RegistrationOutcome::Done);
        scene.cxns().iter().map(|cxn| cxn.disabled).collect::<Vec<_>>()
    };
    assert_eq!(held(sample(1)), [true]);
    let enable = CxnPatch { disabled: FieldPatch::Clear, ..sample(1) };
    scene.store.write(|session| session.upsert(&[enable], false)).unwrap();
    assert_eq!(held(sample(1)), [false], "only a new one is held");
}

#[test]
fn a_host_has_at_most_so_many_connections() {
    use RegistrationOutcome::{Done, HostFull};
    let scene = Scene::new();
    let capped = |number: u8, site_url: &str| {
        let patch = CxnPatch { site_url: site_url.into(), ..sample(number) };
        scene.message(RegistrationChange::Register { patch: Box::new(patch), hold: false, per_host: Some(2) })
    };
    let register = |number, site_url| scene.done(&capped(number, site_url));
    assert_eq!(register(1, "https://a.example/"), Done);
    let via = CxnPatch {
        site_url: "http://A.example:8080/x".into(),
        via_port: FieldPatch::Set("b.example:80".parse().unwrap()),
        ..sample(2)
    };
    assert_eq!(scene.register(&via), Done);
    assert_eq!(register(3, "https://jo:pw@a.example./other"), HostFull, "the proxy does not count");
    assert_eq!(register(3, "https://b.example/"), Done);
    assert_eq!(register(1, "https://a.example/new"), Done, "a known one may change");
    assert_eq!(register(3, "https://a.example/3"), HostFull, "it may not move there");
    assert!(scene.cxns().iter().any(|cxn| cxn.site_url.with_credentials() == "https://b.example/"));
    // One leaves, and the next two come in one session.
    let left = scene.message(end(&sample(1)));
    let group = [left, capped(4, "https://a.example/4"), capped(5, "https://a.example/5")];
    let requests = group.iter().zip(1..).map(|(registration, number)| Request { registration, number, now: NOW });
    let requests: Vec<_> = requests.collect();
    let done = scene.store.write(|session| session.register(&scene.store.history(), &requests, NOW)).unwrap();
    let outcomes: Vec<_> = done.into_iter().map(|done| done.unwrap().outcome).collect();
    assert_eq!(outcomes, [Done, Done, HostFull]);
}

#[test]
fn requests_of_a_group_are_as_if_one_came_after_the_other() {
    use RegistrationOutcome::{Done, OtherSecret, Repeated};
    let scene = Scene::new();
    let thief = CxnPatch { secret: Secret::from_bytes([9; 32]), ..sample(1) };
    let first = scene.message(new(&sample(1)));
    let group = [
        first.clone(),
        scene.message(new(&thief)),
        first,
        scene.message(end(&sample(1))),
        scene.message(new(&thief)),
        scene.message(new(&sample(2))),
    ];
    let requests: Vec<_> =
        group.iter().zip(1..).map(|(registration, number)| Request { registration, number, now: NOW }).collect();
    let register = |requests: &[Request]| {
        let done = scene.store.write(|session| session.register(&scene.store.history(), requests, NOW)).unwrap();
        done.into_iter().map(|done| done.unwrap().outcome).collect::<Vec<_>>()
    };
    assert_eq!(register(&requests), [Done, OtherSecret, Repeated, Done, Done, Done]);
    assert_eq!(scene.cxns().len(), 2);
    // The first process was killed before its answer, and asks again.
    assert_eq!(register(&requests[..1]), [Done]);
    assert_eq!(scene.store.check(false).unwrap().faults, 0);
    assert_eq!(scene.actions().len(), 4);
}

#[test]
fn what_cannot_be_read_is_an_error_of_its_connection_only() {
    let scene = Scene::new();
    let status = |number| {
        let status = PollStatus { last_run: NOW, ..PollStatus::default() };
        CxnPatch { poll_status: vec![(JobName::default(), status)], ..sample(number) }
    };
    scene.store.write(|session| session.upsert(&[1, 2, 3].map(status), false)).unwrap();
    scene
        .store
        .write(|session| {
            let key = |number: u8| Ok::<_, Error>(session.find(&sample(number).cxn_id)?.unwrap());
            let job = session.job(key(1)?.app, &JobName::default())?.unwrap();
            session.trees.apply(&[
                Write::put(TreeName::Cxn, key(1)?.to_bytes(), [9, 1, 2]),
                Write::put(TreeName::Status, status_key(job.no, key(2)?.locator), [9, 1, 2]),
                Write::put(TreeName::Id, *b"cxn:3", [9, 1, 2]),
            ])
        })
        .unwrap();
    for number in 1..=3 {
        for change in [new(&sample(number)), end(&sample(number))] {
            let group = [scene.message(change), scene.message(new(&sample(4)))];
            let requests: Vec<_> = group
                .iter()
                .zip(1..)
                .map(|(registration, number)| Request { registration, number, now: NOW })
                .collect();
            let done = scene.store.write(|session| session.register(&scene.store.history(), &requests, NOW)).unwrap();
            let is_unreadable = matches!(done[0], Err(Error::Database { problem: Problem::Unreadable(_), .. }));
            assert!(is_unreadable && done[1].is_ok(), "{number}: {done:?}");
            assert!(scene.store.register(&group[0], NOW).is_err());
            assert!(scene.store.preview_registration(&group[0], NOW).is_err());
        }
    }
    assert!(scene.store.is_registered(&sample(1).cxn_id, &sample(1).secret, &sample(1).app_id).is_err());
    assert_eq!(scene.actions(), [("register".to_owned(), 1)]);
}

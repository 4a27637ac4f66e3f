//! What a report lists and counts, from the history of a few sites.

use std::sync::Arc;
use std::time::Duration;

use super::*;
use crate::model::{
    BatchCode, Condition, Cxn, Failure, FailureClass, JobName, Outcome, PollStatus, Secret, Transition,
};
use crate::report::{Changes, Collector, changes, of_connection};
use crate::retry::Policy;
use crate::store::{AdminEntry, CxnPatch, Entry, Error, FieldPatch, Frame, Job, SiteTransition, Store, WriteSession};

const H: UnixTime = 3600;
/// The time of the report, of 10 hours.
const FROM: UnixTime = 20 * H;
const TO: UnixTime = 30 * H;

/// A store with history since 1970 and two jobs.
struct World {
    _dir: tempfile::TempDir,
    store: Store,
    jobs: [Job; 2],
}

fn cxn(name: &str) -> Cxn {
    Cxn {
        cxn_id: format!("cxn:{name}").parse().unwrap(),
        secret: Secret::from_bytes([0; 32]),
        app_id: "app:org.example.myapp".parse().unwrap(),
        app_url: "https://app.example/".into(),
        site_url: format!("https://{name}.example/").into(),
        perm: Arc::default(),
        via_port: None,
        batch_code: BatchCode::MIN,
        disabled: false,
    }
}

/// The status of a site that was polled last at `now`, and has failed since a time.
fn status(now: UnixTime, failing_since: Option<UnixTime>) -> PollStatus {
    let mut status = PollStatus::default();
    let failed: Outcome = Err(Failure::new(FailureClass::Http, "status 500"));
    for at in (0..12).rev().map(|hours| now - hours * H) {
        let fails = failing_since.is_some_and(|since| at >= since);
        Policy::default().apply(&mut status, at, if fails { &failed } else { &Ok(()) });
    }
    status
}

impl World {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::create(&dir.path().join("store"), Duration::from_secs(10)).unwrap();
        let Cxn { cxn_id, secret, app_id, app_url, site_url, .. } = cxn("a");
        let patch = CxnPatch {
            cxn_id,
            secret,
            app_id,
            app_url: app_url.to_string(),
            site_url,
            perm: FieldPatch::Keep,
            via_port: FieldPatch::Keep,
            batch_code: None,
            disabled: FieldPatch::Keep,
            poll_status: Vec::new(),
        };
        let history = store.history();
        let jobs = |session: &WriteSession| {
            history.begin(session, 0)?;
            session.upsert(std::slice::from_ref(&patch), false)?;
            let app = session.find(&patch.cxn_id)?.unwrap().app;
            Ok::<_, Error>([session.ensure_job(app, &JobName::default())?, session.ensure_job(app, &job("a"))?])
        };
        let jobs = store.write(jobs).unwrap();
        Self { _dir: dir, store, jobs }
    }

    fn append(&self, at: UnixTime, entry: &Entry) {
        let frame = || Frame { at, job: Some((cxn("a").app_id, JobName::default())), entries: vec![entry.clone()] };
        self.store.write(|session| self.store.history().append(session, frame())).unwrap();
    }

    /// Adds transitions of a site on a host, each with its time.
    fn goes(&self, name: &str, host: &str, transitions: &[(UnixTime, Condition)]) {
        let mut from = Condition::New;
        for (at, to) in transitions {
            let class = to.is_down().then_some(FailureClass::Timeout);
            let transition = Transition { at: *at, from, to: *to, class, unknown_from: None };
            let site = SiteTransition { cxn: CxnHash::from(&cxn(name).cxn_id), host: host.parse().ok(), transition };
            self.append(*at, &Entry::Transition(site));
            from = *to;
        }
    }
}

fn job(name: &str) -> JobName {
    name.parse().unwrap()
}

fn url(name: &str) -> String {
    format!("https://{name}.example/")
}

use Condition::{Failing, GivenUp, Up};

/// The sites a, b, c and d were down in the time of the report, e only before it, and f never. The others are not stored.
fn ledger() -> Ledger {
    let world = World::new();
    let at = |hours: UnixTime| FROM + hours * H;
    world.goes("a", "192.0.2.1", &[(0, Up), (at(1), Failing), (at(4), Up), (at(5), Failing), (at(6), Up)]);
    world.goes("b", "192.0.2.2", &[(0, Up), (at(2), Failing)]);
    world.goes("c", "", &[(0, Up), (at(0), Failing), (at(1), Up), (at(7), Failing), (at(8), Up)]);
    world.goes("d", "192.0.2.3", &[(at(8), Up), (at(9), Failing), (at(9) + H / 2, Up)]);
    world.goes("e", "192.0.2.4", &[(0, Up), (2 * H, Failing), (3 * H, Up)]);
    world.goes("f", "", &[(0, Up)]);
    world.goes("gone", "192.0.2.5", &[(0, Up), (at(1), Failing), (at(2), GivenUp)]);
    world.goes("gone-before", "192.0.2.5", &[(0, Up), (at(-1), Failing)]);
    let history = world.store.history();
    let mut collector = Collector::new(&history, FROM, TO, false).unwrap();
    let [first, second] = world
        .jobs
        .each_ref()
        .map(|job| collector.add_job("app:org.example.myapp".parse().unwrap(), job, Policy::default()));
    for name in ["a", "b", "c", "d", "e", "f"] {
        let of_first = status(TO, (name == "b").then_some(at(2)));
        let of_second = status(TO, None);
        collector
            .add(&cxn(name), [(first, &of_first), (second, &of_second)].into_iter().take(1 + usize::from(name == "f")));
    }
    collector.read(&history).unwrap()
}

#[test]
fn the_worst_are_listed_in_order() {
    let ledger = ledger();
    let report = ledger.report(9);
    let sites: Vec<_> = report.worst_sites.iter().map(|site| (site.site_url.to_string(), site.times.down_s)).collect();
    let half = H.unsigned_abs() / 2;
    assert_eq!(sites, [(url("b"), 16 * half), (url("a"), 8 * half), (url("d"), half), (url("c"), 4 * half)]);
    let hosts: Vec<_> = report
        .worst_hosts
        .iter()
        .map(|host| (host.host.to_string(), host.sites, host.incidents, host.down_s / half))
        .collect();
    let host = |name: &str, incidents, halves| (name.to_owned(), 1, incidents, halves);
    let expected =
        [host("192.0.2.2", 1, 16), host("192.0.2.1", 2, 8), host("c.example", 2, 4), host("192.0.2.3", 1, 1)];
    assert_eq!(hosts, expected);
    let few = ledger.report(2);
    assert_eq!((few.worst_hosts.len(), few.hosts, few.worst_sites.len()), (2, 4, 2));
    assert_eq!(few.worst_sites[0].site_url.to_string(), url("b"));
    let incidents = |incidents: &[IncidentReport]| {
        let text = |report: &IncidentReport| (report.site_url.to_string(), (report.incident.from - FROM) / H);
        incidents.iter().map(text).collect::<Vec<_>>()
    };
    assert_eq!(incidents(&few.longest), [(url("b"), 2), (url("a"), 1)]);
    assert_eq!(incidents(&few.latest), [(url("d"), 9), (url("c"), 7)]);
}

#[test]
fn jobs_and_what_is_gone_are_counted() {
    let ledger = ledger();
    let jobs = ledger.jobs();
    let names: Vec<_> = jobs.iter().map(|job| (job.job.to_string(), job.sites, job.down, job.incidents)).collect();
    assert_eq!(names, [("a".to_owned(), 1, 0, 0), ("default".to_owned(), 6, 1, 6)]);
    assert_eq!(jobs[1].slices.iter().map(|slice| slice.incidents).sum::<u64>(), 6);
    assert_eq!(ledger.gone, Some(Gone { sites: 1, incidents: 1 }));
    let sites: Vec<_> = ledger.sites().filter(|site| site.job == JobName::default()).collect();
    let failing: Vec<_> = sites.iter().map(SiteReport::failing_since).collect();
    assert_eq!(failing, [None, Some(FROM + 2 * H), None, None, None, None]);
    let from: Vec<_> = sites[0].incidents.iter().map(|incident| (incident.from - FROM) / H).collect();
    assert_eq!((from, sites[0].times.unknown_s), (vec![1, 5], 0));
}

#[test]
fn changes_are_those_after_a_time_of_what_is_stored() {
    let world = World::new();
    world.goes("a", "", &[(0, Up), (FROM, Failing)]);
    world.goes("b", "", &[(0, Up), (FROM + 1, Failing)]);
    world.goes("c", "", &[(0, Up), (TO, Failing)]);
    world.goes("d", "", &[(0, Up), (TO + 1, Failing)]);
    world.goes("e", "", &[(0, Up), (FROM + 2, Failing)]);
    let (user, action, cxns) = ("root".to_owned(), "remove".to_owned(), vec!["cxn:e".to_owned()]);
    world.append(TO, &Entry::Admin(AdminEntry { at: TO, user, action, cxns, detail: String::new() }));
    let found = changes(&world.store.history(), FROM, TO).unwrap();
    let of_job = found[&(cxn("a").app_id, JobName::default())];
    assert_eq!(of_job, Changes { failing: 2, ..Changes::default() });
}

#[test]
fn an_incident_from_before_the_last_30_days_has_its_true_start() {
    const DAY: UnixTime = 24 * H;
    let world = World::new();
    let (failed, now) = (40 * DAY, 140 * DAY);
    world.goes("a", "", &[(0, Up), (failed, Failing)]);
    let status = status(now, Some(failed));
    let jobs = [(&world.jobs[0], &Policy::default(), &status)];
    let ledger = of_connection(&world.store.history(), now, &cxn("a"), &jobs).unwrap();
    assert_eq!(ledger.sites().next().unwrap().failing_since(), Some(failed));
}

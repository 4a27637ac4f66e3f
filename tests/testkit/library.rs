//! Every direct use that the tests make of the library; all other tests run the command.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::mem;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use cxnpoll::batch::Batch;
use cxnpoll::model::{AppId, Condition, Cxn, Failure, FailureClass, Fault, JobName, PollStatus, Secret, Transition};
use cxnpoll::retry::Policy;
use cxnpoll::store::error::Result as StoreResult;
use cxnpoll::store::failpoint::Failpoint;
use cxnpoll::store::{
    AdminEntry, CxnHash, CxnPatch, Entry, Frame, Registration, RegistrationChange, RunProblems, SiteTransition,
    StatusUpdate, Store,
};
use cxnpoll::transfer;
use cxnpoll::util::encryption::{MAGIC, decrypt};
use cxnpoll::util::time::unix_now;
use flate2::read::GzDecoder;

use super::{APP, MIDNIGHT, World};

/// How long the tests wait for a store that another test process uses.
const STORE_WAIT: Duration = Duration::from_secs(30);

/// Opens a store, and creates it where there is none.
fn open(path: &Path) -> Store {
    Store::create(path, STORE_WAIT).unwrap()
}

fn app_id() -> AppId {
    format!("app:{APP}").parse().unwrap()
}

/// Holds a session of the store, as a command of this name, for the length of `work`.
pub fn hold_session(world: &World, command: &'static str, work: impl FnOnce() + Send) {
    let store = Store::open(&world.store(), STORE_WAIT).unwrap().with_owner(command);
    store
        .write(|_| {
            work();
            Ok(())
        })
        .unwrap();
}

/// Opens a session that does nothing; panics if the store stays busy longer than `limit`.
pub fn open_session(world: &World, limit: Duration) {
    Store::open(&world.store(), limit).unwrap().write(|_| Ok(())).unwrap();
}

/// Holds the store shared, as a run does, for the length of `work`.
pub fn hold_shared(world: &World, work: impl FnOnce()) {
    let store = Store::open(&world.store(), STORE_WAIT).unwrap();
    store
        .lock_shared(|| -> StoreResult<()> {
            work();
            Ok(())
        })
        .unwrap();
}

/// Whether a process waits until it can use the store exclusively.
pub fn is_waited_for(world: &World) -> bool {
    let store = Store::open(&world.store(), Duration::ZERO).unwrap();
    store.lock_shared(|| -> StoreResult<()> { Ok(()) }).is_err()
}

/// Holds the store exclusively, as `store compact` does, for the length of `work`.
pub fn hold_exclusively(world: &World, work: impl FnOnce()) {
    Store::lock_exclusively(&world.store(), Duration::ZERO, "store compact", |_| -> StoreResult<()> {
        work();
        Ok(())
    })
    .unwrap();
}

/// Registers the connection of an import line with this secret, in a message of its own.
///
/// Returns what became of it.
pub fn register(path: &Path, line: &str, secret: u8) -> String {
    let patch = CxnPatch { secret: Secret::from_bytes([secret; 32]), ..transfer::parse(line).unwrap() };
    register_patch(path, patch)
}

/// Registers the connection of an import line, in a message of its own.
///
/// Returns what became of it.
pub fn register_line(path: &Path, line: &str) -> String {
    register_patch(path, transfer::parse(line).unwrap())
}

fn register_patch(path: &Path, patch: CxnPatch) -> String {
    let now = unix_now();
    let hmac = [(); 32].map(|()| fastrand::u8(..));
    let change = RegistrationChange::Register { patch: Box::new(patch), hold: false, per_host: None };
    let registration = Registration { change, hmac, ttl: now + 7200, origin: "192.0.2.1".to_owned() };
    format!("{:?}", Store::open(path, STORE_WAIT).unwrap().register(&registration, now).unwrap())
}

/// Returns the name of every point at which `CXNPOLL_DIE_AT` can kill the command.
pub fn kill_points() -> Vec<String> {
    Failpoint::ALL.iter().map(|step| format!("{step:?}")).collect()
}

/// Returns a connection of the app as a line for the import.
pub fn import_line(number: u32, site_url: &str) -> String {
    let secret = Secret::from_bytes([7; 32]).to_base64();
    format!(
        r#"{{"cxnId":"cxn:{number}","secret":"{secret}","appId":"app:{APP}","appUrl":"https://a.example/","siteUrl":"{site_url}"}}"#
    )
}

/// Returns an imported line, which names its batch code, as an export writes it.
pub fn exported_line(line: &str) -> String {
    line_with_status(line, |_| ())
}

/// Returns an exported line as it is once the connection was polled.
///
/// `failure` is the class of a failure.
pub fn polled_line(line: &str, retry: &str, now: i64, failure: Option<&str>) -> String {
    let policy: Policy = retry.parse().unwrap();
    let failure = failure.map(|class| Failure::new(FailureClass::from_name(class).unwrap(), ""));
    line_with_status(line, |status| policy.apply(status, now, &failure.map_or(Ok(()), Err)))
}

/// Returns an exported line as it is once the connection was revived.
pub fn revived_line(line: &str) -> String {
    line_with_status(line, PollStatus::revive)
}

/// Changes the poll status in a line.
fn line_with_status(line: &str, change: impl FnOnce(&mut PollStatus)) -> String {
    let mut parsed = transfer::parse(line).unwrap();
    let mut status = parsed.poll_status.pop().map_or_else(PollStatus::default, |(_, status)| status);
    change(&mut status);
    let cxn = Cxn {
        cxn_id: parsed.cxn_id,
        secret: parsed.secret,
        app_id: parsed.app_id,
        app_url: parsed.app_url.into(),
        site_url: parsed.site_url,
        perm: Arc::new(parsed.perm.applied_to(None).unwrap_or_default()),
        via_port: None,
        batch_code: parsed.batch_code.unwrap(),
        disabled: parsed.disabled.applied_to(None).unwrap_or(false),
    };
    // A status of a connection that was never polled is not written.
    let status = (status != PollStatus::default()).then(|| (JobName::default(), status));
    transfer::line(&cxn, status)
}

/// Whether text has only characters that are shown, each in its place.
pub fn is_printable(text: &str) -> bool {
    cxnpoll::util::text::is_printable(text)
}

/// The private key of encrypted backups in tests, and its public key.
pub const BACKUP_KEY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/backup-key.txt");
pub const BACKUP_RECIPIENT: &str = "age1m886s9jvgdpstj7ywef6nkqpx0xda6ng2w90s957wjvqamjl9yxqg5w4et";

/// Reads a backup, which may be encrypted to [`BACKUP_RECIPIENT`]; `None` if it is not whole.
pub fn backup_text(path: &Path) -> Option<String> {
    let key = transfer::backup::read_identities(Path::new(BACKUP_KEY)).unwrap();
    transfer::backup::verify(path, &key).ok()?;
    let (mut gzip, mut text) = (fs::read(path).unwrap(), String::new());
    if gzip.starts_with(MAGIC) {
        let encrypted = mem::take(&mut gzip);
        decrypt(&encrypted[..], &key).unwrap().read_to_end(&mut gzip).unwrap();
    }
    GzDecoder::new(&gzip[..]).read_to_string(&mut text).unwrap();
    Some(text)
}

/// Adds an entry of each kind to the history of a store, with every field.
pub fn add_to_history(world: &World, cxn_id: &str) {
    let store = Store::open(&world.store(), STORE_WAIT).unwrap();
    let host = "203.0.113.7".parse().unwrap();
    let transition = |cxn: &str, to, class, host| {
        let transition = Transition { at: MIDNIGHT, from: Condition::Up, to, class, unknown_from: class.map(|_| 9) };
        let cxn = CxnHash::from(&cxn.parse().unwrap());
        Entry::Transition(SiteTransition { cxn, host, transition })
    };
    let problems = RunProblems { fault: Some(Fault::Clock), behind_since: Some(MIDNIGHT), down: vec![(host, 60)] };
    let action = AdminEntry {
        at: MIDNIGHT,
        user: "root".into(),
        action: "disable".into(),
        cxns: vec![cxn_id.into()],
        detail: "a note".into(),
    };
    let entries = vec![
        transition(cxn_id, Condition::Failing, Some(FailureClass::Timeout), Some(host)),
        transition("cxn:removed", Condition::Up, None, None),
        Entry::RunProblems(problems),
        Entry::RunProblems(RunProblems::default()),
        Entry::Admin(action),
    ];
    let frame = |job, entries| Frame { at: MIDNIGHT, job, entries };
    let job = Some((app_id(), JobName::default()));
    store.write(|session| store.history().append(session, frame(job, entries))).unwrap();
}

/// A store that a test writes to in its own process.
pub struct Writer {
    store: Store,
    policy: Policy,
}

impl Writer {
    /// Opens a store, and creates it where there is none; `retry` is the expression of its job.
    pub fn open(path: &Path, retry: &str) -> Self {
        Self { store: open(path), policy: retry.parse().unwrap() }
    }

    /// Imports lines.
    pub fn import(&self, lines: impl Iterator<Item = String>) {
        let lines: Vec<_> = lines.map(|line| transfer::parse(&line).unwrap()).collect();
        self.store.write(|session| session.upsert(&lines, false)).unwrap();
    }

    /// Records a successful poll of every connection that is due.
    pub fn record_due(&self, now: i64) {
        let recorded = self.store.write(|session| {
            let app = session.app_no(&app_id())?.unwrap();
            let job = session.ensure_job(app, &JobName::default())?;
            session.backfill(&job)?;
            session.remember_retry(job.no, &self.policy.to_string())?;
            let job = session.ensure_job(app, &JobName::default())?;
            let due = session.due(&job, &self.policy, &Batch::default().range(), now)?;
            let replacements = session.load(&job, &self.policy, Some(now), &due)?.into_iter().map(|task| {
                let mut next = task.status.clone();
                self.policy.apply(&mut next, now, &Ok(()));
                StatusUpdate { locator: task.locator, expected: task.status, next, transition: None, moved: None }
            });
            session.record_outcomes(&job, &replacements.collect::<Vec<_>>())
        });
        assert!(recorded.unwrap().into_iter().all(|recorded| recorded));
    }

    /// Returns the site URL and the time of the last poll of every connection, by its id.
    pub fn connections(&self) -> BTreeMap<String, (String, i64)> {
        let mut found = BTreeMap::new();
        self.store
            .for_each_cxn(|_, cxn, statuses| -> StoreResult<()> {
                let last_run = statuses.first().map_or(0, |(_, status)| status.last_run);
                found.insert(cxn.cxn_id.to_string(), (cxn.site_url.to_string(), last_run));
                Ok(())
            })
            .unwrap();
        found
    }

    /// Asserts that a check finds no fault.
    pub fn assert_sound(&self) {
        let check = self.store.check(false).unwrap();
        assert_eq!(check.faults, 0, "{check:?}");
    }

    /// Asserts that whenever nothing is due without opening the database, the database agrees.
    pub fn assert_idle_is_true(&self) {
        let times = (0..200).map(|number| MIDNIGHT + number * 1800);
        let job_name = JobName::default();
        let is_idle = |now: &i64| self.store.is_certainly_idle(&app_id(), &job_name, &self.policy, *now);
        let idle: Vec<_> = times.filter(is_idle).collect();
        self.store
            .read(|session| {
                for now in idle {
                    let app = session.app_no(&app_id())?;
                    let job = app.map(|app| session.job(app, &job_name)).transpose()?.flatten();
                    let Some(job) = job else { continue };
                    assert_eq!(session.due(&job, &self.policy, &Batch::default().range(), now)?, [], "at {now}");
                }
                Ok(())
            })
            .unwrap();
    }
}

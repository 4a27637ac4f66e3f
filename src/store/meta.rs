//! The tree `meta`: the version, and the numbers of apps, jobs and what connections share.
//!
//! | key | value |
//! | --- | --- |
//! | `version` | version of the store, u32 |
//! | `counters` | the next numbers |
//! | `a` appId, `A` number | number, appId |
//! | `j` app, name; `J` number | number, the job |
//! | `s` hash, `S` number | number, appUrl and perm; what is longer than a piece goes on under `T` number, piece |

use std::collections::HashMap;
use std::sync::Arc;

use bincode::{Decode, Encode};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};
use sled::Tree;

use super::judge::{Fault, Write};
use super::keys::{AppNo, JobNo, Place};
use super::record::{Record, SharedRecord};
use super::session::{Session, TreeName, Tx, TxResult, abort};
use crate::error::{Error, Kind, Result};
use crate::model::{AppId, FailureClass, JobName, UnixTime};

/// The longest value of what connections share.
///
/// sled keeps a leaf of more than 128 KiB in a file of its own, which it neither syncs nor removes in order, so that a power
/// cut could take what lies in it, or the whole database. A leaf has some twenty entries: with this limit it stays below.
const PIECE: usize = 4096;

/// The version of stores that this program writes. It reads older ones as they are, and makes them its own.
const VERSION: u32 = 2;
const VERSION_KEY: &[u8] = b"version";
const COUNTERS_KEY: &[u8] = b"counters";

/// The numbers that will be given next.
#[derive(Debug, Clone, Default, PartialEq, Eq, Encode, Decode)]
pub(super) struct Counters {
    pub(super) app: AppNo,
    pub(super) job: JobNo,
    pub(super) shared: u32,
    pub(super) cxn: u64,
}

impl Record for Counters {
    const TREE: &'static str = "meta";
}

#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
struct JobRecord {
    app: AppNo,
    name: String,
    retry: Option<String>,
    enrolled: Enrolled,
    last_run: Option<RunRecord>,
    outage_since: Option<UnixTime>,
}

impl Record for JobRecord {
    const TREE: &'static str = "meta";
}

/// How far the connections of an app have got a status for a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub(super) enum Enrolled {
    /// None that is older than the job.
    Nothing,
    /// All up to this batch code and number.
    UpTo(u16, u64),
    /// All; those that are imported get theirs with the import.
    All,
}

/// What a run did, as it is remembered with its job.
#[derive(Debug, Clone, Default, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RunRecord {
    /// The moment that the run judged by, UTC seconds.
    pub now: UnixTime,
    /// The batch, `id/count`.
    pub batch: String,
    /// How many connections were due.
    pub due: u64,
    /// How many were polled.
    pub polled: u64,
    /// How many of these succeeded.
    pub ok: u64,
    /// How many failed and were charged for it.
    pub failed: u64,
    /// How many asked to be left alone for a while.
    pub deferred: u64,
    /// How many outcomes were not recorded, because somebody changed the connection meanwhile.
    pub dropped: u64,
    /// How many were given up by this run.
    pub given_up: u64,
    /// Failures by the number of their class.
    pub failures: Vec<(u8, u64)>,
    /// Wall time of the run, milliseconds.
    pub elapsed_ms: u64,
    /// Whether it ended because our own network was down.
    pub outage: bool,
}

impl RunRecord {
    /// Failures by class; numbers of classes that this program doesn't know are left out.
    pub fn failures(&self) -> impl Iterator<Item = (FailureClass, u64)> {
        self.failures.iter().filter_map(|(class, count)| Some((FailureClass::from_number(*class)?, *count)))
    }
}

/// A job that is known to the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Job {
    /// Its number.
    pub no: JobNo,
    /// The app that it belongs to.
    pub app: AppNo,
    /// Its name within the app.
    pub name: JobName,
    /// The retry expression that it last ran with; `None` where it never ran.
    pub retry: Option<String>,
    /// What its last run did.
    pub last_run: Option<RunRecord>,
    /// The moment of the first of the runs that all ended in an outage of our own, up to the last.
    pub outage_since: Option<UnixTime>,
    pub(super) enrolled: Enrolled,
}

/// What is looked up again and again within a session.
#[derive(Debug, Default)]
pub(super) struct Names {
    apps: HashMap<AppNo, AppId>,
    jobs: HashMap<AppNo, Arc<[(JobNo, JobName)]>>,
    shared: HashMap<u32, Shared>,
}

/// What connections share, decoded.
#[derive(Debug, Clone)]
pub(super) struct Shared {
    pub(super) app_url: Arc<str>,
    pub(super) perm: Arc<Value>,
}

fn damaged(what: &str) -> Error {
    Error::new(Kind::Store, format!("{what} can't be read"))
}

fn key(kind: u8, rest: &[u8]) -> Vec<u8> {
    [&[kind], rest].concat()
}

fn job_key(app: AppNo, name: &JobName) -> Vec<u8> {
    [b"j".as_slice(), &app.to_be_bytes(), name.as_str().as_bytes()].concat()
}

fn number(bytes: &[u8]) -> Result<u32> {
    bytes.try_into().map(u32::from_be_bytes).map_err(|_| damaged("a number of the store"))
}

/// Refuses a store that this program can't read; tells whether it is of an older program.
pub(super) fn check_version(meta: &Tree) -> Result<bool> {
    let version = meta.get(VERSION_KEY)?.ok_or_else(|| damaged("the store's version"))?;
    match number(&version)? {
        VERSION => Ok(false),
        1..VERSION => Ok(true),
        newer => {
            Err(Error::new(Kind::Store, format!("the store has version {newer}, this program reads version {VERSION}"))
                .hint("use the cxnpoll that wrote it, or a newer one; nothing was changed"))
        }
    }
}

/// Makes a database a store of this version: an empty one, or an older one, whose records are written anew when they change.
pub(super) fn write_version(meta: &Tree) -> Result<()> {
    meta.insert(VERSION_KEY, &VERSION.to_be_bytes())?;
    Ok(())
}

/// Gives out numbers within a transaction.
pub(super) fn count<T>(tx: &Tx, give: impl Fn(&mut Counters) -> Option<T>) -> TxResult<T> {
    let mut counters = Tx::read::<Counters>(tx.meta, COUNTERS_KEY)?.unwrap_or_default();
    let given =
        give(&mut counters).ok_or_else(|| abort(Error::new(Kind::Store, "the store has run out of numbers")))?;
    tx.insert(tx.meta, COUNTERS_KEY, counters.to_bytes())?;
    Ok(given)
}

/// Takes the next of one kind of numbers.
pub(super) fn next(counter: &mut u32) -> Option<u32> {
    let given = *counter;
    *counter = given.checked_add(1)?;
    Some(given)
}

/// The write that changes the counters.
pub(super) fn raised(session: &Session, raise: impl Fn(&mut Counters)) -> Result<Write> {
    let mut counters = session.counters()?;
    raise(&mut counters);
    Ok((TreeName::Meta, COUNTERS_KEY.to_vec(), Some(counters.to_bytes())))
}

/// Looks at what is known of apps, jobs and shared values: names lead to numbers and back, every record can be read, and
/// the next number of each kind was not given out yet.
pub(super) fn judge(session: &Session) -> Result<Vec<Fault>> {
    let mut faults = Vec::new();
    let Ok(counters) = session.counters() else { return Ok(vec![Fault::lasting("the counters can't be read")]) };
    let mut beyond = counters.clone();
    for entry in &session.meta {
        let (entry, value) = entry?;
        let Some((kind, rest)) = entry.split_first() else { continue };
        let write = |there: Vec<u8>, value: Vec<u8>| vec![(TreeName::Meta, there, Some(value))];
        let leads_to = |there: &[u8]| session.meta.get(there);
        let fault = match (kind, number(rest)) {
            (b'A', Ok(no)) => {
                beyond.app = beyond.app.max(no.saturating_add(1));
                let by_name = key(b'a', &value);
                match session.app_name(no) {
                    Err(_) => Some(Fault::lasting("an app's id can't be read")),
                    Ok(_) if leads_to(&by_name)?.as_deref() == Some(rest) => None,
                    Ok(app) => {
                        Some(Fault::new(format!("{app} has no number"), "entered", write(by_name, rest.to_vec())))
                    }
                }
            }
            (b'J', Ok(no)) => {
                beyond.job = beyond.job.max(no.saturating_add(1));
                match session.job_by_no(no) {
                    Ok(job) if session.app_name(job.app).is_ok() => {
                        let by_name = job_key(job.app, &job.name);
                        let known = leads_to(&by_name)?.as_deref() == Some(rest);
                        let fault = || {
                            Fault::new(
                                format!("job {} has no number", job.name),
                                "entered",
                                write(by_name, rest.to_vec()),
                            )
                        };
                        (!known).then(fault)
                    }
                    _ => Some(Fault::lasting("a job can't be read")),
                }
            }
            (b'S', Ok(no)) => {
                beyond.shared = beyond.shared.max(no.saturating_add(1));
                session.shared(no).is_err().then(|| Fault::lasting("what connections share can't be read"))
            }
            (b'j', _) => job_without_record(session, rest, &value)?,
            _ => None,
        };
        faults.extend(fault);
    }
    if beyond != counters {
        let raised = raised(session, |counters| *counters = beyond.clone())?;
        faults.push(Fault::new("a number was not counted that was given out", "counted", vec![raised]));
    }
    Ok(faults)
}

/// A job's name whose number leads nowhere: the job is made anew, with the statuses that are there.
fn job_without_record(session: &Session, name: &[u8], value: &[u8]) -> Result<Option<Fault>> {
    let there = key(b'J', value);
    if session.meta.contains_key(&there)? {
        return Ok(None);
    }
    let job = name.split_first_chunk().and_then(|(app, name)| {
        let name: JobName = std::str::from_utf8(name).ok()?.parse().ok()?;
        Some((u32::from_be_bytes(*app), name))
    });
    let (Some((app, name)), Ok(_)) = (job, number(value)) else {
        return Ok(Some(Fault::lasting("a job can't be read")));
    };
    let write = (TreeName::Meta, there, Some(JobRecord::fresh(app, &name).to_bytes()));
    Ok(Some(Fault::new(format!("job {name} can't be read"), "made anew, without what its last run did", vec![write])))
}

impl JobRecord {
    /// A job that never ran.
    fn fresh(app: AppNo, name: &JobName) -> Self {
        Self {
            app,
            name: name.as_str().to_owned(),
            retry: None,
            enrolled: Enrolled::Nothing,
            last_run: None,
            outage_since: None,
        }
    }
}

impl Job {
    /// Whether every connection at this place must have a status for the job.
    pub(super) fn has_reached(&self, place: Place) -> bool {
        match self.enrolled {
            Enrolled::Nothing => false,
            Enrolled::UpTo(code, no) => (place.batch_code.get(), place.no) <= (code, no),
            Enrolled::All => true,
        }
    }
}

impl Session {
    /// The number of an app that has (or had) connections.
    ///
    /// # Errors
    /// [`Kind::Store`] where the store can't be read.
    pub fn app(&self, app_id: &AppId) -> Result<Option<AppNo>> {
        self.meta.get(key(b'a', app_id.as_str().as_bytes()))?.map(|bytes| number(&bytes)).transpose()
    }

    /// All apps that have (or had) connections.
    ///
    /// # Errors
    /// [`Kind::Store`] where the store can't be read.
    pub fn apps(&self) -> Result<Vec<(AppNo, AppId)>> {
        let mut apps = Vec::new();
        for entry in self.meta.scan_prefix(b"A") {
            let no = number(&entry?.0[1..])?;
            apps.push((no, self.app_name(no)?));
        }
        Ok(apps)
    }

    /// The appId of a number.
    pub(super) fn app_name(&self, no: AppNo) -> Result<AppId> {
        if let Some(app_id) = self.names.borrow().apps.get(&no) {
            return Ok(app_id.clone());
        }
        let bytes = self.meta.get(key(b'A', &no.to_be_bytes()))?.ok_or_else(|| damaged("an app's id"))?;
        let app_id: AppId = std::str::from_utf8(&bytes)
            .ok()
            .and_then(|text| text.parse().ok())
            .ok_or_else(|| damaged("an app's id"))?;
        self.names.borrow_mut().apps.insert(no, app_id.clone());
        Ok(app_id)
    }

    /// The number of an app, given now if it has none.
    pub(super) fn intern_app(&self, app_id: &AppId) -> Result<AppNo> {
        if let Some(no) = self.app(app_id)? {
            return Ok(no);
        }
        self.transact(|tx| {
            let no = count(tx, |counters| next(&mut counters.app))?;
            tx.insert(tx.meta, key(b'a', app_id.as_str().as_bytes()), &no.to_be_bytes())?;
            tx.insert(tx.meta, key(b'A', &no.to_be_bytes()), app_id.as_str().as_bytes())?;
            Ok(no)
        })
    }

    /// A job by its name, if it is known.
    ///
    /// # Errors
    /// [`Kind::Store`] where the store can't be read.
    pub fn job(&self, app: AppNo, name: &JobName) -> Result<Option<Job>> {
        let Some(bytes) = self.meta.get(job_key(app, name))? else { return Ok(None) };
        self.job_by_no(number(&bytes)?).map(Some)
    }

    /// A job by its name, made known if it is not.
    ///
    /// # Errors
    /// [`Kind::Store`] where the store can't be read or written.
    pub fn ensure_job(&self, app: AppNo, name: &JobName) -> Result<Job> {
        if let Some(job) = self.job(app, name)? {
            return Ok(job);
        }
        let no = self.transact(|tx| {
            let no = count(tx, |counters| next(&mut counters.job))?;
            let record = JobRecord::fresh(app, name);
            tx.insert(tx.meta, job_key(app, name), &no.to_be_bytes())?;
            tx.insert(tx.meta, key(b'J', &no.to_be_bytes()), record.to_bytes())?;
            Ok(no)
        })?;
        self.names.borrow_mut().jobs.remove(&app);
        self.job_by_no(no)
    }

    /// The jobs that are known of one app, or of all.
    ///
    /// # Errors
    /// [`Kind::Store`] where the store can't be read.
    pub fn jobs(&self, app: Option<AppNo>) -> Result<Vec<Job>> {
        let mut jobs = Vec::new();
        for entry in self.meta.scan_prefix(b"J") {
            let job = self.job_by_no(number(&entry?.0[1..])?)?;
            if app.is_none_or(|app| app == job.app) {
                jobs.push(job);
            }
        }
        Ok(jobs)
    }

    /// Numbers and names of an app's jobs.
    pub(super) fn job_names(&self, app: AppNo) -> Result<Arc<[(JobNo, JobName)]>> {
        if let Some(jobs) = self.names.borrow().jobs.get(&app) {
            return Ok(Arc::clone(jobs));
        }
        let jobs: Arc<[_]> = self.jobs(Some(app))?.into_iter().map(|job| (job.no, job.name)).collect();
        self.names.borrow_mut().jobs.insert(app, Arc::clone(&jobs));
        Ok(jobs)
    }

    /// How many connections there are at most: those that were removed are counted.
    ///
    /// # Errors
    /// [`Kind::Store`] where the store can't be read.
    pub fn about_how_many(&self) -> Result<u64> {
        self.next_cxn_no()
    }

    /// The number that the next connection will get.
    pub(super) fn next_cxn_no(&self) -> Result<u64> {
        Ok(self.counters()?.cxn)
    }

    fn counters(&self) -> Result<Counters> {
        let counters = self.meta.get(COUNTERS_KEY)?.map(|bytes| Counters::from_bytes(&bytes)).transpose()?;
        Ok(counters.unwrap_or_default())
    }

    /// Makes a job known, with what was remembered of it in a backup. Every connection that comes after it gets a status
    /// for it.
    ///
    /// # Errors
    /// [`Kind::Store`] where the store can't be written.
    pub fn restore_job(
        &self,
        app_id: &AppId,
        name: &JobName,
        retry: Option<&str>,
        last_run: Option<&RunRecord>,
        outage_since: Option<UnixTime>,
    ) -> Result<()> {
        let app = self.intern_app(app_id)?;
        let job = self.ensure_job(app, name)?;
        self.transact(|tx| {
            change_job(tx, job.no, |record| {
                record.retry = retry.map(str::to_owned);
                record.last_run = last_run.cloned();
                record.outage_since = outage_since;
                record.enrolled = Enrolled::All;
            })
        })
    }

    /// A job by its number.
    pub(super) fn job_by_no(&self, no: JobNo) -> Result<Job> {
        let bytes = self.meta.get(key(b'J', &no.to_be_bytes()))?.ok_or_else(|| damaged("a job"))?;
        let record = JobRecord::from_bytes(&bytes)?;
        Ok(Job {
            no,
            app: record.app,
            name: record.name.parse().map_err(|_| damaged("a job's name"))?,
            retry: record.retry,
            last_run: record.last_run,
            outage_since: record.outage_since,
            enrolled: record.enrolled,
        })
    }

    /// Remembers the retry expression that a job runs with.
    ///
    /// # Errors
    /// [`Kind::Store`] where the store can't be written.
    pub fn remember_retry(&self, job: JobNo, retry: &str) -> Result<()> {
        self.transact(|tx| change_job(tx, job, |record| record.retry = Some(retry.to_owned())))
    }

    /// Remembers what a job's last run did.
    ///
    /// # Errors
    /// [`Kind::Store`] where the store can't be written.
    pub fn remember_run(&self, job: JobNo, run: &RunRecord) -> Result<()> {
        self.transact(|tx| {
            change_job(tx, job, |record| {
                record.outage_since = match record.outage_since {
                    since if run.outage => since.or(Some(run.now)),
                    // Who polled nothing knows nothing of the network.
                    since if run.polled == 0 => since,
                    _ => None,
                };
                record.last_run = Some(run.clone());
            })
        })
    }

    /// What connections share, by its number.
    pub(super) fn shared(&self, no: u32) -> Result<Shared> {
        if let Some(shared) = self.names.borrow().shared.get(&no) {
            return Ok(shared.clone());
        }
        let no_bytes = no.to_be_bytes();
        let first = self.meta.get(key(b'S', &no_bytes))?.ok_or_else(|| damaged("what connections share"))?;
        let mut bytes = first.to_vec();
        if bytes.len() == PIECE {
            for piece in self.meta.scan_prefix(key(b'T', &no_bytes)).values() {
                bytes.extend_from_slice(&piece?);
            }
        }
        let record = SharedRecord::from_bytes(&bytes)?;
        let perm = serde_json::from_str(&record.perm).map_err(|_| damaged("a stored perm"))?;
        let shared = Shared { app_url: record.app_url.into(), perm: Arc::new(perm) };
        self.names.borrow_mut().shared.insert(no, shared.clone());
        Ok(shared)
    }

    /// The number of what connections share, given now if it has none.
    pub(super) fn intern_shared(&self, app_url: &str, perm: &Value) -> Result<u32> {
        let record = SharedRecord { app_url: app_url.to_owned(), perm: perm.to_string() };
        let hash = Sha256::new().chain_update(&record.app_url).chain_update([0]).chain_update(&record.perm).finalize();
        let by_hash = key(b's', &hash[..16]);
        if let Some(bytes) = self.meta.get(&by_hash)? {
            return number(&bytes);
        }
        self.transact(|tx| {
            let no = count(tx, |counters| next(&mut counters.shared))?;
            tx.insert(tx.meta, by_hash.as_slice(), &no.to_be_bytes())?;
            let no_bytes = no.to_be_bytes();
            let bytes = record.to_bytes();
            let (first, rest) = bytes.split_at(bytes.len().min(PIECE));
            tx.insert(tx.meta, key(b'S', &no_bytes), first)?;
            for (piece, bytes) in (0_u32..).zip(rest.chunks(PIECE)) {
                tx.insert(tx.meta, key(b'T', &[no_bytes, piece.to_be_bytes()].concat()), bytes)?;
            }
            Ok(no)
        })
    }
}

/// Changes a job's record within a transaction.
fn change_job(tx: &Tx, job: JobNo, change: impl Fn(&mut JobRecord)) -> TxResult<()> {
    let key = key(b'J', &job.to_be_bytes());
    let mut record = Tx::read::<JobRecord>(tx.meta, &key)?.ok_or_else(|| abort(damaged("a job")))?;
    change(&mut record);
    tx.insert(tx.meta, key, record.to_bytes())?;
    Ok(())
}

/// Notes within a transaction how far a job's connections are enrolled; `None` is all.
pub(super) fn note_enrolled(tx: &Tx, job: JobNo, last: Option<Place>) -> TxResult<()> {
    let enrolled = last.map_or(Enrolled::All, |place| Enrolled::UpTo(place.batch_code.get(), place.no));
    change_job(tx, job, |record| record.enrolled = enrolled)
}

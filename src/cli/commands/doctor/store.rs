//! The store: whether runs can use it, and what it shows about jobs.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fs::statvfs;
use rustix::process::{Resource, getrlimit};
use url::Url;

use super::backups;
use crate::batch::Batch;
use crate::cli::commands::findings::{Check, Findings};
use crate::cli::commands::users;
use crate::cli::context::Context;
use crate::cli::error::Report;
use crate::model::{AppId, BatchCode, Cxn, JobName, PollStatus};
use crate::retry::Policy;
use crate::run::{ActiveRun, active_runs};
use crate::store::{self, Error as StoreError, Job, ReadSession, StateCounts, Store};
use crate::util::text::shell_quoted;

/// A command that waits longer for the store would not be an answer.
const MAX_WAIT: Duration = Duration::from_secs(3);
/// How long connections are read. Some can be asked for the time, and some may be polled by no run.
const MAX_SCAN: Duration = Duration::from_secs(3);
/// A store with a larger file is not checked record by record, in bytes.
const MAX_CHECKED_BYTES: u64 = 64 << 20;
/// How many files of the store are looked at.
const MAX_FILES: usize = 1000;
/// How many sites are asked for the time.
const MAX_ASKED: usize = 5;
/// What writing takes in any case, in bytes.
const MIN_SPACE: u64 = 32 << 20;
/// How many files a backup and a compaction need, with some to spare.
const MIN_INODES: u64 = 100;

/// What other checks need to know of the store.
#[derive(Default)]
pub(super) struct Facts {
    /// The user that it belongs to; `None` if there is no store.
    pub(super) owner: Option<u32>,
    /// What its database shows; `None` if it cannot be read.
    pub(super) content: Option<Content>,
}

/// What the database shows.
pub(super) struct Content {
    /// All apps that have or had connections.
    pub(super) apps: Vec<AppId>,
    /// The apps that have connections.
    pub(super) with_cxns: BTreeSet<AppId>,
    /// The jobs that have run.
    pub(super) jobs: Vec<JobState>,
    /// Some healthy sites of different hosts.
    pub(super) healthy: Vec<Cxn>,
}

/// A job that has run.
pub(super) struct JobState {
    pub(super) app: AppId,
    pub(super) job: Job,
    pub(super) policy: Policy,
    pub(super) counts: StateCounts,
    pub(super) active: Vec<ActiveRun>,
    /// The batch codes of the connections of its app.
    pub(super) codes: Vec<BatchCode>,
}

/// Checks the store.
pub(super) fn check(context: &Context, findings: &mut Findings) -> Facts {
    // Without a path there is a finding of the configuration.
    let Ok(path) = context.store_path() else { return Facts::default() };
    findings.check([Check::Store]);
    if let Some(owner) = owner(&path).filter(|owner| *owner == users::current())
        && let Some(file) = foreign_file(&path, owner)
    {
        let (other, owner_name) =
            (fs::symlink_metadata(&file).map_or(0, |metadata| metadata.uid()), users::name(owner));
        let message = format!("{} in the store belongs to {}, not to {owner_name}", file.display(), users::name(other));
        let remedy = format!("give it to {owner_name} as root: chown -R {owner_name} {}", shell_quoted(&path));
        findings.add(Check::StoreAccess, message, remedy);
        skip_content(findings, "some of its files belong to another user");
        return Facts { owner: Some(owner), content: None };
    }
    let wait = context.global.store_wait.min(MAX_WAIT);
    let store = match Store::open(&path, wait) {
        Ok(store) => store,
        Err(error) => {
            let owner = owner(&path);
            not_opened(&path, error, owner, findings);
            return Facts { owner, content: None };
        }
    };
    let store = store.with_owner(context.name).with_skipped(context.skipped.clone());
    let owner = owner(&path);
    find_readers(&path, owner, findings);
    find_lack_of_space(&path, store.file_size().unwrap_or_default(), findings);
    let content = match content(&store) {
        Ok(content) => {
            check_records(&store, findings);
            let last_run = content.jobs.iter().filter_map(|state| state.job.last_run.as_ref()).map(|run| run.now).max();
            backups::check(context, &store, last_run, findings);
            Some(content)
        }
        Err(error) => {
            unusable(error, findings);
            None
        }
    };
    // What was skipped is among the records that were checked.
    let _ = context.skipped.take();
    Facts { owner, content }
}

/// The user that a store belongs to: that of its files, or else of its directory.
fn owner(path: &Path) -> Option<u32> {
    let file = fs::metadata(path.join("CURRENT"));
    file.or_else(|_| fs::metadata(path)).ok().map(|metadata| metadata.uid())
}

/// Adds why a store cannot be opened for writing.
fn not_opened(path: &Path, error: StoreError, owner: Option<u32>, findings: &mut Findings) {
    match error {
        StoreError::WrongOwner { owner, caller, .. } => {
            let (name, caller) = (users::name(owner), users::name(caller));
            let message = format!("the store {} belongs to {name}, not to {caller}", path.display());
            let remedy = if owner == 0 {
                format!("give it to {caller}: chown -R {caller} {}", path.display())
            } else {
                format!("run as its owner: sudo -u '{name}' cxnpoll doctor")
            };
            findings.add(Check::StoreAccess, message, remedy);
        }
        StoreError::NotWritable(refusal) => {
            let is_foreign = Some(users::current()) != owner;
            let Report { message, hint, .. } = StoreError::NotWritable(refusal).into();
            let remedy = match owner.filter(|_| is_foreign) {
                Some(owner) => format!("run as its owner: sudo -u '{}' cxnpoll doctor", users::name(owner)),
                None => hint.unwrap_or_default(),
            };
            findings.add(Check::StoreAccess, message, remedy);
        }
        // Without an owner nothing of the store could be seen.
        error => match users::access_remedy(path).filter(|_| owner.is_none()) {
            Some(remedy) => findings.add(Check::StoreAccess, Report::from(error).message, remedy),
            None => unusable(error, findings),
        },
    }
    skip_content(findings, "the store cannot be opened");
}

fn skip_content(findings: &mut Findings, reason: &str) {
    for check in [Check::Records, Check::Space, Check::Backups, Check::LastRuns] {
        findings.skip(check, reason);
    }
}

/// A file below a directory that belongs to another user.
///
/// `None` if there is none among the first [`MAX_FILES`].
fn foreign_file(dir: &Path, owner: u32) -> Option<PathBuf> {
    let (mut dirs, mut left) = (vec![dir.to_owned()], MAX_FILES);
    while let Some(dir) = dirs.pop() {
        for entry in fs::read_dir(dir).ok()?.flatten().filter(|entry| entry.file_name() != "lost+found") {
            left = usize::checked_sub(left, 1)?;
            let Ok(metadata) = entry.metadata() else { continue };
            if metadata.uid() != owner {
                return Some(entry.path());
            }
            if metadata.is_dir() {
                dirs.push(entry.path());
            }
        }
    }
    None
}

/// Adds why the database cannot be used, unless another command is using it.
fn unusable(error: StoreError, findings: &mut Findings) {
    if let StoreError::Busy { .. } = error {
        findings.skip(Check::Store, Report::from(error).message);
    } else {
        findings.add_error(Check::Store, error, "check the disk, and the store with `cxnpoll store check`");
    }
}

/// Finds other users that may list the store, or write to its directory.
fn find_readers(path: &Path, owner: Option<u32>, findings: &mut Findings) {
    findings.check([Check::StoreAccess]);
    let Ok(metadata) = fs::metadata(path) else { return };
    // A volume belongs to root, and what is in it is private.
    let forbidden = if owner == Some(metadata.uid()) { 0o077 } else { 0o022 };
    if metadata.mode() & forbidden != 0 {
        let message =
            format!("other users may look into the store {} (mode {:o})", path.display(), metadata.mode() & 0o777);
        findings.add(Check::StoreAccess, message, format!("make it private: chmod 700 {}", path.display()));
    }
}

/// Finds a disk, or a limit of file sizes, with too little space for a backup and a compaction.
fn find_lack_of_space(path: &Path, file_bytes: u64, findings: &mut Findings) {
    findings.check([Check::Space]);
    let mib = |bytes: u64| bytes.div_ceil(1 << 20);
    let needed = file_bytes.saturating_mul(2) + MIN_SPACE;
    if let Ok(found) = statvfs(path) {
        let free = found.f_bavail.saturating_mul(found.f_frsize);
        if free < needed {
            let message = format!(
                "{} MiB are free in {}, and a backup and a compaction take up to {} MiB",
                free >> 20,
                path.display(),
                mib(needed)
            );
            findings.add(Check::Space, message, format!("free some space: du -xh {} | sort -h | tail", path.display()));
        }
        // A file system that makes inodes as needed counts none.
        if found.f_files > 0 && found.f_favail < MIN_INODES {
            let message = format!("the file system of {} has only {} inodes left", path.display(), found.f_favail);
            findings.add(Check::Space, message, "remove files that are not needed: df -i");
        }
    }
    if let Some(limit) = getrlimit(Resource::Fsize).current.filter(|limit| *limit < needed) {
        let message = format!("a file may have only {} KiB, and the store's may need {} MiB", limit >> 10, mib(needed));
        findings.add(Check::Space, message, "remove the limit of file sizes: ulimit -f unlimited");
    }
}

/// Checks each record, unless there are too many.
fn check_records(store: &Store, findings: &mut Findings) {
    if store.file_size().is_ok_and(|bytes| bytes > MAX_CHECKED_BYTES) {
        return findings.skip(Check::Records, "the store is large: check it with `cxnpoll store check`");
    }
    findings.check([Check::Records]);
    match store.check(false) {
        Ok(check) if check.faults > 0 => {
            let first = check.first_faults.first().cloned().unwrap_or_default();
            let message = format!("{} of the store: {first}", crate::util::text::count(check.faults, "fault"));
            findings.add(Check::Records, message, "repair them: cxnpoll store check --repair");
        }
        Ok(_) => {}
        Err(error) => unusable(error, findings),
    }
}

/// Reads the apps, the jobs and some healthy sites.
fn content(store: &Store) -> Result<Content, StoreError> {
    let apps = store.read(ReadSession::apps)?;
    let jobs = store.read(ReadSession::jobs_with_apps)?;
    let now = crate::util::time::unix_now();
    let mut scan = Scan { until: Instant::now() + MAX_SCAN, ..Scan::new() };
    match store.for_each_cxn(|key, cxn, statuses| scan.add(key.locator.batch_code, cxn, &statuses)) {
        Ok(()) | Err(Stop::Late) => {}
        Err(Stop::Store(error)) => return Err(error),
    }
    let mut states = Vec::new();
    for (app, job) in jobs {
        // A job without an expression never ran, and one that cannot be read is found with the records.
        let Some(policy) = job.last_policy() else { continue };
        let counts = store.state_counts(&job, &policy, &Batch::default().range(), now, false)?;
        let codes = scan.codes.iter().filter(|(of, _)| *of == app).map(|(_, code)| *code).collect();
        let active = active_runs(store, &app, &job.name);
        states.push(JobState { app, job, policy, counts, active, codes });
    }
    let with_cxns = scan.codes.iter().map(|(app, _)| app.clone()).collect();
    let apps = apps.into_iter().map(|(_, app)| app).collect();
    Ok(Content { apps, with_cxns, jobs: states, healthy: scan.healthy })
}

/// Reads connections.
struct Scan {
    until: Instant,
    /// The batch codes that each app has, each once.
    codes: BTreeSet<(AppId, BatchCode)>,
    hosts: BTreeSet<String>,
    healthy: Vec<Cxn>,
}

/// Why the connections are not read to their end.
enum Stop {
    Late,
    Store(StoreError),
}

impl From<store::Error> for Stop {
    fn from(error: store::Error) -> Self {
        Self::Store(error)
    }
}

impl Scan {
    fn new() -> Self {
        Self { until: Instant::now(), codes: BTreeSet::new(), hosts: BTreeSet::new(), healthy: Vec::new() }
    }

    fn add(&mut self, code: BatchCode, cxn: Cxn, statuses: &[(JobName, PollStatus)]) -> Result<(), Stop> {
        if Instant::now() > self.until {
            return Err(Stop::Late);
        }
        if cxn.disabled {
            return Ok(());
        }
        self.codes.insert((cxn.app_id.clone(), code));
        let is_healthy = |status: &PollStatus| status.level == 0 && status.count == 0 && status.last_run > 0;
        if self.healthy.len() < MAX_ASKED
            && statuses.iter().any(|(_, status)| is_healthy(status))
            && self.hosts.insert(host(&cxn))
        {
            self.healthy.push(cxn);
        }
        Ok(())
    }
}

/// The name or address of a site; empty if its URL is not valid.
fn host(cxn: &Cxn) -> String {
    let url = Url::parse(cxn.site_url.with_credentials()).ok();
    url.as_ref().and_then(Url::host_str).unwrap_or_default().to_owned()
}

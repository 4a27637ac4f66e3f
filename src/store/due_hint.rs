//! The due hint: a small file that shows that nothing is due, so that a run need not open the database.
//!
//! For each job it holds the oldest and the newest lastRun of each level. Of the deferred connections it holds the first
//! time at which one is due, and the newest lastRun, which shows a wrong clock. Where a poll is brought forward, it is the
//! time from which its period counts that stands for lastRun. It is written when a session ends, and
//! removed before the next session opens the database. It counts only while the database's file is the one that it names,
//! with the same size and time. If it is missing, unreadable or about another file, the database is opened.

use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::engine::{DB_FILE, Entry, TreeName};
use super::error::{Error, Item, Result, if_readable};
use super::failpoint::{self, Failpoint};
use super::schema::{
    BackfillProgress, DueBucket, DueKey, Job, JobNo, ReadSession, STORE_VERSION, bucket_prefix, bucket_range,
};
use crate::model::{AppId, JobName, PollStatus, UnixTime};
use crate::retry::{MAX_LEEWAY_S, Policy};
use crate::util::file_error::{FileError, FileOp};
use crate::util::fs_atomic::{Durability, ReplacedFile, sync_dir};

/// A job with more levels is left out; no expression has that many.
const MAX_LEVELS: usize = 1000;
/// Of how many deferred connections the status is read at the end of a session.
///
/// With more of them the hint shows nothing, and each run opens the database.
const MAX_DEFERRED: usize = 1000;

/// The content of the file. The names of its fields are part of the store's format.
#[derive(Serialize, Deserialize)]
struct Content {
    file: Stamp,
    /// The version of the store; 0 where a former build wrote the file.
    #[serde(default)]
    version: u32,
    jobs: Vec<JobHint>,
}

/// Identifies one state of a file.
#[derive(PartialEq, Serialize, Deserialize)]
struct Stamp {
    path: PathBuf,
    inode: u64,
    size: u64,
    seconds: i64,
    nanoseconds: i64,
}

/// What is known about the connections of a job that has a status for all of them.
#[derive(Debug, Serialize, Deserialize)]
pub struct JobHint {
    app_id: AppId,
    name: JobName,
    /// The expression of its last run.
    retry: String,
    /// Level, oldest and newest lastRun.
    levels: Vec<(u32, UnixTime, UnixTime)>,
    /// About the connections that are deferred; `None` if none of them will be due.
    deferred: Option<DeferredHint>,
}

/// What is known about the deferred connections of a job.
///
/// Former builds wrote the first and the last end of a deferral, as a list. Such a list is read in the order of the
/// fields: no deferral ends before the lastRun that it followed, so the last end is not less than the newest lastRun. A
/// former build expects the list, so it opens the database instead of taking a lastRun for an end. Later builds wrote
/// the object, with the first end of a deferral in place of the first time at which one is due, which is not earlier.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct DeferredHint {
    /// When the first of them is due by the expression of the last run, or an earlier time.
    first_end: UnixTime,
    /// The newest lastRun, or a later time.
    newest_last_run: UnixTime,
}

impl Stamp {
    fn of(database: &Path) -> Option<Self> {
        let path = database.join(DB_FILE);
        let about = fs::metadata(&path).ok()?;
        let (seconds, nanoseconds) = (about.mtime(), about.mtime_nsec());
        Some(Self { path, inode: about.ino(), size: about.size(), seconds, nanoseconds })
    }
}

/// The hints of all jobs for which there can be one.
///
/// # Errors
/// Those of the database.
pub fn hints(session: &ReadSession) -> Result<Vec<JobHint>> {
    let mut hints = Vec::new();
    for job in session.jobs(None)? {
        // Where an entry cannot be read, runs open the database, skip it and report it.
        hints.extend(if_readable(hint(session, job))?.flatten());
    }
    Ok(hints)
}

/// The hint of a job; `None` if there can be none.
fn hint(session: &ReadSession, job: Job) -> Result<Option<JobHint>> {
    let (Some(retry), BackfillProgress::All) = (job.retry, job.backfilled) else { return Ok(None) };
    let Ok(policy) = retry.parse() else { return Ok(None) };
    let Some(levels) = levels(session, job.no)? else { return Ok(None) };
    let deferred = deferred(session, job.no, &policy)?;
    Ok(Some(JobHint { app_id: session.app_id(job.app)?, name: job.name, retry, levels, deferred }))
}

/// Each level of a job with its oldest and newest lastRun; `None` if there are too many.
fn levels(session: &ReadSession, job: JobNo) -> Result<Option<Vec<(u32, UnixTime, UnixTime)>>> {
    let mut levels: Vec<(u32, UnixTime, UnixTime)> = Vec::new();
    let end = bucket_prefix(job, DueBucket::Disabled, 0);
    loop {
        let from = DueBucket::Level(levels.last().map_or(0, |(level, ..)| level + 1));
        let first = session.trees.range(TreeName::Due, &bucket_prefix(job, from, 0), &end).next();
        let Some(oldest) = first.map(parse_key).transpose()? else { return Ok(Some(levels)) };
        let [first, behind] = bucket_range(job, oldest.bucket, &(0..=UnixTime::MAX));
        let last = session.trees.range(TreeName::Due, &first, &behind).next_back();
        let (DueBucket::Level(level), Some(newest)) = (oldest.bucket, last.map(parse_key).transpose()?) else {
            return Ok(Some(levels));
        };
        if levels.len() == MAX_LEVELS {
            return Ok(None);
        }
        levels.push((level, oldest.from, newest.from));
    }
}

/// What is known about the deferred connections of a job; `None` if none of them will be due.
fn deferred(session: &ReadSession, job: JobNo, policy: &Policy) -> Result<Option<DeferredHint>> {
    let [first, behind] = bucket_range(job, DueBucket::Deferred, &(0..=UnixTime::MAX));
    let mut deferred: Option<DeferredHint> = None;
    for (number, entry) in session.trees.range(TreeName::Due, &first, &behind).take(MAX_DEFERRED + 1).enumerate() {
        let DueKey { locator, from: end, .. } = parse_key(entry)?;
        // A status may be missing, or unreadable, which only a check reports.
        let status = if number < MAX_DEFERRED { if_readable(session.status(job, locator))?.flatten() } else { None };
        let (due, last_run) = match status {
            Some(status) => match policy.next_due_of_status(&status) {
                Some(due) => (due, status.period_start()),
                // It is given up.
                None => continue,
            },
            // Where it is not known, the time of a wrong clock makes runs open the database.
            None => (end, UnixTime::MAX),
        };
        let known = deferred.get_or_insert(DeferredHint { first_end: due, newest_last_run: last_run });
        known.first_end = known.first_end.min(due);
        known.newest_last_run = known.newest_last_run.max(last_run);
    }
    Ok(deferred)
}

fn parse_key(entry: sled::Result<Entry>) -> Result<DueKey> {
    let (key, _) = entry?;
    Ok(DueKey::parse(&key).ok_or(Item::Key)?)
}

/// Removes the hint, since the database is about to change; returns whether there was one.
///
/// # Errors
/// [`Error::DueHint`].
pub fn remove(file: &ReplacedFile) -> Result<bool> {
    match fs::remove_file(&file.path) {
        Ok(()) => {
            failpoint::hit(Failpoint::HintRemoved);
            Ok(true)
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(Error::DueHint(FileError::at(FileOp::Remove, &file.path)(error))),
    }
}

/// Makes the removal durable, before a session makes durable what it wrote.
///
/// sled may have written parts of it already, so after a power cut the hint can be back beside a database that was
/// changed. Then it does not count, since the database's file has another size or time.
///
/// # Errors
/// [`Error::File`].
pub fn sync_removal(store: &Path) -> Result<()> {
    Ok(sync_dir(store).map_err(FileError::at(FileOp::Sync, store))?)
}

/// Writes the hints of a database that is closed.
///
/// # Errors
/// Those of writing. Without the file the next run opens the database.
pub fn publish(file: &ReplacedFile, database: &Path, jobs: Vec<JobHint>) -> io::Result<()> {
    let Some(stamp) = Stamp::of(database) else { return Ok(()) };
    let text = serde_json::to_string(&Content { file: stamp, version: STORE_VERSION, jobs })?;
    let text = format!("{:08x}\n{text}", crc32fast::hash(text.as_bytes()));
    let mut staged = file.stage()?;
    staged.file().write_all(text.as_bytes())?;
    staged.commit(Durability::Contents, || failpoint::hit(Failpoint::HintWritten))?;
    failpoint::hit(Failpoint::HintRenamed);
    Ok(())
}

/// Reads the hints of a database; `None` if the file does not count.
#[must_use]
pub fn query(file: &ReplacedFile, database: &Path) -> Option<Vec<JobHint>> {
    let content = read(file)?;
    (Stamp::of(database)? == content.file).then_some(content.jobs)
}

/// Whether the last session closed a database cleanly, in the version of this program.
///
/// Then the next one neither recovers nor upgrades it. `false` is no answer. The database may be named by another path.
#[must_use]
pub fn is_settled(file: &ReplacedFile, database: &Path) -> bool {
    let Some((content, stamp)) = read(file).zip(Stamp::of(database)) else { return false };
    content.version == STORE_VERSION && Stamp { path: content.file.path.clone(), ..stamp } == content.file
}

/// Reads the file; `None` if it is missing, or damaged.
fn read(file: &ReplacedFile) -> Option<Content> {
    let text = fs::read_to_string(&file.path).ok()?;
    let (checksum, text) = text.split_once('\n')?;
    if u32::from_str_radix(checksum, 16) != Ok(crc32fast::hash(text.as_bytes())) {
        return None;
    }
    serde_json::from_str(text).ok()
}

/// Whether it is certain that nothing is due for a job at `now`, by the expression of its last run.
///
/// `false` is no answer.
#[must_use]
pub fn is_certainly_idle(hints: &[JobHint], app_id: &AppId, name: &JobName, policy: &Policy, now: UnixTime) -> bool {
    let job = hints.iter().find(|job| job.app_id == *app_id && job.name == *name);
    job.is_some_and(|job| job.retry == policy.to_string() && job.is_idle(policy, now))
}

/// Whether it is certain that an app has (or had) connections. `false` is no answer.
#[must_use]
pub fn knows_app(hints: &[JobHint], app_id: &AppId) -> bool {
    hints.iter().any(|job| job.app_id == *app_id)
}

impl JobHint {
    fn is_idle(&self, policy: &Policy, now: UnixTime) -> bool {
        let may_be_due = |(level, oldest, newest): &_| policy.may_be_due(*level, &(*oldest..=*newest), now);
        if self.levels.iter().any(may_be_due) {
            return false;
        }
        let Some(DeferredHint { first_end, newest_last_run }) = self.deferred else { return true };
        // A wrong clock makes a site due before its deferral ends, whatever its level is.
        let newest = PollStatus { last_run: newest_last_run, ..PollStatus::default() };
        first_end > now.saturating_add(MAX_LEEWAY_S) && !policy.clock_was_wrong(&newest, now)
    }
}

#[cfg(test)]
mod tests;

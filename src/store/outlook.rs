//! What the next run would find due, in a few bytes beside the database: a run with nothing to do need not open it.
//!
//! For each job the oldest and the newest lastRun of each level, by which any retry expression can be judged. It is written at
//! the end of a session, and removed before the next session opens the database; it counts only while the database's file is
//! the one that it names, with the same size and time. Absent, unreadable or of another file it says nothing, and the store is
//! opened.

use std::fs;
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::folder::{failed, private_file, sync_folder};
use super::keys::{DueKey, JobNo, Shelf, shelf_prefix};
use super::meta::Enrolled;
use super::record::Unreadable;
use super::session::Session;
use crate::error::{Error, Kind, Result};
use crate::fault::{self, Step};
use crate::model::{AppId, JobName, PollStatus, UnixTime};
use crate::retry::Policy;

/// The file's name in the store's folder.
pub(super) const NAME: &str = "outlook";
/// What it is called while it is written.
pub(super) const ASIDE: &str = "outlook.new";
/// A job at more levels is left out: no expression has so many.
const MOST_LEVELS: usize = 1000;
/// A site is due at most so many seconds early, and deferred for at most a day longer than its own next time.
const EARLY: UnixTime = 5;
const LONGEST_DEFERRAL: UnixTime = 86_400;

#[derive(Serialize, Deserialize)]
struct Outlook {
    file: Stamp,
    jobs: Vec<JobOutlook>,
}

/// What tells one state of a file from another.
#[derive(PartialEq, Serialize, Deserialize)]
struct Stamp {
    path: PathBuf,
    inode: u64,
    size: u64,
    seconds: i64,
    nanoseconds: i64,
}

/// Where the connections of a job stand that has reached all of them.
#[derive(Serialize, Deserialize)]
pub(super) struct JobOutlook {
    app_id: AppId,
    name: JobName,
    retry: String,
    /// Level, oldest and newest lastRun.
    levels: Vec<(u32, UnixTime, UnixTime)>,
    /// The first and the last moment up to which somebody is deferred.
    deferred: Option<(UnixTime, UnixTime)>,
}

impl Stamp {
    fn of(database: &Path) -> Option<Self> {
        let path = database.join("db");
        let about = fs::metadata(&path).ok()?;
        let (seconds, nanoseconds) = (about.mtime(), about.mtime_nsec());
        Some(Self { path, inode: about.ino(), size: about.size(), seconds, nanoseconds })
    }
}

impl Session {
    /// The outlook of all jobs that have one.
    pub(super) fn outlook(&self) -> Result<Vec<JobOutlook>> {
        let mut jobs = Vec::new();
        for job in self.jobs(None)? {
            let (Some(retry), Enrolled::All) = (job.retry, job.enrolled) else { continue };
            let mut levels: Vec<(u32, UnixTime, UnixTime)> = Vec::new();
            while let Some((shelf, oldest, newest)) =
                self.ends(job.no, Shelf::Level(levels.last().map_or(0, |(level, ..)| level + 1)), Shelf::Disabled)?
            {
                let Shelf::Level(level) = shelf else { break };
                levels.push((level, oldest, newest));
                if levels.len() > MOST_LEVELS {
                    break;
                }
            }
            if levels.len() > MOST_LEVELS {
                continue;
            }
            let deferred = self.ends(job.no, Shelf::Deferred, Shelf::Deferred)?.map(|(_, first, last)| (first, last));
            jobs.push(JobOutlook { app_id: self.app_name(job.app)?, name: job.name, retry, levels, deferred });
        }
        Ok(jobs)
    }

    /// The first shelf of a job from `from` on and before `to` that has entries, with its first and its last `from`. Where both
    /// are the last shelf of all, it is that one.
    fn ends(&self, job: JobNo, from: Shelf, to: Shelf) -> Result<Option<(Shelf, UnixTime, UnixTime)>> {
        let beyond = |shelf: Shelf| [&shelf_prefix(job, shelf, UnixTime::MAX)[..], &[0xff; 16]].concat();
        let end = if from == to { beyond(to) } else { shelf_prefix(job, to, 0).to_vec() };
        let Some(first) = self.due.range(shelf_prefix(job, from, 0).to_vec()..end).next() else { return Ok(None) };
        let first = DueKey::parse(&first?.0).ok_or_else(Unreadable::key)?;
        let of_shelf = shelf_prefix(job, first.shelf, 0).to_vec()..beyond(first.shelf);
        let Some(last) = self.due.range(of_shelf).next_back() else { return Ok(None) };
        let last = DueKey::parse(&last?.0).ok_or_else(Unreadable::key)?;
        Ok(Some((first.shelf, first.from, last.from)))
    }
}

/// Removes the outlook of before, since the database is about to change; tells whether there was one.
pub(super) fn remove(store: &Path) -> Result<bool> {
    let path = store.join(NAME);
    match fs::remove_file(&path) {
        Ok(()) => {
            fault::reached(Step::OutlookRemoved);
            Ok(true)
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(failed("remove", &path, &error)
            .hint("it is a file that says what is due next: take away what stands in its place, and let its folder be writable")),
    }
}

/// Writes the outlook of a database that is closed: aside, synced and renamed.
pub(super) fn write(store: &Path, database: &Path, jobs: Vec<JobOutlook>) -> Result<()> {
    let path = store.join(NAME);
    let cannot = |error: &std::io::Error| failed("write", &path, error);
    let Some(file) = Stamp::of(database) else { return Ok(()) };
    let text = serde_json::to_string(&Outlook { file, jobs })
        .map_err(|error| Error::new(Kind::Internal, format!("can't write the outlook: {error}")))?;
    let aside = store.join(ASIDE);
    let text = format!("{:08x}\n{text}", crc32fast::hash(text.as_bytes()));
    let written = private_file(&aside).and_then(|mut file| {
        file.set_len(0)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()
    });
    written.map_err(|error| cannot(&error))?;
    fault::reached(Step::OutlookWritten);
    fs::rename(&aside, &path).map_err(|error| cannot(&error))?;
    fault::reached(Step::OutlookNamed);
    Ok(())
}

/// Makes a removal last, before what is written to the database can.
pub(super) fn settle(store: &Path) -> Result<()> {
    sync_folder(store).map_err(|error| failed("sync", store, &error))
}

/// Whether it is certain that nothing is due for a job at `now`, by an expression that is the one of its last run.
pub(super) fn nothing_is_due(
    store: &Path,
    database: &Path,
    app_id: &AppId,
    name: &JobName,
    policy: &Policy,
    now: UnixTime,
) -> bool {
    read(store, database).is_some_and(|jobs| {
        let job = jobs.iter().find(|job| job.app_id == *app_id && job.name == *name);
        job.is_some_and(|job| job.retry == policy.to_string() && job.is_quiet(policy, now))
    })
}

/// Whether it is certain that an app has connections.
pub(super) fn knows(store: &Path, database: &Path, app_id: &AppId) -> bool {
    read(store, database).is_some_and(|jobs| jobs.iter().any(|job| job.app_id == *app_id))
}

/// The outlook of a database, if there is one that counts.
fn read(store: &Path, database: &Path) -> Option<Vec<JobOutlook>> {
    let text = fs::read_to_string(store.join(NAME)).ok()?;
    let (checksum, text) = text.split_once('\n')?;
    if u32::from_str_radix(checksum, 16) != Ok(crc32fast::hash(text.as_bytes())) {
        return None;
    }
    let outlook: Outlook = serde_json::from_str(text).ok()?;
    (Stamp::of(database)? == outlook.file).then_some(outlook.jobs)
}

impl JobOutlook {
    fn is_quiet(&self, policy: &Policy, now: UnixTime) -> bool {
        let is_due = |level: u32, last_run: UnixTime| {
            policy.is_due(&PollStatus { level, last_run, ..PollStatus::default() }, now)
        };
        if self.levels.iter().any(|(level, oldest, newest)| is_due(*level, *oldest) || is_due(*level, *newest)) {
            return false;
        }
        let Some((first, last)) = self.deferred else { return true };
        // Who is put off beyond any next time was so by a clock that was wrong, and is due.
        let levels = 0..u32::try_from(policy.levels().len()).unwrap_or(u32::MAX);
        let farthest = levels.filter_map(|level| policy.next_due(level, now)).max().unwrap_or(now);
        first > now.saturating_add(EARLY) && last <= farthest.saturating_add(LONGEST_DEFERRAL)
    }
}

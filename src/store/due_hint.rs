//! The due hint: a small file that shows that nothing is due, so that a run need not open the database.
//!
//! For each job it holds the oldest and the newest lastRun of each level, which is enough for any retry expression. It is
//! written when a session ends, and removed before the next session opens the database. It counts only while the
//! database's file is the one that it names, with the same size and time. If it is missing, unreadable or about another
//! file, the database is opened.

use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::engine::TreeName;
use super::error::{Error, Item, Result};
use super::failpoint::{self, Failpoint};
use super::schema::{BackfillProgress, DueBucket, DueKey, JobNo, ReadSession, bucket_prefix};
use crate::model::{AppId, Failure, JobName, PollStatus, UnixTime};
use crate::retry::{MAX_LEEWAY_S, Policy};
use crate::util::file_error::{FileError, FileOp};
use crate::util::fs_atomic::{Durability, ReplacedFile, sync_dir};

/// A job with more levels is left out; no expression has that many.
const MAX_LEVELS: usize = 1000;
/// The most seconds by which a site is deferred beyond its own next time.
const MAX_DEFERRAL_S: UnixTime = Failure::MAX_RETRY_AFTER_S as UnixTime;

/// The content of the file. The names of its fields are part of the store's format.
#[derive(Serialize, Deserialize)]
struct Content {
    file: Stamp,
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
    /// The first and the last time until which a connection is deferred; `None` if none is.
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

/// The hints of all jobs for which there can be one.
///
/// # Errors
/// Those of the database.
pub fn hints(session: &ReadSession) -> Result<Vec<JobHint>> {
    let mut hints = Vec::new();
    for job in session.jobs(None)? {
        let (Some(retry), BackfillProgress::All) = (job.retry, job.backfilled) else { continue };
        let Some(levels) = levels(session, job.no)? else { continue };
        let deferred = first_bucket(session, job.no, DueBucket::Deferred, None)?.map(|(_, first, last)| (first, last));
        hints.push(JobHint { app_id: session.app_id(job.app)?, name: job.name, retry, levels, deferred });
    }
    Ok(hints)
}

/// Each level of a job with its oldest and newest lastRun; `None` if there are too many.
fn levels(session: &ReadSession, job: JobNo) -> Result<Option<Vec<(u32, UnixTime, UnixTime)>>> {
    let mut levels: Vec<(u32, UnixTime, UnixTime)> = Vec::new();
    loop {
        let next = DueBucket::Level(levels.last().map_or(0, |(level, ..)| level + 1));
        let found = first_bucket(session, job, next, Some(DueBucket::Disabled))?;
        let Some((DueBucket::Level(level), oldest, newest)) = found else { return Ok(Some(levels)) };
        if levels.len() == MAX_LEVELS {
            return Ok(None);
        }
        levels.push((level, oldest, newest));
    }
}

/// The first bucket of a job with entries, with its first and its last `from`.
///
/// Looks from the bucket `from` on and before the bucket `to`; without `to`, only at `from`.
fn first_bucket(
    session: &ReadSession,
    job: JobNo,
    from: DueBucket,
    to: Option<DueBucket>,
) -> Result<Option<(DueBucket, UnixTime, UnixTime)>> {
    let start = |bucket| bucket_prefix(job, bucket, 0).to_vec();
    let end = |bucket| [&bucket_prefix(job, bucket, UnixTime::MAX)[..], &[0xff; 16]].concat();
    let until = to.map_or_else(|| end(from), start);
    let parse = |entry: sled::Result<(sled::IVec, _)>| Ok::<_, Error>(DueKey::parse(&entry?.0).ok_or(Item::Key)?);
    let Some(first) = session.trees.range(TreeName::Due, &start(from), &until).next() else { return Ok(None) };
    let first = parse(first)?;
    let of_bucket = session.trees.range(TreeName::Due, &start(first.bucket), &end(first.bucket)).next_back();
    let Some(last) = of_bucket else { return Ok(None) };
    Ok(Some((first.bucket, first.from, parse(last)?.from)))
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

/// Makes the removal durable. What a session writes must not reach the disk before that.
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
    let text = serde_json::to_string(&Content { file: stamp, jobs })?;
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
    let text = fs::read_to_string(&file.path).ok()?;
    let (checksum, text) = text.split_once('\n')?;
    if u32::from_str_radix(checksum, 16) != Ok(crc32fast::hash(text.as_bytes())) {
        return None;
    }
    let content: Content = serde_json::from_str(text).ok()?;
    (Stamp::of(database)? == content.file).then_some(content.jobs)
}

/// Whether it is certain that nothing is due for a job at `now`, by the expression of its last run. `false` is no answer.
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
        let is_due = |level: u32, last_run: UnixTime| {
            policy.is_due(&PollStatus { level, last_run, ..PollStatus::default() }, now)
        };
        if self.levels.iter().any(|(level, oldest, newest)| is_due(*level, *oldest) || is_due(*level, *newest)) {
            return false;
        }
        let Some((first, last)) = self.deferred else { return true };
        // A deferral beyond any next time was made by a wrong clock, so the site is due.
        let levels = 0..u32::try_from(policy.levels().len()).unwrap_or(u32::MAX);
        let farthest = levels.filter_map(|level| policy.next_due(level, now)).max().unwrap_or(now);
        first > now.saturating_add(MAX_LEEWAY_S) && last <= farthest.saturating_add(MAX_DEFERRAL_S)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: UnixTime = 1_767_225_600;
    const HOUR: UnixTime = 3600;
    const DAY: UnixTime = 24 * HOUR;

    fn policy() -> Policy {
        "1 hour (x3); 1 day (x9)".parse().unwrap()
    }

    fn hint(levels: &[(u32, UnixTime, UnixTime)], deferred: Option<(UnixTime, UnixTime)>) -> JobHint {
        JobHint {
            app_id: "app:org.example.myapp".parse().unwrap(),
            name: JobName::default(),
            retry: policy().to_string(),
            levels: levels.to_vec(),
            deferred,
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
            // From a run whose clock was wrong.
            (&[(0, NOW - 60, NOW + 2 * HOUR)], false),
            // Never polled.
            (&[(0, 0, NOW - 60)], false),
            // Given up.
            (&[(2, 0, NOW - 99 * DAY)], true),
        ] {
            assert_eq!(hint(levels, None).is_idle(&policy(), NOW), is_idle, "{levels:?}");
        }
    }

    #[test]
    fn a_deferral_counts_until_its_end_and_not_beyond_any_next_time() {
        let farthest = NOW + DAY + MAX_DEFERRAL_S;
        for (deferred, is_idle) in [
            ((NOW + MAX_LEEWAY_S + 1, NOW + HOUR), true),
            ((NOW + MAX_LEEWAY_S, NOW + HOUR), false),
            ((NOW - HOUR, NOW + HOUR), false),
            ((NOW + HOUR, farthest), true),
            ((NOW + HOUR, farthest + 1), false),
        ] {
            assert_eq!(hint(&[], Some(deferred)).is_idle(&policy(), NOW), is_idle, "{deferred:?}");
        }
    }

    #[test]
    fn only_the_job_and_the_expression_of_the_hint_are_certain() {
        let hints = [hint(&[], None)];
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
        publish(&file, &database, vec![hint(&[(0, 1, 2)], None)]).unwrap();
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
}

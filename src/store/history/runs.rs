//! What the last runs of each job did.

use std::fs;
use std::io::{self, Write};
use std::path::PathBuf;
use std::time::Duration;

use bincode::{Decode, Encode};
use sha2::{Digest, Sha256};

use super::frames::{FrameReader, decode, encode, put};
use super::log::History;
use super::names::name_of;
use crate::model::{AppId, Fault, JobName, Lateness, UnixTime};
use crate::store::error::{Error, Item, Result};
use crate::store::schema::RunRecord;
use crate::util::file_error::{FileError, FileOp};
use crate::util::fs_atomic::{AtomicFile, Durability, private_dir};
use crate::util::lock::{Backoff, FileLock, Mode};

/// How many runs of a job are kept at least, and the most that are read.
const MAX_RUNS: usize = 10_000;
/// From this size on, a file is checked for runs that are beyond the limit.
const LARGE_BYTES: u64 = 1 << 20;
const VERSION: u8 = 1;
const LOCK_WAIT: Duration = Duration::from_secs(2);

/// A run of a job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunEntry {
    /// What it did, without the hosts that it skipped.
    pub run: RunRecord,
    /// Its exit code.
    pub exit_code: u8,
}

/// The fields of a run behind those that `RunRecord` encodes.
#[derive(Encode, Decode)]
struct Wire {
    run: RunRecord,
    fault: u8,
    skipped: u64,
    lateness_s: Option<(u32, u32, u32)>,
    behind_since: Option<UnixTime>,
    exit_code: u8,
}

impl RunEntry {
    fn to_bytes(&self) -> Vec<u8> {
        let Self { run, exit_code } = self;
        let wire = Wire {
            fault: run.outage_cause.map_or(0, |fault| fault as u8),
            skipped: run.skipped,
            lateness_s: run.lateness_s.map(|Lateness { p50, p95, max }| (p50, p95, max)),
            behind_since: run.behind_since,
            exit_code: *exit_code,
            run: run.clone(),
        };
        encode(VERSION, &wire)
    }

    pub(super) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let Wire { run, fault, skipped, lateness_s, behind_since, exit_code } = decode(VERSION, bytes)?;
        let outage_cause = Fault::from_number(fault);
        let lateness_s = lateness_s.map(|(p50, p95, max)| Lateness { p50, p95, max });
        Some(Self { run: RunRecord { outage_cause, skipped, lateness_s, behind_since, ..run }, exit_code })
    }
}

impl History {
    /// Adds a run of a job. Runs beyond the limit are removed now and then.
    ///
    /// # Errors
    /// [`Error::File`], also if another process holds the lock for long; [`Error::RecordTooLarge`].
    pub fn add_run(&self, app_id: &AppId, job: &JobName, entry: &RunEntry) -> Result<()> {
        let _held = self.lock_runs()?;
        let path = self.runs_path(app_id, job);
        let mut bytes = Vec::new();
        if !put(&mut bytes, &entry.to_bytes()) {
            return Err(Error::RecordTooLarge(Item::HistoryEntry));
        }
        self.add(&path, &bytes)?;
        let size = fs::metadata(&path).map_err(FileError::at(FileOp::Inspect, &path))?.len();
        if size >= LARGE_BYTES { self.trim_runs(app_id, job) } else { Ok(()) }
    }

    /// Excludes other processes from writing the files of runs.
    ///
    /// # Errors
    /// [`Error::File`], also if another process holds the lock for long.
    pub(super) fn lock_runs(&self) -> Result<FileLock> {
        let dir = self.dir();
        private_dir(dir).map_err(FileError::at(FileOp::Create, dir))?;
        let lock = dir.join("runs.lock");
        let lock_failed = FileError::at(FileOp::Lock, &lock);
        let mut held = FileLock::open(&lock).map_err(FileError::at(FileOp::Open, &lock))?;
        if !held.acquire(Mode::Exclusive, &mut Backoff::new(LOCK_WAIT)).map_err(&lock_failed)? {
            return Err(lock_failed(io::ErrorKind::TimedOut.into()).into());
        }
        Ok(held)
    }

    /// The last runs of a job, at most 10,000, the oldest first.
    ///
    /// # Errors
    /// [`Error::File`].
    pub fn runs(&self, app_id: &AppId, job: &JobName) -> Result<Vec<RunEntry>> {
        let mut runs = self.all_runs(app_id, job)?;
        runs.drain(..runs.len().saturating_sub(MAX_RUNS));
        Ok(runs)
    }

    fn all_runs(&self, app_id: &AppId, job: &JobName) -> Result<Vec<RunEntry>> {
        let path = self.runs_path(app_id, job);
        let mut reader = match FrameReader::open(&path, 0) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            opened => opened.map_err(FileError::at(FileOp::Open, &path))?,
        };
        let mut runs = Vec::new();
        while let Some(run) = reader.next(RunEntry::from_bytes).map_err(FileError::at(FileOp::Read, &path))? {
            runs.extend(run);
        }
        Ok(runs)
    }

    /// Rewrites the file of a job, if half as many runs again as are kept are in it.
    fn trim_runs(&self, app_id: &AppId, job: &JobName) -> Result<()> {
        let runs = self.all_runs(app_id, job)?;
        if runs.len() < MAX_RUNS + MAX_RUNS / 2 {
            return Ok(());
        }
        let mut bytes = Vec::new();
        // Each was read from a frame.
        runs[runs.len() - MAX_RUNS..].iter().for_each(|run| _ = put(&mut bytes, &run.to_bytes()));
        let path = self.runs_path(app_id, job);
        let write = || {
            self.ends().note(name_of(&path), Some(bytes.len() as u64))?;
            let mut file = AtomicFile::staged_as(&path.with_extension("new"), &path)?;
            file.file().write_all(&bytes)?;
            file.commit(Durability::Contents, || ())
        };
        write().map_err(FileError::at(FileOp::Write, &path)).map_err(Error::from)
    }

    fn runs_path(&self, app_id: &AppId, job: &JobName) -> PathBuf {
        let hash = hex::encode(Sha256::digest(format!("{app_id} {job}")));
        self.dir().join(format!("runs-{}.log", &hash[..16]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_runs_of_a_job_are_kept() {
        let dir = tempfile::tempdir().unwrap();
        let history = History::new(dir.path().join("history"));
        let (app_id, job): (AppId, JobName) = ("app:org.example.myapp".parse().unwrap(), "default".parse().unwrap());
        let entry = |now| {
            let run = RunRecord {
                now,
                batch: "0/1".into(),
                failures: vec![(4, 17), (6, 2)],
                outage_cause: Some(Fault::Clock),
                skipped: 5,
                lateness_s: Some(Lateness { p50: 1, p95: 2, max: 300 }),
                behind_since: Some(9),
                ..RunRecord::default()
            };
            RunEntry { run, exit_code: 69 }
        };
        assert_eq!(history.runs(&app_id, &job).unwrap(), []);
        history.add_run(&app_id, &job, &entry(1)).unwrap();
        assert_eq!(history.runs(&app_id, &job).unwrap(), [entry(1)]);
        let mut bytes = Vec::new();
        (2..40_000).for_each(|now| assert!(put(&mut bytes, &entry(now).to_bytes())));
        fs::write(history.runs_path(&app_id, &job), &bytes).unwrap();
        history.add_run(&app_id, &job, &entry(40_000)).unwrap();
        let runs = history.runs(&app_id, &job).unwrap();
        assert_eq!((runs.len(), runs[0].run.now, runs[9999].run.now), (10_000, 30_001, 40_000));
        assert!(fs::metadata(history.runs_path(&app_id, &job)).unwrap().len() < LARGE_BYTES);
        assert_eq!(history.runs(&app_id, &"other".parse().unwrap()).unwrap(), []);
    }
}

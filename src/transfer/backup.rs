//! Backups: complete, compressed, checksummed exports that lie in the store's folder `backups/`.
//!
//! A backup is gzip of JSON lines: `{"backup":…}` with the version of the form, a line `{"job":…}` for each job, a line for
//! each connection as `export` writes it, and `{"end":…}` with the number of connections and the SHA-256 of all that comes
//! before it. It is written aside, synced and renamed, so that what has a backup's name is whole.

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};

use chrono::{DateTime, NaiveDateTime, Utc};
use fd_lock::RwLock;
use flate2::Compression;
use flate2::bufread::MultiGzDecoder;
use flate2::write::GzEncoder;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::{line, parse};
use crate::error::{Error, Kind, Result};
use crate::fault::{self, Step};
use crate::model::{AppId, JobName, UnixTime};
use crate::store::{
    Alone, BACKUP_ENDS, CxnLine, Job, RunRecord, Session, Store, private_file, private_folder, sync_folder,
};

/// The form that is written and read.
const VERSION: u32 = 1;
/// What a backup is called while it is being written.
const WRITING: &str = "backup.writing";
/// Held by the one who writes a backup.
const LOCK: &str = "backup.lock";
/// The time in the names of backups.
const NAME: &str = "%Y%m%dT%H%M%SZ";
/// How many connections are restored at a time.
const AT_ONCE: usize = 256;

/// A backup that was written or checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Backup {
    /// Where it is.
    pub path: PathBuf,
    /// How many connections it holds.
    pub cxns: u64,
    /// Its size in bytes, compressed.
    pub bytes: u64,
}

/// A line that is no connection.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
enum Entry {
    Backup { version: u32, at: UnixTime, program: String },
    Job(JobEntry),
    End { cxns: u64, sha256: String },
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct JobEntry {
    app_id: AppId,
    job_name: JobName,
    retry: Option<String>,
    last_run: Option<RunRecord>,
    outage_since: Option<UnixTime>,
}

/// Writes a backup of a store, then removes all but the newest `keep`. Ends early, without one, when `stop` says so or when
/// another process is writing one: `None`.
///
/// # Errors
/// [`Kind::Store`] where a connection can't be read, so that the backup would not be complete, or the folder can't be written.
pub fn back_up(store: &Store, keep: usize, stop: impl Fn() -> bool) -> Result<Option<Backup>> {
    let folder = store.backup_folder();
    let failed = |error: io::Error| failed("write a backup to", &folder, &error);
    match private_folder(&folder) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(failed(error)),
        _ => {}
    }
    let mut lock = RwLock::new(private_file(&folder.join(LOCK)).map_err(failed)?);
    let _held = match lock.try_write() {
        Ok(held) => held,
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
        Err(error) => return Err(failed(error)),
    };
    let aside = folder.join(WRITING);
    let file = private_file(&aside).map_err(failed)?;
    file.set_len(0).map_err(failed)?;
    let Some(cxns) = write(store, &file, &folder, stop).inspect_err(|_| drop(fs::remove_file(&aside)))? else {
        return fs::remove_file(&aside).map(|()| None).map_err(failed);
    };
    file.sync_all().map_err(failed)?;
    fault::reached(Step::BackupWritten);
    let path = folder.join(Utc::now().format(NAME).to_string() + BACKUP_ENDS);
    fs::rename(&aside, &path).and_then(|()| sync_folder(&folder)).map_err(failed)?;
    fault::reached(Step::BackupNamed);
    for old in store.backups()?.into_iter().skip(keep.max(1)) {
        fs::remove_file(old).map_err(failed)?;
    }
    Ok(Some(Backup { path, cxns, bytes: file.metadata().map_err(failed)?.len() }))
}

fn failed(doing: &str, path: &Path, error: &io::Error) -> Error {
    Error::new(Kind::Store, format!("can't {doing} {}: {error}", path.display()))
}

/// Writes the lines; `None` where it was stopped.
fn write(store: &Store, file: &File, folder: &Path, stop: impl Fn() -> bool) -> Result<Option<u64>> {
    let failed = |error: io::Error| failed("write a backup to", folder, &error);
    let mut out = GzEncoder::new(BufWriter::new(file), Compression::fast());
    let mut hash = Sha256::new();
    let mut put = |text: &str| {
        hash.update(text);
        hash.update("\n");
        writeln!(out, "{text}").map_err(failed)
    };
    let program = env!("CARGO_PKG_VERSION").to_owned();
    put(&json(&Entry::Backup { version: VERSION, at: Utc::now().timestamp(), program }))?;
    let jobs = |session: &Session| {
        let mut jobs = Vec::new();
        for (app, app_id) in session.apps()? {
            for Job { name: job_name, retry, last_run, outage_since, .. } in session.jobs(Some(app))? {
                jobs.push(JobEntry { app_id: app_id.clone(), job_name, retry, last_run, outage_since });
            }
        }
        Ok(jobs)
    };
    for job in store.session(jobs)? {
        put(&json(&Entry::Job(job)))?;
    }
    let mut cxns = 0;
    let mut stopped = false;
    let written = store.connections(|_, cxn, statuses| {
        stopped = stop();
        if stopped {
            return Err(Error::new(Kind::Internal, "the backup was stopped"));
        }
        cxns += 1;
        put(&line(&cxn, statuses))
    });
    if stopped {
        return Ok(None);
    }
    written?;
    let sha256 = hex::encode(hash.finalize());
    writeln!(out, "{}", json(&Entry::End { cxns, sha256 })).map_err(failed)?;
    out.finish().and_then(|mut buffer| buffer.flush()).map_err(failed)?;
    Ok(Some(cxns))
}

fn json(entry: &Entry) -> String {
    // Encoding fails only for maps whose keys aren't text, and there are none.
    serde_json::to_string(entry).expect("an entry is JSON")
}

/// When a backup was made, by its name; `None` where the name tells no time.
#[must_use]
pub fn made_at(path: &Path) -> Option<UnixTime> {
    let name = path.file_name()?.to_str()?.strip_suffix(BACKUP_ENDS)?;
    NaiveDateTime::parse_from_str(name, NAME).ok().map(|time| time.and_utc().timestamp())
}

/// Whether a store's newest backup is older than so many seconds, or from a future that a wrong clock told of.
///
/// # Errors
/// [`Kind::Store`] where the folder can't be read.
pub fn is_due(store: &Store, now: DateTime<Utc>, every: i64) -> Result<bool> {
    let newest = store.backups()?.first().and_then(|path| made_at(path));
    Ok(newest.is_none_or(|at| (now.timestamp() - at).abs() >= every))
}

/// Checks that a backup is whole and that every line of it can be restored.
///
/// # Errors
/// [`Kind::NotFound`] where the file can't be opened, [`Kind::BadData`] where it is no backup or damaged.
pub fn verify(path: &Path) -> Result<Backup> {
    let mut cxns = 0;
    visit(
        path,
        |_| Ok(()),
        |_| {
            cxns += 1;
            Ok(())
        },
    )?;
    let bytes = fs::metadata(path).map_err(|e| failed("look at", path, &e))?.len();
    Ok(Backup { path: path.to_owned(), cxns, bytes })
}

/// Puts what a backup holds into the place of what a store holds, which is kept; the backup is checked before. Tells how
/// many connections there are, and where databases are kept that were replaced.
///
/// # Errors
/// Those of [`verify`] and [`Alone::replace`]; nothing is changed then.
pub fn restore(store: &Alone, path: &Path, keep: bool) -> Result<(Backup, Vec<PathBuf>)> {
    let backup = verify(path)?;
    let ((), kept) = store.replace(keep, |session| fill(session, path))?;
    Ok((backup, kept))
}

fn fill(session: &Session, path: &Path) -> Result<()> {
    let mut lines: Vec<CxnLine> = Vec::new();
    let add_job = |JobEntry { app_id, job_name, retry, last_run, outage_since }: JobEntry| {
        session.restore_job(&app_id, &job_name, retry.as_deref(), last_run.as_ref(), outage_since)
    };
    visit(path, add_job, |line| {
        lines.push(line);
        if lines.len() == AT_ONCE {
            session.put(&std::mem::take(&mut lines), true)?;
        }
        Ok(())
    })?;
    session.put(&lines, true).map(drop)
}

/// Reads a backup from its beginning to its end and checks it on the way.
fn visit(
    path: &Path,
    mut job: impl FnMut(JobEntry) -> Result<()>,
    mut cxn: impl FnMut(CxnLine) -> Result<()>,
) -> Result<()> {
    let bad = |problem: &str| {
        Error::new(Kind::BadData, format!("{} is no whole backup: {problem}", path.display()))
            .hint("the folder `backups` of the store may hold an older one")
    };
    let file = File::open(path)
        .map_err(|error| Error::new(Kind::NotFound, format!("can't read {}: {error}", path.display())))?;
    let mut reader = BufReader::new(MultiGzDecoder::new(BufReader::new(file)));
    let (mut hash, mut text, mut number, mut cxns) = (Sha256::new(), String::new(), 0, 0_u64);
    loop {
        text.clear();
        number += 1;
        if reader.read_line(&mut text).map_err(|error| bad(&error.to_string()))? == 0 {
            return Err(bad("its end is missing"));
        }
        let wrong = |problem: &str| bad(&format!("line {number}: {problem}"));
        if text.starts_with(r#"{"cxnId""#) && number > 1 {
            cxns += 1;
            cxn(parse(&text).map_err(|problem| wrong(&problem))?)?;
        } else {
            match serde_json::from_str(&text) {
                Ok(Entry::Backup { version: VERSION, .. }) if number == 1 => {}
                Ok(Entry::Backup { version, .. }) if number == 1 => {
                    return Err(bad(&format!("it has version {version}, this program reads version {VERSION}")));
                }
                Ok(Entry::Job(entry)) if number > 1 => job(entry)?,
                Ok(Entry::End { cxns: told, sha256 }) if number > 1 => {
                    if told != cxns || sha256 != hex::encode(hash.finalize()) {
                        return Err(bad("its checksum is wrong"));
                    }
                    // Reading on to the end of the file has gzip check its own.
                    let behind = reader.read(&mut [0]).map_err(|error| bad(&error.to_string()))?;
                    return if behind == 0 { Ok(()) } else { Err(bad("something follows its end")) };
                }
                _ => return Err(wrong("it is none of a backup's")),
            }
        }
        hash.update(&text);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{CxnId, PollStatus};
    use std::time::Duration;

    fn store(folder: &Path, cxns: u32) -> Store {
        let store = Store::create(&folder.join("store"), Duration::from_secs(10)).unwrap();
        let text = |number: u32| {
            let secret = crate::model::Secret::from_bytes([7; 32]).to_base64();
            format!(
                r#"{{"cxnId":"cxn:{number}","secret":"{secret}","appId":"app:org.example.myapp","appUrl":"https://a.example/","siteUrl":"https://{number}.example/","perm":{{"a":[{}]}},"pollStatus":{{"one":{{"pollLevel":1,"pollCount":{number},"lastRun":{}}}}}}}"#,
                number % 2,
                number + 1,
            )
        };
        let lines: Vec<_> = (0..cxns).map(|number| parse(&text(number)).unwrap()).collect();
        store.session(|session| session.put(&lines, false)).unwrap();
        store
    }

    fn all(store: &Store) -> Vec<String> {
        let mut lines = Vec::new();
        store
            .connections(|_, cxn, statuses| {
                lines.push(line(&cxn, statuses));
                Ok(())
            })
            .unwrap();
        lines.sort();
        lines
    }

    fn restore_to(store: &Store, path: &Path) -> Result<(Backup, Vec<PathBuf>)> {
        Store::take_over(store.path(), Duration::from_secs(10), "store restore", |alone| restore(alone, path, true))
    }

    #[test]
    fn what_is_restored_is_what_was_backed_up() {
        let folder = tempfile::tempdir().unwrap();
        let store = store(folder.path(), 600);
        let before = all(&store);
        let backup = back_up(&store, 7, || false).unwrap().unwrap();
        assert_eq!(backup.cxns, 600);
        assert_eq!(verify(&backup.path).unwrap(), backup);
        let id: CxnId = "cxn:1".parse().unwrap();
        store
            .session(|session| {
                let mut changed = parse(&before[1]).unwrap();
                changed.poll_status = vec![("two".parse().unwrap(), PollStatus { last_run: 5, ..Default::default() })];
                session.put(&[changed], true)
            })
            .unwrap();
        assert_ne!(all(&store), before);
        let (restored, kept) = restore_to(&store, &backup.path).unwrap();
        assert_eq!((restored.cxns, kept.len()), (600, 1));
        assert!(kept[0].join("db").exists());
        assert_eq!(all(&store), before);
        assert!(store.session(|session| session.find(&id)).unwrap().is_some());
        assert_eq!(store.check(false).unwrap().faults, 0);
    }

    #[test]
    fn a_backup_that_is_not_whole_changes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let store = store(folder.path(), 20);
        let before = all(&store);
        let path = back_up(&store, 7, || false).unwrap().unwrap().path;
        let good = fs::read(&path).unwrap();
        let mut flipped = good.clone();
        flipped[good.len() / 2] ^= 1;
        let twice = [good.as_slice(), &good].concat();
        for bad in [&good[..good.len() - 9], &good[..good.len() / 2], &flipped, &twice, b"", b"no gzip"] {
            fs::write(&path, bad).unwrap();
            let error = restore_to(&store, &path).unwrap_err();
            assert_eq!(error.kind, Kind::BadData, "{error}");
        }
        assert_eq!(all(&store), before);
        assert!(store.kept().unwrap().is_empty());
    }

    #[test]
    fn the_newest_are_kept_and_tell_when_the_next_is_due() {
        let folder = tempfile::tempdir().unwrap();
        let store = store(folder.path(), 1);
        let now = Utc::now();
        assert!(is_due(&store, now, 86_400).unwrap());
        let newest = back_up(&store, 2, || false).unwrap().unwrap().path;
        for old in ["20250101T000000Z", "20250102T000000Z", "20250103T000000Z"] {
            fs::copy(&newest, store.backup_folder().join(old.to_owned() + BACKUP_ENDS)).unwrap();
        }
        assert!(!is_due(&store, now, 86_400).unwrap());
        assert!(is_due(&store, now + chrono::TimeDelta::days(1), 86_400).unwrap());
        let newest = back_up(&store, 2, || false).unwrap().unwrap().path;
        let left = store.backups().unwrap();
        assert_eq!((left.len(), &left[0]), (2, &newest));
    }

    #[test]
    fn a_backup_that_is_stopped_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let store = store(folder.path(), 3);
        assert_eq!(back_up(&store, 7, || true).unwrap(), None);
        assert!(store.backups().unwrap().is_empty());
    }
}

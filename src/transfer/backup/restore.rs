//! Checking and restoring a backup.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use flate2::bufread::MultiGzDecoder;
use sha2::{Digest, Sha256};

use super::file::Backup;
use super::lines::{JobEntry, Line, VERSION};
use crate::model::UnixTime;
use crate::store::{CxnPatch, ExclusiveStore, TX_BATCH, WriteSession};
use crate::transfer::entry::parse;
use crate::transfer::error::{BackupProblem, Error, KeyProblem, Result};
use crate::util::encryption::{Identities, MAGIC, Undecryptable, decrypt};
use crate::util::file_error::{FileError, FileOp};

/// Checks that a backup is complete and that every line of it can be restored.
///
/// An encrypted one needs an identity of one of its recipients.
///
/// # Errors
/// [`Error::OpenBackup`] where the file cannot be opened, [`Error::InvalidBackup`] where it is not a backup or damaged,
/// [`Error::Undecryptable`].
pub fn verify(path: &Path, identities: &Identities) -> Result<Backup> {
    let mut cxns = 0;
    let (at, lacks) = for_each_item(path, identities, |_, item| {
        cxns += u64::from(matches!(item, Item::Cxn(_)));
        Ok::<_, Error>(())
    })?;
    Ok(Backup { path: path.to_owned(), at, cxns, bytes: size(path)?, lacks })
}

/// The size of a backup in bytes.
///
/// # Errors
/// [`Error::OpenBackup`].
pub(super) fn size(path: &Path) -> Result<u64> {
    let metadata = fs::metadata(path).map_err(FileError::at(FileOp::Inspect, path));
    Ok(metadata.map_err(Error::OpenBackup)?.len())
}

/// Replaces the content of a store by that of a backup, which is checked before.
///
/// With `keep` the replaced database is kept. Returns the backup, and where replaced databases are.
///
/// # Errors
/// Those of [`verify`] and [`ExclusiveStore::replace`]. The store is unchanged then.
pub fn restore(
    store: &ExclusiveStore,
    path: &Path,
    identities: &Identities,
    keep: bool,
) -> Result<(Backup, Vec<PathBuf>)> {
    let backup = verify(path, identities)?;
    let (_, kept) = store.replace(keep, |session| fill(session, path, identities, |_, _| Ok::<_, Error>(())))?;
    Ok((backup, kept))
}

/// Fills a database with a backup, and passes each line to `inspect` with what it restores.
///
/// Returns when the backup was written, and how many entries it lacks.
///
/// # Errors
/// Those of `inspect`, and as [`restore`].
pub(super) fn fill<E: From<Error>>(
    session: &WriteSession,
    path: &Path,
    identities: &Identities,
    mut inspect: impl FnMut(&str, &Item) -> Result<(), E>,
) -> Result<(UnixTime, u64), E> {
    let mut batch: Vec<CxnPatch> = Vec::with_capacity(TX_BATCH);
    let upsert = |batch: &[CxnPatch]| session.upsert(batch, true).map(drop).map_err(Error::from);
    let read = for_each_item(path, identities, |text, item| {
        inspect(text, &item)?;
        match item {
            Item::Job(job) => {
                let JobEntry { app_id, job_name, retry, last_run, outage_since, outages } = *job;
                let (retry, last_run) = (retry.as_deref(), last_run.as_ref());
                let restored = session.restore_job(&app_id, &job_name, retry, last_run, outage_since, &outages);
                restored.map_err(Error::from)?;
            }
            Item::Cxn(patch) => batch.push(*patch),
        }
        if batch.len() == TX_BATCH {
            upsert(&batch)?;
            batch.clear();
        }
        Ok::<_, E>(())
    })?;
    upsert(&batch)?;
    Ok(read)
}

/// What a line of a backup restores.
pub(super) enum Item {
    Job(Box<JobEntry>),
    Cxn(Box<CxnPatch>),
}

/// Reads a backup to its end, checks it, and emits each line with what it restores.
///
/// Returns when it was written, and how many entries it lacks.
fn for_each_item<E: From<Error>>(
    path: &Path,
    identities: &Identities,
    mut emit: impl FnMut(&str, Item) -> Result<(), E>,
) -> Result<(UnixTime, u64), E> {
    let invalid = |problem: BackupProblem| E::from(Error::invalid_backup(path, problem));
    let mut reader = BufReader::new(MultiGzDecoder::new(open(path, identities)?));
    let (mut hash, mut text, mut line, mut at, mut cxns) = (Sha256::new(), String::new(), 0, 0, 0_u64);
    loop {
        text.clear();
        line += 1;
        if reader.read_line(&mut text).map_err(|error| invalid(BackupProblem::Unreadable(error)))? == 0 {
            return Err(invalid(BackupProblem::NoEnd));
        }
        if text.starts_with(r#"{"cxnId""#) && line > 1 {
            cxns += 1;
            let patch = parse(&text).map_err(|problem| invalid(BackupProblem::InvalidLine { line, problem }))?;
            emit(&text, Item::Cxn(Box::new(patch)))?;
        } else {
            match serde_json::from_str(&text) {
                Ok(Line::Backup { version: 1..=VERSION, at: written, .. }) if line == 1 => at = written,
                Ok(Line::Backup { version: found, .. }) if line == 1 => {
                    return Err(invalid(BackupProblem::UnknownVersion { found, known: VERSION }));
                }
                Ok(Line::Job(job)) if line > 1 => emit(&text, Item::Job(job))?,
                Ok(Line::End { cxns: expected, sha256, lacks }) if line > 1 => {
                    if expected != cxns || sha256 != hex::encode(hash.finalize()) {
                        return Err(invalid(BackupProblem::WrongChecksum));
                    }
                    // gzip compares its own checksum when the end of the file is read.
                    return match reader.read(&mut [0]) {
                        Ok(0) => Ok((at, lacks)),
                        Ok(_) => Err(invalid(BackupProblem::TrailingData)),
                        Err(error) => Err(invalid(BackupProblem::Unreadable(error))),
                    };
                }
                _ => return Err(invalid(BackupProblem::UnknownLine { line })),
            }
        }
        hash.update(&text);
    }
}

/// Opens a backup, and decrypts it if it is encrypted.
fn open(path: &Path, identities: &Identities) -> Result<Box<dyn BufRead>> {
    let file = File::open(path).map_err(|error| Error::OpenBackup(FileError::at(FileOp::Open, path)(error)))?;
    let mut file = BufReader::new(file);
    let unreadable = |error| Error::invalid_backup(path, BackupProblem::Unreadable(error));
    if !file.fill_buf().map_err(unreadable)?.starts_with(MAGIC) {
        return Ok(Box::new(file));
    }
    let wrong_key = |problem| Error::Undecryptable { path: path.to_owned(), problem };
    let reader = decrypt(file, identities).map_err(|problem| match problem {
        Undecryptable::OtherKey if identities.is_empty() => wrong_key(KeyProblem::NoKey),
        Undecryptable::OtherKey => wrong_key(KeyProblem::OtherKey),
        Undecryptable::Passphrase => wrong_key(KeyProblem::Passphrase),
        Undecryptable::Damaged => Error::invalid_backup(path, BackupProblem::DamagedHeader),
        Undecryptable::Read(error) => unreadable(error),
    })?;
    Ok(Box::new(BufReader::new(reader)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{CxnId, PollStatus, Secret};
    use crate::store::Store;
    use crate::transfer::backup::{self, is_due};
    use crate::transfer::entry::line;
    use chrono::{DateTime, TimeDelta, Utc};
    use flate2::Compression;
    use flate2::write::GzEncoder;
    use std::io::Write;
    use std::time::Duration;

    fn store(dir: &Path, cxns: u32) -> Store {
        let store = Store::create(&dir.join("store"), Duration::from_secs(10)).unwrap();
        let text = |number: u32| {
            let secret = Secret::from_bytes([7; 32]).to_base64();
            format!(
                r#"{{"cxnId":"cxn:{number}","secret":"{secret}","appId":"app:org.example.myapp","appUrl":"https://a.example/","siteUrl":"https://{number}.example/","perm":{{"a":[{}]}},"pollStatus":{{"one":{{"pollLevel":1,"pollCount":{number},"lastRun":{}}}}}}}"#,
                number % 2,
                number + 1,
            )
        };
        let patches: Vec<_> = (0..cxns).map(|number| parse(&text(number)).unwrap()).collect();
        store.write(|session| session.upsert(&patches, false)).unwrap();
        store
    }

    /// Writes a backup that is not encrypted.
    fn back_up(store: &Store, now: DateTime<Utc>, keep: usize, stop: impl Fn() -> bool) -> Result<Option<Backup>> {
        Ok(backup::back_up(store, now, keep, &[], stop)?.map(|(backup, _)| backup))
    }

    fn all(store: &Store) -> Vec<String> {
        let mut lines = Vec::new();
        store
            .for_each_cxn(|_, cxn, statuses| {
                lines.push(line(&cxn, statuses));
                Ok::<_, Error>(())
            })
            .unwrap();
        lines.sort();
        lines
    }

    fn restore_to(store: &Store, path: &Path) -> Result<(Backup, Vec<PathBuf>)> {
        let wait = Duration::from_secs(10);
        Store::lock_exclusively(store.path(), wait, "store restore", |store| {
            restore(store, path, &Identities::default(), true)
        })
    }

    #[test]
    fn a_restore_brings_back_the_content_of_the_backup() {
        let dir = tempfile::tempdir().unwrap();
        let store = store(dir.path(), 600);
        let before = all(&store);
        let backup = back_up(&store, Utc::now(), 7, || false).unwrap().unwrap();
        assert_eq!(backup.cxns, 600);
        assert_eq!(verify(&backup.path, &Identities::default()).unwrap(), backup);
        let id: CxnId = "cxn:1".parse().unwrap();
        store
            .write(|session| {
                let mut changed = parse(&before[1]).unwrap();
                changed.poll_status = vec![("two".parse().unwrap(), PollStatus { last_run: 5, ..Default::default() })];
                session.upsert(&[changed], true)
            })
            .unwrap();
        assert_ne!(all(&store), before);
        let (restored, kept) = restore_to(&store, &backup.path).unwrap();
        assert_eq!((restored.cxns, kept.len()), (600, 1));
        assert!(kept[0].join("db").exists());
        assert_eq!(all(&store), before);
        assert!(store.read(|session| session.find(&id)).unwrap().is_some());
        assert_eq!(store.check(false).unwrap().faults, 0);
    }

    #[test]
    fn an_incomplete_backup_changes_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let store = store(dir.path(), 20);
        let before = all(&store);
        let path = back_up(&store, Utc::now(), 7, || false).unwrap().unwrap().path;
        let good = fs::read(&path).unwrap();
        let mut flipped = good.clone();
        flipped[good.len() / 2] ^= 1;
        let twice = [good.as_slice(), &good].concat();
        for bad in [&good[..good.len() - 9], &good[..good.len() / 2], &flipped, &twice, b"", b"no gzip"] {
            fs::write(&path, bad).unwrap();
            let error = restore_to(&store, &path).unwrap_err();
            assert!(matches!(error, Error::InvalidBackup { .. }), "{error:?}");
        }
        assert_eq!(all(&store), before);
        assert!(store.kept().unwrap().is_empty());
    }

    #[test]
    fn an_invalid_backup_has_a_problem() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("backup");
        assert!(matches!(verify(&path, &Identities::default()), Err(Error::OpenBackup(_))));
        let first =
            Line::Backup { version: VERSION, at: 0, program: String::new(), sequence: Some(1) }.to_json() + "\n";
        let end = |cxns, text: &str| {
            let sha256 = hex::encode(Sha256::digest(text));
            Line::End { cxns, sha256, lacks: 0 }.to_json() + "\n"
        };
        let problem = |text: &str| {
            let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
            gzip.write_all(text.as_bytes()).unwrap();
            fs::write(&path, gzip.finish().unwrap()).unwrap();
            match verify(&path, &Identities::default()) {
                Ok(backup) => format!("valid: {}", backup.cxns),
                Err(Error::InvalidBackup { problem, .. }) => format!("{problem:?}"),
                Err(error) => format!("{error:?}"),
            }
        };
        assert_eq!(problem(&(first.clone() + &end(0, &first))), "valid: 0");
        let newer = Line::Backup { version: VERSION + 1, at: 0, program: String::new(), sequence: Some(1) }.to_json();
        assert_eq!(problem(&newer), "UnknownVersion { found: 3, known: 2 }");
        assert_eq!(problem(&first), "NoEnd");
        assert_eq!(problem("{}\n"), "UnknownLine { line: 1 }");
        assert_eq!(problem(&end(0, "")), "UnknownLine { line: 1 }");
        assert_eq!(problem(&(first.clone() + &first)), "UnknownLine { line: 2 }");
        assert_eq!(problem(&(first.clone() + &end(1, &first))), "WrongChecksum");
        assert_eq!(problem(&(first.clone() + &end(0, "else"))), "WrongChecksum");
        assert_eq!(problem(&(first.clone() + &end(0, &first) + "x")), "TrailingData");
        let bad = problem(&(first + "{\"cxnId\":\"cxn:1\"}\n"));
        assert!(bad.starts_with("InvalidLine { line: 2, problem: Json { reason: \"missing field `secret`\""), "{bad}");
    }

    /// Returns the name of the backup that a run at this time writes, if one is due.
    fn run_at(store: &Store, now: DateTime<Utc>, keep: usize) -> Option<String> {
        let is_due = is_due(store, now, TimeDelta::days(1).num_seconds()).unwrap();
        is_due.then(|| file_name(&back_up(store, now, keep, || false).unwrap().unwrap().path))
    }

    fn file_name(path: &Path) -> String {
        assert!(path.exists());
        path.file_name().unwrap().to_str().unwrap().to_owned()
    }

    #[test]
    fn the_newest_backups_are_kept_and_delay_the_next() {
        let dir = tempfile::tempdir().unwrap();
        let store = store(dir.path(), 1);
        let start = DateTime::from_timestamp(1_769_860_800, 0).unwrap();
        let foreign = store.backup_dir().join("20260131T120000Z-mine.jsonl.gz");
        for day in 0..4 {
            let now = start + TimeDelta::days(day);
            assert!(run_at(&store, now, 2).is_some());
            fs::write(&foreign, "").unwrap();
            assert_eq!(run_at(&store, now + TimeDelta::hours(23), 2), None);
        }
        let now = start + TimeDelta::days(3);
        let left: Vec<_> = store.backups(now.timestamp()).unwrap().past.iter().map(|path| file_name(path)).collect();
        assert_eq!(left, ["20260203T120000Z.jsonl.gz", "20260202T120000Z.jsonl.gz"]);
        assert!(foreign.exists());
    }

    #[test]
    fn a_clock_that_was_ahead_costs_no_backup() {
        let dir = tempfile::tempdir().unwrap();
        let store = store(dir.path(), 1);
        let start = DateTime::from_timestamp(1_769_860_800, 0).unwrap();
        let run = |now| run_at(&store, now, 7);
        let names = |paths: &[PathBuf]| paths.iter().map(|path| file_name(path)).collect::<Vec<_>>();
        for day in 0..8 {
            run(start + TimeDelta::days(day)).unwrap();
        }
        run(start + TimeDelta::days(3650)).unwrap();
        let mut written = Vec::new();
        for day in 8..15 {
            let now = start + TimeDelta::days(day);
            written.insert(0, run(now).unwrap());
            assert_eq!(run(now + TimeDelta::hours(1)), None);
            let backups = store.backups(now.timestamp()).unwrap();
            assert_eq!((&names(&backups.past)[..written.len()], backups.past.len()), (&written[..], 7));
            assert!(backups.future.is_empty(), "the first backup with the right clock replaces it");
        }
        assert_eq!(names(&store.backups(start.timestamp() + 14 * 86_400).unwrap().past), written);
    }

    #[test]
    fn a_backup_of_the_same_second_or_of_an_earlier_time_replaces_none() {
        let dir = tempfile::tempdir().unwrap();
        let store = store(dir.path(), 1);
        let now = DateTime::from_timestamp(1_769_860_800, 0).unwrap();
        let times = [now, now, now - TimeDelta::days(9), now + TimeDelta::days(9)];
        let written = times.map(|now| file_name(&back_up(&store, now, 9, || false).unwrap().unwrap().path));
        assert_eq!(written[..2], ["20260131T120000Z.jsonl.gz", "20260131T120000Z-2.jsonl.gz"]);
        let backups = store.backups(now.timestamp()).unwrap();
        let past: Vec<_> = backups.past.iter().map(|path| file_name(path)).collect();
        assert_eq!(past, [&written[2], &written[1], &written[0]].map(Clone::clone));
        assert_eq!((backups.future.len(), backups.next_sequence), (1, 5));
        // The only one that is kept is the one that was written, whatever the clock shows.
        let last = back_up(&store, now - TimeDelta::days(10), 1, || false).unwrap().unwrap();
        assert_eq!(fs::read_dir(store.backup_dir()).unwrap().count(), 2, "a backup and its lock");
        assert_eq!(verify(&last.path, &Identities::default()).unwrap(), last);
    }

    #[test]
    fn a_stopped_backup_leaves_no_file() {
        let dir = tempfile::tempdir().unwrap();
        let store = store(dir.path(), 3);
        assert_eq!(back_up(&store, Utc::now(), 7, || true).unwrap(), None);
        assert_eq!(store.backup_times(i64::MAX).unwrap().latest, None);
        assert!(!store.backup_dir().join("backup.writing").exists());
    }

    #[test]
    fn only_one_process_writes_a_backup() {
        let dir = tempfile::tempdir().unwrap();
        let store = store(dir.path(), 3);
        let path = back_up(&store, Utc::now(), 7, || false).unwrap().unwrap().path;
        let mut lock = crate::util::lock::FileLock::open(&path.with_file_name("backup.lock")).unwrap();
        assert!(lock.try_acquire(crate::util::lock::Mode::Exclusive).unwrap());
        assert_eq!(back_up(&store, Utc::now(), 7, || false).unwrap(), None);
        drop(lock);
        assert!(back_up(&store, Utc::now(), 7, || false).unwrap().is_some());
    }
}

//! A restore brings back all that a backup holds, or changes nothing.

use super::*;
use crate::model::{Condition, CxnId, PollStatus, Secret};
use crate::store::{
    Entry, Frame, Registration, RegistrationChange, RegistrationOutcome, RunEntry, RunProblems, RunRecord, Store,
};
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
    let first = Line::Backup { version: VERSION, at: 0, program: String::new(), sequence: Some(1) }.to_json() + "\n";
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
    assert_eq!(problem(&newer), "UnknownVersion { found: 4, known: 3 }");
    assert_eq!(problem(&first), "NoEnd");
    assert_eq!(problem("{}\n"), "UnknownLine { line: 1 }");
    assert_eq!(problem(&end(0, "")), "UnknownLine { line: 1 }");
    assert_eq!(problem(&(first.clone() + &first)), "UnknownLine { line: 2 }");
    let part = |file: &str, data: &str| {
        let history = Line::History { file: file.to_owned(), data: data.to_owned() };
        problem(&(first.clone() + &history.to_json() + "\n"))
    };
    assert_eq!(part("2026-11.log", "AAAA"), "NoEnd");
    assert_eq!(part("../2026-11.log", "AAAA"), "UnknownLine { line: 2 }");
    assert_eq!(part("2026-11.log", "A"), "UnknownLine { line: 2 }");
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

/// Adds a frame to the history of a store, and returns all frames.
fn with_frame(store: &Store, at: UnixTime) -> Vec<Frame> {
    let down = (0..4_000).map(|host| (std::net::Ipv4Addr::from_bits(host).into(), 1)).collect();
    let entries = vec![Entry::RunProblems(RunProblems { down, ..RunProblems::default() })];
    store.write(|session| store.history().append(session, Frame { at, job: None, entries })).unwrap();
    frames(store)
}

fn frames(store: &Store) -> Vec<Frame> {
    let mut frames = Vec::new();
    store
        .history()
        .scan(0, |frame| {
            frames.push(frame);
            Ok::<_, Error>(())
        })
        .unwrap();
    frames
}

#[test]
fn the_history_of_a_backup_takes_the_place_of_the_present_one() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(dir.path(), 2);
    let [.., before] = [1, 2, 3, 4, 5_000_000].map(|at| with_frame(&store, at));
    let (app_id, job) = ("app:org.example.myapp".parse().unwrap(), "one".parse().unwrap());
    let run = RunEntry { run: RunRecord { now: 5, ..RunRecord::default() }, exit_code: 3 };
    store.history().add_run(&app_id, &job, &run).unwrap();
    let path = back_up(&store, Utc::now(), 7, || false).unwrap().unwrap().path;
    let after = with_frame(&store, 40_000_000);
    store.history().add_run(&app_id, &job, &run).unwrap();
    restore_to(&store, &path).unwrap();
    assert_eq!((frames(&store), store.history().runs(&app_id, &job).unwrap().len()), (before.clone(), 1));
    // The former one is beside its database.
    let kept = store.path().join("kept");
    assert!(kept.join("db-1").exists());
    fs::create_dir(dir.path().join("former")).unwrap();
    fs::rename(kept.join("history-1"), dir.path().join("former/history")).unwrap();
    let former = Store::create(&dir.path().join("former"), Duration::from_secs(10)).unwrap();
    assert_eq!((frames(&former), former.history().runs(&app_id, &job).unwrap().len()), (after, 2));
    assert_eq!(store.check(false).unwrap().faults, 0);
    // A compaction takes only the database from its backup.
    let longer = with_frame(&store, 50_000_000);
    Store::lock_exclusively(store.path(), Duration::from_secs(10), "", |store| {
        compact(store, &path, &Identities::default())
    })
    .unwrap();
    assert_eq!(frames(&store), longer);
}

#[test]
fn a_backup_without_history_leaves_the_present_one() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(dir.path(), 2);
    let frames_before = with_frame(&store, 1);
    let former = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/backup-of-store-v6.jsonl.gz");
    restore_to(&store, &former).unwrap();
    // All that follows is until when something was known of the connections that were replaced.
    let mut frames_after = frames(&store);
    let losses = frames_after.split_off(frames_before.len());
    assert!(all(&store).len() == 33 && frames_after == frames_before);
    let entries = losses.iter().flat_map(|frame| &frame.entries);
    let lost: Vec<_> = entries.map(|entry| entry.transition().map(|site| site.transition.to)).collect();
    assert!(!lost.is_empty() && lost.iter().all(|to| *to == Some(Condition::New)), "{lost:?}");
    assert!(!store.path().join("kept/history-1").exists());
    // A backup of a store that has no history yet does not.
    let path = back_up(&self::store(&dir.path().join("other"), 1), Utc::now(), 7, || false).unwrap().unwrap().path;
    restore_to(&store, &path).unwrap();
    assert_eq!(frames(&store), []);
}

#[test]
fn a_compacted_store_remembers_the_messages_of_sites_and_a_restored_one_does_not() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(dir.path(), 2);
    let now = Utc::now().timestamp();
    let patch = CxnPatch { cxn_id: "cxn:new".parse().unwrap(), ..parse(&all(&store)[0]).unwrap() };
    let change = RegistrationChange::Register { patch: Box::new(patch), hold: false, per_host: None };
    let registration = Registration { change, hmac: [1; 32], ttl: now + 7200, origin: String::new() };
    let register = || store.register(&registration, now).unwrap();
    assert_eq!((register(), register()), (RegistrationOutcome::Done, RegistrationOutcome::Repeated));
    let path = back_up(&store, Utc::now(), 7, || false).unwrap().unwrap().path;
    let compact = |store: &ExclusiveStore| compact(store, &path, &Identities::default());
    Store::lock_exclusively(store.path(), Duration::from_secs(10), "", compact).unwrap();
    assert_eq!((register(), all(&store).len()), (RegistrationOutcome::Repeated, 3));
    assert_eq!(store.check(false).unwrap().faults, 0);
    restore_to(&store, &path).unwrap();
    assert_eq!((register(), all(&store).len()), (RegistrationOutcome::Done, 3));
}

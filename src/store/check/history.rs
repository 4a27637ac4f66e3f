//! The rule of the files of history.

use super::finding::Reported;
use crate::store::error::Result;
use crate::store::history::{FileFaults, History};
use crate::store::sessions::Sessions;
use crate::util::text::count;

/// Checks that each file of history is whole and can be read, and that no other user can.
///
/// `repair` removes what is damaged, with a copy of it in `kept/`, marks what is missing, and corrects permissions.
///
/// # Errors
/// [`Error::File`](crate::store::Error::File), and those of the sessions.
pub(super) fn check(sessions: &Sessions, repair: bool, mut emit: impl FnMut(Reported)) -> Result<()> {
    let history = History::new(sessions.source.history());
    let refused = |what: &str, mode| format!("{what} has mode {mode:04o}, so that other users can use it");
    if let Some(mode) = history.refused_mode()? {
        let what = refused("the directory of history", mode);
        emit(repaired(what, repair.then(|| history.make_private(None, mode)), "permissions removed")?);
    }
    for name in history.expected_names()? {
        let faults = history.check_file(&name)?;
        for (what, done) in lost(&name, &faults) {
            let repair_file = || sessions.write(|session| history.repair_file(session, &sessions.source, &name));
            emit(repaired(what, repair.then(repair_file), done)?);
        }
        let FileFaults { unreadable, mode, .. } = faults;
        if unreadable > 0 {
            let entries = if unreadable == 1 { "1 entry".to_owned() } else { format!("{unreadable} entries") };
            let what = format!("{entries} of history/{name} cannot be read: written by another version");
            emit(Reported { what, repaired: false });
        }
        if let Some(mode) = mode {
            let what = refused(&format!("history/{name}"), mode);
            emit(repaired(what, repair.then(|| history.make_private(Some(&name), mode)), "permissions removed")?);
        }
    }
    Ok(())
}

/// What a file has lost, and what a repair does.
fn lost(name: &str, faults: &FileFaults) -> Vec<(String, &'static str)> {
    let lost = match name.strip_suffix(".log").filter(|month| !month.starts_with("runs-")) {
        Some(month) => format!("changes of {month} are lost"),
        None => "runs of a job are lost".to_owned(),
    };
    let mut findings = Vec::new();
    if faults.is_no_file {
        findings.push((format!("history/{name} is no regular file: {lost}"), "moved to kept/"));
    }
    if !faults.damaged.is_empty() {
        let bytes = faults.damaged_bytes();
        findings.push((format!("{bytes} bytes of history/{name} are damaged: {lost}"), "moved to kept/"));
    }
    if !faults.missing.is_empty() {
        let bytes = count(faults.missing.end - faults.missing.start, "byte");
        let which = if faults.missing.start == 0 { "all" } else { "the last" };
        findings.push((format!("{which} {bytes} of history/{name} are missing: {lost}"), "marked as lost"));
    }
    findings
}

/// A finding, and its repair if that was tried.
fn repaired(what: String, repair: Option<Result<()>>, done: &str) -> Result<Reported> {
    Ok(match repair.transpose()? {
        Some(()) => Reported { what: format!("{what} (repaired: {done})"), repaired: true },
        None => Reported { what, repaired: false },
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{Entry, Error, Frame, RunEntry, RunProblems, RunRecord, Store};
    use std::fs;
    use std::path::Path;
    use std::process::Command;
    use std::time::Duration;

    /// 2026-10-31, 2026-11-30 and later.
    const TIMES: [i64; 4] = [1_793_400_000, 1_796_000_000, 1_796_000_060, 1_796_000_120];

    fn append(store: &Store, at: i64) -> Result<()> {
        let problems = RunProblems { behind_since: Some(at), ..RunProblems::default() };
        let frame = Frame { at, job: None, entries: vec![Entry::RunProblems(problems)] };
        store.write(|session| store.history().append(session, frame))
    }

    fn add_run(store: &Store, now: i64) -> Result<()> {
        let entry = RunEntry { run: RunRecord { now, ..RunRecord::default() }, exit_code: 0 };
        store.history().add_run(&"app:org.example.one".parse().unwrap(), &"one".parse().unwrap(), &entry)
    }

    /// The faults that are found, and how many are repaired.
    fn check(store: &Store, repair: bool) -> (String, u64) {
        let check = store.check(repair).unwrap();
        (check.first_faults.join("; "), check.repaired)
    }

    type Damage = (fn(&Path), &'static str);

    const DAMAGES: [Damage; 7] = [
        (|path| fs::write(path, vec![b'x'; fs::read(path).unwrap().len()]).unwrap(), "bytes of NAME are damaged"),
        (|path| fs::write(path, vec![0; 5]).unwrap(), "5 bytes of NAME are damaged"),
        (|path| fs::write(path, "").unwrap(), "bytes of NAME are missing"),
        // Behind the first frame.
        (|path| fs::write(path, first_frame(path)).unwrap(), "bytes of NAME are missing"),
        (|path| fs::remove_file(path).unwrap(), "bytes of NAME are missing"),
        (
            |path| {
                fs::remove_file(path).unwrap();
                fs::create_dir(path).unwrap();
            },
            "NAME is no regular file",
        ),
        (
            |path| {
                fs::remove_file(path).unwrap();
                assert!(Command::new("mkfifo").arg(path).status().unwrap().success());
            },
            "NAME is no regular file",
        ),
    ];

    fn first_frame(path: &Path) -> Vec<u8> {
        let bytes = fs::read(path).unwrap();
        let length = 12 + u32::from_le_bytes([4, 5, 6, 7].map(|at| bytes[at])) as usize;
        assert!(length < bytes.len());
        bytes[..length].to_vec()
    }

    /// Damages a file of a store, before and after the next append, and repairs it.
    fn damage(is_month: bool, (damage, expected): Damage, appends_first: bool) {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::create(&dir.path().join("store"), Duration::from_secs(10)).unwrap();
        for at in &TIMES[..3] {
            append(&store, *at).unwrap();
            add_run(&store, *at).unwrap();
        }
        let history = store.history();
        assert_eq!(check(&store, false), (String::new(), 0));
        let name = history
            .names()
            .unwrap()
            .into_iter()
            .find(|name| (name == "2026-11.log") == is_month && name != "2026-10.log");
        let name = name.unwrap();
        let positions = history.end().unwrap();
        damage(&history.dir().join(&name));
        let (mut added, mut is_appended) = (0, false);
        if appends_first && !expected.ends_with("file") {
            append(&store, TIMES[3]).unwrap();
            add_run(&store, TIMES[3]).unwrap();
            is_appended = true;
        }
        let (found, _) = check(&store, false);
        let expected =
            if is_appended { "are damaged".to_owned() } else { expected.replace("NAME", &format!("history/{name}")) };
        let lost = if is_month { ": changes of 2026-11 are lost" } else { ": runs of a job are lost" };
        assert!(found.contains(&expected) && found.contains(lost), "{found}");
        let (repaired, count) = check(&store, true);
        assert!(count > 0 && repaired.matches("(repaired: ").count() as u64 == count, "{repaired}");
        assert_eq!(check(&store, false), (String::new(), 0), "after {repaired}");
        if !is_appended {
            append(&store, TIMES[3]).unwrap();
            add_run(&store, TIMES[3]).unwrap();
        }
        // What was read is not read again, and what was added since is.
        let read = history.scan_behind(&positions, |frame, _| {
            added += 1;
            assert_eq!(frame.at, TIMES[3]);
            Ok::<_, Error>(())
        });
        read.unwrap();
        let runs = history.runs(&"app:org.example.one".parse().unwrap(), &"one".parse().unwrap()).unwrap();
        assert_eq!((added, runs.last().unwrap().run.now), (1, TIMES[3]), "{repaired}");
        assert_eq!(check(&store, false), (String::new(), 0));
    }

    #[test]
    fn what_a_file_lost_is_found_and_its_repair_moves_nothing() {
        for of_file in DAMAGES {
            for (is_month, appends_first) in [(true, false), (true, true), (false, false), (false, true)] {
                damage(is_month, of_file, appends_first);
            }
        }
    }

    #[test]
    fn a_history_of_an_earlier_build_is_protected_from_the_next_append_on() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::create(&dir.path().join("store"), Duration::from_secs(10)).unwrap();
        let (history, noted) = (store.history(), store.path().join("history/ends"));
        for at in &TIMES[..2] {
            append(&store, *at).unwrap();
        }
        let cut = |name: &str, bytes: &str| fs::write(history.dir().join(name), bytes).unwrap();
        // Without ends, garbage shows by itself. What an interrupted append leaves does not.
        fs::remove_file(&noted).unwrap();
        cut("2026-10.log", "garbage");
        let found = "7 bytes of history/2026-10.log are damaged: changes of 2026-10 are lost";
        assert_eq!(check(&store, false), (found.to_owned(), 0));
        cut("2026-10.log", "\0\0\0");
        assert_eq!(check(&store, false), (String::new(), 0));
        append(&store, TIMES[0]).unwrap();
        assert!(noted.exists());
        cut("2026-11.log", "");
        assert!(check(&store, false).0.starts_with("all "), "{:?}", check(&store, false));
        // Ends that cannot be read are none.
        fs::write(&noted, "garbage").unwrap();
        assert_eq!(check(&store, false), (String::new(), 0));
        append(&store, TIMES[2]).unwrap();
        assert_eq!(check(&store, false), (String::new(), 0));
    }
}

//! Checking a backup by restoring it to a temporary store, which is compared with it.

use std::collections::hash_map::RandomState;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::BuildHasher;
use std::path::Path;

use sha2::{Digest, Sha256};

use super::file::{Backup, Interrupt, is_refused};
use super::lines::JobEntry;
use super::rehearsals;
use super::restore::{Item, fill, size};
use super::write::{HISTORY_PART_BYTES, jobs};
use crate::store::failpoint::{self, Failpoint};
use crate::store::{ExclusiveStore, Store};
use crate::transfer::entry::{line, reformat};
use crate::transfer::error::{BackupProblem, Error, Result};
use crate::util::encryption::Identities;
use crate::util::file_error::{FileError, FileOp};
use crate::util::private_temp::PrivateTempDir;

/// Restores a backup to a temporary store, checks that store, and compares it with the backup.
///
/// For a backup in the directory of `store`, the result is recorded: see [`Rehearsals`](super::Rehearsals). That directory
/// has the temporary store, too. Without a store that can be written, it is in the directory of temporary files.
///
/// `None` means that `stop` returned true.
///
/// # Errors
/// Those of a restore, and [`Error::InvalidBackup`] for a backup whose restored store has faults or differs.
pub fn rehearse(
    store: Option<&Store>,
    path: &Path,
    identities: &Identities,
    stop: impl Fn() -> bool + Sync,
) -> Result<Option<Backup>> {
    let result = temporary_dir(store).map_err(Interrupt::from).and_then(|dir| {
        Store::with_temporary(dir.path(), |temporary| restore_and_compare(temporary, path, identities, stop))
    });
    let result = match result {
        Ok(backup) => Ok(Some(backup)),
        Err(Interrupt::Stopped) => return Ok(None),
        Err(Interrupt::Failed(error)) => Err(error),
    };
    failpoint::hit(Failpoint::BackupRehearsed);
    // Other errors, such as a full disk, are no fault of the backup.
    if let Some(store) = store
        && matches!(result, Ok(_) | Err(Error::InvalidBackup { .. }))
    {
        rehearsals::record(store, path, result.is_ok())?;
    }
    result
}

fn temporary_dir(store: Option<&Store>) -> Result<PrivateTempDir> {
    if let Some(dir) = store.map(Store::backup_dir) {
        match PrivateTempDir::create_in(&dir) {
            Err(error) if is_refused(&error) => {}
            created => return created.map_err(|error| Error::File(FileError::at(FileOp::Create, &dir)(error))),
        }
    }
    let parent = PrivateTempDir::parent();
    PrivateTempDir::create_in(&parent).map_err(|error| Error::File(FileError::at(FileOp::Create, &parent)(error)))
}

/// What a backup contains, for the comparison with a store.
#[derive(Default)]
struct Content {
    hasher: RandomState,
    /// The hashes of connections, by the hashes of their ids.
    cxns: HashMap<u64, u64>,
    jobs: BTreeSet<String>,
    /// The hashes of the files of history.
    history: BTreeMap<String, Sha256>,
}

impl Content {
    fn add(&mut self, text: &str, item: &Item) {
        match item {
            Item::Job(job) => _ = self.jobs.insert(job.to_json()),
            Item::Cxn(patch) => {
                let (id, content) = (self.hasher.hash_one(&patch.cxn_id), self.hasher.hash_one(reformat(text)));
                self.cxns.insert(id, content);
            }
            Item::History(file, bytes) => self.history.entry(file.clone()).or_default().update(bytes),
        }
    }

    /// Compares this with the content of a store.
    fn compare(mut self, store: &Store, path: &Path, stop: impl Fn() -> bool) -> Result<(), Interrupt> {
        let differs = |problem| Interrupt::from(Error::invalid_backup(path, problem));
        store.for_each_cxn(|_, cxn, statuses| {
            if stop() {
                return Err(Interrupt::Stopped);
            }
            let content = self.hasher.hash_one(line(&cxn, statuses));
            match self.cxns.remove(&self.hasher.hash_one(&cxn.cxn_id)) {
                Some(expected) if expected == content => Ok(()),
                _ => Err(differs(BackupProblem::CxnDiffers(cxn.cxn_id))),
            }
        })?;
        if !self.cxns.is_empty() {
            return Err(differs(BackupProblem::CxnsMissing(self.cxns.len())));
        }
        let restored: BTreeSet<_> = store.read(jobs)?.iter().map(JobEntry::to_json).collect();
        if restored != self.jobs {
            return Err(differs(BackupProblem::JobsDiffer));
        }
        let (history, mut restored) = (store.history(), BTreeMap::<_, Sha256>::new());
        for file in history.names()? {
            let hash = restored.entry(file.clone()).or_default();
            history.copy_file(&file, HISTORY_PART_BYTES, |part| {
                hash.update(part);
                Ok::<_, Error>(())
            })?;
        }
        let hashes = |of: BTreeMap<String, Sha256>| -> Vec<_> {
            of.into_iter().map(|(file, hash)| (file, hash.finalize())).collect()
        };
        if hashes(restored) == hashes(self.history) { Ok(()) } else { Err(differs(BackupProblem::HistoryDiffers)) }
    }
}

fn restore_and_compare(
    temporary: &ExclusiveStore,
    path: &Path,
    identities: &Identities,
    stop: impl Fn() -> bool + Sync,
) -> Result<Backup, Interrupt> {
    let (mut content, mut cxns) = (Content::default(), 0);
    let inspect = |text: &str, item: &Item| {
        content.add(text.trim_end(), item);
        cxns += u64::from(matches!(item, Item::Cxn(_)));
        if stop() { Err(Interrupt::Stopped) } else { Ok(()) }
    };
    let history = Some(temporary.stage_history()?);
    let fill = |session: &_, history: Option<&_>| fill(session, history, path, identities, inspect);
    let ((at, lacks), _) = temporary.replace(false, history, fill)?;
    let check = temporary.store().check(false)?;
    if let Some(first) = check.first_faults.into_iter().next() {
        return Err(Error::invalid_backup(path, BackupProblem::Faults { count: check.faults, first }).into());
    }
    content.compare(temporary.store(), path, stop)?;
    Ok(Backup { path: path.to_owned(), at, cxns, bytes: size(path)?, lacks })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{CxnId, Secret};
    use crate::transfer::backup::back_up;
    use crate::transfer::entry::parse;
    use chrono::Utc;
    use std::fs;
    use std::time::Duration;

    fn text(number: u32) -> String {
        let secret = Secret::from_bytes([7; 32]).to_base64();
        format!(
            r#"{{"cxnId":"cxn:{number}","secret":"{secret}","appId":"app:org.example.myapp","appUrl":"https://a.example/","siteUrl":"https://{number}.example/","pollStatus":{{"one":{{"pollLevel":1,"pollCount":{number},"lastRun":9}}}}}}"#
        )
    }

    /// A store with three connections and a job, and a backup of it.
    fn backed_up(dir: &Path) -> (Store, Backup) {
        let store = Store::create(&dir.join("store"), Duration::from_secs(10)).unwrap();
        let patches: Vec<_> = (1..4).map(|number| parse(&text(number)).unwrap()).collect();
        store.write(|session| session.upsert(&patches, false)).unwrap();
        let (backup, _) = back_up(&store, Utc::now(), 7, &[], || false).unwrap().unwrap();
        (store, backup)
    }

    /// The content of a backup.
    fn content(path: &Path) -> Content {
        let dir = tempfile::tempdir().unwrap();
        let mut content = Content::default();
        Store::with_temporary(dir.path(), |temporary| {
            let add = |text: &str, item: &Item| {
                content.add(text.trim_end(), item);
                Ok::<_, Error>(())
            };
            let fill = |session: &_, _: Option<&_>| fill(session, None, path, &Identities::default(), add);
            temporary.replace(false, None, fill).map(drop)
        })
        .unwrap();
        content
    }

    #[test]
    fn a_whole_backup_is_restored_and_leaves_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let (store, backup) = backed_up(dir.path());
        let none = Identities::default();
        assert_eq!(rehearse(Some(&store), &backup.path, &none, || false).unwrap(), Some(backup.clone()));
        let names = |store: &Store| fs::read_dir(store.backup_dir()).unwrap().count();
        assert_eq!(names(&store), 3, "the backup, the lock and the record");
        assert!(matches!(rehearse(Some(&store), &backup.path, &none, || true), Ok(None)));
        assert_eq!(names(&store), 3);
        // Without a store it is somewhere else.
        assert_eq!(rehearse(None, &backup.path, &none, || false).unwrap(), Some(backup));
    }

    #[test]
    fn a_store_that_differs_from_its_backup_is_found() {
        let dir = tempfile::tempdir().unwrap();
        let (store, backup) = backed_up(dir.path());
        let problem = |content: Content, store: &Store| match content.compare(store, &backup.path, || false) {
            Ok(()) => "none".to_owned(),
            Err(Interrupt::Failed(Error::InvalidBackup { problem, .. })) => format!("{problem:?}"),
            Err(_) => "another error".to_owned(),
        };
        let of_backup = || content(&backup.path);
        assert_eq!(problem(of_backup(), &store), "none");
        let mut more = of_backup();
        more.cxns.insert(1, 2);
        assert_eq!(problem(more, &store), "CxnsMissing(1)");
        let mut other_job = of_backup();
        other_job.jobs.clear();
        assert_eq!(problem(other_job, &store), "JobsDiffer");
        let mut other_history = of_backup();
        other_history.history.insert("2026-01.log".to_owned(), Sha256::new());
        assert_eq!(problem(other_history, &store), "HistoryDiffers");
        let id: CxnId = "cxn:2".parse().unwrap();
        let mut less = of_backup();
        less.cxns.remove(&less.hasher.hash_one(&id));
        assert_eq!(problem(less, &store), format!("CxnDiffers({id:?})"));
        let mut changed = parse(&text(2)).unwrap();
        changed.site_url = "https://other.example/".to_owned().into();
        store.write(|session| session.upsert(&[changed], true)).unwrap();
        assert_eq!(problem(of_backup(), &store), format!("CxnDiffers({id:?})"));
    }
}

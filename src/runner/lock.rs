//! One runner for each job and batch.
//!
//! Kernel locks on files that nobody ever removes: they die with their process, whatever it dies of. A file stands for
//! one app, job and range of batch codes; a run takes that of its own range, when no file of the same app and job whose
//! range overlaps is held.

use std::fs::{self, File};
use std::io;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::Duration;

use fd_lock::RwLock;
use sha2::{Digest, Sha256};

use crate::error::{Error, Kind, Result};
use crate::model::{AppId, BatchCode, JobName};
use crate::store::private_file;

/// What a run covers.
#[derive(Debug, Clone)]
pub(crate) struct Claim {
    /// The folder of the locks.
    pub(crate) folder: PathBuf,
    /// The app.
    pub(crate) app_id: AppId,
    /// The job.
    pub(crate) job: JobName,
    /// The batch codes.
    pub(crate) range: RangeInclusive<BatchCode>,
}

/// How long to pause between looks at a claim that somebody holds.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

impl Claim {
    /// Does `work` while this process alone covers the claim. Where another process covers any of it, asks `wait`
    /// whether to look again.
    ///
    /// # Errors
    /// Those of `work`; [`Kind::Declined`] where the claim is taken; [`Kind::Store`] where the locks can't be used.
    pub(crate) fn hold<T>(&self, wait: impl Fn() -> bool, work: impl FnOnce() -> Result<T>) -> Result<T> {
        let failed = |error: io::Error| {
            Error::new(Kind::Store, format!("can't use the locks in {}: {error}", self.folder.display()))
        };
        let (own, mut lock) = self.own_lock().map_err(failed)?;
        let held = loop {
            let mut folder = RwLock::new(private_file(&self.folder.join("folder.lock")).map_err(failed)?);
            let among_us = folder.write().map_err(failed)?;
            if self.others_are_free(&own).map_err(failed)? {
                match lock.try_write() {
                    Ok(held) => break held,
                    Err(error) if error.kind() != io::ErrorKind::WouldBlock => return Err(failed(error)),
                    Err(_) => {}
                }
            }
            drop(among_us);
            if !wait() {
                return Err(self.taken());
            }
            std::thread::sleep(LOOK_AGAIN);
        };
        let done = work();
        drop(held);
        done
    }

    fn taken(&self) -> Error {
        let codes = format!("batch codes {} to {}", self.range.start().get(), self.range.end().get());
        Error::new(Kind::Declined, format!("another runner is at work on {}, job {}, {codes}", self.app_id, self.job))
    }

    fn own_lock(&self) -> io::Result<(PathBuf, RwLock<File>)> {
        let name = format!("{}-{}-{}.lock", self.hash(), self.range.start().get(), self.range.end().get());
        let path = self.folder.join(name);
        let file = private_file(&path)?;
        Ok((path, RwLock::new(file)))
    }

    /// Stands for app and job in the names of files, where their text must not.
    fn hash(&self) -> String {
        let hash = Sha256::new().chain_update(self.app_id.as_str()).chain_update([0]).chain_update(self.job.as_str());
        hex::encode(&hash.finalize()[..16])
    }

    /// Whether no other file of this app and job is held whose range overlaps ours.
    fn others_are_free(&self, own: &Path) -> io::Result<bool> {
        let hash = self.hash();
        for entry in fs::read_dir(&self.folder)? {
            let path = entry?.path();
            let overlaps = path
                .file_name()
                .and_then(|name| range_of(name.to_str()?.strip_prefix(&hash)?))
                .is_some_and(|(from, to)| from <= self.range.end().get() && to >= self.range.start().get());
            if overlaps && path != own {
                match RwLock::new(private_file(&path)?).try_write() {
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                    Err(error) => return Err(error),
                    Ok(_) => {}
                }
            }
        }
        Ok(true)
    }
}

/// Reads the range off the rest of a file's name: `-0-9999.lock`.
fn range_of(rest: &str) -> Option<(u16, u16)> {
    let (from, to) = rest.strip_prefix('-')?.strip_suffix(".lock")?.split_once('-')?;
    Some((from.parse().ok()?, to.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claim(folder: &Path, job: &str, from: u16, to: u16) -> Claim {
        Claim {
            folder: folder.to_owned(),
            app_id: "app:org.example.myapp".parse().unwrap(),
            job: job.parse().unwrap(),
            range: from.try_into().unwrap()..=to.try_into().unwrap(),
        }
    }

    #[test]
    fn ranges_that_overlap_exclude_each_other() {
        let folder = tempfile::tempdir().unwrap();
        let free = |job, from, to| claim(folder.path(), job, from, to).hold(|| false, || Ok(()));
        claim(folder.path(), "default", 3333, 6665)
            .hold(
                || false,
                || {
                    for (from, to) in [(0, 10_000), (3333, 6665), (0, 3333), (6665, 7000), (4000, 4000)] {
                        let error = free("default", from, to).unwrap_err();
                        assert_eq!(error.kind, Kind::Declined, "{from} to {to}");
                    }
                    free("default", 0, 3332)?;
                    free("default", 6666, 10_000)?;
                    free("other", 0, 10_000)
                },
            )
            .unwrap();
        free("default", 0, 10_000).unwrap();
    }

    #[test]
    fn names_never_leave_the_folder() {
        let folder = tempfile::tempdir().unwrap();
        claim(folder.path(), "../../etc/passwd", 0, 10_000).hold(|| false, || Ok(())).unwrap();
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2);
    }

    #[test]
    fn who_waits_gets_it_in_the_end() {
        let folder = tempfile::tempdir().unwrap();
        let (held, wanted) = (claim(folder.path(), "default", 0, 10_000), claim(folder.path(), "default", 7, 7));
        std::thread::scope(|scope| {
            let (tell, told) = std::sync::mpsc::channel();
            let (free, freed) = std::sync::mpsc::channel::<()>();
            scope.spawn(move || {
                held.hold(
                    || false,
                    || {
                        tell.send(()).unwrap();
                        freed.recv().unwrap();
                        Ok(())
                    },
                )
            });
            told.recv().unwrap();
            let looked = std::cell::Cell::new(0);
            let wait = || {
                if looked.replace(looked.get() + 1) == 1 {
                    free.send(()).unwrap();
                }
                true
            };
            wanted.hold(wait, || Ok(())).unwrap();
            assert!(looked.get() >= 2);
        });
    }
}

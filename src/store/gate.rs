//! The door to the store: one process at a time, in sessions.

use std::fs::{self, File};
use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

use fd_lock::RwLock;
use sled::IVec;
use tracing::debug;

use super::folder::{Folder, failed, private_folder, sync_folder};
use super::session::{Session, TreeName};
use crate::error::{Error, Kind, Result};

/// A store that is there, and the caller's own.
#[derive(Debug, Clone)]
pub struct Store {
    folder: Folder,
    wait: Duration,
}

/// How long sled's threads may go on holding the database after its last handle is gone; measured in milliseconds.
const SLED_LINGERS: Duration = Duration::from_secs(2);
/// The longest pause between two looks at a lock.
const LOOK_AGAIN: Duration = Duration::from_millis(10);
/// How long one slice of long work holds the store.
pub(crate) const SLICE: Duration = Duration::from_millis(500);
/// How many entries one slice of long work keeps in memory.
const SLICE_ENTRIES: usize = 4096;
/// Bytes of pages that sled keeps; the rest is read again from the file.
const CACHE: u64 = 32 << 20;

impl Store {
    /// Opens a store; sessions wait up to `wait` for their turn.
    ///
    /// # Errors
    /// [`Kind::NotFound`] where there is none, [`Kind::Store`] where it belongs to another user.
    pub fn open(path: &Path, wait: Duration) -> Result<Self> {
        Ok(Self { folder: Folder::existing(path)?, wait })
    }

    /// Opens a store, and creates it first where there is none.
    ///
    /// # Errors
    /// As [`Store::open`]; [`Kind::NotFound`] for a folder that holds something else.
    pub fn create(path: &Path, wait: Duration) -> Result<Self> {
        let store = Self { folder: Folder::prepared(path)?, wait };
        store.locked(|| {
            if store.folder.database()?.is_none() {
                let database = store.folder.first_database();
                // What is there is half a creation: nothing names it, so nothing is lost.
                remove_folder(&database)?;
                private_folder(&database).map_err(|e| failed("create", &database, &e))?;
                let session = Session::found(open_database(&database)?)?;
                sync(&session, &database)?;
                let conf = database.join("conf");
                File::open(&conf).and_then(|file| file.sync_all()).map_err(|e| failed("sync", &conf, &e))?;
                sync_folder(&database).map_err(|e| failed("sync", &database, &e))?;
                store.folder.set_current(&database)?;
            }
            Ok(())
        })?;
        Ok(store)
    }

    /// Where the store is.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// The folder of the runs' locks.
    #[must_use]
    pub fn runs(&self) -> std::path::PathBuf {
        self.folder.runs()
    }

    /// Works on the database: waits for the lock, opens, works, and makes what was written last before it closes.
    ///
    /// Once it returns without an error, nothing that `work` wrote is lost, whatever happens to process or power.
    ///
    /// # Errors
    /// Those of `work`; [`Kind::Busy`] where the store stayed busy; [`Kind::Store`] where it can't be opened.
    pub fn session<T>(&self, work: impl FnOnce(&Session) -> Result<T>) -> Result<T> {
        let asked = Instant::now();
        self.locked(|| {
            let taken = Instant::now();
            let database = self.folder.database()?.ok_or_else(|| {
                Error::new(Kind::NotFound, format!("there is no store in {}", self.folder.path().display()))
            })?;
            sweep(&database)?;
            let session = Session::open(open_database(&database)?)?;
            let opened = Instant::now();
            let result = work(&session)?;
            let worked = Instant::now();
            if session.has_written() {
                sync(&session, &database)?;
            }
            drop(session);
            let ms = |from: Instant, to: Instant| (to - from).as_secs_f64() * 1e3;
            debug!(
                waited_ms = ms(asked, taken),
                open_ms = ms(taken, opened),
                work_ms = ms(opened, worked),
                close_ms = ms(worked, Instant::now()),
                "store session"
            );
            Ok(result)
        })
    }

    /// Visits the entries of a tree that begin with `prefix`, in order, in as many sessions as it takes: none holds
    /// the store for more than about half a second. `read` works within a session, `emit` outside of it.
    ///
    /// # Errors
    /// Those of `read`, `emit` and [`Store::session`].
    pub fn paged<T>(
        &self,
        tree: TreeName,
        prefix: &[u8],
        mut read: impl FnMut(&Session, &[u8], &[u8]) -> Result<Option<T>>,
        mut emit: impl FnMut(T) -> Result<()>,
    ) -> Result<()> {
        let mut after: Option<IVec> = None;
        loop {
            let (page, last) = self.session(|session| {
                let began = Instant::now();
                let mut page = Vec::new();
                for entry in session.entries(tree, prefix, after.as_deref()) {
                    let (key, value) = entry?;
                    page.extend(read(session, &key, &value)?);
                    if page.len() >= SLICE_ENTRIES || began.elapsed() > SLICE {
                        return Ok((page, Some(key)));
                    }
                }
                Ok((page, None))
            })?;
            page.into_iter().try_for_each(&mut emit)?;
            match last {
                Some(key) => after = Some(key),
                None => return Ok(()),
            }
        }
    }

    /// Holds the store's lock for the length of `work`. The kernel frees it when the process dies.
    fn locked<T>(&self, work: impl FnOnce() -> Result<T>) -> Result<T> {
        let mut lock = RwLock::new(self.folder.lock_file()?);
        let mut pauses = Pauses::within(self.wait);
        loop {
            match lock.try_write() {
                Ok(_held) => return work(),
                Err(error) if error.kind() != io::ErrorKind::WouldBlock => {
                    return Err(failed("lock", self.folder.path(), &error));
                }
                Err(_) if pauses.pause() => {}
                Err(_) => {
                    let (path, wait) = (self.folder.path().display(), self.wait.as_secs());
                    return Err(Error::new(Kind::Busy, format!("the store {path} stayed busy for {wait} s"))
                        .hint("another command is at work; --store-wait sets how long to wait"));
                }
            }
        }
    }
}

/// Growing pauses between looks at something that will become free, within a limit.
struct Pauses {
    until: Instant,
    next: Duration,
}

impl Pauses {
    fn within(wait: Duration) -> Self {
        Self { until: Instant::now() + wait, next: Duration::from_millis(1) }
    }

    /// Sleeps, and tells whether to look again: not once the limit is over.
    fn pause(&mut self) -> bool {
        if Instant::now() >= self.until {
            return false;
        }
        std::thread::sleep(self.next);
        self.next = (self.next * 2).min(LOOK_AGAIN);
        true
    }
}

/// Opens sled's database. Its own lock may outlive the last handle of the session before by some milliseconds.
fn open_database(database: &Path) -> Result<sled::Db> {
    let config = sled::Config::new().path(database).flush_every_ms(None).cache_capacity(CACHE);
    let mut pauses = Pauses::within(SLED_LINGERS);
    loop {
        match config.open() {
            Err(sled::Error::Io(error)) if error.to_string().contains("acquire lock") && pauses.pause() => {}
            opened => return Ok(opened?),
        }
    }
}

/// Deletes snapshots that sled, killed while it wrote them, left unfinished: with one of them there, sled 0.34.7 takes
/// the whole database for damaged.
fn sweep(database: &Path) -> Result<()> {
    for entry in fs::read_dir(database).map_err(|e| failed("list", database, &e))? {
        let path = entry.map_err(|e| failed("list", database, &e))?.path();
        if path.extension().is_some_and(|extension| extension == "generating") {
            fs::remove_file(&path).map_err(|e| failed("remove", &path, &e))?;
            debug!(file = %path.display(), "swept an unfinished snapshot");
        }
    }
    Ok(())
}

/// Makes what was written last. sled's flush alone pushes the data out, but promises nothing after a power cut.
fn sync(session: &Session, database: &Path) -> Result<()> {
    session.flush()?;
    let file = database.join("db");
    File::open(&file).and_then(|file| file.sync_all()).map_err(|e| failed("sync", &file, &e))
}

fn remove_folder(path: &Path) -> Result<()> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed("remove", path, &error)),
        _ => Ok(()),
    }
}

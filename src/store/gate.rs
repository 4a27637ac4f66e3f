//! The door to the store: one process at a time, in sessions.

use std::fs::{self, File};
use std::io::{self, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use chrono::{SecondsFormat, Utc};
use fd_lock::RwLock;
use sled::IVec;
use tracing::{debug, warn};

use super::disk::insisting;
use super::folder::{Folder, Lock, failed, private_folder, sync_all};
use super::outlook;
use super::session::{Session, TreeName};
use crate::error::{Error, Kind, Result, panic_text};
use crate::fault::{self, Step};
use crate::model::{AppId, JobName, UnixTime};
use crate::retry::Policy;

/// A store that is there, and the caller's own.
#[derive(Debug, Clone)]
pub struct Store {
    pub(super) folder: Folder,
    wait: Duration,
    visitor: &'static str,
    /// Nobody else is at work on the store, for as long as this is there.
    alone: bool,
}

/// How long sled's threads may go on holding the database after its last handle is gone; measured in milliseconds.
const SLED_LINGERS: Duration = Duration::from_secs(2);
/// The pause between two looks at a lock, for who has just come. It shrinks with the seconds that one has waited.
const LOOK_AGAIN: Duration = Duration::from_millis(8);
/// How long one slice of long work holds the store.
pub(crate) const SLICE: Duration = Duration::from_millis(500);
/// How many entries one slice of long work keeps in memory: some megabytes. Each slice opens the store once more.
const SLICE_ENTRIES: usize = 16_384;
/// Bytes of pages that sled keeps; the rest is read again from the file. It counts less than it takes: see `mod.rs`.
const CACHE: u64 = 8 << 20;

impl Store {
    /// Opens a store; sessions wait up to `wait` for their turn.
    ///
    /// # Errors
    /// [`Kind::NotFound`] where there is none, [`Kind::Store`] where it belongs to another user.
    pub fn open(path: &Path, wait: Duration) -> Result<Self> {
        Ok(Self::at(Folder::existing(path)?, wait))
    }

    /// Opens a store, and creates it first where there is none.
    ///
    /// # Errors
    /// As [`Store::open`]; [`Kind::NotFound`] for a folder that holds something else.
    pub fn create(path: &Path, wait: Duration) -> Result<Self> {
        let store = Self::at(Folder::prepared(path)?, wait);
        store.in_use(|| {
            store.locked(|| match store.folder.database()? {
                Some(_) => Ok(()),
                None => store.found(|_| Ok(())).and_then(|(building, ())| {
                    for kept in store.folder.install(&building, true)? {
                        warn!("a database that CURRENT didn't name was there: it is kept as {}", kept.display());
                    }
                    Ok(())
                }),
            })
        })?;
        Ok(store)
    }

    pub(super) fn at(folder: Folder, wait: Duration) -> Self {
        Self { folder, wait, visitor: "", alone: false }
    }

    /// The same, with the name of the command that is at work, for those who have to wait for it.
    #[must_use]
    pub fn visited_by(self, visitor: &'static str) -> Self {
        Self { visitor, ..self }
    }

    /// Where the store is.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// The folder of the runs' locks.
    #[must_use]
    pub fn runs(&self) -> PathBuf {
        self.folder.runs()
    }

    /// Works on the database: waits for its turn, opens, works, and makes what was written last before it closes.
    ///
    /// Once it returns without an error, nothing that `work` wrote is lost, whatever happens to process or power.
    ///
    /// # Errors
    /// Those of `work`; [`Kind::Busy`] where the store stayed busy; [`Kind::Store`] where it can't be opened.
    pub fn session<T: Send>(&self, work: impl FnOnce(&Session) -> Result<T> + Send) -> Result<T> {
        self.in_use(|| self.visit(work))
    }

    /// Visits the entries of a tree that begin with `prefix`, in order, in as many sessions as it takes: none holds
    /// the store for more than about half a second. `read` works within a session, `emit` outside of it.
    ///
    /// # Errors
    /// Those of `read`, `emit` and [`Store::session`].
    pub fn paged<T: Send>(
        &self,
        tree: TreeName,
        prefix: &[u8],
        mut read: impl FnMut(&Session, &[u8], &[u8]) -> Result<Option<T>> + Send,
        mut emit: impl FnMut(T) -> Result<()>,
    ) -> Result<()> {
        // The keys of one page are of no use in another database.
        self.in_use(|| self.pages(tree, prefix, &mut read, &mut emit))
    }

    fn pages<T: Send>(
        &self,
        tree: TreeName,
        prefix: &[u8],
        read: &mut (impl FnMut(&Session, &[u8], &[u8]) -> Result<Option<T>> + Send),
        emit: &mut impl FnMut(T) -> Result<()>,
    ) -> Result<()> {
        let mut after: Option<IVec> = None;
        loop {
            let (page, last) = self.visit(|session| {
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
            page.into_iter().try_for_each(&mut *emit)?;
            match last {
                Some(key) => after = Some(key),
                None => return Ok(()),
            }
        }
    }

    /// Whether it is certain, without opening the database, that nothing is due for a job of an app at `now`, where the
    /// expression is that of its last run. A no is no answer.
    #[must_use]
    pub fn nothing_is_due(&self, app_id: &AppId, job: &JobName, policy: &Policy, now: UnixTime) -> bool {
        self.foresees(|store, database| outlook::nothing_is_due(store, database, app_id, job, policy, now))
    }

    /// Whether it is certain, without opening the database, that it has seen connections of an app. A no is no answer.
    #[must_use]
    pub fn knows(&self, app_id: &AppId) -> bool {
        self.foresees(|store, database| outlook::knows(store, database, app_id))
    }

    /// Asks the outlook of the database, if there is one.
    fn foresees(&self, ask: impl FnOnce(&Path, &Path) -> bool) -> bool {
        self.folder.database().ok().flatten().is_some_and(|database| ask(self.folder.path(), &database))
    }

    /// The same store, for sessions that wait for their turn for at least so long.
    #[must_use]
    pub fn patient(&self, wait: Duration) -> Self {
        Self { wait: self.wait.max(wait), ..self.clone() }
    }

    /// Keeps the database from being replaced for the length of `work`: by a restore or a compaction, which in turn are
    /// waited for. Many can have it in use.
    ///
    /// # Errors
    /// Those of `work`; [`Kind::Busy`] where the store stayed busy.
    pub fn in_use<T>(&self, work: impl FnOnce() -> Result<T>) -> Result<T> {
        if self.alone {
            return work();
        }
        let lock = RwLock::new(self.folder.lock_file(Lock::Use)?);
        let mut pauses = Pauses::within(self.wait);
        loop {
            match lock.try_read() {
                Ok(_held) => return work(),
                Err(error) => self.wait_or_give_up(Lock::Use, &mut pauses, &error)?,
            }
        }
    }

    /// Has the store alone for the length of `work`: no run and no other command is at work on it, and none begins.
    ///
    /// # Errors
    /// Those of `work`; [`Kind::Declined`] where somebody is at work.
    pub(super) fn alone<T>(&self, work: impl FnOnce(&Self) -> Result<T>) -> Result<T> {
        let mut lock = RwLock::new(self.folder.lock_file(Lock::Use)?);
        match lock.try_write() {
            Ok(mut held) => {
                self.sign(&mut held);
                work(&Self { alone: true, ..self.clone() })
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                let store = self.folder.path().display();
                Err(Error::new(Kind::Declined, format!("a run or another command is at work on the store {store}"))
                    .hint("try again when it has ended"))
            }
            Err(error) => Err(failed("lock", self.folder.path(), &error)),
        }
    }

    /// Holds the session's lock for the length of `work`. The kernel frees it when the process dies.
    ///
    /// Who waits for it has the turn, and who wants it next waits for the turn: so nobody who has just closed it, and
    /// wants it again, gets ahead of those who wait.
    pub(super) fn locked<T>(&self, work: impl FnOnce() -> Result<T>) -> Result<T> {
        let mut turn = RwLock::new(self.folder.lock_file(Lock::Turn)?);
        let mut lock = RwLock::new(self.folder.lock_file(Lock::Session)?);
        let mut pauses = Pauses::within(self.wait);
        loop {
            match turn.try_write() {
                Err(error) => self.wait_or_give_up(Lock::Session, &mut pauses, &error)?,
                Ok(turn) => loop {
                    match lock.try_write() {
                        Err(error) => self.wait_or_give_up(Lock::Session, &mut pauses, &error)?,
                        Ok(mut held) => {
                            drop(turn);
                            self.sign(&mut held);
                            fault::reached(Step::Locked);
                            return work();
                        }
                    }
                },
            }
        }
    }

    /// Works on the database of kept results, which has a lock of its own, and makes what was written last; `None` where
    /// there is none yet and it shall not be created.
    pub(super) fn results<T: Send>(
        &self,
        create: bool,
        work: impl FnOnce(&sled::Db) -> Result<T> + Send,
    ) -> Result<Option<T>> {
        let folder = self.folder.results();
        if !create && !folder.exists() {
            return Ok(None);
        }
        let mut lock = RwLock::new(self.folder.lock_file(Lock::Results)?);
        let mut pauses = Pauses::within(self.wait);
        loop {
            match lock.try_write() {
                Err(error) => self.wait_or_give_up(Lock::Results, &mut pauses, &error)?,
                Ok(mut held) => {
                    self.sign(&mut held);
                    return caught(|| visit_results(&folder, work)).and_then(|result| result).map(Some).map_err(
                        |error| {
                            let folder = folder.display();
                            let hint = format!("without {folder} there are no kept results, and all else works");
                            if error.kind == Kind::Store && error.hint.is_none() { error.hint(hint) } else { error }
                        },
                    );
                }
            }
        }
    }

    /// Pauses after a lock was found taken, or tells who has it once the time is over.
    fn wait_or_give_up(&self, lock: Lock, pauses: &mut Pauses, error: &io::Error) -> Result<()> {
        if error.kind() != io::ErrorKind::WouldBlock {
            return Err(failed("lock", self.folder.path(), error));
        }
        if pauses.pause() {
            return Ok(());
        }
        let (path, wait) = (self.folder.path().display(), self.wait.as_secs_f64());
        let holder = self.folder.holder(lock).map_or_else(String::new, |holder| format!("; it is held by {holder}"));
        Err(Error::new(Kind::Busy, format!("the store {path} stayed busy for {wait} s{holder}"))
            .hint("--store-wait sets how long to wait"))
    }

    /// Says in a lock's file who holds it. It is a courtesy to those who wait: where it can't be written, they don't know.
    fn sign(&self, file: &mut File) {
        let since = Utc::now().to_rfc3339_opts(SecondsFormat::Secs, true);
        let text = format!("`cxnpoll {}` (process {}) since {since}\n", self.visitor, std::process::id());
        let _ = file.set_len(0).and_then(|()| file.write_all(text.as_bytes()));
    }

    /// A session, for who has the store in use.
    fn visit<T: Send>(&self, work: impl FnOnce(&Session) -> Result<T> + Send) -> Result<T> {
        let asked = Instant::now();
        self.locked(|| caught(|| self.visit_alone(asked, work)).and_then(|result| result))
            .map_err(|error| self.advise(error))
    }

    /// A session, for who holds its lock; in the thread that works on databases.
    fn visit_alone<T>(&self, asked: Instant, work: impl FnOnce(&Session) -> Result<T>) -> Result<T> {
        let taken = Instant::now();
        let missing = || Error::new(Kind::NotFound, format!("there is no store in {}", self.folder.path().display()));
        let had_outlook = outlook::remove(self.folder.path())?;
        let (session, database) = self.open_or_rebuild(self.folder.database()?.ok_or_else(missing)?)?;
        let opened = Instant::now();
        fault::reached(Step::Opened);
        let work = || {
            let result = work(&session)?;
            fault::reached(Step::Worked);
            let outlook = session.outlook()?;
            if session.has_written() {
                if had_outlook {
                    outlook::settle(self.folder.path())?;
                }
                sync(&session, &database)?;
            }
            Ok((result, outlook))
        };
        let result = catch_unwind(AssertUnwindSafe(work));
        let worked = Instant::now();
        match result {
            // Whatever sled was at, its handles may stop it again.
            Err(_) => std::mem::forget(session),
            Ok(_) => drop(session),
        }
        fault::reached(Step::Closed);
        let result = result.map(|done| {
            done.map(|(result, outlook)| {
                // Without it the next run opens the store, and that is all.
                if let Err(error) = outlook::write(self.folder.path(), &database, outlook) {
                    debug!("{error}");
                }
                result
            })
        });
        let ms = |from: Instant, to: Instant| ((to - from).as_secs_f64() * 1e4).round() / 10.0;
        debug!(
            waited_ms = ms(asked, taken),
            open_ms = ms(taken, opened),
            work_ms = ms(opened, worked),
            close_ms = ms(worked, Instant::now()),
            "store session"
        );
        result.unwrap_or_else(|panic| Err(stopped(&*panic)))
    }

    /// Adds to an error of the database what may help.
    fn advise(&self, error: Error) -> Error {
        if error.kind != Kind::Store || error.hint.is_some() {
            return error;
        }
        if error.message.contains("StorageFull") || error.message.contains("No space left") {
            return error.hint("the disk is full: make room and try again; what was acknowledged is not lost");
        }
        match self.backups().ok().and_then(|backups| backups.into_iter().next()) {
            Some(newest) => error.hint(format!(
                "`cxnpoll store check` tells more; `cxnpoll store restore {}` brings back the newest backup",
                newest.display()
            )),
            None => error.hint("there is no backup; keep a copy of the folder before anything else is done to it"),
        }
    }

    /// Makes a fresh database, under a provisional name, and fills it; what is unfinished is removed.
    pub(super) fn found<T: Send>(&self, fill: impl FnOnce(&Session) -> Result<T> + Send) -> Result<(PathBuf, T)> {
        let building = self.folder.building()?;
        let make = || {
            let session = Session::found(open_database(&building)?)?;
            let filled = fill(&session)?;
            session.flush()?;
            drop(session);
            wait_until_closed(&building)?;
            Ok(filled)
        };
        match caught(make).and_then(|made| made) {
            Ok(filled) => Ok((building, filled)),
            Err(error) => {
                let _ = fs::remove_dir_all(&building);
                Err(error)
            }
        }
    }

    /// Opens the database. Where sled reports it as damaged and one of the snapshots is, from which it starts, a copy without
    /// them is rebuilt from its log and takes the place of what was there, which is kept. With whole snapshots it is the log
    /// that is damaged: a rebuild would lose, without a word, what lies behind the damage.
    fn open_or_rebuild(&self, database: PathBuf) -> Result<(Session, PathBuf)> {
        sweep(&database)?;
        let damage = match open(&database) {
            Ok(session) => return Ok((session, database)),
            Err(NotOpened::Other(error)) => return Err(error),
            Err(NotOpened::Damaged(damage)) => damage,
        };
        let damaged = |why: &str| Error::new(Kind::Store, format!("the store's database is damaged ({damage}){why}"));
        if snapshots(&database)?.iter().all(|snapshot| is_whole(snapshot)) {
            return Err(damaged(""));
        }
        let building = self.folder.building()?;
        let rebuilt = copy_without_snapshots(&database, &building).and_then(|()| {
            drop(open(&building).map_err(|_| damaged(", also without its snapshots"))?);
            wait_until_closed(&building)?;
            self.folder.install(&building, true)
        });
        match rebuilt {
            Ok(kept) => {
                for kept in kept {
                    warn!(
                        "the store's database was damaged ({damage}) and has been rebuilt from its log; what was there is \
                         kept as {}; `cxnpoll store check` tells whether all is well",
                        kept.display()
                    );
                }
            }
            Err(error) => {
                let _ = fs::remove_dir_all(&building);
                return Err(error);
            }
        }
        let database = self.folder.database()?.ok_or_else(|| damaged(""))?;
        match open(&database) {
            Ok(session) => Ok((session, database)),
            Err(_) => Err(damaged("")),
        }
    }
}

/// Pauses between looks at something that will become free, within a limit. Who has waited longer looks more often, and so
/// comes before who has come later.
struct Pauses {
    began: Instant,
    wait: Duration,
}

impl Pauses {
    fn within(wait: Duration) -> Self {
        Self { began: Instant::now(), wait }
    }

    /// Sleeps, and tells whether to look again: not once the limit is over.
    fn pause(&mut self) -> bool {
        let waited = self.began.elapsed();
        let left = self.wait.saturating_sub(waited);
        let seconds = u32::try_from(waited.as_secs().min(7)).unwrap_or(7);
        std::thread::sleep((LOOK_AGAIN / (1 + seconds)).min(left));
        !left.is_zero()
    }
}

/// Does `work` with sled, and catches the panics by which it answers some of what it can't read or write.
fn caught<T: Send>(work: impl FnOnce() -> T + Send) -> Result<T> {
    insisting(work).map_err(|panic| stopped(&*panic))
}

/// Opens the database of kept results, for who holds its lock, and creates it where there is none.
fn visit_results<T>(folder: &Path, work: impl FnOnce(&sled::Db) -> Result<T>) -> Result<T> {
    match private_folder(folder) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(failed("create", folder, &error)),
        _ => sweep(folder)?,
    }
    let is_new = !folder.join("conf").exists();
    let database = open_database(folder)?;
    let done = work(&database)?;
    database.flush()?;
    drop(database);
    if is_new { sync_all(folder) } else { sync_log(folder) }.map(|()| done)
}

/// The error for a panic.
fn stopped(panic: &(dyn std::any::Any + Send)) -> Error {
    Error::new(Kind::Store, format!("the store's database failed: {}", panic_text(panic)))
}

/// Why a database was not opened.
enum NotOpened {
    /// What sled says of the damage.
    Damaged(String),
    Other(Error),
}

/// Opens the database of a store.
fn open(database: &Path) -> Result<Session, NotOpened> {
    match catch_unwind(|| open_database(database).map(Session::open)) {
        Ok(Ok(Ok(session))) => Ok(session),
        // A store of a newer program comes with a hint; what can't be read has none.
        Ok(Ok(Err(error))) if error.hint.is_some() => Err(NotOpened::Other(error)),
        Ok(Ok(Err(error))) => Err(NotOpened::Damaged(error.message)),
        Ok(Err(sled::Error::Corruption { .. })) => Err(NotOpened::Damaged("its checksums are wrong".to_owned())),
        Ok(Err(sled::Error::Io(error)))
            if matches!(error.kind(), io::ErrorKind::UnexpectedEof | io::ErrorKind::InvalidData) =>
        {
            Err(NotOpened::Damaged(error.to_string()))
        }
        Ok(Err(error)) => Err(NotOpened::Other(error.into())),
        Err(panic) => Err(NotOpened::Damaged(panic_text(&*panic))),
    }
}

/// Opens sled's database. Its own lock may outlive the last handle of the session before by some milliseconds.
fn open_database(database: &Path) -> sled::Result<sled::Db> {
    let config = sled::Config::new().path(database).flush_every_ms(None).cache_capacity(CACHE);
    let until = Instant::now() + SLED_LINGERS;
    loop {
        match config.open() {
            Err(sled::Error::Io(error)) if is_still_held(&error) && Instant::now() < until => {
                std::thread::sleep(Duration::from_millis(1));
            }
            opened => return opened,
        }
    }
}

fn is_still_held(error: &io::Error) -> bool {
    error.to_string().contains("acquire lock")
}

/// Waits until sled's threads have let go of a database.
fn wait_until_closed(database: &Path) -> Result<()> {
    let path = database.join("db");
    let file = File::open(&path).map_err(|e| failed("open", &path, &e))?;
    RwLock::new(file).write().map(drop).map_err(|e| failed("lock", &path, &e))
}

/// The snapshots of its page table that sled starts from; also those that it left unfinished.
fn snapshots(database: &Path) -> Result<Vec<PathBuf>> {
    let mut snapshots = Vec::new();
    for entry in fs::read_dir(database).map_err(|e| failed("list", database, &e))? {
        let path = entry.map_err(|e| failed("list", database, &e))?.path();
        if path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("snap.")) {
            snapshots.push(path);
        }
    }
    Ok(snapshots)
}

/// Whether a snapshot's checksum is right: at its end stand a length and a CRC-32 of all that comes before both.
fn is_whole(snapshot: &Path) -> bool {
    let Ok(bytes) = fs::read(snapshot) else { return false };
    let Some((rest, crc)) = bytes.split_last_chunk::<4>() else { return false };
    rest.split_last_chunk::<8>().is_some_and(|(data, _)| crc32fast::hash(data) == u32::from_le_bytes(*crc))
}

/// Deletes snapshots that sled, killed while it wrote them, left unfinished: with one of them there, sled 0.34.7 takes
/// the whole database for damaged.
fn sweep(database: &Path) -> Result<()> {
    for path in snapshots(database)? {
        if path.extension().is_some_and(|extension| extension == "generating") {
            fs::remove_file(&path).map_err(|e| failed("remove", &path, &e))?;
            debug!(file = %path.display(), "swept an unfinished snapshot");
        }
    }
    Ok(())
}

/// Copies a database with its log, its settings and the values that lie in files of their own.
fn copy_without_snapshots(from: &Path, to: &Path) -> Result<()> {
    let copy = |from: &Path, to: &Path| fs::copy(from, to).map(drop).map_err(|e| failed("copy", from, &e));
    for name in ["db", "conf"] {
        copy(&from.join(name), &to.join(name))?;
    }
    let blobs = from.join("blobs");
    private_folder(&to.join("blobs")).map_err(|e| failed("create", &to.join("blobs"), &e))?;
    for entry in fs::read_dir(&blobs).map_err(|e| failed("list", &blobs, &e))? {
        let entry = entry.map_err(|e| failed("list", &blobs, &e))?;
        copy(&entry.path(), &to.join("blobs").join(entry.file_name()))?;
    }
    Ok(())
}

/// Makes what was written last. sled's flush alone pushes the data out, but promises nothing after a power cut.
fn sync(session: &Session, database: &Path) -> Result<()> {
    session.flush()?;
    fault::reached(Step::Flushed);
    sync_log(database)?;
    fault::reached(Step::Synced);
    Ok(())
}

/// Syncs the file of sled's log.
fn sync_log(database: &Path) -> Result<()> {
    let file = database.join("db");
    File::open(&file).and_then(|file| file.sync_all()).map_err(|e| failed("sync", &file, &e))
}

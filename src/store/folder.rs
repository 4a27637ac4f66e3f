//! The store's folder: what lies where, who owns it, and how it comes to be.

use std::ffi::{OsStr, OsString};
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use super::outlook;
use crate::error::{Error, Kind, Result};
use crate::fault::{self, Step};
use crate::model::safe_text;

/// The folder of a store.
#[derive(Debug, Clone)]
pub(super) struct Folder(PathBuf);

/// Names the folder of the database, so that a restored one takes its place by one rename.
const CURRENT: &str = "CURRENT";
const RUNS: &str = "runs";
const BACKUPS: &str = "backups";
const KEPT: &str = "kept";
const RESULTS: &str = "results";
const SET_ASIDE: &str = "set-aside.jsonl";
/// How the names of backups end.
pub(crate) const BACKUP_ENDS: &str = ".jsonl.gz";
/// What a database's folder is called while it is being made.
const BUILDING: &str = ".new";

/// The locks of a store. Whoever holds several took them in this order.
#[derive(Debug, Clone, Copy)]
pub(super) enum Lock {
    /// Held by many while they work on the store, and by one alone that replaces the database.
    Use,
    /// Held by the one whose turn comes next.
    Turn,
    /// Held for the length of a session.
    Session,
    /// Held for the length of a visit to the kept results; whoever holds it takes no other.
    Results,
}

impl Lock {
    const ALL: [Self; 4] = [Self::Use, Self::Turn, Self::Session, Self::Results];

    fn name(self) -> &'static str {
        match self {
            Self::Use => "use.lock",
            Self::Turn => "turn.lock",
            Self::Session => "store.lock",
            Self::Results => "results.lock",
        }
    }
}

impl Folder {
    /// A store that is there and is the caller's own.
    pub(super) fn existing(path: &Path) -> Result<Self> {
        let missing = |what: &str| {
            Error::new(Kind::NotFound, format!("{what} {}", path.display()))
                .hint("`cxnpoll import` creates a store; --store, CXNPOLL_STORE or the configuration name it")
        };
        let metadata = fs::metadata(path).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => missing("there is no store at"),
            _ => failed("look at", path, &error),
        })?;
        check_owner(path, &metadata)?;
        match fs::metadata(path.join(CURRENT)) {
            Ok(_) => Ok(Self(path.to_owned())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Err(missing("there is no store in")),
            Err(error) => Err(failed("look at", &path.join(CURRENT), &error)),
        }
    }

    /// The folder of a store that may have to be created: made with mode 0700 where it is missing.
    ///
    /// A folder that holds something else is refused.
    pub(super) fn prepared(path: &Path) -> Result<Self> {
        match lasting_folders(path) {
            // A file in its place, which is told below.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            created => created.map_err(|e| failed("create", path, &e))?,
        }
        let metadata = fs::metadata(path).map_err(|e| failed("look at", path, &e))?;
        check_owner(path, &metadata)?;
        if !path.join(CURRENT).exists() {
            // What an earlier attempt left behind is no obstacle.
            let current = format!("{CURRENT}.new");
            let ours = [RUNS, BACKUPS, KEPT, RESULTS, outlook::NAME, outlook::ASIDE, &current]
                .into_iter()
                .chain(Lock::ALL.map(Lock::name));
            let ours: Vec<_> = ours.map(std::ffi::OsString::from).collect();
            for name in names(path)? {
                if !ours.contains(&name) && number(&name).is_none() {
                    return Err(Error::new(Kind::NotFound, format!("{} is not a store and not empty", path.display()))
                        .hint("name a folder that is empty, or none yet"));
                }
            }
            let private = fs::Permissions::from_mode(0o700);
            fs::set_permissions(path, private).map_err(|e| failed("protect", path, &e))?;
        }
        let folder = Self(path.to_owned());
        match private_folder(&folder.runs()) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(failed("create", &folder.runs(), &error)),
            _ => Ok(folder),
        }
    }

    /// Where the store is.
    pub(super) fn path(&self) -> &Path {
        &self.0
    }

    /// The folder of the runs' locks.
    pub(super) fn runs(&self) -> PathBuf {
        self.0.join(RUNS)
    }

    /// The folder of the database of kept results.
    pub(super) fn results(&self) -> PathBuf {
        self.0.join(RESULTS)
    }

    /// The folder of the backups.
    pub(super) fn backups(&self) -> PathBuf {
        self.0.join(BACKUPS)
    }

    /// The file of a lock.
    pub(super) fn lock_file(&self, lock: Lock) -> Result<File> {
        let path = self.0.join(lock.name());
        private_file(&path).map_err(|e| failed("open", &path, &e))
    }

    /// What the last holder of a lock said of itself, if anything.
    pub(super) fn holder(&self, lock: Lock) -> Option<String> {
        let text = fs::read_to_string(self.0.join(lock.name())).ok()?;
        text.lines().next().map(safe_text).filter(|text| !text.is_empty())
    }

    /// The folder of the database that is in use; `None` where the store is not complete yet.
    pub(super) fn database(&self) -> Result<Option<PathBuf>> {
        let current = self.0.join(CURRENT);
        let name = match fs::read_to_string(&current) {
            Ok(name) => name,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(failed("read", &current, &error)),
        };
        let name = name.trim_end();
        let database = self.0.join(name);
        if number(OsStr::new(name)).is_some() && !name.ends_with(BUILDING) && database.is_dir() {
            return Ok(Some(database));
        }
        Err(Error::new(Kind::Store, format!("{} names no database of this store", current.display())))
    }

    /// An empty folder for a database that is to be made. What an attempt before left unfinished is removed.
    ///
    /// Only for who holds [`Lock::Session`] or the whole of [`Lock::Use`].
    pub(super) fn building(&self) -> Result<PathBuf> {
        let mut last = 0;
        for folder in [&self.0, &self.0.join(KEPT)] {
            for name in names(folder)? {
                if name.to_string_lossy().ends_with(BUILDING) && number(&name).is_some() {
                    let path = folder.join(&name);
                    fs::remove_dir_all(&path).map_err(|e| failed("remove", &path, &e))?;
                } else {
                    last = last.max(number(&name).unwrap_or(0));
                }
            }
        }
        let path = self.0.join(format!("db-{}{BUILDING}", last + 1));
        private_folder(&path).map_err(|e| failed("create", &path, &e))?;
        Ok(path)
    }

    /// Makes a database that is complete the one in use, and moves the others to `kept/`; with `keep` unset, the one that
    /// was in use until now is removed instead. Tells where the others are.
    ///
    /// Only for who holds [`Lock::Session`].
    pub(super) fn install(&self, building: &Path, keep: bool) -> Result<Vec<PathBuf>> {
        let before = self.database().ok().flatten();
        sync_all(building)?;
        fault::reached(Step::Built);
        let database = building.with_extension("");
        fs::rename(building, &database).map_err(|e| failed("rename", building, &e))?;
        sync_folder(&self.0).map_err(|e| failed("sync", &self.0, &e))?;
        fault::reached(Step::Named);
        self.set_current(&database)?;
        fault::reached(Step::Swapped);
        let mut kept = Vec::new();
        for name in names(&self.0)? {
            let path = self.0.join(&name);
            if path == database || number(&name).is_none() {
                continue;
            }
            if !keep && before.as_ref() == Some(&path) {
                fs::remove_dir_all(&path).map_err(|e| failed("remove", &path, &e))?;
            } else {
                kept.push(self.put_away(&path, &name)?);
            }
        }
        fault::reached(Step::PutAway);
        Ok(kept)
    }

    /// Moves a folder that is no longer in use to `kept/`.
    fn put_away(&self, path: &Path, name: &OsStr) -> Result<PathBuf> {
        let kept = self.kept_folder()?.join(name);
        fs::rename(path, &kept).map_err(|e| failed("move", path, &e))?;
        Ok(kept)
    }

    /// The folder of what is no longer in use, made if it is missing.
    fn kept_folder(&self) -> Result<PathBuf> {
        let folder = self.0.join(KEPT);
        match private_folder(&folder) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(failed("create", &folder, &error)),
            _ => Ok(folder),
        }
    }

    /// Databases that were replaced and kept.
    pub(super) fn kept(&self) -> Result<Vec<PathBuf>> {
        let folder = self.0.join(KEPT);
        Ok(names(&folder)?.into_iter().filter(|name| number(name).is_some()).map(|name| folder.join(name)).collect())
    }

    /// Writes down, a line each, what is about to be removed.
    pub(super) fn set_aside(&self, entries: &[serde_json::Value]) -> Result<()> {
        let folder = self.kept_folder()?;
        let path = folder.join(SET_ASIDE);
        let write = || {
            let mut file = private_file(&path)?;
            file.seek(io::SeekFrom::End(0))?;
            entries.iter().try_for_each(|entry| writeln!(file, "{entry}"))?;
            file.sync_all()?;
            sync_folder(&folder)
        };
        write().map_err(|e| failed("write", &path, &e))
    }

    /// The backups, the newest first: their names begin with their time.
    pub(super) fn backup_files(&self) -> Result<Vec<PathBuf>> {
        let folder = self.backups();
        let mut files = names(&folder)?;
        files.retain(|name| name.to_string_lossy().ends_with(BACKUP_ENDS));
        files.sort_by(|a, b| b.cmp(a));
        Ok(files.into_iter().map(|name| folder.join(name)).collect())
    }

    /// Bytes of the file of the database in use.
    pub fn file_size(&self) -> Result<u64> {
        let Some(database) = self.database()? else { return Ok(0) };
        let file = database.join("db");
        fs::metadata(&file).map(|metadata| metadata.len()).map_err(|e| failed("look at", &file, &e))
    }

    /// Makes a database the one in use: the one step that counts.
    fn set_current(&self, database: &Path) -> Result<()> {
        let name = database.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let (current, aside) = (self.0.join(CURRENT), self.0.join(format!("{CURRENT}.new")));
        let write = || {
            let mut file = private_file(&aside)?;
            file.set_len(0)?;
            writeln!(file, "{name}")?;
            file.sync_all()?;
            fault::reached(Step::CurrentWritten);
            fs::rename(&aside, &current)?;
            sync_folder(&self.0)
        };
        write().map_err(|e| failed("write", &current, &e))
    }
}

/// Opens a file that nobody else may look into; creates it where it is missing.
pub(crate) fn private_file(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path)
}

/// Makes a folder that nobody else may look into.
pub(crate) fn private_folder(path: &Path) -> io::Result<()> {
    DirBuilder::new().mode(0o700).create(path)
}

/// The names in a folder; none where it isn't there.
fn names(path: &Path) -> Result<Vec<OsString>> {
    match fs::read_dir(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        entries => entries
            .and_then(|entries| entries.map(|entry| entry.map(|entry| entry.file_name())).collect())
            .map_err(|e| failed("list", path, &e)),
    }
}

/// The number of a database's folder, also of one that is being made; `None` where the name is of something else.
fn number(name: &OsStr) -> Option<u32> {
    let number = name.to_str()?.strip_prefix("db-")?;
    let number = number.strip_suffix(BUILDING).unwrap_or(number);
    number.parse().ok().filter(|_| number.bytes().all(|byte| byte.is_ascii_digit()))
}

/// Makes all that is in a folder last.
pub(super) fn sync_all(path: &Path) -> Result<()> {
    for name in names(path)? {
        let path = path.join(name);
        if path.is_dir() {
            sync_all(&path)?;
        } else {
            File::open(&path).and_then(|file| file.sync_all()).map_err(|e| failed("sync", &path, &e))?;
        }
    }
    sync_folder(path).map_err(|e| failed("sync", path, &e))
}

/// Makes a folder with all that are missing above it, and makes the names of the new ones last.
fn lasting_folders(path: &Path) -> io::Result<()> {
    let missing = path.ancestors().take_while(|folder| !folder.as_os_str().is_empty() && !folder.exists()).count();
    DirBuilder::new().recursive(true).mode(0o700).create(path)?;
    path.ancestors()
        .skip(1)
        .take(missing)
        .try_for_each(|above| sync_folder(if above.as_os_str().is_empty() { Path::new(".") } else { above }))
}

/// Makes the names in a folder last.
pub(crate) fn sync_folder(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

/// The error for a file operation of the store.
pub(super) fn failed(doing: &str, path: &Path, error: &io::Error) -> Error {
    Error::new(Kind::Store, format!("can't {doing} {}: {error}", path.display()))
}

/// A process of another user would leave files that the owner's cron can't open, so it is refused before it leaves any.
fn check_owner(path: &Path, metadata: &fs::Metadata) -> Result<()> {
    if !metadata.is_dir() {
        return Err(Error::new(Kind::NotFound, format!("{} is not a folder", path.display())));
    }
    let (owner, caller) = (metadata.uid(), rustix::process::geteuid().as_raw());
    if owner == caller {
        return Ok(());
    }
    Err(Error::new(Kind::Store, format!("the store {} belongs to user {owner}, not to {caller}", path.display()))
        .hint(format!("sudo -u '#{owner}' cxnpoll …")))
}

//! The store's folder: what lies where, who owns it, and how it comes to be.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use crate::error::{Error, Kind, Result};

/// The folder of a store.
#[derive(Debug, Clone)]
pub(super) struct Folder(PathBuf);

/// Names the folder of the database, so that a restored one takes its place by one rename.
const CURRENT: &str = "CURRENT";
const LOCK: &str = "store.lock";
const RUNS: &str = "runs";
const FIRST_DATABASE: &str = "db-1";

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
        match DirBuilder::new().recursive(true).mode(0o700).create(path) {
            // A file in its place, which is told below.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            created => created.map_err(|e| failed("create", path, &e))?,
        }
        let metadata = fs::metadata(path).map_err(|e| failed("look at", path, &e))?;
        check_owner(path, &metadata)?;
        if !path.join(CURRENT).exists() {
            // What an earlier attempt left behind is no obstacle.
            let ours = [LOCK, RUNS, FIRST_DATABASE, &format!("{CURRENT}.new")].map(std::ffi::OsString::from);
            for entry in fs::read_dir(path).map_err(|e| failed("list", path, &e))? {
                let entry = entry.map_err(|e| failed("list", path, &e))?;
                if !ours.contains(&entry.file_name()) {
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

    /// The file whose lock a session holds.
    pub(super) fn lock_file(&self) -> Result<File> {
        let path = self.0.join(LOCK);
        private_file(&path).map_err(|e| failed("open", &path, &e))
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
        let number = name.strip_prefix("db-").is_some_and(|n| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit()));
        let database = self.0.join(name);
        if number && database.is_dir() {
            return Ok(Some(database));
        }
        Err(Error::new(Kind::Store, format!("{} names no database of this store", current.display()))
            .hint("restore the folder that it names; nothing was changed"))
    }

    /// Where the first database of a new store goes.
    pub(super) fn first_database(&self) -> PathBuf {
        self.0.join(FIRST_DATABASE)
    }

    /// Makes a database the one in use: the last step of creating a store.
    pub(super) fn set_current(&self, database: &Path) -> Result<()> {
        let name = database.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let (current, aside) = (self.0.join(CURRENT), self.0.join(format!("{CURRENT}.new")));
        let write = || {
            let mut file = private_file(&aside)?;
            file.set_len(0)?;
            writeln!(file, "{name}")?;
            file.sync_all()?;
            fs::rename(&aside, &current)?;
            sync_folder(&self.0)?;
            // The folder itself may be new.
            self.0.parent().filter(|p| !p.as_os_str().is_empty()).map_or(Ok(()), sync_folder)
        };
        write().map_err(|e| failed("write", &current, &e))
    }
}

/// Opens a file that nobody else may look into; creates it where it is missing.
pub(crate) fn private_file(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path)
}

/// Makes a folder that nobody else may look into.
pub(super) fn private_folder(path: &Path) -> io::Result<()> {
    DirBuilder::new().mode(0o700).create(path)
}

/// Makes the names in a folder last.
pub(super) fn sync_folder(path: &Path) -> io::Result<()> {
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

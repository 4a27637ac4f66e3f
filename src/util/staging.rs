//! Files that are written beside the file that they replace.
//!
//! Where the system can do that, such a file has no name until it is whole, so a process that is killed leaves nothing.
//! Elsewhere it has a name of its own, and its process holds a kernel lock on it. A later process removes files with such
//! names that no process holds.

use std::ffi::OsStr;
use std::fs::{self, File, OpenOptions, Permissions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, OFlags, linkat};
use tempfile::{Builder, TempPath};

/// The start of the names of staged files. Former builds used it too, without a lock.
const PREFIX: &str = ".cxnpoll-";
/// The number of random letters and digits after the prefix.
const RANDOM_CHARS: usize = 6;

/// Creates an empty file in a directory; the path is `None` for one without a name.
///
/// # Errors
/// Those of creating it.
pub(super) fn create(dir: &Path, permissions: &Permissions) -> io::Result<(File, Option<TempPath>)> {
    match unnamed(dir, permissions) {
        Some(file) => Ok((file, None)),
        None => named(dir, permissions).map(|(file, path)| (file, Some(path))),
    }
}

/// Creates a file without a name; `None` if the system or the file system cannot.
#[cfg(target_os = "linux")]
fn unnamed(dir: &Path, permissions: &Permissions) -> Option<File> {
    let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
    let file = File::from(rustix::fs::open(dir, flags, permissions.mode().into()).ok()?);
    // `link` needs it.
    fs::metadata(path_of(&file)).ok()?;
    // The lock counts once the file has a name. Where the file system has no locks, other processes do not remove it.
    let _ = file.try_lock();
    Some(file)
}

#[cfg(not(target_os = "linux"))]
fn unnamed(_: &Path, _: &Permissions) -> Option<File> {
    None
}

fn named(dir: &Path, permissions: &Permissions) -> io::Result<(File, TempPath)> {
    loop {
        let (file, path) = builder().permissions(permissions.clone()).tempfile_in(dir)?.into_parts();
        let _ = file.lock();
        // Another process may have removed it before it was locked.
        if file.metadata()?.nlink() > 0 {
            return Ok((file, path));
        }
    }
}

/// Gives a file without a name the name of a staged file.
///
/// # Errors
/// Those of the link.
pub(super) fn link(file: &File, dir: &Path) -> io::Result<TempPath> {
    let link = |path: &Path| Ok(linkat(CWD, path_of(file), CWD, path, AtFlags::SYMLINK_FOLLOW)?);
    Ok(builder().make_in(dir, link)?.into_temp_path())
}

fn builder() -> Builder<'static, 'static> {
    let mut builder = Builder::new();
    builder.prefix(PREFIX).rand_bytes(RANDOM_CHARS);
    builder
}

fn path_of(file: &File) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd()))
}

/// Removes the files that killed processes staged in a directory. That one cannot be removed does no harm.
pub(super) fn remove_abandoned(dir: &Path) {
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        if is_staged(&entry.file_name()) {
            let _ = remove_if_abandoned(&entry.path());
        }
    }
}

fn is_staged(name: &OsStr) -> bool {
    let random = name.to_str().and_then(|name| name.strip_prefix(PREFIX));
    random.is_some_and(|random| random.len() == RANDOM_CHARS && random.bytes().all(|byte| byte.is_ascii_alphanumeric()))
}

fn remove_if_abandoned(path: &Path) -> io::Result<()> {
    // In a directory of several users it may be a link or a pipe.
    let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed();
    let file = OpenOptions::new().read(true).write(true).custom_flags(flags).open(path)?;
    let metadata = file.metadata()?;
    let is_ours = metadata.is_file() && metadata.uid() == rustix::process::geteuid().as_raw();
    if is_ours && file.try_lock().is_ok() { fs::remove_file(path) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    fn names(dir: &Path) -> Vec<String> {
        let mut names: Vec<_> =
            fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn only_files_that_no_process_holds_are_removed() {
        let directory = tempfile::tempdir().unwrap();
        let dir = directory.path();
        let permissions = Permissions::from_mode(0o600);
        let (file, held) = named(dir, &permissions).unwrap();
        let held_name = held.file_name().unwrap().to_str().unwrap().to_owned();
        fs::write(dir.join(".cxnpoll-Abc123"), "left by a killed process").unwrap();
        let foreign = [".cxnpoll-Abc12", ".cxnpoll-Abc1234", ".cxnpoll-Abc12~", ".tmpAbc123", "cxnpoll-Abc123"];
        for name in foreign {
            fs::write(dir.join(name), "").unwrap();
        }
        symlink(dir.join("cxnpoll-Abc123"), dir.join(".cxnpoll-linked")).unwrap();
        remove_abandoned(dir);
        let mut expected = foreign.map(str::to_owned).to_vec();
        expected.extend([".cxnpoll-linked".to_owned(), held_name]);
        expected.sort();
        assert_eq!(names(dir), expected);
        // A process that is killed does not run the destructor.
        held.keep().unwrap();
        drop(file);
        remove_abandoned(dir);
        assert_eq!(names(dir).len(), expected.len() - 1);
    }

    #[test]
    fn a_linked_file_is_held_until_it_is_closed() {
        let directory = tempfile::tempdir().unwrap();
        let Some(file) = unnamed(directory.path(), &Permissions::from_mode(0o600)) else { return };
        assert!(names(directory.path()).is_empty());
        let path = link(&file, directory.path()).unwrap();
        remove_abandoned(directory.path());
        assert!(path.exists());
    }
}

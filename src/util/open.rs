//! Opens a file by a name that other users may know, and may have used before.

use std::fs::{self, File, Metadata, OpenOptions};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::io::Errno;
use rustix::process::geteuid;

use super::descriptor;
use super::fs_atomic::dir_of;

/// How many symbolic links are followed.
const MAX_LINKS: usize = 16;
/// The bit of a mode that allows all users to write.
const OTHERS_WRITE: u32 = 0o002;

/// What another user may have put in the place of a file.
#[derive(Debug, thiserror::Error)]
enum Planted {
    #[error("a symbolic link in a directory that other users can write to")]
    Link,
    #[error("not a regular file")]
    Special,
    #[error("a pipe that no process reads, or a socket")]
    NoReader,
    #[error("a file of another user, or with several names, in a directory that other users can write to")]
    Foreign,
}

impl From<Planted> for io::Error {
    fn from(planted: Planted) -> Self {
        Self::new(io::ErrorKind::PermissionDenied, planted)
    }
}

/// Opens a file, and never waits for the other end of a pipe. `/dev/stderr` and the like are descriptors of this process.
///
/// In a directory that belongs to another user than root and this one, or that all users can write to, the file must be
/// regular, have one name, and belong to one of these users or the owner of the directory. Elsewhere, links of this user
/// and of root are followed, and devices and pipes are opened too.
///
/// # Errors
/// Those of opening the file; [`io::ErrorKind::PermissionDenied`] for what another user may have put there.
pub fn open_trusted(path: &Path, options: &OpenOptions) -> io::Result<File> {
    let mut path = path.to_owned();
    for _ in 0..MAX_LINKS {
        if let Some(descriptor) = descriptor::duplicate(&path) {
            return descriptor;
        }
        let dir = fs::metadata(dir_of(&path))?;
        let is_private = is_private(&dir);
        // Links below /proc are the kernel's, and need not name a path.
        let follow = if path.starts_with("/proc") { OFlags::empty() } else { OFlags::NOFOLLOW };
        let flags = (follow | OFlags::NONBLOCK | OFlags::NOCTTY).bits().cast_signed();
        match options.clone().custom_flags(flags).open(&path) {
            Ok(file) => {
                let metadata = file.metadata()?;
                if !is_private && !metadata.is_file() {
                    return Err(Planted::Special.into());
                }
                if !is_private && (metadata.nlink() > 1 || !is_own(&metadata) && metadata.uid() != dir.uid()) {
                    return Err(Planted::Foreign.into());
                }
                fcntl_setfl(&file, fcntl_getfl(&file)? - OFlags::NONBLOCK)?;
                return Ok(file);
            }
            // FreeBSD reports a link as MLINK.
            Err(error) if is(&error, Errno::LOOP) || is(&error, Errno::MLINK) => {
                if !is_private || !is_own(&fs::symlink_metadata(&path)?) {
                    return Err(Planted::Link.into());
                }
                path = dir_of(&path).join(fs::read_link(&path)?);
            }
            Err(error) if is(&error, Errno::NXIO) => {
                return Err(if is_private { Planted::NoReader } else { Planted::Special }.into());
            }
            Err(error) => return Err(error),
        }
    }
    Err(Errno::LOOP.into())
}

/// Opens a descriptor of this process, or what is not a regular file, to append to it.
///
/// `None` for any other path. Waits until a process reads from a pipe. Links are followed as by [`target_of`].
///
/// # Errors
/// Those of opening it; [`io::ErrorKind::PermissionDenied`] for what another user may have put there.
pub fn open_in_place(path: &Path) -> io::Result<Option<File>> {
    let path = target_of(path)?;
    if let Some(descriptor) = descriptor::duplicate(&path) {
        return descriptor.map(Some);
    }
    let is_special = || fs::metadata(&path).is_ok_and(|metadata| !metadata.is_file());
    if descriptor::number(&path).is_none() && !is_special() {
        return Ok(None);
    }
    if !is_private(&fs::metadata(dir_of(&path))?) {
        return Err(Planted::Special.into());
    }
    File::options().append(true).open(path).map(Some)
}

/// Returns the file that a path leads to through symbolic links, whether or not it exists.
///
/// The name of a descriptor of this process, such as `/dev/stderr`, counts as a file, and not as a link. Links of this user and of root are followed, unless other users can write to their directory.
///
/// # Errors
/// Those of reading the directory of a link; [`io::ErrorKind::PermissionDenied`] for a link that another user may have put
/// there.
pub fn target_of(path: &Path) -> io::Result<PathBuf> {
    let mut path = path.to_owned();
    for _ in 0..MAX_LINKS {
        let link = fs::read_link(&path).ok().filter(|_| descriptor::number(&path).is_none());
        let Some(target) = link else { return Ok(path) };
        let dir = fs::metadata(dir_of(&path))?;
        if !is_private(&dir) || !is_own(&fs::symlink_metadata(&path)?) {
            return Err(Planted::Link.into());
        }
        path = dir_of(&path).join(target);
    }
    Err(Errno::LOOP.into())
}

fn is(error: &io::Error, errno: Errno) -> bool {
    error.raw_os_error() == Some(errno.raw_os_error())
}

/// Whether only root and the user of this process, and perhaps its group, can write to a directory.
fn is_private(dir: &Metadata) -> bool {
    is_own(dir) && dir.mode() & OTHERS_WRITE == 0
}

/// Whether a file belongs to root or to the user of this process.
fn is_own(metadata: &Metadata) -> bool {
    metadata.uid() == 0 || metadata.uid() == geteuid().as_raw()
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::fs::{CWD, FileType, Mode, mknodat};
    use std::fs::Permissions;
    use std::io::{Read, Write};
    use std::os::fd::AsRawFd;
    use std::os::unix::fs::{PermissionsExt, chown, symlink};
    use std::os::unix::net::UnixStream;

    /// Opens a file to append to it.
    fn append(path: &Path) -> io::Result<File> {
        open_trusted(path, File::options().append(true).create(true))
    }

    fn refusal(path: &Path) -> String {
        let error = append(path).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::PermissionDenied, "{error}");
        error.to_string()
    }

    #[test]
    fn only_own_regular_files_are_opened_where_all_users_can_write() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        fs::set_permissions(directory.path(), Permissions::from_mode(0o777)).unwrap();
        append(&path("file")).unwrap().write_all(b"one").unwrap();
        append(&path("file")).unwrap().write_all(b"two").unwrap();
        assert_eq!(fs::read_to_string(path("file")).unwrap(), "onetwo");
        symlink(path("file"), path("link")).unwrap();
        symlink(path("new"), path("dangling")).unwrap();
        assert!(refusal(&path("link")).starts_with("a symbolic link"));
        assert!(refusal(&path("dangling")).starts_with("a symbolic link") && !path("new").exists());
        mknodat(CWD, path("pipe"), FileType::Fifo, Mode::from_raw_mode(0o666), 0).unwrap();
        assert_eq!(refusal(&path("pipe")), "not a regular file");
        assert!(open_trusted(&path("pipe"), File::options().read(true)).is_err());
        fs::hard_link(path("file"), path("second")).unwrap();
        assert!(refusal(&path("second")).starts_with("a file of another user, or with several names"));
        fs::remove_file(path("second")).unwrap();
        // Only root can give files away.
        if geteuid().is_root() {
            chown(path("file"), Some(1), None).unwrap();
            assert!(refusal(&path("file")).starts_with("a file of another user"));
            // Neither is a directory of another user private.
            fs::set_permissions(directory.path(), Permissions::from_mode(0o755)).unwrap();
            chown(directory.path(), Some(1), None).unwrap();
            append(&path("file")).unwrap();
            assert!(refusal(&path("link")).starts_with("a symbolic link"));
        }
    }

    #[test]
    fn target_of_links_may_be_missing_and_is_no_choice_of_another_user() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        fs::create_dir(path("disk")).unwrap();
        symlink("disk/second", path("first")).unwrap();
        symlink("file", path("disk/second")).unwrap();
        assert_eq!(target_of(&path("first")).unwrap(), path("disk/file"));
        fs::write(path("disk/file"), "").unwrap();
        assert_eq!(target_of(&path("first")).unwrap(), path("disk/file"));
        assert_eq!(target_of(&path("missing/file")).unwrap(), path("missing/file"));
        symlink("circle", path("circle")).unwrap();
        assert!(is(&target_of(&path("circle")).unwrap_err(), Errno::LOOP));
        fs::set_permissions(path("disk"), Permissions::from_mode(0o777)).unwrap();
        assert!(target_of(&path("first")).unwrap_err().to_string().starts_with("a symbolic link"));
        assert_eq!(target_of(&path("disk/file")).unwrap(), path("disk/file"));
    }

    #[test]
    fn only_what_is_no_regular_file_is_opened_in_place() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        fs::write(path("file"), "").unwrap();
        symlink(path("file"), path("link")).unwrap();
        for name in ["file", "link", "missing", "missing/file"] {
            assert!(open_in_place(&path(name)).unwrap().is_none(), "{name}");
        }
        let (mut reader, writer) = std::io::pipe().unwrap();
        symlink(format!("/dev/fd/{}", writer.as_raw_fd()), path("descriptor")).unwrap();
        open_in_place(&path("descriptor")).unwrap().unwrap().write_all(b"text").unwrap();
        drop(writer);
        let mut text = String::new();
        reader.read_to_string(&mut text).unwrap();
        assert_eq!(text, "text");
        symlink("/dev/null", path("device")).unwrap();
        assert!(open_in_place(&path("device")).unwrap().is_some());
        mknodat(CWD, path("pipe"), FileType::Fifo, Mode::from_raw_mode(0o666), 0).unwrap();
        std::thread::scope(|scope| {
            let opened = scope.spawn(|| open_in_place(&path("pipe")));
            File::open(path("pipe")).unwrap();
            assert!(opened.join().unwrap().unwrap().is_some());
        });
        // Another user may read this pipe.
        fs::set_permissions(directory.path(), Permissions::from_mode(0o777)).unwrap();
        let refused = open_in_place(&path("pipe")).unwrap_err();
        assert_eq!(refused.to_string(), "not a regular file");
        assert!(open_in_place(&path("device")).unwrap_err().to_string().starts_with("a symbolic link"));
    }

    #[test]
    fn a_link_to_a_descriptor_is_that_descriptor() {
        let directory = tempfile::tempdir().unwrap();
        let (mut ours, theirs) = UnixStream::pair().unwrap();
        let link = directory.path().join("log");
        symlink(format!("/dev/fd/{}", theirs.as_raw_fd()), &link).unwrap();
        append(&link).unwrap().write_all(b"line").unwrap();
        drop(theirs);
        let mut text = String::new();
        ours.read_to_string(&mut text).unwrap();
        assert_eq!(text, "line");
        fs::set_permissions(directory.path(), Permissions::from_mode(0o777)).unwrap();
        assert!(refusal(&link).starts_with("a symbolic link"));
    }

    #[test]
    fn own_links_and_the_devices_of_the_system_are_opened_elsewhere() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        fs::create_dir(path("logs")).unwrap();
        symlink("logs/today", path("second")).unwrap();
        symlink("second", path("log")).unwrap();
        append(&path("log")).unwrap().write_all(b"line").unwrap();
        assert_eq!(fs::read_to_string(path("logs/today")).unwrap(), "line");
        // A link to a directory for all users leads to what they may have put there.
        fs::set_permissions(path("logs"), Permissions::from_mode(0o777)).unwrap();
        fs::rename(path("logs/today"), path("logs/file")).unwrap();
        symlink("file", path("logs/today")).unwrap();
        assert!(refusal(&path("log")).starts_with("a symbolic link"));
        symlink("circle", path("circle")).unwrap();
        assert!(is(&append(&path("circle")).unwrap_err(), Errno::LOOP));
        for device in ["/dev/null", "/dev/stderr", "/proc/self/fd/2"] {
            append(Path::new(device)).unwrap();
        }
        // No process reads this pipe, and none is waited for.
        mknodat(CWD, path("pipe"), FileType::Fifo, Mode::from_raw_mode(0o666), 0).unwrap();
        assert_eq!(refusal(&path("pipe")), "a pipe that no process reads, or a socket");
        let mut text = String::new();
        open_trusted(&path("pipe"), File::options().read(true)).unwrap().read_to_string(&mut text).unwrap();
    }
}

//! The open descriptors of this process, by the names that they have in the file system.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, RawFd};
use std::path::Path;

/// Duplicates the descriptor that a path names, such as `/dev/stderr`; `None` for any other path.
///
/// The system cannot open a socket or a pipe without a reader by such a name, nor a terminal of another user.
///
/// # Errors
/// There is no such descriptor, or it cannot be duplicated.
pub(super) fn duplicate(path: &Path) -> Option<io::Result<File>> {
    let duplicated = match number(path)? {
        0 => io::stdin().as_fd().try_clone_to_owned(),
        1 => io::stdout().as_fd().try_clone_to_owned(),
        2 => io::stderr().as_fd().try_clone_to_owned(),
        number => return other(number),
    };
    Some(duplicated.map(File::from))
}

/// The number of the descriptor that a path names; `None` for any other path.
pub(super) fn number(path: &Path) -> Option<RawFd> {
    match path.to_str()? {
        "/dev/stdin" => Some(0),
        "/dev/stdout" => Some(1),
        "/dev/stderr" => Some(2),
        path => {
            let number = ["/dev/fd/", "/proc/self/fd/"].into_iter().find_map(|dir| path.strip_prefix(dir))?;
            number.parse().ok().filter(|_| number.bytes().all(|byte| byte.is_ascii_digit()))
        }
    }
}

/// Duplicates any descriptor; `None` where the system cannot, so that it is to be opened by its name.
#[cfg(target_os = "linux")]
fn other(number: RawFd) -> Option<io::Result<File>> {
    use rustix::io::Errno;
    use rustix::process::{PidfdFlags, PidfdGetfdFlags, getpid, pidfd_getfd, pidfd_open};
    let own = pidfd_open(getpid(), PidfdFlags::empty()).ok()?;
    match pidfd_getfd(own, number, PidfdGetfdFlags::empty()) {
        // Containers may forbid the call, and old systems do not have it.
        Err(Errno::PERM | Errno::NOSYS) => None,
        duplicated => Some(duplicated.map(File::from).map_err(io::Error::from)),
    }
}

#[cfg(not(target_os = "linux"))]
fn other(_: RawFd) -> Option<io::Result<File>> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_of_descriptors_have_a_number() {
        for (path, expected) in [
            ("/dev/stdin", Some(0)),
            ("/dev/stdout", Some(1)),
            ("/dev/stderr", Some(2)),
            ("/dev/fd/7", Some(7)),
            ("/proc/self/fd/12", Some(12)),
            ("/dev/fd/", None),
            ("/dev/fd/+7", None),
            ("/dev/fd/7/x", None),
            ("/dev/fd/99999999999", None),
            ("/dev/null", None),
            ("dev/stderr", None),
        ] {
            assert_eq!(number(Path::new(path)), expected, "{path}");
        }
    }

    #[test]
    fn a_descriptor_that_is_not_open_is_an_error() {
        let error = duplicate(Path::new("/dev/fd/987654")).unwrap().unwrap_err();
        assert_eq!(error.raw_os_error(), Some(rustix::io::Errno::BADF.raw_os_error()));
    }
}

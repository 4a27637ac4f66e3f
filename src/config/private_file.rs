//! Files with secrets that only one user may read.

use std::fs::OpenOptions;
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use rustix::process::geteuid;
use zeroize::Zeroizing;

use super::error::{Error, PrivateFileProblem, Result};
use crate::util::file_error::{FileError, FileOp};
use crate::util::open::open_trusted;
use crate::util::text::BYTE_ORDER_MARK;

/// The largest file that is read. A key is less than 4 KiB.
const MAX_BYTES: usize = 64 << 10;
/// The bits of a mode that let other users read or write.
const OTHERS: u32 = 0o066;

/// Reads the text of a file that only its owner can read and write; `None` if the file does not exist.
///
/// The owner is this user or root. Root reads the files of all users.
///
/// # Errors
/// [`Error::PrivateFile`]; the file cannot be read.
pub(super) fn read(path: &Path) -> Result<Option<Zeroizing<String>>> {
    let file = match open_trusted(path, OpenOptions::new().read(true)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        opened => opened.map_err(FileError::at(FileOp::Open, path))?,
    };
    let refused = |problem| Error::PrivateFile { path: path.to_owned(), problem };
    // Of the file that is open: another one may have its name by now.
    let metadata = file.metadata().map_err(FileError::at(FileOp::Inspect, path))?;
    check(metadata.mode() & 0o7777, metadata.uid(), geteuid().as_raw()).map_err(refused)?;
    // A buffer that grows would leave copies behind.
    let mut bytes = Zeroizing::new(Vec::with_capacity(MAX_BYTES + 1));
    file.take(MAX_BYTES as u64 + 1).read_to_end(&mut bytes).map_err(FileError::at(FileOp::Read, path))?;
    if bytes.len() > MAX_BYTES {
        return Err(refused(PrivateFileProblem::TooLong));
    }
    let text = str::from_utf8(&bytes).map_err(|_| refused(PrivateFileProblem::NotUtf8))?;
    Ok(Some(Zeroizing::new(text.strip_prefix(BYTE_ORDER_MARK).unwrap_or(text).to_owned())))
}

/// Checks the mode and the owner of a file for the user that reads it.
fn check(mode: u32, owner: u32, user: u32) -> Result<(), PrivateFileProblem> {
    if mode & OTHERS != 0 {
        return Err(PrivateFileProblem::Shared { mode });
    }
    let is_trusted = [0, user].contains(&owner) || user == 0;
    if is_trusted { Ok(()) } else { Err(PrivateFileProblem::Foreign { owner }) }
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    #[test]
    fn a_file_that_others_can_read_or_write_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let (path, link) = (dir.path().join("key"), dir.path().join("link"));
        assert_eq!(read(&path).unwrap(), None);
        fs::write(&path, "\u{feff}secret\r\n").unwrap();
        symlink("key", &link).unwrap();
        for mode in [0o600, 0o400, 0o700, 0o711] {
            fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
            assert_eq!(read(&path).unwrap().unwrap().as_str(), "secret\r\n");
            assert_eq!(read(&link).unwrap().unwrap().as_str(), "secret\r\n");
        }
        for found in [0o640, 0o620, 0o604, 0o602, 0o644, 0o666] {
            fs::set_permissions(&path, Permissions::from_mode(found)).unwrap();
            for path in [&path, &link] {
                let error = read(path).unwrap_err();
                let Error::PrivateFile { problem: PrivateFileProblem::Shared { mode }, .. } = error else {
                    panic!("{error:?}")
                };
                assert_eq!(mode, found);
            }
        }
    }

    #[test]
    fn a_file_of_another_user_is_refused_except_by_root() {
        for (owner, user, expected) in [
            (1000, 1000, Ok(())),
            (0, 1000, Ok(())),
            (1000, 0, Ok(())),
            (1001, 1000, Err(PrivateFileProblem::Foreign { owner: 1001 })),
        ] {
            assert_eq!(check(0o600, owner, user), expected);
            assert_eq!(check(0o640, owner, user), Err(PrivateFileProblem::Shared { mode: 0o640 }));
        }
    }

    #[test]
    fn what_is_no_short_text_is_refused_and_not_shown() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key");
        for (content, expected) in [
            (vec![b'S'; MAX_BYTES + 1], PrivateFileProblem::TooLong),
            (b"SECRET\xff".to_vec(), PrivateFileProblem::NotUtf8),
        ] {
            fs::write(&path, content).unwrap();
            fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
            let error = read(&path).unwrap_err();
            assert!(!format!("{error:?}").contains("SECRET"), "{error:?}");
            assert!(matches!(error, Error::PrivateFile { problem, .. } if problem == expected));
        }
        fs::write(&path, vec![b'S'; MAX_BYTES]).unwrap();
        assert_eq!(read(&path).unwrap().unwrap().len(), MAX_BYTES);
        assert!(matches!(read(dir.path()), Err(Error::File(_) | Error::PrivateFile { .. })));
    }
}

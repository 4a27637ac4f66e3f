//! Files that commands write for the user.

use std::fs::{self, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use super::error::{Error, Result};
use super::ui::deferred::DeferredWriter;
use super::ui::terminal;
use crate::store::failpoint::{self, Failpoint};
use crate::util::fs_atomic::{AtomicFile, Durability};
use crate::util::open::{open_in_place, target_of};

/// Writes a file, mode 0600, as a whole. A descriptor of this process, a pipe and the like are written to in place.
///
/// A file that exists is replaced only with `force`. `check` gets whether it is a terminal that is written to. `write` gets
/// the path of the file that is written.
///
/// # Errors
/// Those of `check` and `write`; [`Error::OutputExists`]; [`Error::OutputFile`].
pub(in crate::cli) fn write(
    path: &Path,
    force: bool,
    check: impl FnOnce(bool) -> Result<()>,
    write: impl FnOnce(&mut dyn Write, &Path) -> Result<()>,
) -> Result<()> {
    let Some(file) = open_in_place(path).map_err(|error| cannot_write(path, &error))? else {
        return write_whole(path, force, write);
    };
    check(terminal::is_terminal(&file))?;
    let mut out = DeferredWriter::new(file);
    let written = write(&mut out, path);
    match written.and_then(|()| out.finish().map_err(|error| cannot_write(path, &error))) {
        // The reader of a pipe has seen enough.
        Err(Error::OutputFile { kind: io::ErrorKind::BrokenPipe, .. }) => Ok(()),
        written => written,
    }
}

/// Writes a file, mode 0600, as a whole. If that fails, an old file stays.
///
/// With `force` an old file is replaced. If `path` is a symbolic link, the file that it leads to is written, and the link
/// stays. `write` gets the path of the file that is written.
fn write_whole(path: &Path, force: bool, write: impl FnOnce(&mut dyn Write, &Path) -> Result<()>) -> Result<()> {
    let path = target_of(path).map_err(|error| cannot_write(path, &error))?;
    if !force && fs::symlink_metadata(&path).is_ok() {
        return Err(Error::OutputExists(path));
    }
    let failed = |error: io::Error| cannot_write(&path, &error);
    let mut file = AtomicFile::beside(&path, &Permissions::from_mode(0o600)).map_err(failed)?;
    write(file.file(), &path)?;
    let written = || failpoint::hit(Failpoint::ExportWritten);
    if force {
        return file.commit(Durability::Durable, written).map_err(failed);
    }
    // Another process may have written the file meanwhile.
    file.commit_new(written).map_err(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => Error::OutputExists(path.clone()),
        _ => failed(error),
    })
}

/// Only the kind of the error is shown, because its text names the temporary file.
pub(in crate::cli) fn cannot_write(path: &Path, error: &io::Error) -> Error {
    Error::OutputFile { path: path.to_owned(), kind: error.kind() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    fn write(path: &Path, force: bool, text: &str) -> Result<()> {
        write_whole(path, force, |file, path| {
            file.write_all(text.as_bytes()).map_err(|error| cannot_write(path, &error))
        })
    }

    #[test]
    fn a_link_stays_and_the_file_that_it_leads_to_is_written() {
        let dir = tempfile::tempdir().unwrap();
        let (target, link) = (dir.path().join("data/target.csv"), dir.path().join("link"));
        fs::create_dir(dir.path().join("data")).unwrap();
        symlink("data/target.csv", &link).unwrap();
        for (force, text) in [(false, "new"), (true, "newer")] {
            let mut extension = None;
            write_whole(&link, force, |file, path| {
                extension = path.extension().map(ToOwned::to_owned);
                file.write_all(text.as_bytes()).map_err(|error| cannot_write(path, &error))
            })
            .unwrap();
            assert_eq!(extension.as_deref(), Some("csv".as_ref()));
            assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
            assert_eq!(fs::read_to_string(&target).unwrap(), text);
            assert_eq!(fs::metadata(&target).unwrap().permissions().mode() & 0o777, 0o600);
        }
        let refused = write(&link, false, "newest").unwrap_err();
        assert!(matches!(&refused, Error::OutputExists(path) if *path == target), "{refused:?}");
    }

    #[test]
    fn a_file_that_appears_meanwhile_is_not_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        let refused = write_whole(&path, false, |_, path| {
            fs::write(path, "of another process").unwrap();
            Ok(())
        });
        assert!(matches!(refused, Err(Error::OutputExists(_))), "{refused:?}");
        assert_eq!(fs::read_to_string(&path).unwrap(), "of another process");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_failed_export_leaves_the_old_file_and_no_other() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        write(&path, false, "old").unwrap();
        let failed = write_whole(&path, true, |file, path| {
            file.write_all(b"half").unwrap();
            Err(cannot_write(path, &io::ErrorKind::StorageFull.into()))
        });
        assert!(failed.is_err());
        assert_eq!(fs::read_to_string(&path).unwrap(), "old");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
        let missing = write(&dir.path().join("missing/file"), false, "").unwrap_err();
        assert!(matches!(missing, Error::OutputFile { kind: io::ErrorKind::NotFound, .. }), "{missing:?}");
    }
}

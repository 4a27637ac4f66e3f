//! The text of a failed operation on a file, and the hint of one that failed for lack of space.

use std::io::{self, ErrorKind};
use std::path::Path;

use super::report::Report;
use crate::exit;
use crate::util::file_error::{FileError, FileOp};

/// What helps if a file cannot grow; `None` for other errors.
pub(super) fn space_hint(kind: ErrorKind) -> Option<&'static str> {
    match kind {
        ErrorKind::StorageFull => Some("free some disk space and try again"),
        ErrorKind::FileTooLarge => Some("raise the limit of file sizes (ulimit -f) and try again"),
        _ => None,
    }
}

/// The command that restores a backup, with more options and a blank, or without.
pub(super) fn restore_command(options: &str, backup: &Path) -> String {
    let identity = if backup.extension().is_some_and(|end| end == "age") { " --identity KEY" } else { "" };
    format!("cxnpoll store restore {options}{}{identity}", backup.display())
}

/// Why a temporary file cannot be used.
///
/// An error of the tempfile crate repeats the directory, and the name of a file that does not exist.
pub(super) fn temp_reason(error: &io::Error) -> String {
    if error.raw_os_error().is_some() { error.to_string() } else { error.kind().to_string() }
}

/// The report of a temporary directory that cannot be made in `dir`.
pub(super) fn temp_dir(dir: &Path, error: &io::Error) -> Report {
    let hint = space_hint(error.kind()).unwrap_or("name another directory with TMPDIR");
    let message = format!("cannot make a temporary directory in {}: {}", dir.display(), temp_reason(error));
    Report::new(exit::STORE, message).hint(hint)
}

/// Describes a failed operation: `cannot open /etc/x: Permission denied (os error 13)`.
pub(super) fn text(error: &FileError) -> String {
    let FileError { op, path, source } = error;
    let verb = match op {
        FileOp::Inspect => "inspect",
        FileOp::Open => "open",
        FileOp::Read => "read",
        FileOp::List => "list",
        FileOp::Create => "create",
        FileOp::Write => "write",
        FileOp::Sync => "sync",
        FileOp::Copy => "copy",
        FileOp::Move => "move",
        FileOp::Remove => "remove",
        FileOp::SetMode => "change the mode of",
        FileOp::Lock => "lock",
        FileOp::Enter => "enter",
        FileOp::Execute => "execute",
    };
    format!("cannot {verb} {}: {source}", path.display())
}

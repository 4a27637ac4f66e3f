//! The text of a failed operation on a file.

use crate::util::file_error::{FileError, FileOp};

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
    };
    format!("cannot {verb} {}: {source}", path.display())
}

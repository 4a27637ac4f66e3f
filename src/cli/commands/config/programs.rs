//! Programs that the configuration names.

use std::fs;
use std::path::Path;

use rustix::fs::{Access, access};

use crate::cli::commands::users;
use crate::util::text::shell_quoted;

/// What to do about a program that cannot be started, which a key names.
pub(super) fn program_remedy(path: &Path, key: &str) -> String {
    let shown = shell_quoted(path);
    let text = fs::read(path).unwrap_or_default();
    let first = text.split(|byte| *byte == b'\n').next().unwrap_or_default();
    if !path.exists() {
        return users::access_remedy(path).unwrap_or_else(|| format!("correct the path in `{key}`"));
    }
    match first.strip_prefix(b"#!") {
        _ if access(path, Access::EXEC_OK).is_err() => format!("make it executable: chmod +x {shown}"),
        Some(interpreter) if interpreter.ends_with(b"\r") => {
            format!("remove the carriage returns at the ends of its lines: sed -i 's/\\r$//' {shown}")
        }
        Some(_) => format!("install its interpreter, or correct its first line: head -n 1 {shown}"),
        None => format!("let its first line name the interpreter, such as #!/bin/sh: head -n 1 {shown}"),
    }
}

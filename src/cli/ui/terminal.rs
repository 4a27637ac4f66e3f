//! Whether streams are attached to a terminal. No other file checks that.

use std::fs::File;
use std::io::{self, IsTerminal};

/// Whether a file is a terminal.
pub(in crate::cli) fn is_terminal(file: &File) -> bool {
    file.is_terminal()
}

/// Whether standard output is a terminal.
pub(in crate::cli) fn has_stdout() -> bool {
    io::stdout().is_terminal()
}

/// Whether standard error is a terminal, so that a person probably reads it.
pub(in crate::cli) fn has_stderr() -> bool {
    io::stderr().is_terminal()
}

/// Whether a person can be asked: standard input and standard error are terminals.
pub(in crate::cli) fn can_ask() -> bool {
    io::stdin().is_terminal() && has_stderr()
}

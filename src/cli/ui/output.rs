//! Data for people and scripts on standard output, and the error on standard error.

use std::io::{self, Write};

use clap::ColorChoice;
use clap::builder::styling::{AnsiColor, Style};
use serde_json::Value;

use super::stderr::Stderr;
use super::terminal;
use crate::cli::error::{Error, Report, Result};
use crate::exit;
use crate::util::text::escape;

/// Writes a line of data.
///
/// A reader that closes the pipe has seen enough: the process then exits with 0.
pub(in crate::cli) fn line(text: &str) -> Result<()> {
    bytes(format!("{text}\n").as_bytes())
}

/// Writes data as it is; a closed pipe ends the process as in [`line`].
pub(in crate::cli) fn bytes(data: &[u8]) -> Result<()> {
    match io::stdout().lock().write_all(data) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => std::process::exit(exit::OK.into()),
        Err(error) => Err(Error::Stdout(error)),
    }
}

/// Writes a JSON value: indented on a terminal, otherwise on one line.
pub(in crate::cli) fn json(value: &Value) -> Result<()> {
    match serde_json::to_string_pretty(value) {
        Ok(indented) if terminal::has_stdout() => line(&escape(&indented)),
        _ => json_line(value),
    }
}

/// Writes a JSON value on one line, with escapes on a terminal for what that may obey or hide.
pub(in crate::cli) fn json_line(value: &Value) -> Result<()> {
    let text = value.to_string();
    if terminal::has_stdout() { line(&escape(&text)) } else { line(&text) }
}

/// Prints the error of a command to standard error.
pub(in crate::cli) fn error(report: &Report, color: ColorChoice) {
    let is_colored = match color {
        ColorChoice::Always => true,
        ColorChoice::Never => false,
        ColorChoice::Auto => {
            terminal::has_stderr() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
        }
    };
    let red = if is_colored { AnsiColor::Red.on_default().bold() } else { Style::new() };
    let _ = Stderr.write_all(format!("{red}error:{red:#} {report}\n").as_bytes());
}

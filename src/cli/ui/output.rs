//! Data for people and scripts on standard output, and the error on standard error.

use std::fmt::Write as _;
use std::io::{self, Write};

use clap::ColorChoice;
use clap::builder::styling::{AnsiColor, Style};
use serde_json::Value;

use super::stderr::Stderr;
use super::terminal;
use crate::cli::error::{Error, Report, Result};
use crate::exit;

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

/// Writes a JSON value: indented and free of control characters on a terminal, otherwise on one line.
pub(in crate::cli) fn json(value: &Value) -> Result<()> {
    if !terminal::has_stdout() {
        return line(&value.to_string());
    }
    let indented = serde_json::to_string_pretty(value).unwrap_or_else(|_| value.to_string());
    line(&escape_controls(&indented))
}

/// Escapes control characters that JSON allows unescaped and that a terminal may obey.
fn escape_controls(json: &str) -> String {
    json.chars().fold(String::with_capacity(json.len()), |mut safe, c| {
        if c.is_control() && c != '\n' {
            let _ = write!(safe, "\\u{:04x}", u32::from(c));
        } else {
            safe.push(c);
        }
        safe
    })
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_for_a_terminal_has_no_control_characters() {
        assert_eq!(escape_controls("{\n\"a\u{9b}\""), "{\n\"a\\u009b\"");
    }
}

//! Text for people and JSON for scripts. Data goes to stdout, everything else to stderr.

use std::io::{self, IsTerminal, Write};

use chrono::{DateTime, SecondsFormat};
use clap::ColorChoice;
use clap::builder::styling::{AnsiColor, Style};
use comfy_table::{ColumnConstraint, ContentArrangement, Table, presets};
use serde_json::Value;

use crate::error::{Error, Kind, Result};
use crate::exit;
use crate::model::UnixTime;

/// Writes a line of data. A reader who has seen enough and closes the pipe is no error: the process ends well.
pub(super) fn line(text: &str) -> Result<()> {
    bytes(format!("{text}\n").as_bytes())
}

/// Writes data as it is.
pub(super) fn bytes(data: &[u8]) -> Result<()> {
    match io::stdout().lock().write_all(data) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => std::process::exit(exit::OK.into()),
        Err(error) => Err(Error::new(Kind::Internal, format!("can't write to stdout: {error}"))),
    }
}

/// Writes a JSON value: on a terminal spread out and safe to show, otherwise on one line.
pub(super) fn json(value: &Value) -> Result<()> {
    if !io::stdout().is_terminal() {
        return line(&value.to_string());
    }
    let spread = serde_json::to_string_pretty(value).unwrap_or_else(|_| value.to_string());
    line(&escape_controls(&spread))
}

/// JSON may hold control characters of the upper range as they are, and a terminal may obey them.
fn escape_controls(json: &str) -> String {
    use std::fmt::Write;
    json.chars().fold(String::with_capacity(json.len()), |mut safe, c| {
        if c.is_control() && c != '\n' {
            let _ = write!(safe, "\\u{:04x}", u32::from(c));
        } else {
            safe.push(c);
        }
        safe
    })
}

/// A table that fits the terminal, or is as wide as its content.
pub(super) fn table(header: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled).set_header(header);
    table
}

/// How wide what people read may be, where nothing tells that there is more room.
const WIDTH: u16 = 80;

/// A table whose cells are broken into lines where it would be wider than a terminal usually is.
pub(super) fn narrow_table(header: &[&str]) -> Table {
    let mut table = table(header);
    table.set_content_arrangement(ContentArrangement::Dynamic).set_width(WIDTH);
    table
}

/// Keeps columns as wide as what is in them, so that the others are broken.
pub(super) fn keep_whole(table: &mut Table, columns: std::ops::RangeFrom<usize>) {
    for column in table.column_iter_mut().skip(columns.start) {
        column.set_constraint(ColumnConstraint::ContentWidth);
    }
}

/// Writes a sentence, broken into lines and indented behind the first.
pub(super) fn wrapped(text: &str) -> Result<()> {
    let mut so_far = String::new();
    for word in text.split(' ') {
        let length = so_far.chars().count();
        if length > 2 && length + 1 + word.chars().count() > usize::from(WIDTH) {
            line(&so_far)?;
            so_far = format!("   {word}");
        } else {
            so_far.push_str(if so_far.is_empty() { "" } else { " " });
            so_far.push_str(word);
        }
    }
    line(&so_far)
}

/// Writes a table, without the blanks at the ends of lines.
pub(super) fn print_table(table: &mut Table) -> Result<()> {
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    table.lines().try_for_each(|text| line(text.trim_end()))
}

/// Tells a person of an error.
pub(super) fn error(error: &Error, color: ColorChoice) {
    let colored = match color {
        ColorChoice::Always => true,
        ColorChoice::Never => false,
        ColorChoice::Auto => {
            io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
        }
    };
    let red = if colored { AnsiColor::Red.on_default().bold() } else { Style::new() };
    let _ = writeln!(io::stderr(), "{red}error:{red:#} {error}");
}

/// A moment as people read it: `2026-01-31 12:00:00Z`.
pub(super) fn time(moment: UnixTime) -> String {
    match DateTime::from_timestamp(moment, 0) {
        Some(time) => time.to_rfc3339_opts(SecondsFormat::Secs, true).replace('T', " "),
        None => moment.to_string(),
    }
}

/// A length of time as people read it: its two largest units, `3 h 20 min`.
pub(super) fn duration(seconds: i64) -> String {
    let units = [("d", 86_400), ("h", 3600), ("min", 60), ("s", 1)];
    let mut rest = seconds.max(0);
    let mut parts = Vec::new();
    for (name, size) in units {
        if rest >= size && parts.len() < 2 {
            parts.push(format!("{} {name}", rest / size));
            rest %= size;
        } else if !parts.is_empty() {
            break;
        }
    }
    if parts.is_empty() { "0 s".to_owned() } else { parts.join(" ") }
}

/// When something is, seen from `now`: `in 20 min`, `3 h ago`.
pub(super) fn relative(moment: UnixTime, now: UnixTime) -> String {
    match moment.saturating_sub(now) {
        0 => "now".to_owned(),
        ahead if ahead > 0 => format!("in {}", duration(ahead)),
        ago => format!("{} ago", duration(ago.saturating_neg())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_read_well() {
        assert_eq!(time(1_769_860_800), "2026-01-31 12:00:00Z");
        assert_eq!(duration(0), "0 s");
        assert_eq!(duration(1200), "20 min");
        assert_eq!(duration(3 * 86_400 + 59), "3 d");
        assert_eq!(duration(86_400 + 3600 * 2 + 5), "1 d 2 h");
        assert_eq!(relative(100, 160), "1 min ago");
        assert_eq!(relative(160, 100), "in 1 min");
    }

    #[test]
    fn a_terminal_gets_no_control_characters() {
        assert_eq!(escape_controls("{\n\"a\u{9b}\""), "{\n\"a\\u009b\"");
    }
}

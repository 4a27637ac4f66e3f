//! Tables and wrapped text.

use std::ops::Range;

use comfy_table::{ColumnConstraint, ContentArrangement, Table, presets};

use super::output;
use super::terminal;
use crate::cli::error::Result;

/// What is before the columns that go on in another line.
const INDENT: &str = "  ";
/// The space between two columns, in characters.
const GAP: usize = 2;

/// A table that is as wide as its content.
pub(in crate::cli) fn new(header: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled).set_header(header);
    table
}

/// Prints a table without blanks at the ends of its lines.
///
/// At a terminal that is too narrow, each row takes several lines. No cell is broken.
pub(in crate::cli) fn print(table: &mut Table) -> Result<()> {
    lines(table, terminal::width().unwrap_or(usize::MAX)).iter().try_for_each(|text| output::line(text))
}

/// The lines of a table that is `width` characters wide, unless a cell is wider.
fn lines(table: &mut Table, width: usize) -> Vec<String> {
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    let widths: Vec<_> = table.column_max_content_widths().into_iter().map(usize::from).collect();
    let parts = split(&widths, width);
    let mut rows: Vec<String> = Vec::new();
    for part in &parts {
        for (number, column) in table.column_iter_mut().enumerate() {
            if part.contains(&number) {
                column.remove_constraint();
            } else {
                column.set_constraint(ColumnConstraint::Hidden);
            }
        }
        let part = table.lines().map(|line| line.trim_end().to_owned());
        if rows.is_empty() {
            rows.extend(part);
        } else {
            rows.iter_mut().zip(part).for_each(|(row, part)| row.extend(["\n", INDENT, &part]));
        }
    }
    rows
}

/// Puts as many columns as fit into each line of a row. The lines after the first are indented.
fn split(widths: &[usize], width: usize) -> Vec<Range<usize>> {
    let mut parts: Vec<Range<usize>> = Vec::new();
    let mut used = 0;
    for (number, column) in widths.iter().enumerate() {
        match parts.last_mut() {
            Some(part) if used + GAP + column <= width => {
                part.end += 1;
                used += GAP + column;
            }
            last => {
                used = column + if last.is_some() { INDENT.len() } else { 0 };
                parts.push(number..number + 1);
            }
        }
    }
    parts
}

/// Prints a sentence, broken into lines that are indented after the first.
pub(in crate::cli) fn print_wrapped(text: &str) -> Result<()> {
    wrap(text).iter().try_for_each(|line| output::line(line))
}

fn wrap(text: &str) -> Vec<String> {
    let mut lines = Vec::new();
    let mut line = String::new();
    for word in text.split(' ') {
        let length = line.chars().count();
        if length > 2 && length + 1 + word.chars().count() > terminal::DEFAULT_WIDTH {
            lines.push(std::mem::replace(&mut line, format!("   {word}")));
        } else {
            line.push_str(if line.is_empty() { "" } else { " " });
            line.push_str(word);
        }
    }
    lines.push(line);
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_that_is_too_wide_takes_several_lines() {
        let mut table = new(&["APP", "JOB", "TOTAL", "DUE"]);
        table.add_row(["org.example.renewals", "nightly", "7", "1"]).add_row(["org.b", "default", "12345", "now"]);
        let all = |table: &mut Table, width| lines(table, width).join("\n");
        let whole = "APP                   JOB      TOTAL  DUE\norg.example.renewals  nightly  7      1\n\
                     org.b                 default  12345  now";
        assert_eq!(all(&mut table, 41), whole);
        let two = "APP                   JOB      TOTAL\n  DUE\norg.example.renewals  nightly  7\n  1\n\
                   org.b                 default  12345\n  now";
        assert_eq!(all(&mut table, 40), two);
        assert_eq!(all(&mut table, usize::MAX), whole);
        let narrow = all(&mut table, 1);
        assert!(narrow.starts_with("APP\n  JOB\n  TOTAL\n  DUE\norg.example.renewals\n  nightly\n"), "{narrow}");
    }

    #[test]
    fn as_many_columns_as_fit_are_in_a_line() {
        let columns = |widths: &[usize], width| split(widths, width).iter().map(Range::len).collect::<Vec<_>>();
        assert_eq!(columns(&[5, 5, 5], 19), [3]);
        assert_eq!(columns(&[5, 5, 5], 18), [2, 1]);
        assert_eq!(columns(&[5, 5, 5], 11), [1, 1, 1]);
        assert_eq!(columns(&[50, 5, 5], 14), [1, 2]);
    }

    #[test]
    fn a_long_sentence_is_broken_between_words() {
        let text = "word ".repeat(40);
        let lines = wrap(text.trim_end());
        assert_eq!(lines.len(), 3);
        assert!(lines.iter().all(|line| line.chars().count() <= terminal::DEFAULT_WIDTH), "{lines:?}");
        assert!(!lines[0].starts_with(' ') && lines[1].starts_with("   word"), "{lines:?}");
        assert_eq!(wrap("one line"), ["one line"]);
        assert_eq!(wrap(""), [""]);
    }
}

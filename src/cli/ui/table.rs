//! Tables of any number of rows, and wrapped text.

use std::io::{BufRead, BufReader};
use std::ops::Range;

use unicode_width::UnicodeWidthStr;

use super::byte_queue::{ByteQueue, MAX_MEMORY_BYTES};
use super::{output, terminal};
use crate::cli::error::Result;

/// What is before the columns that go on in another line.
const INDENT: &str = "  ";
/// The blanks between two columns.
const GAP: usize = 2;

/// A table whose rows wait until the width of each column is known.
///
/// If they are many, they wait in a temporary file.
pub(in crate::cli) struct Table<const N: usize> {
    widths: [usize; N],
    /// Each row as a line of JSON.
    rows: ByteQueue,
    /// How much of it may be in memory, in bytes.
    max_memory_bytes: usize,
}

impl<const N: usize> Table<N> {
    /// Makes a table that only has a header.
    pub(in crate::cli) fn new(header: [&str; N]) -> Self {
        let mut table = Self { widths: [0; N], rows: ByteQueue::default(), max_memory_bytes: MAX_MEMORY_BYTES };
        table.add(&header);
        table
    }

    /// Adds a row.
    pub(in crate::cli) fn add<T: AsRef<str>>(&mut self, cells: &[T; N]) {
        let cells = cells.each_ref().map(AsRef::as_ref);
        for (width, cell) in self.widths.iter_mut().zip(cells) {
            *width = (*width).max(cell.width());
        }
        self.rows.push(format!("{}\n", serde_json::Value::from(cells.to_vec())).as_bytes());
        if self.rows.in_memory() > self.max_memory_bytes && self.rows.spill().is_err() {
            // Without room for a temporary file, it takes more memory.
            self.max_memory_bytes *= 2;
        }
    }

    /// Prints the table without blanks at the ends of its lines.
    ///
    /// At a terminal that is too narrow, each row takes several lines. No cell is broken.
    ///
    /// # Errors
    /// That of [`output::check`]. A temporary file that cannot be read counts as output that cannot be written.
    pub(in crate::cli) fn print(self) -> Result<()> {
        self.for_each_line(terminal::width().unwrap_or(usize::MAX), |line| {
            output::line(line);
            output::check()
        })
    }

    /// Calls `print` with each line of the table, which is `width` characters wide, unless a cell is wider.
    fn for_each_line(self, width: usize, mut print: impl FnMut(&str) -> Result<()>) -> Result<()> {
        let parts = split(&self.widths, width);
        for row in BufReader::new(self.rows).lines() {
            let cells: Vec<String> = match row.and_then(|row| Ok(serde_json::from_str(&row)?)) {
                Ok(cells) => cells,
                Err(error) => return output::fail(error),
            };
            for part in &parts {
                let mut line = if part.start == 0 { String::new() } else { INDENT.to_owned() };
                for (cell, width) in cells[part.clone()].iter().zip(&self.widths[part.clone()]) {
                    line.push_str(cell);
                    line.extend(std::iter::repeat_n(' ', width + GAP - cell.width()));
                }
                print(line.trim_end())?;
            }
        }
        Ok(())
    }
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
pub(in crate::cli) fn print_wrapped(text: &str) {
    for line in wrap(text) {
        output::line(&line);
    }
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

    /// The lines of a table at a width.
    fn lines<const N: usize>(rows: &[[&str; N]], width: usize) -> Vec<String> {
        let mut table = Table::new(rows[0]);
        rows[1..].iter().for_each(|row| table.add(row));
        let mut lines = Vec::new();
        let keep = |line: &str| {
            lines.push(line.to_owned());
            Ok(())
        };
        table.for_each_line(width, keep).unwrap();
        lines
    }

    #[test]
    fn a_row_that_is_too_wide_takes_several_lines() {
        let rows = [
            ["APP", "JOB", "TOTAL", "DUE"],
            ["org.example.renewals", "nightly", "7", "1"],
            ["org.b", "default", "12345", "now"],
        ];
        let whole = [
            "APP                   JOB      TOTAL  DUE",
            "org.example.renewals  nightly  7      1",
            "org.b                 default  12345  now",
        ];
        assert_eq!(lines(&rows, 41), whole);
        assert_eq!(lines(&rows, usize::MAX), whole);
        let two = lines(&rows, 40);
        assert_eq!(
            two[..4],
            ["APP                   JOB      TOTAL", "  DUE", "org.example.renewals  nightly  7", "  1"]
        );
        assert_eq!(lines(&rows, 1)[..5], ["APP", "  JOB", "  TOTAL", "  DUE", "org.example.renewals"]);
    }

    #[test]
    fn many_rows_wait_in_a_file_and_come_back_in_order() {
        let mut table = Table::new(["A", "BC"]);
        let long = "é".repeat(1000);
        for number in 0..5000 {
            table.add(&[number.to_string(), long.clone()]);
            assert!(table.rows.in_memory() <= MAX_MEMORY_BYTES);
        }
        assert!(table.rows.is_spilled());
        let mut numbers = Vec::new();
        let keep = |line: &str| {
            numbers.extend(line.split(' ').next().map(str::to_owned));
            Ok(())
        };
        table.for_each_line(usize::MAX, keep).unwrap();
        assert_eq!(numbers[0], "A");
        assert!((0..5000).map(|number| number.to_string()).eq(numbers[1..].iter().cloned()));
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

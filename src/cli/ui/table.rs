//! Tables of any number of rows.

use std::borrow::Cow;
use std::io::{BufRead, BufReader};
use std::ops::Range;

use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

use super::byte_queue::{ByteQueue, MAX_MEMORY_BYTES};
use super::{output, terminal};
use crate::cli::error::Result;

/// What is before the columns that go on in another line.
const INDENT: &str = "  ";
/// The blanks between two columns.
const GAP: usize = 2;
/// What is left at least of a column that is shortened, in characters.
const MIN_SHORTENED: usize = 30;

/// A table whose rows wait until the width of each column is known.
///
/// If they are many, they wait in a temporary file.
pub(in crate::cli) struct Table {
    widths: Vec<usize>,
    /// The columns whose cells are shortened where the terminal is too narrow.
    shortened: Vec<usize>,
    /// Each row as a line of JSON.
    rows: ByteQueue,
    /// How much of it may be in memory, in bytes.
    max_memory_bytes: usize,
}

impl Table {
    /// Makes a table that only has a header.
    pub(in crate::cli) fn new<T: AsRef<str>>(header: impl AsRef<[T]>) -> Self {
        let header = header.as_ref();
        let (widths, rows) = (vec![0; header.len()], ByteQueue::default());
        let mut table = Self { widths, shortened: Vec::new(), rows, max_memory_bytes: MAX_MEMORY_BYTES };
        table.add(header);
        table
    }

    /// Shortens the cells of these columns, by their index, where the terminal is too narrow.
    pub(in crate::cli) fn shortening(self, shortened: Vec<usize>) -> Self {
        Self { shortened, ..self }
    }

    /// Adds a row, which has as many cells as the header.
    pub(in crate::cli) fn add<T: AsRef<str>>(&mut self, cells: &[T]) {
        let cells: Vec<_> = cells.iter().map(AsRef::as_ref).collect();
        for (width, cell) in self.widths.iter_mut().zip(&cells) {
            *width = (*width).max(cell.width());
        }
        self.rows.push(format!("{}\n", serde_json::Value::from(cells)).as_bytes());
        if self.rows.in_memory() > self.max_memory_bytes && self.rows.spill().is_err() {
            // Without room for a temporary file, it takes more memory.
            self.max_memory_bytes *= 2;
        }
    }

    /// Prints the table without blanks at the ends of its lines.
    ///
    /// At a terminal that is too narrow, each row takes several lines. No cell is broken. Only in the columns that are
    /// [shortened](Self::shortening) a cell may lose its end.
    ///
    /// # Errors
    /// That of [`output::check`]. A temporary file that cannot be read counts as output that cannot be written.
    pub(in crate::cli) fn print(self) -> Result<()> {
        self.for_each_line(terminal::width().unwrap_or(usize::MAX), |line| {
            output::line(line);
            output::check()
        })
    }

    /// The lines of the table, as [`Table::print`] prints them at a terminal of this width.
    ///
    /// # Errors
    /// That of a temporary file that cannot be read.
    pub(in crate::cli) fn lines(self, width: usize) -> Result<Vec<String>> {
        let mut lines = Vec::new();
        self.for_each_line(width, |line| {
            lines.push(line.to_owned());
            Ok(())
        })?;
        Ok(lines)
    }

    /// Calls `print` with each line of the table, which is `width` characters wide, unless a cell is wider.
    fn for_each_line(self, width: usize, mut print: impl FnMut(&str) -> Result<()>) -> Result<()> {
        let (widths, parts) = self.layout(width);
        for row in BufReader::new(self.rows).lines() {
            let cells: Vec<String> = match row.and_then(|row| Ok(serde_json::from_str(&row)?)) {
                Ok(cells) => cells,
                Err(error) => return output::fail(error),
            };
            for part in &parts {
                let mut line = if part.start == 0 { String::new() } else { INDENT.to_owned() };
                for (cell, width) in cells[part.clone()].iter().zip(&widths[part.clone()]) {
                    let cell = shortened(cell, *width);
                    line.push_str(&cell);
                    line.extend(std::iter::repeat_n(' ', width + GAP - cell.width()));
                }
                print(line.trim_end())?;
            }
        }
        Ok(())
    }

    /// The widths of the columns, and the columns of each line of a row.
    ///
    /// A column that is shortened takes what the others leave in its line.
    fn layout(&self, width: usize) -> (Vec<usize>, Vec<Range<usize>>) {
        let mut widths = self.widths.clone();
        self.shortened.iter().for_each(|column| widths[*column] = widths[*column].min(MIN_SHORTENED.min(width)));
        let parts = split(&widths, width);
        for part in &parts {
            let indent = if part.start == 0 { 0 } else { INDENT.len() };
            let used = indent + widths[part.clone()].iter().sum::<usize>() + GAP * (part.len() - 1);
            let mut rest = width.saturating_sub(used);
            for column in part.clone() {
                let more = rest.min(self.widths[column] - widths[column]);
                widths[column] += more;
                rest -= more;
            }
        }
        (widths, parts)
    }
}

/// A cell that is no wider than `width`: one that is loses its end.
fn shortened(cell: &str, width: usize) -> Cow<'_, str> {
    if cell.width() <= width {
        return cell.into();
    }
    let mut left = width.saturating_sub(1);
    let fits = |c: &char| {
        let rest = left.checked_sub(c.width().unwrap_or(0));
        left = rest.unwrap_or(left);
        rest.is_some()
    };
    let start: String = cell.chars().take_while(fits).collect();
    (start + "…").into()
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

#[cfg(test)]
mod tests {
    use super::*;

    /// The lines of a table at a width.
    fn lines<const N: usize>(rows: &[[&str; N]], width: usize) -> Vec<String> {
        lines_shortening(&[], rows, width)
    }

    /// The lines of a table in which some columns are shortened.
    fn lines_shortening<const N: usize>(shortened: &[usize], rows: &[[&str; N]], width: usize) -> Vec<String> {
        let mut table = Table::new(rows[0]).shortening(shortened.to_vec());
        rows[1..].iter().for_each(|row| table.add(row));
        table.lines(width).unwrap()
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
    fn a_column_that_is_shortened_takes_what_the_others_leave() {
        let site = "https://a-site.example.org/civicrm/äöü/漢字";
        let rows = [["SITE", "STATE", "CXN"], [site, "healthy", "cxn:0123456789abcdef"], ["x", "new", "cxn:1"]];
        let lines = |width| lines_shortening(&[0], &rows, width);
        assert_eq!(lines(usize::MAX)[1], format!("{site}  healthy  cxn:0123456789abcdef"));
        assert_eq!(lines(71)[1], "https://a-site.example.org/civicrm/äöü/…  healthy  cxn:0123456789abcdef");
        assert_eq!(lines(61)[1], "https://a-site.example.org/ci…  healthy  cxn:0123456789abcdef");
        // In fewer columns it would be too short.
        let narrow = lines(60);
        assert_eq!(narrow[2], format!("{site}  healthy"));
        assert_eq!(narrow[4..], [format!("{:45}new", "x"), "  cxn:1".to_owned()]);
        let very_narrow = lines(20);
        assert_eq!(very_narrow[..3], ["SITE", "  STATE", "  CXN"]);
        assert_eq!(very_narrow[3..6], ["https://a-site.exam…", "  healthy", "  cxn:0123456789abcdef"]);
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
}

//! A table of any number of rows.

use std::io::{BufRead, BufReader};

use unicode_width::UnicodeWidthStr;

use super::byte_queue::{ByteQueue, MAX_MEMORY_BYTES};
use super::output;
use crate::cli::error::Result;

/// The blanks between two columns.
const GAP: usize = 2;

/// A table whose rows wait until the width of each column is known.
///
/// If they are many, they wait in a temporary file.
pub(in crate::cli) struct Listing<const N: usize> {
    widths: [usize; N],
    /// Each row as a line of JSON.
    rows: ByteQueue,
    /// How much of it may be in memory, in bytes.
    max_memory_bytes: usize,
}

impl<const N: usize> Listing<N> {
    /// Makes a table that only has a header.
    pub(in crate::cli) fn new(header: [&str; N]) -> Self {
        let mut listing = Self { widths: [0; N], rows: ByteQueue::default(), max_memory_bytes: MAX_MEMORY_BYTES };
        listing.add(&header);
        listing
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
    /// # Errors
    /// That of [`output::check`]. A temporary file that cannot be read counts as output that cannot be written.
    pub(in crate::cli) fn print(self) -> Result<()> {
        for row in BufReader::new(self.rows).lines() {
            let cells: Vec<String> = match row.and_then(|row| Ok(serde_json::from_str(&row)?)) {
                Ok(cells) => cells,
                Err(error) => return output::fail(error),
            };
            let padded = cells.iter().zip(self.widths).map(|(cell, width)| {
                let blanks = width + GAP - cell.width();
                format!("{cell}{:blanks$}", "")
            });
            output::line(padded.collect::<String>().trim_end());
            output::check()?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_rows_wait_in_a_file_and_come_back_in_order() {
        let mut listing = Listing::new(["A", "BC"]);
        let long = "é".repeat(1000);
        for number in 0..5000 {
            listing.add(&[number.to_string(), long.clone()]);
            assert!(listing.rows.in_memory() <= MAX_MEMORY_BYTES);
        }
        assert!(listing.rows.is_spilled());
        assert_eq!(listing.widths, [4, 1000]);
        let rows: Vec<[String; 2]> =
            BufReader::new(listing.rows).lines().map(|row| serde_json::from_str(&row.unwrap()).unwrap()).collect();
        assert_eq!((rows.len(), rows[0][0].as_str()), (5001, "A"));
        assert!((0..5000).zip(&rows[1..]).all(|(number, row)| *row == [number.to_string(), long.clone()]));
    }
}

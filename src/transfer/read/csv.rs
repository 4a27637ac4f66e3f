//! Comma-separated values with a header. Other separators are found from the header.

use std::io::BufRead;

use csv_core::{ReadRecordResult, Reader, ReaderBuilder};

use super::lines::Lines;
use super::table::{Field, Header};
use crate::transfer::error::{Error, Problem};
use crate::transfer::format::{MAX_RECORD_BYTES, NULL, SEPARATORS};
use crate::transfer::ids::Emit;
use crate::transfer::position::Position;

/// Emits the rows after the header.
///
/// With `needs_line_end`, a last row without an end is not trusted.
pub fn read<E: From<Error>>(input: impl BufRead, needs_line_end: bool, emit: &mut Emit<E>) -> Result<(), E> {
    let mut lines = Lines::new(input);
    let mut table: Option<(Header, Row)> = None;
    while let Some(line) = lines.next()? {
        let Some((header, row)) = &mut table else {
            if !line.bytes.trim_ascii().is_empty() {
                table = Some(header_of(line.number, line.bytes)?.ok_or(Error::NoHeader)?);
            }
            continue;
        };
        if !row.is_open() {
            if line.bytes.trim_ascii().is_empty() {
                continue;
            }
            row.begin(line.number);
        }
        // With a line end that the input lacks, only a row with an open quote is not complete.
        let end = if line.end.is_empty() { b"\n" } else { line.end };
        if !row.add(line.bytes, end) {
            if row.text_used > MAX_RECORD_BYTES {
                return Err(Error::RecordTooLong { line: row.line }.into());
            }
            continue;
        }
        let (number, is_one_line) = (row.line, row.line == line.number);
        let rejected = if !is_one_line && row.has_odd_quotes {
            // The quote that ended the row was one that should begin a field of a later row.
            Some(Problem::UnclosedQuote)
        } else if row.quotes == QuoteState::BehindQuote {
            Some(Problem::TextAfterQuote)
        } else {
            (needs_line_end && line.end.is_empty()).then_some(Problem::NoLineEnd)
        };
        let (position, record) = if let Some(problem) = rejected {
            (Position::at_line(number), Err(problem.into()))
        } else {
            match header.row(number, &row.fields(), is_one_line) {
                None => continue,
                Some(Ok(object)) => header.record(number, object),
                Some(Err((position, rejected))) => (position, Err(rejected)),
            }
        };
        emit(position, record)?;
    }
    match &table {
        Some((_, row)) if row.is_open() => emit(Position::at_line(row.line), Err(Problem::UnclosedQuote.into())),
        _ => Ok(()),
    }
}

/// Reads the header that a line is, with the separator that makes it one; `None` if there is none.
fn header_of(number: usize, line: &[u8]) -> Result<Option<(Header, Row)>, Error> {
    for separator in SEPARATORS {
        let mut row = Row::new(separator);
        row.begin(number);
        if row.add(line, b"\n") {
            let names: Vec<_> = row.raw_fields().map(String::from_utf8_lossy).collect();
            if let Some(header) = Header::new(number, names.iter().map(AsRef::as_ref))? {
                return Ok(Some((header, row)));
            }
        }
    }
    Ok(None)
}

/// Where in a row the next byte is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum QuoteState {
    FieldStart,
    Unquoted,
    Quoted,
    /// After a quote in a quoted field: its end, or the first half of a quote that is written twice.
    AfterQuote,
    /// After text that follows the end of a quoted field, which the parser would join with it.
    BehindQuote,
}

/// A row, which a quoted field may extend over several lines.
struct Row {
    parser: Reader,
    separator: u8,
    quotes: QuoteState,
    /// The line in which the row begins, from 1.
    line: usize,
    is_complete: bool,
    has_odd_quotes: bool,
    /// The unquoted fields, one after the other, and their ends. Both are longer than what is used of them.
    text: Vec<u8>,
    text_used: usize,
    ends: Vec<usize>,
    ends_used: usize,
}

impl Row {
    fn new(separator: u8) -> Self {
        Self {
            parser: ReaderBuilder::new().delimiter(separator).build(),
            separator,
            quotes: QuoteState::FieldStart,
            line: 0,
            is_complete: true,
            has_odd_quotes: false,
            text: Vec::new(),
            text_used: 0,
            ends: Vec::new(),
            ends_used: 0,
        }
    }

    fn is_open(&self) -> bool {
        !self.is_complete
    }

    fn begin(&mut self, line: usize) {
        (self.line, self.is_complete, self.has_odd_quotes, self.text_used, self.ends_used) = (line, false, false, 0, 0);
        self.quotes = QuoteState::FieldStart;
    }

    /// Adds a line. Returns whether the row is complete with it.
    fn add(&mut self, line: &[u8], end: &[u8]) -> bool {
        self.quotes = line.iter().fold(self.quotes, |quotes, byte| match (quotes, *byte) {
            (QuoteState::BehindQuote, _) => QuoteState::BehindQuote,
            (QuoteState::Quoted, b'"') => QuoteState::AfterQuote,
            (QuoteState::FieldStart | QuoteState::AfterQuote, b'"') | (QuoteState::Quoted, _) => QuoteState::Quoted,
            (_, byte) if byte == self.separator => QuoteState::FieldStart,
            (QuoteState::AfterQuote, _) => QuoteState::BehindQuote,
            _ => QuoteState::Unquoted,
        });
        self.has_odd_quotes ^= line.iter().fold(false, |is_odd, byte| is_odd ^ (*byte == b'"'));
        for part in [line, end] {
            self.add_part(part);
        }
        self.is_complete
    }

    /// Adds bytes up to the end of the row. What follows is the rest of its line end.
    fn add_part(&mut self, mut part: &[u8]) {
        // The parser takes an empty part for the end of the input.
        while !part.is_empty() && !self.is_complete {
            // The parser stops where there is no room.
            self.text.resize(self.text.len().max(self.text_used + part.len() + 1), 0);
            self.ends.resize(self.ends.len().max(self.ends_used + 64), 0);
            let (text, ends) = (&mut self.text[self.text_used..], &mut self.ends[self.ends_used..]);
            let (result, read, written, ended) = self.parser.read_record(part, text, ends);
            part = &part[read..];
            self.text_used += written;
            self.ends_used += ended;
            self.is_complete = result == ReadRecordResult::Record;
        }
    }

    fn raw_fields(&self) -> impl Iterator<Item = &[u8]> {
        let ends = &self.ends[..self.ends_used];
        let starts = [0].into_iter().chain(ends.iter().copied());
        starts.zip(ends).map(|(start, end)| &self.text[start..*end])
    }

    fn fields(&self) -> Vec<Field> {
        let field = |bytes| {
            let text = std::str::from_utf8(bytes).map_err(|_| Problem::NotUtf8)?;
            Ok((text != NULL).then(|| text.to_owned()))
        };
        self.raw_fields().map(field).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transfer::read::testdata::{read_all, row};

    const HEADER: &str = "cxnId,secret,appId,appUrl,siteUrl";

    /// Returns the line and what is wrong with each record.
    fn found(text: &str, needs_line_end: bool) -> Vec<(usize, Option<Problem>)> {
        let records = read_all(|emit| read(text.as_bytes(), needs_line_end, emit)).unwrap();
        records.into_iter().map(|(position, record)| (position.line, record.err())).collect()
    }

    #[test]
    fn a_last_row_without_an_end_is_taken_only_if_it_may_lack_one() {
        let text = format!("{HEADER}\n{}\n{}", row(1, ","), row(2, ","));
        assert_eq!(found(&text, false), [(2, None), (3, None)]);
        assert_eq!(found(&text, true), [(2, None), (3, Some(Problem::NoLineEnd))]);
        let shorter = &text[..text.rfind(',').unwrap()];
        let problem = Problem::WrongColumnCount { found: 4, expected: 5 };
        assert_eq!(found(shorter, false), [(2, None), (3, Some(problem))]);
        assert_eq!(found(&format!("{text}\r"), true), [(2, None), (3, None)], "cut between CR and LF");
    }

    #[test]
    fn a_quote_that_is_not_closed_is_a_bad_row_where_it_begins() {
        let [one, two, three] = [1, 2, 3].map(|number| row(number, ","));
        let header = format!("{HEADER},notes");
        let open = format!("{header}\n{one},\n\n{two},\"oops\n{three},\n");
        for needs_line_end in [true, false] {
            assert_eq!(found(&open, needs_line_end), [(2, None), (4, Some(Problem::UnclosedQuote))]);
        }
        // The quote that should begin a field ends the field before.
        let swallowed = format!("{header}\n{one},\"oops\n{two},\"fine\"\n{three},\"a\nb\"\n");
        let several = Problem::SeveralLines { column: "notes".to_owned() };
        assert_eq!(found(&swallowed, true), [(2, Some(Problem::UnclosedQuote)), (4, Some(several))]);
        let inches = format!("{header}\n{one},5\" disk\n{two},\"5\"\" disk\"\n");
        assert_eq!(found(&inches, true), [(2, None), (3, None)]);
    }

    #[test]
    fn text_after_a_closing_quote_makes_a_bad_row() {
        let quoted = |number: usize| format!("\"{}\"", row(number, "\",\""));
        for (damaged, problem) in [
            (quoted(1), None),
            (quoted(1).replacen("\",", "\"x,", 1), Some(Problem::TextAfterQuote)),
            (quoted(1).replacen("\",", "\" ,", 1), Some(Problem::TextAfterQuote)),
            (quoted(1) + "x", Some(Problem::TextAfterQuote)),
        ] {
            assert_eq!(
                found(&format!("{HEADER}\n{damaged}\n{}\n", quoted(2)), true),
                [(2, problem), (3, None)],
                "{damaged}"
            );
        }
    }

    #[test]
    fn separators_are_found_from_the_header() {
        for separator in [",", ";", "\t"] {
            let text = format!("{}\n{}\n", HEADER.replace(',', separator), row(1, separator));
            assert_eq!(found(&text, true), [(2, None)], "{separator:?}");
            let quoted = HEADER.replace(',', &format!("\" {separator}\""));
            assert_eq!(found(&format!("\"{quoted}\"\n{}\n", row(1, separator)), true), [(2, None)]);
        }
        let error = read_all(|emit| read(&b"a,b\n"[..], true, emit)).unwrap_err();
        assert!(matches!(error, Error::NoHeader), "{error:?}");
        for twice in ["cxnId,siteUrl,SITEURL ", "cxnId;notes;notes", "cxnId,,,cxnid"] {
            let error = read_all(|emit| read(format!("\n{twice}\n").as_bytes(), true, emit)).unwrap_err();
            assert!(matches!(error, Error::DuplicateColumn { line: 2, .. }), "{twice}: {error:?}");
        }
        assert_eq!(found("cxnId,secret,,\n", true), []);
    }
}

//! JSON lines: one connection per line.

use std::io::BufRead;

use super::lines::Lines;
use crate::transfer::entry::{Emit, Raw, Rejected};
use crate::transfer::error::{Error, Problem};
use crate::transfer::ids::RecordIds;
use crate::transfer::place::{Cursor, Fault, Place};

/// Emits the lines that are not blank.
///
/// A last line without an end is as good as others: half a JSON object is none.
pub fn read<E: From<Error>>(input: impl BufRead, emit: &mut Emit<E>) -> Result<(), E> {
    let mut lines = Lines::new(input);
    while let Some(line) = lines.next()? {
        let start = Cursor::at_line(line.number);
        let text = match std::str::from_utf8(line.bytes) {
            Ok(text) if text.trim().is_empty() => continue,
            Ok(text) => text,
            Err(error) => {
                let fault = Fault { offset: Some(error.valid_up_to()), ..Problem::NotUtf8.into() };
                emit(fault.place(start, line.bytes), Err(Problem::NotUtf8.into()))?;
                continue;
            }
        };
        let trimmed = text.trim();
        let raw = Raw::Cxn(trimmed.to_owned());
        match raw.parse() {
            Ok(record) => {
                emit(Place { line: line.number, ..Place::default() }, Ok((record, raw)))?;
            }
            Err(fault) => {
                let start = start.after(&line.bytes[..text.len() - text.trim_start().len()]);
                let place = fault.place(start, trimmed.as_bytes());
                emit(place, Err(Rejected { ids: RecordIds::of(&raw), problem: fault.problem }))?;
            }
        }
    }
    Ok(())
}

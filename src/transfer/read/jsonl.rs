//! JSON lines: one connection per line.

use std::io::BufRead;

use super::lines::Lines;
use crate::transfer::entry::Raw;
use crate::transfer::error::{Error, Problem};
use crate::transfer::ids::{Emit, RecordIds, Rejected};
use crate::transfer::position::{Cursor, Defect, Position};

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
                let defect = Defect { offset: Some(error.valid_up_to()), ..Problem::NotUtf8.into() };
                emit(
                    defect.position(start, line.bytes),
                    Err(Rejected { problem: Problem::NotUtf8, ids: RecordIds::of_bytes(line.bytes) }),
                )?;
                continue;
            }
        };
        let trimmed = text.trim();
        let raw = Raw::Cxn(trimmed.to_owned());
        match raw.parse() {
            Ok(record) => {
                emit(Position::at_line(line.number), Ok((record, raw)))?;
            }
            Err(defect) => {
                let start = start.after(&line.bytes[..text.len() - text.trim_start().len()]);
                let position = defect.position(start, trimmed.as_bytes());
                emit(position, Err(Rejected { ids: RecordIds::of(&raw), problem: defect.problem }))?;
            }
        }
    }
    Ok(())
}

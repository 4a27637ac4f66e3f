//! `{cxnId: {…}}`, as the file store of cxnapp has it.

use std::io::BufRead;

use super::lines::filled;
use crate::model::CxnId;
use crate::transfer::entry::{CxnEntry, Raw, Record};
use crate::transfer::error::{Error, Problem};
use crate::transfer::format::MAX_RECORD_BYTES;
use crate::transfer::ids::{Emit, RecordIds, Rejected};
use crate::transfer::position::{Cursor, Defect, Position};

/// Emits the entries one by one, without holding all of them.
///
/// The object is split at its own commas before any entry is parsed, so that a bad entry does not end the reading.
pub fn read<E: From<Error>>(mut input: impl BufRead, emit: &mut Emit<E>) -> Result<(), E> {
    let mut splitter = Splitter::new();
    loop {
        let chunk = filled(&mut input)?;
        if chunk.is_empty() {
            break;
        }
        for byte in chunk {
            match splitter.push(*byte)? {
                Step::More => {}
                Step::Entry => {
                    emit_entry(&splitter, emit)?;
                    splitter.entry.clear();
                }
                Step::Trailing => {
                    let defect = Defect { offset: Some(0), ..json("trailing characters").into() };
                    emit(defect.position(splitter.here, b""), Err(defect.problem.into()))?;
                }
            }
        }
        let length = chunk.len();
        input.consume(length);
    }
    if splitter.state == State::Inside {
        let position = Position::at_line(splitter.last_line);
        emit(position, Err(Problem::Incomplete.into()))?;
    }
    Ok(())
}

/// Where in the input a byte is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Before,
    Inside,
    After,
    /// Behind something that follows the object, which is reported once.
    Trailing,
}

/// What a byte ends.
enum Step {
    More,
    Entry,
    Trailing,
}

/// Splits an object into its entries. It knows strings and brackets, and nothing else of JSON.
struct Splitter {
    state: State,
    here: Cursor,
    /// The last line with anything but blanks.
    last_line: usize,
    entry: Vec<u8>,
    start: Cursor,
    entries: usize,
    is_last: bool,
    /// How many brackets of the entry are open.
    depth: usize,
    is_in_string: bool,
    is_escaped: bool,
}

impl Splitter {
    fn new() -> Self {
        let here = Cursor::at_line(1);
        Self {
            state: State::Before,
            here,
            last_line: 1,
            entry: Vec::new(),
            start: here,
            entries: 0,
            is_last: false,
            depth: 0,
            is_in_string: false,
            is_escaped: false,
        }
    }

    fn push(&mut self, byte: u8) -> Result<Step, Error> {
        let is_blank = matches!(byte, b' ' | b'\t' | b'\n' | b'\r');
        if !is_blank {
            self.last_line = self.here.line;
        }
        let step = match self.state {
            State::Inside => self.push_inside(byte, is_blank),
            _ if is_blank => Step::More,
            State::Before if byte == b'{' => {
                self.state = State::Inside;
                Step::More
            }
            State::Before => return Err(Error::NotAnObject { line: self.here.line }),
            State::After => {
                self.state = State::Trailing;
                // The cursor is before the byte until it is passed.
                return Ok(Step::Trailing);
            }
            State::Trailing => Step::More,
        };
        if self.entry.len() > MAX_RECORD_BYTES {
            return Err(Error::RecordTooLong { line: self.start.line });
        }
        self.here.pass(byte);
        Ok(step)
    }

    fn push_inside(&mut self, byte: u8, is_blank: bool) -> Step {
        if self.entry.is_empty() {
            if is_blank {
                return Step::More;
            }
            self.start = self.here;
            (self.depth, self.is_in_string, self.is_escaped) = (0, false, false);
        }
        if self.is_in_string {
            match byte {
                // No string goes over a line end. Taking this for the end of a quote that is not closed finds the end of
                // the entry where it is written over several lines.
                b'\n' | b'\r' => self.is_in_string = false,
                _ if self.is_escaped => self.is_escaped = false,
                b'\\' => self.is_escaped = true,
                b'"' => self.is_in_string = false,
                _ => {}
            }
        } else {
            match byte {
                b'"' => (self.is_in_string, self.is_escaped) = (true, false),
                b'{' | b'[' => self.depth += 1,
                b',' | b'}' if self.depth == 0 => {
                    self.is_last = byte == b'}';
                    if self.is_last {
                        self.state = State::After;
                    }
                    self.entries += 1;
                    return Step::Entry;
                }
                b'}' | b']' => self.depth = self.depth.saturating_sub(1),
                _ => {}
            }
        }
        self.entry.push(byte);
        Step::More
    }
}

fn emit_entry<E: From<Error>>(splitter: &Splitter, emit: &mut Emit<E>) -> Result<(), E> {
    let Splitter { entry, start, .. } = splitter;
    if entry.is_empty() && splitter.is_last && splitter.entries == 1 {
        return Ok(());
    }
    match parse(entry) {
        Ok(read) => emit(Position::at_line(start.line), Ok(read)),
        Err((defect, ids)) => emit(defect.position(*start, entry), Err(Rejected { problem: defect.problem, ids })),
    }
}

/// Parses an entry, whose value may lack the cxnId.
fn parse(entry: &[u8]) -> Result<(Record, Raw), (Defect, RecordIds)> {
    let unknown = |defect: Defect| (defect, RecordIds::default());
    let text = std::str::from_utf8(entry).map_err(|error| {
        // A key with this bracket leaves no JSON, and so no ids.
        let value = entry.iter().position(|byte| *byte == b'{').map_or(entry, |at| &entry[at..]);
        (Defect { offset: Some(error.valid_up_to()), ..Problem::NotUtf8.into() }, RecordIds::of_bytes(value))
    })?;
    let no_entry = || unknown(json("expected a connection by its cxnId").into());
    let mut keys = serde_json::Deserializer::from_str(text).into_iter::<String>();
    let Some(Ok(key)) = keys.next() else { return Err(no_entry()) };
    let value = text[keys.byte_offset()..].trim_start().strip_prefix(':').ok_or_else(no_entry)?;
    let before = text.len() - value.len();
    let within = |defect: Defect| Defect { offset: defect.offset.map(|offset| before + offset), ..defect };

    let cxn_id: CxnId =
        key.parse().map_err(|error: crate::model::InvalidId| unknown(json(&error.to_string()).into()))?;
    let ids = |problem: &Problem| match problem {
        Problem::CxnIdDiffers => RecordIds::default(),
        // Without the comma between them, two entries are one that is no JSON.
        _ => match RecordIds::read(value) {
            Some(ids) => RecordIds { cxn_id: Some(cxn_id.clone()), ..ids },
            None => RecordIds::default(),
        },
    };
    let read = CxnEntry::read(value).map_err(within).and_then(|entry| {
        let lacks_id = entry.cxn_id.is_none();
        Ok((Record::of_cxn(entry.into_patch(Some(&cxn_id))?)?, lacks_id))
    });
    let (record, lacks_id) = read.map_err(|defect| (defect.clone(), ids(&defect.problem)))?;
    // No string of JSON holds a line end, so these are blanks between values.
    let mut line = value.trim().replace(['\n', '\r'], " ");
    if lacks_id {
        line.insert_str(1, &format!("\"cxnId\":{},", serde_json::Value::from(key)));
    }
    Ok((record, Raw::Cxn(line)))
}

fn json(reason: &str) -> Problem {
    Problem::Json { reason: reason.to_owned() }
}

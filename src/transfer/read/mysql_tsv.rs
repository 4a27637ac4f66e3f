//! Tab-separated values, as `mysql -B` prints the tables `Cxn` and `PollStatus` of cxnapp.

use std::io::BufRead;

use serde_json::{Map, Value, json};

use super::lines::{Line, Lines};
use super::table::{Field, Header};
use crate::transfer::error::{Error, Problem};
use crate::transfer::format::NULL;
use crate::transfer::ids::Emit;
use crate::transfer::position::Position;

/// Emits the rows of one table or of several, each with its header.
///
/// Consecutive rows of a join that have the same connection become one record. `mysql` ends each line, so a last row
/// without an end is not trusted.
pub fn read<E: From<Error>>(input: impl BufRead, emit: &mut Emit<E>) -> Result<(), E> {
    let mut rows = Rows { header: None, joined: None, emit };
    let mut lines = Lines::of_mysql(input);
    while let Some(line) = lines.next()? {
        rows.add(&line)?;
    }
    rows.emit_joined()
}

struct Rows<'a, 'e, E> {
    header: Option<Header>,
    /// The rows of a join so far that have the same connection, with the line of the first.
    joined: Option<(usize, Map<String, Value>)>,
    emit: &'a mut Emit<'e, E>,
}

impl<E: From<Error>> Rows<'_, '_, E> {
    fn add(&mut self, line: &Line) -> Result<(), E> {
        if line.bytes.trim_ascii().is_empty() {
            return Ok(());
        }
        if line.end.is_empty() {
            self.emit_joined()?;
            let position = Position::at_line(line.number);
            return (self.emit)(position, Err(Problem::NoLineEnd.into()));
        }
        if let Some(header) = self.header_of(line)? {
            self.emit_joined()?;
            self.header = Some(header);
            return Ok(());
        }
        let header = self.header.as_ref().ok_or(Error::NoHeader)?;
        let fields: Vec<Field> = line.bytes.split(|byte| *byte == b'\t').map(field).collect();
        match header.row(line.number, &fields, true) {
            None => Ok(()),
            Some(Ok(object)) if header.is_joined() => self.join(line.number, object),
            Some(row) => {
                let (position, record) = match row {
                    Ok(object) => header.record(line.number, object),
                    Err((position, rejected)) => (position, Err(rejected)),
                };
                self.emit_joined()?;
                (self.emit)(position, record)
            }
        }
    }

    /// The header that a line is; `None` if it is a row.
    fn header_of(&self, line: &Line) -> Result<Option<Header>, Error> {
        let is_name = |name: &str| {
            let name = name.trim();
            !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
        };
        match std::str::from_utf8(line.bytes) {
            // Before any header a line cannot be a row, so that its columns may have any names.
            Ok(text) if self.header.is_none() || text.split('\t').all(is_name) => {
                Header::new(line.number, text.split('\t'))
            }
            _ => Ok(None),
        }
    }

    fn join(&mut self, number: usize, mut object: Map<String, Value>) -> Result<(), E> {
        if let Some((_, before)) = &mut self.joined
            && before.get("cxnId") == object.get("cxnId")
        {
            let all = before.entry("pollStatus").or_insert_with(|| json!({}));
            if let (Some(all), Some(Value::Object(statuses))) = (all.as_object_mut(), object.remove("pollStatus")) {
                all.extend(statuses);
            }
            return Ok(());
        }
        self.emit_joined()?;
        self.joined = Some((number, object));
        Ok(())
    }

    fn emit_joined(&mut self) -> Result<(), E> {
        let (Some((number, object)), Some(header)) = (self.joined.take(), &self.header) else { return Ok(()) };
        let (position, record) = header.record(number, object);
        (self.emit)(position, record)
    }
}

/// Reverts the escapes of `mysql -B` in a field.
fn field(bytes: &[u8]) -> Field {
    let field = std::str::from_utf8(bytes).map_err(|_| Problem::NotUtf8)?;
    if field == NULL {
        return Ok(None);
    }
    let mut text = String::with_capacity(field.len());
    let mut chars = field.chars();
    while let Some(c) = chars.next() {
        text.push(match c {
            '\\' => match chars.next() {
                Some('n') => '\n',
                Some('t') => '\t',
                Some('0') => '\0',
                Some('\\') => '\\',
                _ => return Err(Problem::InvalidEscape),
            },
            c => c,
        });
    }
    Ok(Some(text))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transfer::entry::Record;
    use crate::transfer::read::testdata::{read_all, row};

    #[test]
    fn consecutive_rows_of_a_join_become_one_record() {
        let header = "cxnId\tsecret\tappId\tappUrl\tsiteUrl\tjobName\tpollLevel\tpollCount\tlastRun\n";
        let [one, two] = [1, 2].map(|number| row(number, "\t"));
        let text = format!("{header}{one}\ta\t1\t0\t7\n{one}\tb\t2\t0\t8\n{two}\tNULL\tNULL\tNULL\tNULL\n");
        let records = read_all(|emit| read(text.as_bytes(), emit)).unwrap();
        let levels: Vec<_> = records
            .into_iter()
            .map(|(position, record)| {
                let Ok(Record::Cxn(patch)) = record else { panic!("{record:?}") };
                (position.line, patch.poll_status.iter().map(|(_, status)| status.level).collect::<Vec<_>>())
            })
            .collect();
        assert_eq!(levels, [(2, vec![1, 2]), (4, vec![])]);
    }

    #[test]
    fn a_bad_row_does_not_lose_the_joined_rows_before_it() {
        let header = "cxnId\tsecret\tappId\tappUrl\tsiteUrl\tjobName\tpollLevel\tpollCount\tlastRun\n";
        let row = row(1, "\t");
        let bad = [format!("{row}\tb\tx\t0\t7\n"), "\n".to_owned(), format!("{row}\tb\t1\t")];
        for (bad, lines) in
            bad.iter().zip([vec![(2, true), (3, false), (4, true)], vec![(2, true)], vec![(2, true), (3, false)]])
        {
            let last = if bad.ends_with('\n') { format!("{row}\tc\t3\t0\t7\n") } else { String::new() };
            let text = format!("{header}{row}\ta\t1\t0\t7\n{bad}{last}");
            let records = read_all(|emit| read(text.as_bytes(), emit)).unwrap();
            let found: Vec<_> = records.iter().map(|(position, record)| (position.line, record.is_ok())).collect();
            assert_eq!(found, lines, "{bad:?}");
        }
    }

    #[test]
    fn escapes_are_reverted() {
        assert_eq!(field(br"a\tb\\n\n\0"), Ok(Some("a\tb\\n\n\0".to_owned())));
        assert_eq!(field(b"NULL"), Ok(None));
        for bad in [&br"\x"[..], br"end\"] {
            assert_eq!(field(bad), Err(Problem::InvalidEscape));
        }
    }
}

//! Tab-separated values, as `mysql -B` prints the tables `Cxn` and `PollStatus` of cxnapp.

use std::io::BufRead;

use serde_json::{Map, Value, json};

use super::lines::for_each_line;
use super::table::Header;
use crate::transfer::entry::{Emit, Raw};
use crate::transfer::error::{Error, Problem};
use crate::transfer::format::NULL;

/// Emits the rows of one table or of several, each with its header.
///
/// Consecutive rows of a join that have the same connection become one record.
pub fn read<E: From<Error>>(input: impl BufRead, emit: &mut Emit<E>) -> Result<(), E> {
    let mut rows = Rows { header: None, joined: None, emit };
    for_each_line(input, |number, line| match line {
        Ok("") => Ok(()),
        Ok(line) => rows.add(number, line.trim_start_matches('\u{feff}')),
        // The line may be a header, without which the rows that follow mean nothing.
        Err(problem) => Err(Error::InvalidLine { line: number, problem }.into()),
    })?;
    rows.emit_joined()
}

struct Rows<'a, 'e, E> {
    header: Option<Header>,
    /// The rows of a join so far that have the same connection, with the number of the first.
    joined: Option<(usize, Map<String, Value>)>,
    emit: &'a mut Emit<'e, E>,
}

impl<E: From<Error>> Rows<'_, '_, E> {
    fn add(&mut self, number: usize, line: &str) -> Result<(), E> {
        if let Some(header) = header_of(line) {
            self.header = Some(header);
            return self.emit_joined();
        }
        let header = self.header.as_ref().ok_or(Error::NoHeader)?;
        let fields = line.split('\t').map(unescape).collect::<Result<Vec<_>, _>>();
        match fields.and_then(|fields| header.object(fields)) {
            Ok(object) if header.is_joined() => self.join(number, object),
            row => {
                let record = row.map(|object| header.record(object));
                self.emit_joined()?;
                (self.emit)(number, record)
            }
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
        match self.joined.take() {
            Some((number, object)) => (self.emit)(number, Ok(Raw::Cxn(Value::Object(object).to_string()))),
            None => Ok(()),
        }
    }
}

/// The header that a line is; `None` if it is a row.
fn header_of(line: &str) -> Option<Header> {
    let is_name = |name: &str| !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    line.split('\t').all(is_name).then(|| Header::new(line.split('\t'))).flatten()
}

/// Reverts the escapes of `mysql -B` in a field; `None` for `NULL`.
fn unescape(field: &str) -> Result<Option<String>, Problem> {
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

    fn records(text: &str) -> Vec<(usize, Result<Raw, Problem>)> {
        let mut records = Vec::new();
        read(text.as_bytes(), &mut |number, record| {
            records.push((number, record));
            Ok::<_, Error>(())
        })
        .unwrap();
        records
    }

    #[test]
    fn consecutive_rows_of_a_join_become_one_record() {
        let rows = "cxnId\tsecret\tjobName\tpollLevel\ncxn:1\ts\ta\t1\ncxn:1\ts\tb\t2\ncxn:2\ts\tNULL\tNULL\n";
        let expected = [
            (
                2,
                Raw::Cxn(
                    r#"{"cxnId":"cxn:1","secret":"s","pollStatus":{"a":{"pollLevel":1},"b":{"pollLevel":2}}}"#.into(),
                ),
            ),
            (4, Raw::Cxn(r#"{"cxnId":"cxn:2","secret":"s"}"#.into())),
        ];
        assert_eq!(records(rows), expected.map(|(number, record)| (number, Ok(record))));
    }

    #[test]
    fn a_bad_row_does_not_lose_the_joined_rows_before_it() {
        let rows = "cxnId\tsecret\tjobName\tpollLevel\ncxn:1\ts\ta\t1\ncxn:1\ts\tb\tx\ncxn:1\ts\tc\t3\n";
        let records = records(rows);
        let numbers: Vec<_> = records.iter().map(|(number, record)| (*number, record.is_ok())).collect();
        assert_eq!(numbers, [(2, true), (3, false), (4, true)]);
    }

    #[test]
    fn escapes_are_reverted() {
        assert_eq!(unescape(r"a\tb\\n\n\0"), Ok(Some("a\tb\\n\n\0".to_owned())));
        assert_eq!(unescape("NULL"), Ok(None));
        for bad in [r"\x", r"end\"] {
            assert_eq!(unescape(bad), Err(Problem::InvalidEscape));
        }
    }
}

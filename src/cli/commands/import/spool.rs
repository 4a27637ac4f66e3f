//! The records of an input on disk, from the time they are checked until they are applied.

use std::collections::HashSet;
use std::fs::File;
use std::io::{self, BufRead, BufReader, BufWriter, Seek, Write};

use crate::cli::error::{Error, Result};
use crate::transfer::{self, Defect, Raw, Record};

/// The size of the buffer for reading, in bytes.
const BUFFER_BYTES: usize = 64 << 10;
/// The kinds of records, in a line of a spool.
const CXN: &str = "c";
const STATUS: &str = "s";

/// Records that are being checked. The file has no name, so that no other process finds the secrets in it.
///
/// A line has the number of the record, its kind and its JSON object.
pub(super) struct Spool(BufWriter<File>);

impl Spool {
    /// Makes an empty spool.
    pub(super) fn new() -> Result<Self> {
        tempfile::tempfile().map(|file| Self(BufWriter::new(file))).map_err(failed)
    }

    /// Adds a record.
    pub(super) fn add(&mut self, number: usize, raw: &Raw) -> Result<()> {
        let (kind, text) = match raw {
            Raw::Cxn(text) => (CXN, text),
            Raw::Status(text) => (STATUS, text),
        };
        writeln!(self.0, "{number} {kind} {text}").map_err(failed)
    }

    /// Ends the writing and returns the records in their order, without those whose numbers are `rejected`.
    pub(super) fn into_records(self, rejected: &HashSet<usize>) -> Result<impl Iterator<Item = Result<Record>> + Send> {
        let mut file = self.0.into_inner().map_err(|error| failed(error.into_error()))?;
        file.rewind().map_err(failed)?;
        let lines = BufReader::with_capacity(BUFFER_BYTES, file).lines();
        Ok(lines.filter_map(move |line| match line {
            Ok(line) => {
                let (number, raw) = parse(&line)?;
                let invalid =
                    |defect: Defect| transfer::Error::InvalidRecord { number, problem: defect.problem }.into();
                (!rejected.contains(&number)).then(|| raw.parse().map_err(invalid))
            }
            Err(error) => Some(Err(failed(error))),
        }))
    }
}

fn failed(error: io::Error) -> Error {
    Error::Spool { dir: tempfile::env::temp_dir(), error }
}

/// Parses a line; `None` if no spool wrote it.
fn parse(line: &str) -> Option<(usize, Raw)> {
    let mut parts = line.splitn(3, ' ');
    let number = parts.next()?.parse().ok()?;
    let is_status = parts.next()? == STATUS;
    let text = parts.next()?.to_owned();
    Some((number, if is_status { Raw::Status(text) } else { Raw::Cxn(text) }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Secret;
    use serde_json::json;

    #[test]
    fn accepted_records_come_back_in_their_order() {
        let secret = Secret::from_bytes([7; 32]).to_base64();
        let cxn = |id: &str| {
            let url = "https://a.example/";
            let object = json!({"cxnId": id, "secret": secret, "appId": "app:a", "appUrl": url, "siteUrl": url});
            Raw::Cxn(object.to_string())
        };
        let status = json!({"cxnId": "cxn:1 2", "pollStatus": {}}).to_string();
        let mut spool = Spool::new().unwrap();
        for (number, raw) in [(1, cxn("cxn:1 2")), (2, cxn("cxn:rejected")), (30, Raw::Status(status))] {
            spool.add(number, &raw).unwrap();
        }
        let records: Vec<Record> = spool.into_records(&HashSet::from([2, 3])).unwrap().map(Result::unwrap).collect();
        let [Record::Cxn(first), Record::Status(second)] = &records[..] else { panic!("{records:?}") };
        assert_eq!((first.cxn_id.as_str(), second.cxn_id.as_str()), ("cxn:1 2", "cxn:1 2"));
    }
}

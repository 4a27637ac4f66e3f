//! Rows and columns: CSV with a header, and what `mysql -B` prints of cxnapp's tables `Cxn` and `PollStatus`.

use std::cell::Cell;
use std::io::{self, BufRead, Read, Write};

use serde_json::{Map, Value, json};

use super::format::{Format, Raw, each_line};
use super::jsonl::KEYS;
use crate::error::{Error, Kind, Result};

/// The columns of cxnapp's table `PollStatus`, beside the cxnId.
const STATUS: [&str; 4] = ["jobName", "pollLevel", "pollCount", "lastRun"];

/// What stands for nothing.
const NULL: &str = "NULL";

/// Counts the quotes that go through.
struct Quotes<'a, R> {
    input: R,
    count: &'a Cell<u64>,
}

impl<R: Read> Read for Quotes<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.input.read(buffer)?;
        let quotes = buffer[..length].iter().map(|byte| u64::from(*byte == b'"')).sum::<u64>();
        self.count.set(self.count.get() + quotes);
        Ok(length)
    }
}

/// What each column holds.
struct Header(Vec<String>);

impl Header {
    /// A header; `None` where these are no names of columns that tell of connections.
    fn new(names: impl Iterator<Item = impl AsRef<str>>) -> Option<Self> {
        let names: Vec<String> = names.map(|name| name.as_ref().trim().to_owned()).collect();
        names.iter().any(|name| name == "cxnId").then_some(Self(names))
    }

    /// A row as a JSON object. Columns that we don't know, such as the number of a row, are passed over; nothing is what
    /// stays as it is.
    fn read(&self, fields: Vec<Option<String>>) -> Result<Raw, String> {
        if fields.len() != self.0.len() {
            return Err(format!("{} columns, where the header has {}", fields.len(), self.0.len()));
        }
        let (mut object, mut status) = (Map::new(), Map::new());
        for (name, field) in self.0.iter().zip(fields) {
            let Some(text) = field.filter(|text| !text.is_empty()) else { continue };
            // A quote that was not closed would swallow the rows behind it.
            if text.contains('\n') && !matches!(name.as_str(), "perm" | "pollStatus") {
                return Err(format!("{name} goes over several lines: is a quote not closed?"));
            }
            let number = || text.trim().parse::<i64>().map(Value::from).map_err(|_| format!("{name} is not a number"));
            match name.as_str() {
                "perm" | "pollStatus" => {
                    let value = serde_json::from_str(&text).map_err(|_| format!("{name} does not hold JSON"))?;
                    object.insert(name.clone(), value);
                }
                "batchCode" => drop(object.insert(name.clone(), number()?)),
                "disabled" => {
                    let flag = match text.trim() {
                        "0" | "false" => false,
                        "1" | "true" => true,
                        _ => return Err("disabled is neither 0 nor 1".to_owned()),
                    };
                    object.insert(name.clone(), flag.into());
                }
                "jobName" => drop(status.insert(name.clone(), text.into())),
                known if STATUS.contains(&known) => drop(status.insert(name.clone(), number()?)),
                known if KEYS.contains(&known) => drop(object.insert(name.clone(), text.into())),
                _ => {}
            }
        }
        if let Some(job) = status.remove("jobName").as_ref().and_then(Value::as_str) {
            object.insert("pollStatus".to_owned(), json!({ job: status }));
        }
        let text = Value::Object(object).to_string();
        // A table of statuses has no secrets.
        Ok(if self.0.iter().any(|name| name == "secret") { Raw::Cxn(text) } else { Raw::Status(text) })
    }
}

fn no_header() -> Error {
    Error::new(Kind::BadData, "the first line does not name the columns\nnothing was imported")
        .hint("expected cxnId, secret, appId, appUrl, siteUrl… (`mysql -B` prints them, -N leaves them out)")
}

/// Hands out the rows of a CSV file.
pub(super) fn each_csv(input: impl Read, emit: &mut dyn FnMut(usize, Result<Raw, String>) -> Result<()>) -> Result<()> {
    let quotes = Cell::new(0u64);
    let counted = Quotes { input, count: &quotes };
    let mut reader = csv::ReaderBuilder::new().flexible(true).has_headers(false).from_reader(counted);
    let mut record = csv::ByteRecord::new();
    let mut header: Option<Header> = None;
    loop {
        let more = reader
            .read_byte_record(&mut record)
            .map_err(|error| Error::new(Kind::BadData, format!("can't read the input as CSV: {error}")))?;
        if !more {
            // Within a field they come in pairs.
            let problem = "a quote is not closed\nnothing was imported";
            return if quotes.get().is_multiple_of(2) { Ok(()) } else { Err(Error::new(Kind::BadData, problem)) };
        }
        let number = record.position().and_then(|at| usize::try_from(at.line()).ok()).unwrap_or_default();
        let fields: Result<Vec<&str>, _> = record.iter().map(std::str::from_utf8).collect();
        let Some(header) = &header else {
            let names = fields.unwrap_or_default();
            let names = names.into_iter().map(|name| name.trim_start_matches('\u{feff}'));
            header = Some(Header::new(names).ok_or_else(no_header)?);
            continue;
        };
        let row = fields.map_err(|_| "not UTF-8".to_owned()).and_then(|fields| {
            header.read(fields.into_iter().map(|field| (field != NULL).then(|| field.to_owned())).collect())
        });
        emit(number, row)?;
    }
}

/// Hands out the rows of what `mysql -B` printed. One table may follow another, each with its header. Rows of a join that
/// follow each other and tell of one connection become one.
pub(super) fn each_tsv(
    input: impl BufRead,
    emit: &mut dyn FnMut(usize, Result<Raw, String>) -> Result<()>,
) -> Result<()> {
    let mut header: Option<Header> = None;
    let mut waiting: Option<(usize, Map<String, Value>)> = None;
    each_line(input, |number, line| {
        let line = match line {
            Ok("") => return Ok(()),
            Ok(line) => line.trim_start_matches('\u{feff}'),
            Err(problem) => {
                flush(waiting.take(), emit)?;
                return Err(Error::new(Kind::BadData, format!("line {number}: {problem}\nnothing was imported")));
            }
        };
        let names = line
            .split('\t')
            .all(|name| !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_'));
        if let Some(next) = names.then(|| Header::new(line.split('\t'))).flatten() {
            header = Some(next);
            return flush(waiting.take(), emit);
        }
        let header = header.as_ref().ok_or_else(no_header)?;
        let row = line.split('\t').map(unescape).collect::<Result<Vec<_>, _>>().and_then(|fields| header.read(fields));
        let joined = header.0.iter().any(|name| name == "secret") && header.0.iter().any(|name| name == "jobName");
        match row {
            Ok(Raw::Cxn(text)) if joined => {
                let object: Map<String, Value> = serde_json::from_str(&text).unwrap_or_default();
                match &mut waiting {
                    Some((_, before)) if before.get("cxnId") == object.get("cxnId") => {
                        let status = object.get("pollStatus").and_then(Value::as_object).cloned().unwrap_or_default();
                        let all = before.entry("pollStatus").or_insert_with(|| json!({}));
                        if let Some(all) = all.as_object_mut() {
                            all.extend(status);
                        }
                        Ok(())
                    }
                    _ => {
                        let before = waiting.replace((number, object));
                        flush(before, emit)
                    }
                }
            }
            row => {
                flush(waiting.take(), emit)?;
                emit(number, row)
            }
        }
    })?;
    flush(waiting, emit)
}

/// Hands out a row that waited for others of the same connection.
fn flush(
    waiting: Option<(usize, Map<String, Value>)>,
    emit: &mut dyn FnMut(usize, Result<Raw, String>) -> Result<()>,
) -> Result<()> {
    waiting.map_or(Ok(()), |(number, object)| emit(number, Ok(Raw::Cxn(Value::Object(object).to_string()))))
}

/// A field as `mysql -B` escapes it; `None` for `NULL`.
fn unescape(field: &str) -> Result<Option<String>, String> {
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
                _ => return Err("a backslash with nothing behind it that it could stand for".to_owned()),
            },
            c => c,
        });
    }
    Ok(Some(text))
}

fn escape(text: &str) -> String {
    text.replace('\\', "\\\\").replace('\n', "\\n").replace('\t', "\\t").replace('\0', "\\0")
}

/// The columns of a row of ours, as text.
fn cells(object: &Map<String, Value>) -> impl Iterator<Item = Option<String>> {
    KEYS.iter().map(|key| {
        Some(match object.get(*key)? {
            Value::String(text) if *key != "perm" => text.clone(),
            Value::Bool(flag) if *key == "disabled" => u8::from(*flag).to_string(),
            value => value.to_string(),
        })
    })
}

pub(super) fn write_header(out: &mut impl Write, format: Format) -> io::Result<()> {
    writeln!(out, "{}", KEYS.join(if format == Format::Csv { "," } else { "\t" }))
}

pub(super) fn write_csv(out: &mut impl Write, first: bool, object: &Map<String, Value>) -> io::Result<()> {
    if first {
        write_header(out, Format::Csv)?;
    }
    let mut writer = csv::WriterBuilder::new().from_writer(out);
    writer.write_record(cells(object).map(Option::unwrap_or_default))?;
    writer.flush()
}

pub(super) fn write_tsv(out: &mut impl Write, first: bool, object: &Map<String, Value>) -> io::Result<()> {
    if first {
        write_header(out, Format::Tsv)?;
    }
    let cells: Vec<_> = cells(object).map(|cell| cell.map_or("NULL".to_owned(), |text| escape(&text))).collect();
    writeln!(out, "{}", cells.join("\t"))
}

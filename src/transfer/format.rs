//! The forms that connections are written in, and how they are told from each other.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Seek, Write};
use std::path::Path;

use serde_json::{Map, Value};

use super::jsonl::{self, KEYS};
use super::{json, table};
use crate::error::{Error, Kind, Result};
use crate::model::Cxn;
use crate::store::{CxnLine, StatusLine, Statuses};

/// A form.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// A JSON object a line
    Jsonl,
    /// {cxnId: {…}}, as the file store of cxnapp has it
    Json,
    /// Comma-separated values with a header
    Csv,
    /// Tab-separated, as mysql -B prints cxnapp's tables of connections and poll statuses
    Tsv,
}

/// One thing that an input tells.
#[derive(Debug, Clone, PartialEq)]
pub enum Record {
    /// A connection.
    Cxn(Box<CxnLine>),
    /// Where a connection stands with a job.
    Status(StatusLine),
}

/// A record as the text of a JSON object, so that it can be put aside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Raw {
    /// Of a connection.
    Cxn(String),
    /// Of where one stands.
    Status(String),
}

impl Raw {
    /// Reads it.
    ///
    /// # Errors
    /// What is wrong with it, in words that never show a secret.
    pub fn read(&self) -> Result<Record, String> {
        match self {
            Self::Cxn(text) => jsonl::parse(text).map(Box::new).map(Record::Cxn),
            Self::Status(text) => jsonl::parse_status(text).map(Record::Status),
        }
    }
}

impl Format {
    /// The form of a file, by its name or else by what it begins with. The file is at its beginning afterwards.
    ///
    /// # Errors
    /// Those of reading.
    pub fn of(path: Option<&Path>, mut file: &File) -> io::Result<Self> {
        let extension = path.and_then(Path::extension).and_then(|extension| extension.to_str()).map(str::to_lowercase);
        let mut start = Vec::new();
        file.rewind()?;
        io::Read::read_to_end(&mut io::Read::take(file, 4096), &mut start)?;
        file.rewind()?;
        let text = String::from_utf8_lossy(&start);
        let text = text.trim_start_matches('\u{feff}').trim_start();
        Ok(match extension.as_deref() {
            Some("csv") => Self::Csv,
            Some("tsv") => Self::Tsv,
            Some("jsonl") => Self::Jsonl,
            // What begins like a line of ours is one; the first key of the other form is a cxnId.
            _ if text.starts_with('{') => {
                let key = text[1..].trim_start().strip_prefix('"').and_then(|rest| rest.split('"').next());
                if key.is_none_or(|key| KEYS.contains(&key)) && !text[1..].trim_start().starts_with('}') {
                    Self::Jsonl
                } else {
                    Self::Json
                }
            }
            _ if text.is_empty() => Self::Jsonl,
            _ if text.lines().next().is_some_and(|line| line.contains('\t')) => Self::Tsv,
            _ if text.starts_with(['[', '"']) => Self::Jsonl,
            _ => Self::Csv,
        })
    }

    /// Hands out what a file holds, from its beginning, with the number of the line (in JSON, of the entry) from 1. What is
    /// wrong with one of them is handed out in its place.
    ///
    /// # Errors
    /// Those of `emit`; [`Kind::BadData`] where the file as a whole can't be read.
    pub fn each(self, mut file: &File, emit: &mut dyn FnMut(usize, Result<Raw, String>) -> Result<()>) -> Result<()> {
        file.rewind().map_err(|error| unreadable(&error))?;
        let input = BufReader::with_capacity(1 << 16, file);
        match self {
            Self::Jsonl => each_line(input, |number, text| {
                let text = text.map(|text| text.trim_start_matches('\u{feff}').trim().to_owned());
                if text.as_ref().is_ok_and(String::is_empty) { Ok(()) } else { emit(number, text.map(Raw::Cxn)) }
            }),
            Self::Json => json::each(input, emit),
            Self::Csv => table::each_csv(input, emit),
            Self::Tsv => table::each_tsv(input, emit),
        }
    }
}

/// Hands out the lines of an input.
pub(super) fn each_line(
    mut input: impl BufRead,
    mut emit: impl FnMut(usize, Result<&str, String>) -> Result<()>,
) -> Result<()> {
    let mut line = Vec::new();
    for number in 1.. {
        line.clear();
        if input.read_until(b'\n', &mut line).map_err(|error| unreadable(&error))? == 0 {
            break;
        }
        let text = line.strip_suffix(b"\n").unwrap_or(&line);
        let text = text.strip_suffix(b"\r").unwrap_or(text);
        emit(number, std::str::from_utf8(text).map_err(|_| "not UTF-8".to_owned()))?;
    }
    Ok(())
}

pub(super) fn unreadable(error: &io::Error) -> Error {
    Error::new(Kind::Internal, format!("can't read the input: {error}"))
}

/// Writes connections in a form.
pub struct Writer<W> {
    format: Format,
    redact: bool,
    out: W,
    written: u64,
}

/// What stands for a secret that is not told.
const REDACTED: &str = "(redacted)";

impl<W: Write> Writer<W> {
    /// A writer; with `redact` the secrets are left out, and nobody can import what it writes.
    pub fn new(format: Format, redact: bool, out: W) -> Self {
        Self { format, redact, out, written: 0 }
    }

    /// Writes one connection.
    ///
    /// # Errors
    /// Those of writing.
    pub fn write(&mut self, cxn: &Cxn, statuses: Statuses) -> io::Result<()> {
        let first = self.written == 0;
        self.written += 1;
        let text = jsonl::line(cxn, statuses);
        if self.format == Format::Jsonl && !self.redact {
            return writeln!(self.out, "{text}");
        }
        let mut object: Map<String, Value> = serde_json::from_str(&text)?;
        if self.redact {
            object.insert("secret".to_owned(), REDACTED.into());
            // Some URLs hold a user's password.
            if let Ok(mut url) = url::Url::parse(&cxn.site_url)
                && (!url.username().is_empty() || url.password().is_some())
                && url.set_password(None).and_then(|()| url.set_username("redacted")).is_ok()
            {
                object.insert("siteUrl".to_owned(), String::from(url).into());
            }
        }
        match self.format {
            Format::Jsonl => writeln!(self.out, "{}", Value::Object(object)),
            Format::Json => {
                let before = if first { "{\n" } else { ",\n" };
                write!(self.out, "{before}{}: {}", Value::from(cxn.cxn_id.as_str()), Value::Object(object))
            }
            Format::Csv => table::write_csv(&mut self.out, first, &object),
            Format::Tsv => table::write_tsv(&mut self.out, first, &object),
        }
    }

    /// Writes what must stand at the end, and everything out.
    ///
    /// # Errors
    /// Those of writing.
    pub fn finish(mut self) -> io::Result<W> {
        match (self.format, self.written) {
            (Format::Json, 0) => writeln!(self.out, "{{}}")?,
            (Format::Json, _) => writeln!(self.out, "\n}}")?,
            (Format::Csv | Format::Tsv, 0) => table::write_header(&mut self.out, self.format)?,
            _ => {}
        }
        self.out.flush()?;
        Ok(self.out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(text: &str) -> File {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(text.as_bytes()).unwrap();
        file.rewind().unwrap();
        file
    }

    #[test]
    fn forms_are_told_by_name_or_content() {
        let of = |name: Option<&str>, text: &str| Format::of(name.map(Path::new), &file(text)).unwrap();
        for (text, format) in [
            ("", Format::Jsonl),
            ("\n {\"cxnId\": 1}", Format::Jsonl),
            ("{\"secret\":", Format::Jsonl),
            ("{\"cxn:1\": {", Format::Json),
            ("{}", Format::Json),
            ("{\n}", Format::Json),
            ("\u{feff}{\"cxn:1\": {", Format::Json),
            ("cxnId,secret\n", Format::Csv),
            ("id\tcxnId\tsecret\n", Format::Tsv),
            ("[1]", Format::Jsonl),
        ] {
            assert_eq!(of(None, text), format, "{text:?}");
        }
        assert_eq!(of(Some("a.CSV"), "x\ty"), Format::Csv);
        assert_eq!(of(Some("a.tsv"), "{"), Format::Tsv);
        assert_eq!(of(Some("cxns.json"), "{\"cxn:1\": {"), Format::Json);
        assert_eq!(of(Some("lines.json"), "{\"cxnId\": "), Format::Jsonl);
    }
}

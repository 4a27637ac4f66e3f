//! The writer of each format.

use std::io::{self, Write};

use serde_json::{Map, Value};

use super::entry::line;
use super::format::{Format, KEYS, NULL};
use super::redact::redact;
use crate::model::Cxn;
use crate::store::Statuses;
use crate::util::text::escape;

/// Writes connections in a format.
pub struct Writer<W> {
    format: Format,
    redact: bool,
    out: W,
    written: u64,
}

impl<W: Write> Writer<W> {
    /// Makes a writer. With `redact` it writes no secrets, and its output cannot be imported.
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
        let text = line(cxn, statuses);
        if self.format == Format::Jsonl && !self.redact {
            return writeln!(self.out, "{text}");
        }
        let mut object: Map<String, Value> = serde_json::from_str(&text)?;
        if self.redact {
            redact(&mut object);
        }
        if first {
            self.write_header()?;
        }
        match self.format {
            Format::Jsonl => writeln!(self.out, "{}", self.shown(Value::Object(object).to_string())),
            Format::Json => {
                let separator = if first { "" } else { ",\n" };
                let entry = format!("{}: {}", Value::from(cxn.cxn_id.as_str()), Value::Object(object));
                write!(self.out, "{separator}{}", self.shown(entry))
            }
            Format::Csv => write_csv(&mut self.out, fields(&object, self.redact)),
            Format::Tsv => write_tsv(&mut self.out, fields(&object, self.redact)),
        }
    }

    /// Writes the end of the format and flushes the output.
    ///
    /// # Errors
    /// Those of writing.
    pub fn finish(mut self) -> io::Result<W> {
        match (self.format, self.written) {
            (Format::Json, 0) => writeln!(self.out, "{{}}")?,
            (Format::Json, _) => writeln!(self.out, "\n}}")?,
            (_, 0) => self.write_header()?,
            _ => {}
        }
        self.out.flush()?;
        Ok(self.out)
    }

    /// The text to write for JSON: when redacting, with escapes for what is not printable.
    fn shown(&self, json: String) -> String {
        if self.redact { escape(&json).into_owned() } else { json }
    }

    /// Writes what is before the first connection.
    fn write_header(&mut self) -> io::Result<()> {
        match self.format {
            Format::Jsonl => Ok(()),
            Format::Json => writeln!(self.out, "{{"),
            Format::Csv => writeln!(self.out, "{}", KEYS.join(",")),
            Format::Tsv => writeln!(self.out, "{}", KEYS.join("\t")),
        }
    }
}

/// The fields of a row; `None` is no value.
fn fields(object: &Map<String, Value>, redact: bool) -> impl Iterator<Item = Option<String>> {
    KEYS.iter().map(move |key| {
        let text = match object.get(*key)? {
            Value::String(text) if *key != "perm" => text.clone(),
            Value::Bool(flag) if *key == "disabled" => u8::from(*flag).to_string(),
            value => value.to_string(),
        };
        Some(if redact { csv_cell(&text) } else { text })
    })
}

/// The text of a field that a spreadsheet shows as text, and does not run as a formula.
///
/// The quote before it is the one of <https://owasp.org/www-community/attacks/CSV_Injection>.
#[must_use]
pub fn csv_cell(text: &str) -> String {
    let quote =
        if text.starts_with(['=', '+', '-', '@', '\t', '\r', '\n', '＝', '＋', '－', '＠']) { "'" } else { "" };
    format!("{quote}{}", escape(text))
}

fn write_csv(out: &mut impl Write, fields: impl Iterator<Item = Option<String>>) -> io::Result<()> {
    let mut writer = csv::WriterBuilder::new().from_writer(out);
    writer.write_record(fields.map(Option::unwrap_or_default))?;
    writer.flush()
}

fn write_tsv(out: &mut impl Write, fields: impl Iterator<Item = Option<String>>) -> io::Result<()> {
    let fields: Vec<_> = fields.map(|field| field.map_or(NULL.to_owned(), |text| escape_field(&text))).collect();
    writeln!(out, "{}", fields.join("\t"))
}

/// Escapes a field as `mysql -B` does.
fn escape_field(text: &str) -> String {
    text.replace('\\', "\\\\").replace('\n', "\\n").replace('\t', "\\t").replace('\0', "\\0")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{JobName, PollStatus, Secret};
    use crate::store::FieldPatch;
    use crate::transfer::entry::{Record, parse};
    use crate::transfer::error::Error;
    use crate::transfer::{detect, read_records};
    use crate::util::text::is_printable;
    use proptest::prelude::*;
    use serde_json::json;

    fn cxn(number: u8, site_url: &str, perm: Value) -> Cxn {
        Cxn {
            cxn_id: format!("cxn:{number}").parse().unwrap(),
            secret: Secret::from_bytes([number; 32]),
            app_id: "app:org.example.myapp".parse().unwrap(),
            app_url: "https://app.example.org/".into(),
            site_url: site_url.into(),
            perm: perm.into(),
            via_port: Some("proxy.example.org:81".parse().unwrap()),
            batch_code: u16::from(number).try_into().unwrap(),
            disabled: number.is_multiple_of(2),
        }
    }

    fn written(format: Format, redact: bool, cxns: &[Cxn]) -> String {
        let mut writer = Writer::new(format, redact, Vec::new());
        let status = PollStatus { level: 1, count: 2, last_run: 3, ..PollStatus::default() };
        for cxn in cxns {
            writer.write(cxn, vec![(JobName::default(), status.clone())]).unwrap();
        }
        String::from_utf8(writer.finish().unwrap()).unwrap()
    }

    fn records(text: &str) -> Vec<Record> {
        let (format, input) = detect(None, text.as_bytes()).unwrap();
        let mut records = Vec::new();
        read_records(format, true, input, &mut |_, record| {
            records.push(record.unwrap().0);
            Ok::<_, Error>(())
        })
        .unwrap();
        records
    }

    #[test]
    fn no_format_writes_a_secret_or_a_password_when_redacting() {
        let url = "https://admin:geheim@site.example/civicrm?key=geheim#geheim";
        let cxn = Cxn { app_url: url.into(), ..cxn(1, url, Value::Null) };
        for format in Format::ALL {
            let text = written(format, true, std::slice::from_ref(&cxn));
            let shown = "https://redacted@site.example/civicrm?key=redacted#redacted";
            assert!(text.contains("(redacted)") && text.matches(shown).count() == 2, "{text}");
            assert!(!text.contains("geheim") && !text.contains("admin"), "{text}");
            assert!(!text.contains(&cxn.secret.to_base64()[..8]), "{text}");
            let plain = written(format, false, std::slice::from_ref(&cxn));
            assert!(plain.contains("admin:geheim") && plain.contains(&cxn.secret.to_base64()), "{plain}");
        }
    }

    #[test]
    fn a_redacted_table_holds_no_formula_and_every_redacted_format_is_printable() {
        for (field, shown) in [
            ("=HYPERLINK(\"http://a.example\")", "'=HYPERLINK(\"http://a.example\")"),
            ("+1", "'+1"),
            ("-1", "'-1"),
            ("--all", "'--all"),
            ("@SUM(A1)", "'@SUM(A1)"),
            ("＝1", "'＝1"),
            ("\t=1", "'\\u0009=1"),
            ("\r=1", "'\\u000d=1"),
            ("a=1", "a=1"),
            ("\u{202e}=1", "\\u202e=1"),
        ] {
            assert_eq!(csv_cell(field), shown);
        }
        let mut hostile = cxn(1, "=cmd|' /C calc'!A0", json!(-1));
        hostile.cxn_id = "--all\u{202e}".parse().unwrap();
        for format in Format::ALL {
            let redacted = written(format, true, std::slice::from_ref(&hostile));
            assert!(redacted.lines().all(is_printable) || format == Format::Tsv, "{redacted}");
            assert!(redacted.contains("u202e") && !redacted.contains('\u{202e}'), "{redacted}");
            let plain = written(format, false, std::slice::from_ref(&hostile));
            assert!(plain.contains("--all\u{202e}") && plain.contains("=cmd"), "{plain}");
        }
        let row = |redact: bool| {
            let text = written(Format::Csv, redact, std::slice::from_ref(&hostile));
            let row = csv::Reader::from_reader(text.as_bytes()).into_records().next().unwrap().unwrap();
            [0, 4, 5].map(|column| row[column].to_owned())
        };
        assert_eq!(row(true), ["'--all\\u202e", "'=cmd|' /C calc'!A0", "'-1"]);
        assert_eq!(row(false), ["--all\u{202e}", "=cmd|' /C calc'!A0", "-1"]);
    }

    #[test]
    fn an_empty_output_is_valid() {
        for (format, text) in [(Format::Jsonl, ""), (Format::Json, "{}\n")] {
            assert_eq!(written(format, false, &[]), text);
        }
        for (format, start) in [(Format::Csv, "cxnId,secret,"), (Format::Tsv, "cxnId\tsecret\t")] {
            let text = written(format, false, &[]);
            assert!(text.starts_with(start) && text.lines().count() == 1, "{text}");
        }
    }

    proptest! {
        #[test]
        fn every_format_reads_back_what_was_written(path in "[ -~é\t\n\0\u{9b}]{0,20}", key in "[ -~é\t\n\0]{0,20}") {
            let path = path.replace(char::is_control, "");
            let cxns = [cxn(1, &format!("https://a.example/{path}"), json!({key.clone(): [1, null, key]})),
                cxn(2, "https://b.example/", json!("text")), cxn(3, "https://c.example/", json!(7))];
            let lines = written(Format::Jsonl, false, &cxns);
            let expected: Vec<_> = lines.lines().map(|line| parse(line).unwrap()).collect();
            prop_assert_eq!(expected.len(), 3);
            for format in Format::ALL {
                let mut expected = expected.clone();
                // A table has a field for a default, and JSON no key.
                for patch in expected.iter_mut().filter(|_| matches!(format, Format::Csv | Format::Tsv)) {
                    if patch.disabled == FieldPatch::Keep {
                        patch.disabled = FieldPatch::Clear;
                    }
                }
                let expected: Vec<_> = expected.into_iter().map(|patch| Record::Cxn(Box::new(patch))).collect();
                prop_assert_eq!(&records(&written(format, false, &cxns)), &expected, "{:?}", format);
            }
        }
    }
}

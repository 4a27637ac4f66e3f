//! Which format a file is in, and the reader of each format.

use std::io::{self, BufRead, BufReader, Cursor, Read};
use std::path::Path;

use super::entry::{Emit, KEYS};
use super::error::Error;
use super::format::Format;
use super::read::{csv, json, jsonl, mysql_tsv};

/// How much of a file is examined, in bytes.
const EXAMINED_BYTES: u64 = 4096;
/// The size of the buffer for reading, in bytes.
const BUFFER_BYTES: usize = 64 << 10;

/// Detects the format of an input by the extension of its file or else by its first bytes.
///
/// Returns the format and the whole input. `path` is `None` for an input without a name.
///
/// # Errors
/// Fails if the input cannot be read.
pub fn detect<R: Read>(path: Option<&Path>, mut input: R) -> io::Result<(Format, impl BufRead + use<R>)> {
    let mut start = Vec::new();
    (&mut input).take(EXAMINED_BYTES).read_to_end(&mut start)?;
    let format = format_of(path, &String::from_utf8_lossy(&start));
    Ok((format, BufReader::with_capacity(BUFFER_BYTES, Cursor::new(start).chain(input))))
}

fn format_of(path: Option<&Path>, start: &str) -> Format {
    let start = start.trim_start_matches('\u{feff}').trim_start();
    let extension = path.and_then(Path::extension).and_then(|extension| extension.to_str());
    match extension.and_then(Format::from_extension) {
        // Files named .json are in use for JSON lines too.
        None | Some(Format::Json) => {}
        Some(format) => return format,
    }
    if let Some(rest) = start.strip_prefix('{') {
        // The first key of a line is one of ours. That of cxnapp's file is a cxnId.
        let rest = rest.trim_start();
        let key = rest.strip_prefix('"').and_then(|rest| rest.split('"').next());
        let is_line = !rest.starts_with('}') && key.is_none_or(|key| KEYS.contains(&key));
        return if is_line { Format::Jsonl } else { Format::Json };
    }
    if start.is_empty() {
        Format::Jsonl
    } else if start.lines().next().is_some_and(|line| line.contains('\t')) {
        Format::Tsv
    } else if start.starts_with(['[', '"']) {
        Format::Jsonl
    } else {
        Format::Csv
    }
}

/// Reads an input and emits each record, or what is wrong with it, with its number.
///
/// The number is that of the line, or in JSON that of the entry, from 1.
///
/// # Errors
/// Those of `emit`, and where the input as a whole cannot be read.
pub fn read_records<E: From<Error>>(format: Format, input: impl BufRead, emit: &mut Emit<E>) -> Result<(), E> {
    match format {
        Format::Jsonl => jsonl::read(input, emit),
        Format::Json => json::read(input, emit),
        Format::Csv => csv::read(input, emit),
        Format::Tsv => mysql_tsv::read(input, emit),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_format_is_detected_by_name_or_content() {
        let format = |name: Option<&str>, text: &str| detect(name.map(Path::new), text.as_bytes()).unwrap().0;
        for (text, expected) in [
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
            assert_eq!(format(None, text), expected, "{text:?}");
        }
        assert_eq!(format(Some("a.CSV"), "x\ty"), Format::Csv);
        assert_eq!(format(Some("a.tsv"), "{"), Format::Tsv);
        assert_eq!(format(Some("cxns.json"), "{\"cxn:1\": {"), Format::Json);
        assert_eq!(format(Some("lines.json"), "{\"cxnId\": "), Format::Jsonl);
    }

    #[test]
    fn an_examined_input_is_still_whole() {
        for length in [0, 10, 4096, 100_000] {
            let text: String = ('a'..='z').cycle().take(length).collect();
            let mut whole = String::new();
            detect(None, text.as_bytes()).unwrap().1.read_to_string(&mut whole).unwrap();
            assert_eq!(whole, text);
        }
    }
}

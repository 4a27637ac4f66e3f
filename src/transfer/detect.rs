//! Which format a file is in, and the reader of each format.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Cursor, Read};
use std::path::Path;

use flate2::bufread::MultiGzDecoder;

use super::error::{Error, Foreign, Result};
use super::format::{Format, KEYS};
use super::ids::Emit;
use super::read::{csv, json, jsonl, mysql_tsv};
use crate::util::encryption::{ARMORED, MAGIC};
use crate::util::text::BYTE_ORDER_MARK;

/// How much of a file is examined, in bytes.
const EXAMINED_BYTES: u64 = 4096;
/// The size of the buffer for reading, in bytes.
const BUFFER_BYTES: usize = 64 << 10;

/// How a file begins that gzip wrote.
const GZIP: &[u8] = b"\x1f\x8b";
/// How files begin that cannot be read. A UTF-16 file without a byte order mark is recognised by its zero bytes.
const FOREIGN: [(&[u8], Foreign); 9] = [
    (b"\xff\xfe", Foreign::Utf16),
    (b"\xfe\xff", Foreign::Utf16),
    (b"PK\x03\x04", Foreign::Zip),
    (b"BZh", Foreign::Compressed("bzip2")),
    (b"\xfd7zXZ\0", Foreign::Compressed("xz")),
    (b"\x28\xb5\x2f\xfd", Foreign::Compressed("zstd")),
    (br#"{"backup":"#, Foreign::Backup),
    (MAGIC, Foreign::Encrypted),
    (ARMORED, Foreign::Encrypted),
];

/// Detects the format of an input by the extension of its file or its first bytes.
///
/// Returns the format and the whole input as text: gzip is decompressed, and a byte order mark skipped. `path` is `None`
/// for an input without a name.
///
/// # Errors
/// [`Error::ReadInput`] and [`Error::Foreign`].
pub fn detect<'a>(path: Option<&Path>, input: impl Read + 'a) -> Result<(Format, Box<dyn BufRead + 'a>)> {
    let (mut start, mut input) = examine(input)?;
    if start.starts_with(GZIP) {
        (start, input) =
            examine(MultiGzDecoder::new(BufReader::with_capacity(BUFFER_BYTES, Cursor::new(start).chain(input))))?;
    }
    if let Some(foreign) = foreign(&start) {
        return Err(Error::Foreign(foreign));
    }
    let text = start.strip_prefix(BYTE_ORDER_MARK.as_bytes()).unwrap_or(&start);
    let format = format_of(path, &String::from_utf8_lossy(text));
    let whole = Cursor::new(text.to_vec()).chain(input);
    Ok((format, Box::new(BufReader::with_capacity(BUFFER_BYTES, whole))))
}

/// Reads the first bytes of an input. Returns them and the rest.
fn examine<'a>(mut input: impl Read + 'a) -> Result<(Vec<u8>, Box<dyn Read + 'a>)> {
    let mut start = Vec::new();
    (&mut input).take(EXAMINED_BYTES).read_to_end(&mut start).map_err(Error::ReadInput)?;
    Ok((start, Box::new(input)))
}

/// What an input is by its first bytes; `None` if it may be text in a known format.
fn foreign(start: &[u8]) -> Option<Foreign> {
    let known = FOREIGN.iter().find(|(magic, _)| start.starts_with(magic)).map(|(_, foreign)| *foreign);
    known.or_else(|| {
        let [a, b, c, d, ..] = *start else { return None };
        let is_wide =
            matches!([a == 0, b == 0, c == 0, d == 0], [true, false, true, false] | [false, true, false, true]);
        is_wide.then_some(Foreign::Utf16)
    })
}

fn format_of(path: Option<&Path>, start: &str) -> Format {
    let start = start.trim_start();
    let is_gzip = |extension: &OsStr| extension.eq_ignore_ascii_case("gz");
    let path = path.map(|path| match path.extension() {
        Some(extension) if is_gzip(extension) => path.file_stem().map_or(path, Path::new),
        _ => path,
    });
    let extension = path.and_then(Path::extension).and_then(OsStr::to_str);
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
    if start.is_empty() || start.starts_with('[') {
        Format::Jsonl
    } else if start.split(['\n', '\r']).next().is_some_and(|line| line.contains('\t')) {
        Format::Tsv
    } else {
        Format::Csv
    }
}

/// Reads an input and emits each record, or what is wrong with it, with its position.
///
/// With `needs_line_end`, a last row of CSV without a line end is not trusted.
///
/// # Errors
/// Those of `emit`, and where the input as a whole cannot be read.
pub fn read_records<E: From<Error>>(
    format: Format,
    needs_line_end: bool,
    input: impl BufRead,
    emit: &mut Emit<E>,
) -> Result<(), E> {
    match format {
        Format::Jsonl => jsonl::read(input, emit),
        Format::Json => json::read(input, emit),
        Format::Csv => csv::read(input, needs_line_end, emit),
        Format::Tsv => mysql_tsv::read(input, emit),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::Compression;
    use flate2::write::GzEncoder;
    use std::io::Write;

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
            ("\"cxnId\";\"secret\"\n", Format::Csv),
            ("cxnId,secret\rcxn:1,a\tb\r", Format::Csv),
        ] {
            assert_eq!(format(None, text), expected, "{text:?}");
        }
        assert_eq!(format(Some("a.CSV"), "x\ty"), Format::Csv);
        assert_eq!(format(Some("a.tsv"), "{"), Format::Tsv);
        assert_eq!(format(Some("a.tsv.GZ"), "{"), Format::Tsv);
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

    #[test]
    fn gzip_is_read_in_several_members_and_to_its_end() {
        let compressed = |text: &str| {
            let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
            encoder.write_all(text.as_bytes()).unwrap();
            encoder.finish().unwrap()
        };
        let read = |bytes: &[u8]| {
            let mut whole = String::new();
            let (format, mut input) = detect(None, bytes)?;
            input.read_to_string(&mut whole).map_err(Error::ReadInput)?;
            Ok::<_, Error>((format, whole))
        };
        let long = "x".repeat(100_000);
        let both = [compressed("\u{feff}cxnId,secret\n"), compressed(&long)].concat();
        assert_eq!(read(&both).unwrap(), (Format::Csv, format!("cxnId,secret\n{long}")));
        for cut in [&both[..30], &both[..both.len() - 1], &[&both[..], b"\0\0"].concat()] {
            assert!(matches!(read(cut), Err(Error::ReadInput(_))));
        }
        let backup = compressed("{\"backup\":{\"version\":2}}\n");
        assert!(matches!(read(&backup), Err(Error::Foreign(Foreign::Backup))));
    }

    #[test]
    fn what_is_no_text_of_a_known_format_is_recognised() {
        for (start, expected) in [
            (&b"\xff\xfec\0x\0n\0"[..], Some(Foreign::Utf16)),
            (b"\xfe\xff\0c\0x", Some(Foreign::Utf16)),
            (b"c\0x\0n\0", Some(Foreign::Utf16)),
            (b"\0c\0x\0n", Some(Foreign::Utf16)),
            (b"PK\x03\x04\x14", Some(Foreign::Zip)),
            (b"\x28\xb5\x2f\xfd", Some(Foreign::Compressed("zstd"))),
            (b"\0\0\0\0", None),
            (b"cxnId", None),
            (b"{}", None),
        ] {
            assert_eq!(foreign(start), expected, "{start:?}");
        }
    }
}

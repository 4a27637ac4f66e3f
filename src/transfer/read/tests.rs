//! What holds for the readers of all formats.

use std::io::{self, BufReader, Read};

use proptest::prelude::*;
use serde_json::{Value, json};

use super::testdata::{object, read_all, row};
use crate::store::FieldPatch;
use crate::transfer::detect::read_records;
use crate::transfer::entry::Record;
use crate::transfer::error::{Error, Problem, Result};
use crate::transfer::format::Format;
use crate::transfer::position::Position;

type Records = Vec<(Position, Result<Record, Problem>)>;

fn records(format: Format, text: &[u8]) -> Result<Records> {
    read_all(|emit| read_records(format, true, text, emit))
}

/// Returns the line of each record, with its position if it is bad.
fn found(format: Format, text: &[u8]) -> Vec<(usize, bool)> {
    records(format, text).unwrap().iter().map(|(position, record)| (position.line, record.is_ok())).collect()
}

/// Returns the only bad record.
fn bad(format: Format, text: &str) -> (Position, Problem) {
    let all = records(format, text.as_bytes()).unwrap();
    let mut bad = all.into_iter().filter_map(|(position, record)| Some((position, record.err()?)));
    let only = bad.next().unwrap();
    assert!(bad.next().is_none(), "{text}");
    only
}

/// Returns an input of three records, one per line, and the line of the first.
fn three(format: Format, change: impl Fn(usize, String) -> Vec<u8>) -> (Vec<u8>, usize) {
    let table = |separator: &str| {
        let header = ["cxnId", "secret", "appId", "appUrl", "siteUrl"].join(separator);
        let rows = (1..=3).map(|number| change(number, row(number, separator)));
        [vec![header.into_bytes()], rows.collect()].concat()
    };
    let lines: Vec<Vec<u8>> = match format {
        Format::Jsonl => (1..=3).map(|number| change(number, object(number))).collect(),
        Format::Json => {
            let entry = |number: usize| {
                let mut entry = format!("\"cxn:{number}\": ").into_bytes();
                entry.extend(change(number, object(number)));
                entry.extend(if number < 3 { &b","[..] } else { b"" });
                entry
            };
            [vec![b"{".to_vec()], (1..=3).map(entry).collect(), vec![b"}".to_vec()]].concat()
        }
        Format::Csv => table(","),
        Format::Tsv => table("\t"),
    };
    let first = if format == Format::Jsonl { 1 } else { 2 };
    (lines.into_iter().flat_map(|line| [line, b"\n".to_vec()].concat()).collect(), first)
}

#[test]
fn a_bad_record_is_skipped_in_every_format_and_lines_are_counted_however_they_end() {
    let wrong: [fn(String) -> Vec<u8>; 3] = [
        |text| text.replace("2.example/", "2.ex\u{1}ample/").into_bytes(),
        |text| [text.as_bytes(), b"\xff"].concat(),
        |text| text.replace("app:a", "b").into_bytes(),
    ];
    for format in Format::ALL {
        for wrong in wrong {
            let (text, first) = three(format, |number, text| if number == 2 { wrong(text) } else { text.into_bytes() });
            let expected = [(first, true), (first + 1, false), (first + 2, true)];
            assert_eq!(found(format, &text), expected, "{format:?}: {}", String::from_utf8_lossy(&text));
            for end in ["\r", "\r\n"] {
                let ended: Vec<u8> = text.split(|byte| *byte == b'\n').collect::<Vec<_>>().join(end.as_bytes());
                assert_eq!(found(format, &ended), expected, "{format:?} {end:?}");
            }
            let blank = [b"\n\r\n", &text[..]].concat();
            assert_eq!(found(format, &blank), expected.map(|(line, is_ok)| (line + 2, is_ok)), "{format:?}");
        }
    }
}

#[test]
fn the_ids_of_a_bad_record_are_read_unless_it_may_hold_others() {
    let ids = |format: Format, text: &[u8]| {
        let mut found = Vec::new();
        read_records(format, true, text, &mut |_, record| {
            found.extend(record.err().map(|rejected| (rejected.ids.cxn_id.is_some(), rejected.ids.app_id.is_some())));
            Ok::<_, Error>(())
        })
        .unwrap();
        found
    };
    for format in Format::ALL {
        let wrong: [fn(String) -> Vec<u8>; 2] = [
            |text| text.replace("BwcHBwcH", "oops").into_bytes(),
            |text| {
                text.replace("2.example/", "caf_")
                    .into_bytes()
                    .iter()
                    .map(|byte| if *byte == b'_' { 0xe9 } else { *byte })
                    .collect()
            },
        ];
        for wrong in wrong {
            let (text, _) = three(format, |number, text| if number == 2 { wrong(text) } else { text.into_bytes() });
            assert_eq!(ids(format, &text), [(true, true)], "{format:?}");
        }
        let (text, _) = three(format, |_, text| text.into_bytes());
        assert_eq!(ids(format, &text[..text.len() - 5]), [(false, false)], "{format:?}");
    }
    let header = "cxnId,secret,appId,appUrl,siteUrl,notes";
    let text = format!("{header}\n{},\"a\n{},b\"\n{}\n", row(1, ","), row(2, ","), row(3, ","));
    assert_eq!(ids(Format::Csv, text.as_bytes()), [(false, false), (false, false)]);
    let [one, two, last] = [1, 2, 3].map(|number| row(number, ","));
    for column in ["perm", "viaPort"] {
        let swallowed = format!("cxnId,secret,appId,appUrl,siteUrl,{column}\n{one},\"{two},\"\n{last},\n");
        assert_eq!(ids(Format::Csv, swallowed.as_bytes()), [(false, false)], "{column}");
    }
    let (text, _) = three(Format::Json, |_, text| text.into_bytes());
    let without_comma = String::from_utf8(text).unwrap().replacen("},", "}", 1);
    assert_eq!(ids(Format::Json, without_comma.as_bytes()), [(false, false)]);
}

#[test]
fn a_cut_in_the_last_record_is_a_bad_record() {
    for format in Format::ALL {
        let (text, first) = three(format, |_, text| text.into_bytes());
        let last_line = text.len() - if format == Format::Json { 3 } else { 1 };
        for cut in last_line - 20..last_line {
            let found = found(format, &text[..cut]);
            let good: Vec<_> = found.iter().filter(|(_, is_ok)| *is_ok).map(|(line, _)| *line).collect();
            assert_eq!(good, [first, first + 1], "{format:?} {cut}");
            assert_eq!(found.last(), Some(&(first + 2, false)), "{format:?} {cut}");
        }
        for garbage in [&b"\0\0\0\0"[..], b"x"] {
            let found = found(format, &[&text[..], garbage].concat());
            assert!(found.len() == 4 && !found[3].1, "{format:?}: {found:?}");
        }
    }
}

#[test]
fn places_are_those_of_the_users_file() {
    let position_of = |line, column, key: Option<&str>| Position { line, column, key: key.map(str::to_owned) };
    let good = object(1);
    let with = |value: &str| good.replace("\"appId\"", &format!("\"disabled\": {value}, \"appId\""));
    let (at, problem) =
        bad(Format::Jsonl, &format!("{good}\r\r\u{feff} \u{a0}{}\r", with("\"é\"").replace("cxn:1", "cxn:€")));
    assert_eq!(problem, Problem::WrongType { expected: "a boolean".to_owned() });
    assert_eq!(
        at,
        position_of(
            3,
            Some(2 + good.find("\"appId\"").unwrap() + "\"disabled\": \"é\"".chars().count()),
            Some("disabled")
        )
    );

    let pretty = with("5").replace(", ", ",\r\n    ");
    let (at, _) = bad(Format::Json, &format!("{{\r\n  \"cxn:1\":\r\n  {pretty}\r\n}}\r\n"));
    assert_eq!(at, position_of(5, Some(4 + "\"disabled\": 5".len()), Some("disabled")));
    let (at, _) = bad(Format::Json, &format!("{{ \"cxn:1\": {}}}", with("5")));
    assert_eq!((at.line, at.column.unwrap()), (1, 11 + good.find("\"appId\"").unwrap() + 13));

    let header = "cxnId,secret,appId,appUrl,siteUrl,batchCode,pollStatus";
    for (fields, key) in [("70000,", "batchCode"), (",\"{\"\"a\"\":{\"\"pollLevel\"\":\"\"x\"\"}}\"", "pollStatus")] {
        let (at, _) = bad(Format::Csv, &format!("\n{header}\n{},{fields}\n", row(1, ",")));
        assert_eq!(at, position_of(3, None, Some(key)));
    }
    let (at, problem) =
        bad(Format::Tsv, &format!("{}\tnotes\n{}\t\\x\n", header[..33].replace(',', "\t"), row(1, "\t")));
    assert_eq!((at, problem), (position_of(2, None, Some("notes")), Problem::InvalidEscape));
}

#[test]
fn an_empty_field_clears_what_can_be_cleared() {
    let names = "perm,viaPort,disabled,batchCode,pollStatus,jobName,pollLevel";
    let header = format!("cxnId,secret,appId,appUrl,siteUrl,{names}");
    for empty in [",,,,,,", "NULL,NULL,NULL,NULL,NULL,NULL,NULL", " , , , , , , "] {
        let text = format!("{header}\n{},{empty}\n", row(1, ","));
        for (format, text) in [(Format::Csv, text.clone()), (Format::Tsv, text.replace(',', "\t"))] {
            let all = records(format, text.as_bytes()).unwrap();
            let Ok(Record::Cxn(patch)) = &all[0].1 else { panic!("{all:?}") };
            assert_eq!((&patch.perm, &patch.via_port), (&FieldPatch::Clear, &FieldPatch::Clear));
            assert_eq!((&patch.disabled, patch.batch_code, patch.poll_status.len()), (&FieldPatch::Clear, None, 0));
        }
    }
    let plain = format!("{}\n{}\n", &header[..33], row(1, ","));
    let all = records(Format::Csv, plain.as_bytes()).unwrap();
    let Ok(Record::Cxn(patch)) = &all[0].1 else { panic!("{all:?}") };
    assert_eq!((&patch.perm, &patch.disabled), (&FieldPatch::Keep, &FieldPatch::Keep));
}

#[test]
fn the_entries_of_a_store_are_split_before_they_are_read() {
    let one = object(1);
    let bare = one.replace("\"cxnId\": \"cxn:1\", ", "");
    let lines = |text: &str| -> Vec<_> {
        let all = records(Format::Json, text.as_bytes()).unwrap();
        all.into_iter().map(|(position, record)| (position.line, record.err())).collect()
    };
    let json = |reason: &str| Some(Problem::Json { reason: reason.to_owned() });
    let entry = "expected a connection by its cxnId";
    assert_eq!(lines("{}"), []);
    assert_eq!(lines(&format!("{{\"cxn:1\": {bare}}}")), [(1, None)]);
    assert_eq!(lines(&format!("{{\"cxn:2\":\n{one},\n\"cxn:1\": 5}}"))[0], (1, Some(Problem::CxnIdDiffers)));
    for (text, expected) in [
        // A comma too many, none, and none between two entries.
        (format!("{{\"cxn:1\": {one},\n}}"), vec![(1, None), (2, json(entry))]),
        (format!("{{,\n\"cxn:1\": {one}}}"), vec![(1, json(entry)), (2, None)]),
        (format!("{{\"cxn:1\": {one}\n\"cxn:2\": {one}}}"), vec![(2, json("trailing characters"))]),
        (format!("{{\"cxn:1\": {one}}} \n}} x"), vec![(1, None), (2, json("trailing characters"))]),
        (format!("{{\"cxn:1\": {one}\n\n"), vec![(1, Some(Problem::Incomplete))]),
        // A quote that is not closed ends with its line.
        (
            format!("{{\"cxn:2\": {{\"secret\": \"x,\n\"n\": 1}},\n\"cxn:1\": {one}}}"),
            vec![(1, json("control character (\\u0000-\\u001F) found while parsing a string")), (3, None)],
        ),
    ] {
        assert_eq!(lines(&text), expected, "{text}");
    }
    let error = records(Format::Json, b"\n[1]").unwrap_err();
    assert!(matches!(error, Error::NotAnObject { line: 2 }), "{error:?}");
}

/// An input without end that repeats some bytes.
struct Endless(&'static [u8]);

impl Read for Endless {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = buffer.len() / self.0.len() * self.0.len();
        for (byte, repeated) in buffer[..length].iter_mut().zip(self.0.iter().cycle()) {
            *byte = *repeated;
        }
        Ok(length)
    }
}

#[test]
fn a_record_without_an_end_is_not_held_in_memory() {
    for (format, start, repeated) in [
        (Format::Jsonl, "\n{", &b"1"[..]),
        (Format::Json, "{\n\"cxn:1\": ", b"1"),
        (Format::Csv, "cxnId,secret\ncxn:1,\"", b"1,2345678901234567890123456789\n"),
        (Format::Tsv, "cxnId\tsecret\n", b"1"),
    ] {
        let endless = BufReader::with_capacity(1 << 16, start.as_bytes().chain(Endless(repeated)));
        let error = read_all(|emit| read_records(format, true, endless, emit)).unwrap_err();
        assert!(matches!(error, Error::RecordTooLong { line: 2 }), "{format:?}: {error:?}");
    }
}

/// Pieces that readers treat in a special way, and arbitrary bytes.
fn any_input() -> impl Strategy<Value = Vec<u8>> {
    let pieces = [
        "\n",
        "\r\n",
        "\r",
        "\"",
        "\"\"",
        ",",
        ";",
        "\t",
        "{",
        "}",
        "[",
        ":",
        "\\",
        "\\n",
        "NULL",
        "\0",
        "\u{feff}",
        "é",
        " ",
        "cxnId",
        "secret",
        "cxnId,secret,appId,appUrl,siteUrl\n",
        "cxnId\tsecret\tappId\tappUrl\tsiteUrl\n",
        "{\"cxn:1\":",
    ];
    let mut pieces: Vec<Vec<u8>> = pieces.iter().map(|piece| piece.as_bytes().to_vec()).collect();
    pieces.extend(
        [row(1, ","), row(2, "\t"), object(3), json!({"cxn:4": Value::Null}).to_string()].map(String::into_bytes),
    );
    let piece = prop_oneof![4 => proptest::sample::select(pieces), 1 => any::<u8>().prop_map(|byte| vec![byte])];
    proptest::collection::vec(piece, 0..24).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn no_input_makes_a_reader_panic_or_report_a_line_that_is_not_there(input in any_input()) {
        let ends = input.iter().filter(|byte| matches!(byte, b'\n' | b'\r')).count();
        for format in Format::ALL {
            for (position, _) in records(format, &input).unwrap_or_default() {
                prop_assert!((1..=ends + 1).contains(&position.line), "{:?} {:?}", format, position);
                prop_assert!(position.column.is_none_or(|column| (1..=input.len() + 1).contains(&column)), "{:?}", position);
            }
        }
    }
}

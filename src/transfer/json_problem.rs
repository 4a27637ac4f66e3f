//! What `serde_json` reports about an input, without the values of the input.

use serde::Deserialize;
use serde_path_to_error::Segment;

use super::error::Problem;
use super::format::KEYS;
use super::position::Defect;

/// The longest unknown key that is shown, in bytes. A secret is longer.
const MAX_SHOWN_KEY_BYTES: usize = 20;

/// Parses a text, and reports what is wrong with it and where.
pub fn parse<'de, T: Deserialize<'de>>(text: &'de str) -> Result<T, Defect> {
    serde_json::from_str(text).map_err(|error| Defect {
        problem: problem_of(&error),
        offset: Some(offset_of(&error, text)),
        key: key_of::<T>(text),
    })
}

/// Turns an error of `serde_json` into a problem that shows no value of the input.
///
/// `serde_json` reports what it expected only as text, and the text quotes what it found: a value of the wrong type, or
/// an unknown key. Either can be a secret in the wrong place. This is the only code that reads the message of a library.
fn problem_of(error: &serde_json::Error) -> Problem {
    if error.is_eof() {
        return Problem::Incomplete;
    }
    let text = error.to_string();
    // The position is always at the end. What was found may contain anything, so all searches start at the end.
    let text = text.rsplit_once(" at line ").map_or(text.as_str(), |(text, _)| text);
    if text.starts_with("invalid type: ") {
        return Problem::WrongType { expected: expected_in(text) };
    }
    if text.starts_with("invalid value: ") {
        return Problem::WrongValue { expected: expected_in(text) };
    }
    if let Some(rest) = text.strip_prefix("unknown field `") {
        let (key, expected) = rest.rsplit_once("`, expected ").unwrap_or((rest, "another key"));
        let is_shown = key.len() <= MAX_SHOWN_KEY_BYTES && key.bytes().all(|byte| byte.is_ascii_alphanumeric());
        return Problem::UnknownKey { key: is_shown.then(|| key.to_owned()), expected: expected.to_owned() };
    }
    Problem::Json { reason: text.to_owned() }
}

/// The part of a message that names what was expected.
fn expected_in(text: &str) -> String {
    text.rsplit_once(", expected ").map_or("another value", |(_, expected)| expected).to_owned()
}

/// How many bytes of a text are before the one at which `serde_json` stopped. It counts bytes, and lines by LF.
fn offset_of(error: &serde_json::Error, text: &str) -> usize {
    let before: usize = text.split_inclusive('\n').take(error.line().saturating_sub(1)).map(str::len).sum();
    (before + error.column()).saturating_sub(1).min(text.len())
}

/// The key of a connection whose value cannot be read; `None` if the fault is elsewhere.
fn key_of<'de, T: Deserialize<'de>>(text: &'de str) -> Option<String> {
    let mut parser = serde_json::Deserializer::from_str(text);
    let error = serde_path_to_error::deserialize::<_, T>(&mut parser).err()?;
    match error.path().iter().next()? {
        Segment::Map { key } if KEYS.contains(&key.as_str()) => Some(key.clone()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde::Deserialize;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    #[expect(dead_code, reason = "only errors are looked at")]
    struct Known {
        flag: bool,
        small: u8,
    }

    fn problem(text: &str) -> Problem {
        parse::<Known>(text).unwrap_err().problem
    }

    #[test]
    fn what_was_expected_is_kept_with_its_offset() {
        let json = |reason: &str| Problem::Json { reason: reason.to_owned() };
        let key = Some("smal".to_owned());
        for (text, expected, offset) in [
            (r#"{"flag": 7}"#, Problem::WrongType { expected: "a boolean".to_owned() }, 9),
            ("{\"small\":\r\n\t256}", Problem::WrongValue { expected: "u8".to_owned() }, 14),
            (r#"{"smal": 1}"#, Problem::UnknownKey { key, expected: "`flag` or `small`".to_owned() }, 6),
            (r#"{"small": 1}"#, json("missing field `flag`"), 11),
            (r#"{"small": 1, "flag": true} x"#, json("trailing characters"), 27),
            (r#"{"small": 1, "fl"#, Problem::Incomplete, 15),
        ] {
            let defect = parse::<Known>(text).unwrap_err();
            assert_eq!((defect.problem, defect.offset), (expected, Some(offset)), "{text}");
        }
    }

    const SECRET: &str = "AwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwM=";

    #[test]
    fn a_secret_is_shown_from_no_place() {
        for text in [
            format!(r#"{{"flag": "{SECRET}"}}"#),
            format!(r#"{{"flag": "x, expected {SECRET}"}}"#),
            format!(r#"{{"flag": "x at line {SECRET}"}}"#),
            format!(r#"{{"{SECRET}": 1}}"#),
            format!(r#"{{"a`{SECRET}": 1}}"#),
            format!(r#"{{"a`, expected {SECRET}": 1}}"#),
            format!(r#"{{"a at line {SECRET}": 1}}"#),
            format!(r#""{SECRET}""#),
            format!(r#"{{"small": 1, "flag": true}} {SECRET}"#),
            format!("{{{SECRET}"),
        ] {
            let problem = format!("{:?}", problem(&text));
            assert!(!problem.contains(&SECRET[..8]), "{text}: {problem}");
        }
    }

    proptest! {
        #[test]
        fn no_surroundings_reveal_a_secret(before in "[ -~]{0,20}", after in "[ -~]{0,20}", is_key in any::<bool>()) {
            let text = serde_json::Value::from(format!("{before}{SECRET}{after}")).to_string();
            let text = if is_key { format!("{{{text}: 1}}") } else { format!("{{\"small\": {text}}}") };
            let problem = format!("{:?}", problem(&text));
            prop_assert!(!problem.contains(&SECRET[..8]), "{}: {}", text, problem);
        }
    }
}

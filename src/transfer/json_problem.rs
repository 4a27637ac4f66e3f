//! What `serde_json` reports about an input, without the values of the input.

use super::error::Problem;

/// The longest unknown key that is shown, in bytes. A secret is longer.
const MAX_SHOWN_KEY_BYTES: usize = 20;

/// Turns an error of `serde_json` into a problem that shows no value of the input.
///
/// `serde_json` reports what it expected only as text, and the text quotes what it found: a value of the wrong type, or
/// an unknown key. Either can be a secret in the wrong place. This is the only code that reads the message of a library.
pub fn problem_of(error: &serde_json::Error) -> Problem {
    let text = error.to_string();
    let column = error.column();
    // The position is always at the end. What was found may contain anything, so all searches start at the end.
    let text = text.rsplit_once(" at line ").map_or(text.as_str(), |(text, _)| text);
    if text.starts_with("invalid type: ") {
        return Problem::WrongType { expected: expected_in(text), column };
    }
    if text.starts_with("invalid value: ") {
        return Problem::WrongValue { expected: expected_in(text), column };
    }
    if let Some(rest) = text.strip_prefix("unknown field `") {
        let (key, expected) = rest.rsplit_once("`, expected ").unwrap_or((rest, "another key"));
        let is_shown = key.len() <= MAX_SHOWN_KEY_BYTES && key.bytes().all(|byte| byte.is_ascii_alphanumeric());
        return Problem::UnknownKey { key: is_shown.then(|| key.to_owned()), expected: expected.to_owned(), column };
    }
    Problem::Json { reason: text.to_owned(), column }
}

/// The part of a message that names what was expected.
fn expected_in(text: &str) -> String {
    text.rsplit_once(", expected ").map_or("another value", |(_, expected)| expected).to_owned()
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
        problem_of(&serde_json::from_str::<Known>(text).unwrap_err())
    }

    #[test]
    fn what_was_expected_is_kept_with_its_column() {
        let expected = "a boolean".to_owned();
        assert_eq!(problem(r#"{"flag": 7}"#), Problem::WrongType { expected, column: 10 });
        let expected = "u8".to_owned();
        assert_eq!(problem(r#"{"small": 256}"#), Problem::WrongValue { expected, column: 13 });
        let (key, expected) = (Some("smal".to_owned()), "`flag` or `small`".to_owned());
        assert_eq!(problem(r#"{"smal": 1}"#), Problem::UnknownKey { key, expected, column: 7 });
        let reason = "missing field `flag`".to_owned();
        assert_eq!(problem(r#"{"small": 1}"#), Problem::Json { reason, column: 12 });
        let reason = "trailing characters".to_owned();
        assert_eq!(problem(r#"{"small": 1, "flag": true} x"#), Problem::Json { reason, column: 28 });
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

//! JSON from strangers, with limits of depth and size.

use serde::Deserialize;
use serde_json::Value;

/// The deepest nesting of arrays and objects, which is the limit of PHP's `json_decode`.
const MAX_DEPTH: usize = 511;

/// How many values a text may hold: 20 times 2,500 fields.
///
/// A value may need a hundred times the memory of its text, so without a limit a reply of 1 MiB could take 100 MiB.
pub(super) const MAX_VALUES: usize = 50_000;

/// Why a text is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refusal {
    /// Not JSON, or nested too deeply.
    NotJson,
    /// More than [`MAX_VALUES`].
    TooManyValues,
}

/// Parses one JSON value that is nested at most 511 levels deep and holds at most [`MAX_VALUES`].
///
/// Both limits are checked before parsing. So the parser's recursion and memory are bounded for any text.
pub(super) fn parse(text: &[u8]) -> Result<Value, Refusal> {
    let (depth, values) = measure(text);
    if depth > MAX_DEPTH {
        return Err(Refusal::NotJson);
    }
    if values > MAX_VALUES {
        return Err(Refusal::TooManyValues);
    }
    let mut parser = serde_json::Deserializer::from_slice(text);
    parser.disable_recursion_limit();
    let value = Value::deserialize(&mut parser).map_err(|_| Refusal::NotJson)?;
    parser.end().map_err(|_| Refusal::NotJson)?;
    Ok(value)
}

/// Returns the deepest nesting of brackets outside strings, and the number of values.
///
/// For text that is not JSON, these are upper bounds of what a parser meets before it fails.
fn measure(text: &[u8]) -> (usize, usize) {
    let (mut depth, mut deepest, mut values, mut in_string, mut escaped) = (0usize, 0usize, 1usize, false, false);
    for byte in text {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            // A comma or an opening bracket begins a value. Empty brackets are counted as one too many.
            b',' if !in_string => values += 1,
            b'[' | b'{' if !in_string => {
                values += 1;
                depth += 1;
                deepest = deepest.max(depth);
            }
            b']' | b'}' if !in_string => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    (deepest, values)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn depth_is_bounded() {
        let nested = |levels: usize| ["[".repeat(levels), "]".repeat(levels)].concat();
        assert!(parse(nested(511).as_bytes()).is_ok());
        assert_eq!(parse(nested(512).as_bytes()), Err(Refusal::NotJson));
        assert_eq!(parse("[".repeat(1_000_000).as_bytes()), Err(Refusal::NotJson));
        assert_eq!(parse("{\"a\":".repeat(400).as_bytes()), Err(Refusal::NotJson));
        assert!(parse(format!("{{\"[[\\\"[[\":{}}}", nested(510)).as_bytes()).is_ok());
    }

    #[test]
    fn the_number_of_values_is_bounded() {
        let list = |values: usize, value: &str| format!("[{}]", vec![value; values].join(","));
        assert!(parse(list(MAX_VALUES - 1, "0").as_bytes()).is_ok());
        assert_eq!(parse(list(MAX_VALUES, "0").as_bytes()), Err(Refusal::TooManyValues));
        assert_eq!(parse(list(MAX_VALUES / 2, "[0]").as_bytes()), Err(Refusal::TooManyValues));
        assert_eq!(parse(list(MAX_VALUES / 2, "{\"\":0}").as_bytes()), Err(Refusal::TooManyValues));
        assert!(parse(list(1, &format!("\"{}\"", ",[{".repeat(MAX_VALUES))).as_bytes()).is_ok());
    }
}

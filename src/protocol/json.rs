//! JSON from strangers.

use serde::Deserialize;
use serde_json::Value;

/// PHP's `json_decode` takes arrays and objects that are nested this deep, and no deeper.
const MAX_DEPTH: usize = 511;

/// The most values that are taken: 20 times 2,500 fields. One may need a hundred times the memory of its text, so that
/// without a limit a reply of 1 MiB could take 100.
pub(super) const MAX_VALUES: usize = 50_000;

/// Why a text is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NotTaken {
    /// Not JSON, or nested too deep.
    NotJson,
    /// More than [`MAX_VALUES`].
    TooManyValues,
}

/// Reads one JSON value that is nested at most 511 levels deep and holds at most [`MAX_VALUES`].
///
/// Both are told before parsing, so that the parser's recursion and what it allocates are bounded whatever the text.
pub(super) fn parse(text: &[u8]) -> Result<Value, NotTaken> {
    let (depth, values) = measure(text);
    if depth > MAX_DEPTH {
        return Err(NotTaken::NotJson);
    }
    if values > MAX_VALUES {
        return Err(NotTaken::TooManyValues);
    }
    let mut parser = serde_json::Deserializer::from_slice(text);
    parser.disable_recursion_limit();
    let value = Value::deserialize(&mut parser).map_err(|_| NotTaken::NotJson)?;
    parser.end().map_err(|_| NotTaken::NotJson)?;
    Ok(value)
}

/// The deepest nesting of brackets outside strings, and the number of values; for text that isn't JSON upper bounds of
/// what a parser meets before it fails.
fn measure(text: &[u8]) -> (usize, usize) {
    let (mut depth, mut deepest, mut values, mut in_string, mut escaped) = (0usize, 0usize, 1usize, false, false);
    for byte in text {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            // Each begins a value, but for brackets with nothing in them.
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
        assert_eq!(parse(nested(512).as_bytes()), Err(NotTaken::NotJson));
        assert_eq!(parse("[".repeat(1_000_000).as_bytes()), Err(NotTaken::NotJson));
        assert_eq!(parse("{\"a\":".repeat(400).as_bytes()), Err(NotTaken::NotJson));
        assert!(parse(format!("{{\"[[\\\"[[\":{}}}", nested(510)).as_bytes()).is_ok());
    }

    #[test]
    fn the_number_of_values_is_bounded() {
        let list = |values: usize, value: &str| format!("[{}]", vec![value; values].join(","));
        assert!(parse(list(MAX_VALUES - 1, "0").as_bytes()).is_ok());
        assert_eq!(parse(list(MAX_VALUES, "0").as_bytes()), Err(NotTaken::TooManyValues));
        assert_eq!(parse(list(MAX_VALUES / 2, "[0]").as_bytes()), Err(NotTaken::TooManyValues));
        assert_eq!(parse(list(MAX_VALUES / 2, "{\"\":0}").as_bytes()), Err(NotTaken::TooManyValues));
        assert!(parse(list(1, &format!("\"{}\"", ",[{".repeat(MAX_VALUES))).as_bytes()).is_ok());
    }
}

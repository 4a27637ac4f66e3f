//! JSON from strangers.

use serde::Deserialize;
use serde_json::Value;

/// PHP's `json_decode` takes arrays and objects that are nested this deep, and no deeper.
const MAX_DEPTH: usize = 511;

/// Reads one JSON value that is nested at most 511 levels deep; `None` where it is anything else.
///
/// The depth is told before parsing, so that the parser's recursion is bounded whatever the text.
pub(super) fn parse(text: &[u8]) -> Option<Value> {
    if depth(text) > MAX_DEPTH {
        return None;
    }
    let mut parser = serde_json::Deserializer::from_slice(text);
    parser.disable_recursion_limit();
    let value = Value::deserialize(&mut parser).ok()?;
    parser.end().ok()?;
    Some(value)
}

/// The deepest nesting of brackets outside strings; for text that isn't JSON an upper bound of what a parser meets
/// before it fails.
fn depth(text: &[u8]) -> usize {
    let (mut depth, mut deepest, mut in_string, mut escaped) = (0usize, 0usize, false, false);
    for byte in text {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            b'[' | b'{' if !in_string => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b']' | b'}' if !in_string => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn depth_is_bounded() {
        let nested = |levels: usize| ["[".repeat(levels), "]".repeat(levels)].concat();
        assert!(parse(nested(511).as_bytes()).is_some());
        assert!(parse(nested(512).as_bytes()).is_none());
        assert!(parse("[".repeat(1_000_000).as_bytes()).is_none());
        assert!(parse("{\"a\":".repeat(400).as_bytes()).is_none());
        assert!(parse(format!("{{\"[[\\\"[[\":{}}}", nested(510)).as_bytes()).is_some());
    }
}

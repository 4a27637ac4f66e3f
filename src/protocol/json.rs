//! JSON from strangers, with limits of depth and memory.

use serde::Deserialize;
use serde::de::{DeserializeOwned, Error as _};
use serde_json::Value;

/// The deepest nesting of arrays and objects in a reply, which is the limit of PHP's `json_decode`.
const MAX_DEPTH: usize = 511;

/// The deepest nesting of a line of a listener program, and of a kept result.
///
/// A reply that a listener keeps is nested deeper there than in its message. What can be kept can be read again.
pub const MAX_KEPT_DEPTH: usize = MAX_DEPTH + 17;

/// The most memory that the values of a reply may take, in bytes.
///
/// A value may need a hundred times the memory of its text.
pub(super) const MAX_REPLY_MEMORY_BYTES: usize = 4 << 20;

/// An allocation of its own takes at least this much.
const ALLOCATION_BYTES: usize = 32;
/// The first element of an array makes room for four.
const FIRST_ELEMENT_BYTES: usize = 4 * size_of::<Value>() + ALLOCATION_BYTES;
/// Every other element, in a vector that doubles its size.
const ELEMENT_BYTES: usize = 2 * size_of::<Value>();
/// A member of an object: its hash, its key and its value.
const ENTRY_BYTES: usize = size_of::<u64>() + size_of::<String>() + size_of::<Value>();
/// The first member of an object makes room for three, and for a table of hashes.
const FIRST_MEMBER_BYTES: usize = 3 * ENTRY_BYTES + 3 * ALLOCATION_BYTES;
/// Every other member, in a vector and a table that double their size.
const MEMBER_BYTES: usize = 2 * (ENTRY_BYTES + size_of::<u64>());

/// Why a text is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refusal {
    /// Not JSON, or nested too deeply.
    NotJson,
    /// Its values would take more than [`MAX_REPLY_MEMORY_BYTES`].
    TooLarge,
}

/// Parses JSON that is nested at most 511 levels deep and takes at most [`MAX_REPLY_MEMORY_BYTES`].
///
/// Both limits are checked before parsing. So the parser's recursion and memory are bounded for any text.
pub(super) fn parse(text: &[u8]) -> Result<Value, Refusal> {
    let size = measure(text);
    if size.depth > MAX_DEPTH {
        return Err(Refusal::NotJson);
    }
    if size.bytes > MAX_REPLY_MEMORY_BYTES {
        return Err(Refusal::TooLarge);
    }
    read(text).map_err(|_| Refusal::NotJson)
}

/// Reads something of JSON that is nested at most 511 levels deep, without building all values.
pub(super) fn check<'de, T: Deserialize<'de>>(text: &'de [u8]) -> Result<T, Refusal> {
    if measure(text).depth > MAX_DEPTH {
        return Err(Refusal::NotJson);
    }
    read(text).map_err(|_| Refusal::NotJson)
}

/// Reads JSON that is nested at most [`MAX_KEPT_DEPTH`] levels deep.
///
/// # Errors
/// The text is not JSON, is nested deeper, or does not hold a `T`.
pub fn read_kept<T: DeserializeOwned>(text: &[u8]) -> serde_json::Result<T> {
    if measure(text).depth > MAX_KEPT_DEPTH {
        return Err(serde_json::Error::custom(format_args!("nested more than {MAX_KEPT_DEPTH} levels deep")));
    }
    read(text)
}

/// Whether a text is nested at most [`MAX_KEPT_DEPTH`] levels deep.
#[must_use]
pub fn can_be_kept(text: &[u8]) -> bool {
    measure(text).depth <= MAX_KEPT_DEPTH
}

/// Whether a text is nested at most `levels` deep.
pub(super) fn is_nested_at_most(text: &str, levels: usize) -> bool {
    measure(text.as_bytes()).depth <= levels
}

fn read<'de, T: Deserialize<'de>>(text: &'de [u8]) -> serde_json::Result<T> {
    let mut parser = serde_json::Deserializer::from_slice(text);
    parser.disable_recursion_limit();
    let value = T::deserialize(&mut parser)?;
    parser.end()?;
    Ok(value)
}

/// What a text needs once it is parsed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Size {
    /// The deepest nesting of brackets outside strings.
    depth: usize,
    /// The memory of the values.
    bytes: usize,
}

/// Measures a text. For one that is not JSON, these are upper bounds of what a parser meets before it fails.
fn measure(text: &[u8]) -> Size {
    let (mut size, mut in_string, mut escaped, mut is_opened) = (Size::default(), false, false, false);
    // Whether each open bracket is that of an object.
    let mut open: Vec<bool> = Vec::new();
    for byte in text {
        if in_string {
            size.bytes += 1;
            (escaped, in_string) = (!escaped && *byte == b'\\', escaped || *byte != b'"');
            continue;
        }
        if byte.is_ascii_whitespace() {
            continue;
        }
        // An empty array or object takes no memory of its own.
        if std::mem::take(&mut is_opened) && !matches!(byte, b']' | b'}') {
            size.bytes += if open.last() == Some(&true) { FIRST_MEMBER_BYTES } else { FIRST_ELEMENT_BYTES };
        }
        match byte {
            b'"' => {
                size.bytes += ALLOCATION_BYTES;
                in_string = true;
            }
            b',' => size.bytes += if open.last() == Some(&true) { MEMBER_BYTES } else { ELEMENT_BYTES },
            b'[' | b'{' => {
                open.push(*byte == b'{');
                size.depth = size.depth.max(open.len());
                is_opened = true;
            }
            b']' | b'}' => _ = open.pop(),
            _ => {}
        }
    }
    size
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn nested(levels: usize) -> String {
        ["[".repeat(levels), "]".repeat(levels)].concat()
    }

    #[test]
    fn depth_is_bounded() {
        assert!(parse(nested(511).as_bytes()).is_ok());
        assert_eq!(parse(nested(512).as_bytes()), Err(Refusal::NotJson));
        assert_eq!(check::<Value>(nested(512).as_bytes()), Err(Refusal::NotJson));
        assert_eq!(parse("[".repeat(1_000_000).as_bytes()), Err(Refusal::NotJson));
        assert_eq!(parse("{\"a\":".repeat(400).as_bytes()), Err(Refusal::NotJson));
        assert!(parse(format!("{{\"[[\\\"[[\":{}}}", nested(510)).as_bytes()).is_ok());
    }

    #[test]
    fn what_can_be_kept_can_be_read() {
        for (levels, can_be_read) in [(MAX_DEPTH + 2, true), (MAX_KEPT_DEPTH, true), (MAX_KEPT_DEPTH + 1, false)] {
            let text = nested(levels);
            assert_eq!(can_be_kept(text.as_bytes()), can_be_read, "{levels}");
            assert_eq!(read_kept::<Value>(text.as_bytes()).is_ok(), can_be_read, "{levels}");
        }
    }

    #[test]
    fn memory_is_bounded() {
        let list = |number: usize, value: &str| format!("[{}]", vec![value; number].join(","));
        for (fits, too_many, value) in [
            (25_000, 32_000, "0"),
            (25_000, 32_000, "{}"),
            (7_000, 9_500, "[0]"),
            (6_000, 8_000, "{\"\":0}"),
            (20_000, 28_000, "\"\""),
        ] {
            assert!(parse(list(fits, value).as_bytes()).is_ok(), "{fits} of {value}");
            assert_eq!(parse(list(too_many, value).as_bytes()), Err(Refusal::TooLarge), "{too_many} of {value}");
            assert!(check::<Value>(list(too_many, value).as_bytes()).is_ok());
        }
        // One long text takes what it is long, whatever it contains.
        assert!(parse(format!("\"{}\"", ",[{".repeat(300_000)).as_bytes()).is_ok());
    }

    #[test]
    fn ordinary_records_of_a_quarter_of_a_mebibyte_fit() {
        let record: Value = (0..20).map(|number| (format!("field_{number}"), json!("a longer value"))).collect();
        let text = json!({"is_error": 0, "values": vec![record; 580]}).to_string();
        assert!(text.len() > 250 << 10, "{}", text.len());
        assert!(parse(text.as_bytes()).is_ok(), "{:?}", measure(text.as_bytes()));
    }

    /// The memory of a value as far as its capacities are known.
    fn allocated(value: &Value) -> usize {
        match value {
            Value::String(text) => text.capacity(),
            Value::Array(list) => list.capacity() * size_of::<Value>() + list.iter().map(allocated).sum::<usize>(),
            Value::Object(map) => {
                let members = map.iter().map(|(key, value)| key.capacity() + allocated(value) + ENTRY_BYTES);
                members.sum()
            }
            _ => 0,
        }
    }

    fn values() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![Just(Value::Null), any::<i64>().prop_map(Value::from), ".{0,40}".prop_map(Value::from)];
        leaf.prop_recursive(6, 200, 20, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..20).prop_map(Value::from),
                proptest::collection::vec((".{0,9}", inner), 0..20).prop_map(|members| members.into_iter().collect()),
            ]
        })
    }

    proptest! {
        #[test]
        fn a_text_needs_no_more_memory_than_is_measured(value in values()) {
            let text = value.to_string();
            let parsed = parse(text.as_bytes()).unwrap();
            let needed = allocated(&parsed);
            prop_assert!(measure(text.as_bytes()).bytes >= needed, "{} of {needed}: {text}", measure(text.as_bytes()).bytes);
        }
    }
}

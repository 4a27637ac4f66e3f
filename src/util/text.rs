//! Text that is safe to show.

use std::any::Any;
use std::borrow::Cow;
use std::fmt::Write;
use std::io;
use std::path::Path;
use std::str::FromStr;

use icu_properties::props::{
    BinaryProperty, DefaultIgnorableCodePoint, EnumeratedProperty, GeneralCategory, PrependedConcatenationMark,
};

/// The longest text that [`sanitize`] returns, in characters.
pub const MAX_SANITIZED_CHARS: usize = 200;

/// The mark at the start of a text by which some programs show that it is Unicode.
pub const BYTE_ORDER_MARK: &str = "\u{feff}";

/// Makes text from a site or a program safe to show and to store.
///
/// The result is [`is_printable`]. Runs of blanks become one space. It has at most [`MAX_SANITIZED_CHARS`] characters.
#[must_use]
pub fn sanitize(text: &str) -> String {
    let mut safe = String::new();
    let mut chars = 0;
    for c in text.chars() {
        let c = if c.is_control() || c.is_whitespace() { ' ' } else { c };
        if is_unsafe(c) || (c == ' ' && (safe.is_empty() || safe.ends_with(' '))) {
            continue;
        }
        if chars == MAX_SANITIZED_CHARS - 1 {
            safe.push('…');
            break;
        }
        safe.push(c);
        chars += 1;
    }
    safe.truncate(safe.trim_end().len());
    safe
}

/// Escapes what is not printable as JSON does: `\u202e`. Line feeds stay.
///
/// Unlike [`sanitize`] it keeps text whole, so that different names look different.
#[must_use]
pub fn escape(text: &str) -> Cow<'_, str> {
    if is_printable(text) {
        return Cow::Borrowed(text);
    }
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        if c != '\n' && is_unsafe(c) {
            for unit in c.encode_utf16(&mut [0; 2]) {
                // Writing to a string does not fail.
                let _ = write!(escaped, "\\u{unit:04x}");
            }
        } else {
            escaped.push(c);
        }
    }
    Cow::Owned(escaped)
}

/// Whether text has only characters that are shown, each in its place.
///
/// That excludes control characters, and those that are invisible or change the direction of text.
#[must_use]
pub fn is_printable(text: &str) -> bool {
    !text.contains(is_unsafe)
}

fn is_unsafe(c: char) -> bool {
    if c.is_ascii() {
        return c.is_ascii_control();
    }
    match GeneralCategory::for_char(c) {
        GeneralCategory::Control | GeneralCategory::LineSeparator | GeneralCategory::ParagraphSeparator => true,
        // A few format characters, such as the Arabic number sign, are visible.
        GeneralCategory::Format => !PrependedConcatenationMark::for_char(c),
        _ => DefaultIgnorableCodePoint::for_char(c),
    }
}

/// Decodes text as UTF-8, and each byte that is not UTF-8 as Latin-1.
#[must_use]
pub fn decode(bytes: &[u8]) -> String {
    let mut text = String::new();
    for chunk in bytes.utf8_chunks() {
        text.push_str(chunk.valid());
        text.extend(chunk.invalid().iter().map(|byte| char::from(*byte)));
    }
    text
}

/// The message of a caught panic, on one line.
#[must_use]
pub fn panic_message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    sanitize(text.unwrap_or("no message"))
}

/// Parses a number of ASCII digits; `None` for other text, and for a number that is out of range.
///
/// `FromStr` would also accept a plus sign.
#[must_use]
pub fn parse_digits<T: FromStr>(text: &str) -> Option<T> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?
}

/// The text of an error of the system, without the number that the standard library adds.
#[must_use]
pub fn system_text(error: &io::Error) -> String {
    let text = error.to_string();
    text.split_once(" (os error").map_or(text.as_str(), |(reason, _)| reason).to_owned()
}

/// A count with its noun: `1 site`, `3 sites`. The plural is the noun with an `s`.
#[must_use]
pub fn count(number: u64, noun: &str) -> String {
    if number == 1 { format!("1 {noun}") } else { format!("{number} {noun}s") }
}

/// A part in percent with two digits, such as `99.95 %`; `None` if the whole is 0.
///
/// It is rounded down, so that only the whole is `100 %`.
#[must_use]
pub fn percent(part: u64, whole: u64) -> Option<String> {
    let hundredths = (u128::from(part) * 10_000).checked_div(whole.into())?;
    Some(match hundredths {
        10_000 => "100 %".to_owned(),
        _ => format!("{}.{:02} %", hundredths / 100, hundredths % 100),
    })
}

/// The counts that are not 0, each after a comma: `, 2 deferred, 1 given up`.
#[must_use]
pub fn counts_above_zero(counts: &[(u64, &str)]) -> String {
    let texts = counts.iter().filter(|(number, _)| *number > 0).map(|(number, what)| format!(", {number} {what}"));
    texts.collect::<Vec<_>>().concat()
}

/// Quotes a path for a shell, if it needs that.
#[must_use]
pub fn shell_quoted(path: &Path) -> String {
    let text = path.to_string_lossy();
    // No path has the NUL byte that cannot be quoted.
    shlex::try_quote(&text).map_or_else(|_| text.to_string(), Cow::into_owned)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::ops::RangeInclusive;

    #[test]
    fn terminal_escapes_are_removed() {
        assert_eq!(sanitize("\u{1b}[2Jgone\r\n  \u{202e}x\u{9b}31m "), "[2Jgone x 31m");
    }

    #[test]
    fn a_path_is_quoted_for_a_shell_if_it_needs_that() {
        assert_eq!(shell_quoted(Path::new("/tmp/cxnpoll-demo-a1B2")), "/tmp/cxnpoll-demo-a1B2");
        for path in ["/home/me/it's here", "/tmp/$HOME", "/tmp/a\"b\\"] {
            let quoted = shell_quoted(Path::new(path));
            assert!(quoted != path && shlex::split(&quoted).unwrap() == [path], "{quoted}");
        }
    }

    #[test]
    fn bytes_that_are_not_utf8_are_latin_1() {
        for (bytes, text) in
            [(&b"l\xe4uft"[..], "läuft"), ("läuft".as_bytes(), "läuft"), (b"\xc3\xa9 \xe9\xc3", "é éÃ")]
        {
            assert_eq!(decode(bytes), text);
        }
    }

    #[test]
    fn only_one_is_singular() {
        assert_eq!([0, 1, 2].map(|number| count(number, "app")), ["0 apps", "1 app", "2 apps"]);
    }

    #[test]
    fn only_ascii_digits_are_a_number() {
        assert_eq!(["0", "007", "65535"].map(parse_digits::<u16>), [Some(0), Some(7), Some(65_535)]);
        for bad in ["", "+1", "-1", " 1", "1 ", "0x1", "65536", "٣"] {
            assert_eq!(parse_digits::<u16>(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn a_panic_with_any_payload_has_a_message() {
        assert_eq!(panic_message(&"a\nb"), "a b");
        assert_eq!(panic_message(&"owned".to_owned()), "owned");
        assert_eq!(panic_message(&7_u8), "no message");
    }

    /// Code points that a terminal obeys, hides or reorders text by, in Unicode 17.
    ///
    /// The properties `Default_Ignorable_Code_Point` (<https://www.unicode.org/Public/17.0.0/ucd/DerivedCoreProperties.txt>)
    /// and `Bidi_Control`, control characters, separators of lines, and controls of annotations and of hieroglyphs.
    const UNSAFE: [RangeInclusive<u32>; 20] = [
        0..=0x1f,
        0x7f..=0x9f,
        0xad..=0xad,
        0x34f..=0x34f,
        0x61c..=0x61c,
        0x115f..=0x1160,
        0x17b4..=0x17b5,
        0x180b..=0x180f,
        0x200b..=0x200f,
        0x2028..=0x202e,
        0x2060..=0x206f,
        0x3164..=0x3164,
        0xfe00..=0xfe0f,
        0xfeff..=0xfeff,
        0xffa0..=0xffa0,
        0xfff0..=0xfffb,
        0x1_3430..=0x1_343f,
        0x1_bca0..=0x1_bca3,
        0x1_d173..=0x1_d17a,
        0xe_0000..=0xe_0fff,
    ];

    fn is_listed(c: char) -> bool {
        UNSAFE.iter().any(|range| range.contains(&u32::from(c)))
    }

    #[test]
    fn exactly_the_listed_characters_are_not_printable() {
        for c in (0..=u32::from(char::MAX)).filter_map(char::from_u32) {
            assert_eq!(is_printable(c.encode_utf8(&mut [0; 4])), !is_listed(c), "U+{:04X}", u32::from(c));
        }
    }

    #[test]
    fn what_is_escaped_can_be_told_apart_and_is_the_same_json() {
        assert_eq!(escape("cxn:a\u{202e}b\u{e0041}"), "cxn:a\\u202eb\\udb40\\udc41");
        assert!(matches!(escape("cxn:å b"), Cow::Borrowed("cxn:å b")));
        let json = serde_json::to_string_pretty(&["\u{9b}31m\u{3164}\n"]).unwrap();
        assert_eq!(escape(&json), "[\n  \"\\u009b31m\\u3164\\n\"\n]");
        assert_eq!(serde_json::from_str::<[String; 1]>(&escape(&json)).unwrap(), ["\u{9b}31m\u{3164}\n"]);
    }

    #[test]
    fn only_a_whole_is_100_percent() {
        let percents = [(0, 9), (57, 100), (9982, 10_000), (u64::MAX - 1, u64::MAX), (7, 7), (0, 0)];
        let percents = percents.map(|(part, whole)| percent(part, whole).unwrap_or_default());
        assert_eq!(percents, ["0.00 %", "57.00 %", "99.82 %", "99.99 %", "100 %", ""]);
    }

    /// Text with unsafe characters of every range, blanks, and any other characters.
    fn text() -> impl Strategy<Value = String> {
        let unsafe_char = prop::sample::select(UNSAFE.to_vec()).prop_flat_map(|range| range);
        let unsafe_char = unsafe_char.prop_filter_map("a code point", char::from_u32);
        let chars = prop_oneof![unsafe_char, any::<char>(), prop::char::range(' ', '~')];
        prop::collection::vec(chars, 0..300).prop_map(|chars| chars.into_iter().collect())
    }

    proptest! {
        #[test]
        fn any_text_becomes_safe(text in text()) {
            let safe = sanitize(&text);
            prop_assert!(safe.chars().count() <= MAX_SANITIZED_CHARS);
            prop_assert!(!safe.chars().any(is_listed));
            prop_assert_eq!(sanitize(&safe), safe);
            prop_assert!(!escape(&text).chars().any(|c| c != '\n' && is_listed(c)));
        }
    }
}

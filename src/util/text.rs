//! Text that is safe to show.

use std::any::Any;
use std::str::FromStr;

/// The longest text that [`sanitize`] returns, in characters.
pub const MAX_SANITIZED_CHARS: usize = 200;

/// Makes text from a site or a program safe to show and to store.
///
/// The result has no control characters and none that change the direction of text. Runs of blanks become one space.
/// It has at most [`MAX_SANITIZED_CHARS`] characters.
#[must_use]
pub fn sanitize(text: &str) -> String {
    let mut safe = String::new();
    let mut chars = 0;
    for c in text.chars() {
        let c = if c.is_control() || c.is_whitespace() { ' ' } else { c };
        if is_invisible(c) || (c == ' ' && (safe.is_empty() || safe.ends_with(' '))) {
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

/// Whether a character is invisible or changes the order of the text around it.
fn is_invisible(c: char) -> bool {
    matches!(
        c,
        '\u{ad}' | '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}'
    )
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

/// A count with its noun: `1 site`, `3 sites`. The plural is the noun with an `s`.
#[must_use]
pub fn count(number: u64, noun: &str) -> String {
    if number == 1 { format!("1 {noun}") } else { format!("{number} {noun}s") }
}

/// The counts that are not 0, each after a comma: `, 2 deferred, 1 given up`.
#[must_use]
pub fn counts_above_zero(counts: &[(u64, &str)]) -> String {
    let texts = counts.iter().filter(|(number, _)| *number > 0).map(|(number, what)| format!(", {number} {what}"));
    texts.collect::<Vec<_>>().concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn terminal_escapes_are_removed() {
        assert_eq!(sanitize("\u{1b}[2Jgone\r\n  \u{202e}x\u{9b}31m "), "[2Jgone x 31m");
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

    proptest! {
        #[test]
        fn any_text_becomes_safe(text in "\\PC{0,300}|.{0,300}") {
            let safe = sanitize(&text);
            prop_assert!(safe.chars().count() <= MAX_SANITIZED_CHARS);
            prop_assert!(!safe.chars().any(|c| c.is_control() || is_invisible(c)));
            prop_assert_eq!(sanitize(&safe), safe);
        }
    }
}

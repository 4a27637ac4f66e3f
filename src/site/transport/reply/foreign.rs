//! What arrives instead of HTTP, as a failure that shows it.

use super::head::MAX_FOREIGN_BYTES;
use crate::model::{Cause, Failure, FailureClass};
use crate::protocol;
use crate::site::markup;
use crate::util::text::{decode, sanitize};

/// How much of it a message shows, in characters.
const MAX_SHOWN_CHARS: usize = 60;

/// Makes the failure of a reply that begins like this.
pub(super) fn failure(start: &[u8]) -> Failure {
    let text = decode(start);
    let garbled = |message: String| Failure::new(FailureClass::Garbled, message);
    if matches!(start, [0x15 | 0x16, 3, ..]) {
        return garbled("not HTTP: the port speaks TLS, so the URL should begin with https".into());
    }
    if protocol::may_be_message(start) {
        return garbled("not HTTP: a message without a head".into());
    }
    if let Some(title) = markup::title(&text).map(|title| shown(&title)).filter(|title| !title.is_empty()) {
        return Failure {
            cause: Cause::Page(title.clone()),
            ..garbled(format!("not HTTP: page without a head: {title}"))
        };
    }
    let text = shown(&text);
    garbled(format!("not HTTP: {}", if text.is_empty() { "no text" } else { &text }))
}

/// Whether what follows may show more: the title of a page, or the rest of a line.
pub(super) fn is_cut(start: &[u8]) -> bool {
    if start.starts_with(b"<") {
        start.len() < MAX_FOREIGN_BYTES && !decode(start).to_ascii_lowercase().contains("</title")
    } else {
        start.len() < 4 * MAX_SHOWN_CHARS && !start.trim_ascii_start().contains(&b'\n')
    }
}

/// The start of a text, safe to show.
fn shown(text: &str) -> String {
    sanitize(text).chars().take(MAX_SHOWN_CHARS).collect()
}

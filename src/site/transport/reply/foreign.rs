//! What arrives instead of HTTP, as a failure that shows it.

use crate::model::{Cause, Failure, FailureClass};
use crate::protocol;
use crate::util::text::sanitize;

/// How much of it a message shows, in characters.
const MAX_SHOWN_CHARS: usize = 60;

/// Makes the failure of a reply that begins like this.
pub(super) fn failure(start: &[u8]) -> Failure {
    let text = String::from_utf8_lossy(start);
    let garbled = |message: String| Failure::new(FailureClass::Garbled, message);
    if matches!(start, [0x15 | 0x16, 3, ..]) {
        return garbled("not HTTP: the port speaks TLS, so the URL should begin with https".into());
    }
    if protocol::may_be_message(start) {
        return garbled("not HTTP: a message without a head".into());
    }
    if let Some(title) = title(&text) {
        return Failure {
            cause: Cause::Page(title.clone()),
            ..garbled(format!("not HTTP: page without a head: {title}"))
        };
    }
    let shown: String = sanitize(&text).chars().take(MAX_SHOWN_CHARS).collect();
    if shown.chars().all(|c| c == char::REPLACEMENT_CHARACTER || c == ' ') {
        return garbled("not HTTP: no text".into());
    }
    garbled(format!("not HTTP: {shown}"))
}

/// Whether what follows may show more: the title of a page, or the rest of a line.
pub(super) fn is_cut(start: &[u8]) -> bool {
    let text = String::from_utf8_lossy(start);
    let is_short = start.len() < if text.starts_with('<') { 1024 } else { 4 * MAX_SHOWN_CHARS };
    is_short && title(&text).is_none() && (text.starts_with('<') || !text.trim_start().contains('\n'))
}

/// The title of a page; `None` if it has none, or its end has not arrived.
fn title(text: &str) -> Option<String> {
    // Lower case in ASCII has the same length.
    let lower = text.to_ascii_lowercase();
    let tag = lower.find("<title")?;
    let start = tag + lower[tag..].find('>')? + 1;
    let end = start + lower[start..].find("</title")?;
    Some(sanitize(&text[start..end])).filter(|title| !title.is_empty())
}

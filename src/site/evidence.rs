//! What came as a reply that is not a message, so that an administrator learns what the site did.

use std::fmt;

use super::markup;
use crate::model::Secret;
use crate::protocol::{before_secret, insecure_error, message_start};
use crate::util::text::{BYTE_ORDER_MARK, decode, sanitize};

/// The lengths to which parts of a reply are cut, in characters.
const MAX_TITLE_CHARS: usize = 80;
const MAX_TEXT_CHARS: usize = 60;
const MAX_TYPE_CHARS: usize = 40;

/// How many bytes are searched for what text does not contain.
const BINARY_SAMPLE_BYTES: usize = 512;

/// The first bytes of compressed data.
const COMPRESSED: [(&[u8], &str); 2] = [(b"\x1f\x8b", "gzip"), (b"\x28\xb5\x2f\xfd", "zstd")];

/// The start of a reply, and how its header describes it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Content<'a> {
    /// The value of `Content-Type`.
    pub(super) media_type: Option<&'a str>,
    /// The value of `Content-Encoding`.
    pub(super) encoding: Option<&'a str>,
    /// The start of the body.
    pub(super) start: &'a [u8],
}

/// What a reply that is not a message is, in texts that are safe to show.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Evidence {
    pub(super) what: What,
    /// The media type that the header claims; empty if it claims none.
    media_type: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum What {
    /// No body, or a blank one.
    Empty,
    /// The site's own text in an unencrypted reply; it may be empty.
    Unencrypted(String),
    /// Compressed in this way.
    Compressed(String),
    /// A message, which does not belong to a status of failure.
    Message,
    /// A message after a byte order mark, and perhaps blanks.
    ByteOrderMark,
    /// A message after blanks.
    Blank,
    /// A message after this text.
    Preceded(String),
    /// A message of another type, by its name.
    Foreign(String),
    /// The title of a page.
    Page(String),
    /// The start of a text.
    Text(String),
    /// Neither a page nor text.
    Binary,
}

impl Evidence {
    /// Finds out what a reply is. Texts end where the secret begins.
    pub(super) fn of(content: Content, secret: &Secret) -> Self {
        // Parameters do not describe the content.
        let media_type = content.media_type.and_then(|value| value.split(';').next()).unwrap_or_default();
        let what = what(&media_type.trim().to_ascii_lowercase(), content.encoding, content.start, secret);
        Self { what, media_type: shown(media_type, MAX_TYPE_CHARS, secret) }
    }
}

fn what(media_type: &str, encoding: Option<&str>, start: &[u8], secret: &Secret) -> What {
    if let Some(error) = insecure_error(start) {
        return What::Unencrypted(shown(&error, MAX_TITLE_CHARS, secret));
    }
    if let Some(at) = message_start(start) {
        if at == 0 {
            return What::Message;
        }
        let (before, is_marked) = (&start[..at], start.starts_with(BYTE_ORDER_MARK.as_bytes()));
        return match page_or_text(media_type, before, secret) {
            // A byte order mark is not visible.
            What::Empty if is_marked => What::ByteOrderMark,
            What::Page(text) | What::Text(text) => What::Preceded(text),
            _ => What::Blank,
        };
    }
    let is_text = !is_binary(start);
    let label = encoding.map(str::trim).filter(|label| !["", "identity"].contains(label));
    let encoding = match COMPRESSED.iter().find(|(magic, _)| start.starts_with(magic)) {
        Some((_, name)) => Some(*name),
        // The label may be wrong.
        None => label.filter(|_| !is_text || str::from_utf8(start).is_err()),
    };
    match encoding {
        Some(encoding) => What::Compressed(shown(encoding, MAX_TYPE_CHARS, secret)),
        None if start.is_empty() => What::Empty,
        None if start.starts_with(b"CXN-") => {
            let name = start.split(u8::is_ascii_control).next().unwrap_or_default();
            What::Foreign(shown(&decode(name), MAX_TYPE_CHARS, secret))
        }
        // Scripts and pages often come with the type of a download.
        None if is_text && (may_be_text(media_type) || str::from_utf8(start).is_ok()) => {
            page_or_text(media_type, start, secret)
        }
        None => What::Binary,
    }
}

fn page_or_text(media_type: &str, start: &[u8], secret: &Secret) -> What {
    let text = decode(start);
    let is_page = media_type.contains("html") || media_type.contains("xml") || sanitize(&text).starts_with('<');
    if let Some(title) = markup::title(&text).filter(|_| is_page) {
        return What::Page(shown(&title, MAX_TITLE_CHARS, secret));
    }
    let visible = if is_page { shown(&markup::text(&text), MAX_TEXT_CHARS, secret) } else { String::new() };
    // Of a page without any text its first characters are shown.
    match if visible.is_empty() { shown(&text, MAX_TEXT_CHARS, secret) } else { visible } {
        blank if blank.is_empty() => What::Empty,
        text => What::Text(text),
    }
}

impl fmt::Display for Evidence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.what {
            What::Empty => f.write_str("empty body"),
            What::Unencrypted(text) if text.is_empty() => return f.write_str("unencrypted reply"),
            What::Unencrypted(text) => return write!(f, "unencrypted reply \"{text}\""),
            What::Compressed(encoding) => write!(f, "compressed with {encoding}"),
            What::Message => f.write_str("encrypted message"),
            What::ByteOrderMark => f.write_str("byte order mark before the message"),
            What::Blank => f.write_str("blank lines before the message"),
            What::Preceded(text) => write!(f, "text before the message: \"{text}\""),
            What::Foreign(name) => write!(f, "message of type {name}"),
            What::Page(title) => write!(f, "page \"{title}\""),
            What::Text(text) => write!(f, "text \"{text}\""),
            What::Binary => f.write_str("binary data"),
        }?;
        if self.media_type.is_empty() { Ok(()) } else { write!(f, " ({})", self.media_type) }
    }
}

/// Makes a text safe to show, and cuts it where the secret begins or after `max_chars` characters.
fn shown(text: &str, max_chars: usize, secret: &Secret) -> String {
    let text = sanitize(text);
    let text = before_secret(&text, secret);
    match text.char_indices().nth(max_chars) {
        Some((end, _)) => format!("{}…", text[..end].trim_end()),
        None => text.into_owned(),
    }
}

/// Whether content of this media type, in lower case, is shown. So is content without a type.
fn may_be_text(media_type: &str) -> bool {
    let is_text = |part: &str| {
        ["html", "xml", "json", "script", "php", "civi-cxn", "form"].iter().any(|text| part.contains(text))
    };
    match media_type.split_once('/') {
        Some(("text", _)) | None => true,
        Some(("application" | "message" | "multipart", subtype)) => is_text(subtype),
        Some(_) => false,
    }
}

/// Whether these bytes are not text: more than one in twenty is a control character, or any is NUL.
fn is_binary(start: &[u8]) -> bool {
    let sample = &start[..start.len().min(BINARY_SAMPLE_BYTES)];
    // Terminal escapes are text.
    let is_control = |byte: &&u8| byte.is_ascii_control() && !byte.is_ascii_whitespace() && **byte != 0x1b;
    sample.contains(&0) || sample.iter().filter(is_control).count() * 20 > sample.len()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn secret() -> Secret {
        Secret::from_bytes([0xA7; 32])
    }

    fn described(content_type: &str, start: impl AsRef<[u8]>) -> String {
        let content = Content { media_type: Some(content_type), encoding: None, start: start.as_ref() };
        Evidence::of(content, &secret()).to_string()
    }

    #[test]
    fn a_page_is_shown_by_its_title_or_its_text() {
        for (content_type, page, expected) in [
            ("text/html; charset=UTF-8", "<title>Log In</title>", "page \"Log In\" (text/html)"),
            ("TEXT/HTML", "<TITLE>\n a\n b</TITLE>", "page \"a b\" (TEXT/HTML)"),
            ("text/html", "<title> </title><h1>Error</h1>", "text \"Error\" (text/html)"),
            ("text/html", "<h1>It&#39;s <b>over</b></h1>", "text \"It's over\" (text/html)"),
            ("text/html", "<script>location='/x'</script>", "text \"<script>location='/x'</script>\" (text/html)"),
            ("", "\u{feff}<html><title>a</title>", "page \"a\""),
            ("application/rss+xml", "<rss><title>Blog", "page \"Blog\" (application/rss+xml)"),
            ("text/plain", "Service is up.\n", "text \"Service is up.\" (text/plain)"),
            ("text/plain", "a <title>b</title>", "text \"a <title>b</title>\" (text/plain)"),
            ("application/json", "{\"is_error\":1}", "text \"{\"is_error\":1}\" (application/json)"),
            (
                "text/html",
                "<title>\u{1b}[2J\u{9b}[31m\u{202e}Hacked&#8203;</title>",
                "page \"[2J [31mHacked\" (text/html)",
            ),
            ("text/html", " \r\n", "empty body (text/html)"),
            ("", "", "empty body"),
            ("image/png", "", "empty body (image/png)"),
        ] {
            assert_eq!(described(content_type, page), expected, "{page:?}");
        }
        assert_eq!(described("text/html", b"<title>Wartung l\xe4uft</title>"), "page \"Wartung läuft\" (text/html)");
    }

    #[test]
    fn long_parts_are_cut_so_that_all_are_shown() {
        let long = "Cheap watches ".repeat(99);
        let page = described(&format!("text/{long}"), format!("<title>{long}</title>"));
        assert!(page.starts_with("page \"Cheap watches ") && page.contains("…\" (text/Cheap watches"), "{page}");
        assert!(page.chars().count() < 140, "{page}");
        let text = described("text/plain", "x".repeat(99));
        assert_eq!(text, format!("text \"{}…\" (text/plain)", "x".repeat(60)));
    }

    #[test]
    fn of_other_content_only_the_type_is_shown() {
        for (content_type, start, expected) in [
            ("image/png", &b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR"[..], "binary data (image/png)"),
            ("application/pdf", b"%PDF-1.4\n%\xe2\xe3\xcf\xd3", "binary data (application/pdf)"),
            ("application/octet-stream", b"<?php x", "text \"<?php x\" (application/octet-stream)"),
            ("", b"CXN-0.3-AES-GCM\x01x", "message of type CXN-0.3-AES-GCM"),
            ("text/html", b"a\0b", "binary data (text/html)"),
            ("", b"\x01\x02\x03\x04", "binary data"),
        ] {
            assert_eq!(described(content_type, start), expected);
        }
    }

    #[test]
    fn compressed_content_is_recognised_by_its_start_or_its_label() {
        let described = |encoding: &str, start: &[u8]| {
            let content = Content { media_type: None, encoding: Some(encoding), start };
            Evidence::of(content, &secret()).to_string()
        };
        for (encoding, start, expected) in [
            ("", &b"\x1f\x8b\x08\0\0"[..], "compressed with gzip"),
            ("identity", b"\x28\xb5\x2f\xfd\x24", "compressed with zstd"),
            ("br", b"\x8b\x02\x80<x", "compressed with br"),
            ("br", b"\x0b\x02\x80\0", "compressed with br"),
            ("gzip", b"<title>plain</title>", "page \"plain\""),
            ("gzip", b"", "empty body"),
        ] {
            assert_eq!(described(encoding, start), expected);
        }
    }

    #[test]
    fn what_stands_before_a_message_is_shown() {
        for (before, expected) in [
            ("\u{feff}", "byte order mark before the message (text/html)"),
            ("\u{feff}\r\n", "byte order mark before the message (text/html)"),
            ("\r\n", "blank lines before the message (text/html)"),
            ("", "encrypted message (text/html)"),
            (
                "<br />\n<b>Warning</b>:  Undefined key",
                "text before the message: \"Warning: Undefined key\" (text/html)",
            ),
            ("\u{feff}\nDeprecated: x", "text before the message: \"Deprecated: x\" (text/html)"),
        ] {
            assert_eq!(described("text/html", format!("{before}CXN-0.2-AES-CBC-HMAC\x01…")), expected, "{before:?}");
        }
    }

    #[test]
    fn of_an_unencrypted_reply_only_the_error_is_shown() {
        let reply = |error: &str| described("application/x-civi-cxn", format!("CXN-0.2-INSECURE\x01{{{error}}}"));
        assert_eq!(reply("\"error_message\":\"No\\nway\",\"0\":[\"#0\"]"), "unencrypted reply \"No way\"");
        assert_eq!(reply("\"is_error\":1"), "unencrypted reply");
    }

    #[test]
    fn no_text_goes_on_where_the_secret_begins() {
        let secret = secret().to_base64();
        let (quoted, spread) = (&secret[..15], format!("{}\u{200b}{}", &secret[..4], &secret[4..]));
        let entities = secret.chars().map(|c| format!("&#{};", u32::from(c))).collect::<Vec<_>>().concat();
        let near_the_end = format!("{}{secret}", "x".repeat(55));
        for leak in [quoted, &spread, &entities, &near_the_end, &secret.replace('/', "\\/")] {
            for (content_type, start) in [
                ("text/html", format!("<title>key {leak}</title>")),
                ("text/html", format!("<p>key {leak}")),
                ("text/plain", format!("key {leak}")),
                ("text/html", format!("key {leak}CXN-0.2-AES-CBC-HMAC\x01")),
                ("text/html", format!("CXN-0.2-INSECURE\x01{{\"error_message\":\"key {leak}\"}}")),
                (&format!("text/{leak}"), String::new()),
            ] {
                let described = described(content_type, start);
                assert!(!described.contains(&secret[..6]), "{described}");
            }
        }
    }

    proptest! {
        #[test]
        fn any_reply_is_described_without_a_panic(content_type in "\\PC{0,60}", start: Vec<u8>, text in "(<title>|<|CXN-0.2-AES-CBC-HMAC\x01|\\PC){0,20}") {
            for start in [start, text.into_bytes()] {
                let text = described(&content_type, start);
                prop_assert!(crate::util::text::is_printable(&text) && text.chars().count() < 200, "{}", text);
            }
        }
    }
}

//! Where the body of a reply ends (RFC 9112, 6.3).

use super::head::Head;
use crate::model::{Failure, FailureClass};

/// What ends a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Framing {
    /// The body has so many bytes.
    Length(u64),
    /// Its last chunk.
    Chunked,
    /// The end of the connection.
    UntilClosed,
}

impl Framing {
    /// Reads the framing of the body after this head. A length beside chunks is ignored.
    ///
    /// # Errors
    /// The body has another encoding, or its length is unclear.
    pub(super) fn of(head: &Head) -> Result<Self, Failure> {
        let mut is_chunked = false;
        for coding in head.transfer_encodings().flat_map(elements) {
            match coding.to_ascii_lowercase().as_slice() {
                // Some proxies announce chunks twice, and send them once.
                b"chunked" => is_chunked = true,
                b"" | b"identity" => {}
                b"gzip" | b"x-gzip" | b"deflate" | b"compress" | b"x-compress" | b"br" | b"zstd" => {
                    let coding = String::from_utf8_lossy(coding);
                    return Err(garbled(format!("compressed, with the transfer encoding {coding}")));
                }
                _ => return Err(garbled("unknown transfer encoding")),
            }
        }
        if is_chunked {
            return Ok(Self::Chunked);
        }
        let mut length = None;
        for text in head.lengths().flat_map(elements) {
            if text.is_empty() || !text.iter().all(u8::is_ascii_digit) {
                return Err(garbled("invalid HTTP: Content-Length is not a number"));
            }
            // Only digits. What is too large for the type is too large a body as well.
            let number = str::from_utf8(text).ok().and_then(|text| text.parse().ok()).unwrap_or(u64::MAX);
            if length.is_some_and(|length| length != number) {
                return Err(garbled("invalid HTTP: different values of Content-Length"));
            }
            length = Some(number);
        }
        Ok(length.map_or(Self::UntilClosed, Self::Length))
    }
}

/// The elements of a list.
pub(super) fn elements(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|&byte| byte == b',').map(<[u8]>::trim_ascii)
}

fn garbled(message: impl AsRef<str>) -> Failure {
    Failure::new(FailureClass::Garbled, message)
}

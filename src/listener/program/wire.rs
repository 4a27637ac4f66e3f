//! The lines that a program writes: from bytes to messages.

use std::io::{ErrorKind, Read};

use serde::Deserialize;
use serde_json::{Map, Value};

use crate::protocol::json::read_kept;
use crate::util::text::{BYTE_ORDER_MARK, sanitize};

/// The longest line that a program may write, in bytes.
pub(super) const MAX_LINE_BYTES: usize = 4 << 20;
/// How much is read at a time, in bytes.
const READ_BYTES: usize = 64 << 10;

/// A message from a program.
#[derive(Debug, PartialEq)]
pub(super) enum Message {
    /// Calls the site's API. The program waits for the reply.
    Call { method: String, params: Map<String, Value> },
    /// A line for the log, with its level.
    Log { text: String, level: Option<String> },
    /// A value to keep.
    Keep(Value),
    /// The event succeeded; with `stop` no other listener gets it.
    Succeeded { stop: bool },
    /// The event failed.
    Failed(String),
}

/// What a program wrote that the protocol does not allow.
#[derive(Debug, thiserror::Error)]
pub enum WireError {
    /// A line that is not a JSON object with known members, or is nested too deeply.
    #[error("{error}: {line}")]
    Json {
        /// What is wrong with it.
        error: serde_json::Error,
        /// The line, made safe to show.
        line: String,
    },
    /// An object that is no message.
    #[error("a line without call, log, keep, ok or error")]
    NoMessage,
    /// More values to keep than 4 MiB.
    #[error("more than {MAX_LINE_BYTES} bytes of values to keep")]
    KeepsTooMuch,
    /// A line of more than 4 MiB.
    #[error("a line of more than {MAX_LINE_BYTES} bytes")]
    TooLong,
}

/// A message as JSON. It has one of `call`, `log`, `keep`, `ok` and `error`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Line {
    call: Option<String>,
    params: Map<String, Value>,
    log: Option<String>,
    level: Option<String>,
    keep: Option<Value>,
    ok: Option<bool>,
    stop: bool,
    error: Option<String>,
}

impl Message {
    /// Reads a line; `None` if it is blank.
    ///
    /// It may begin with a byte order mark, which some languages write before the first line.
    pub(super) fn parse(line: &[u8]) -> Result<Option<Self>, WireError> {
        let line = line.strip_prefix(BYTE_ORDER_MARK.as_bytes()).unwrap_or(line);
        if line.trim_ascii().is_empty() {
            return Ok(None);
        }
        let parsed = read_kept(line)
            .map_err(|error| WireError::Json { error, line: sanitize(&String::from_utf8_lossy(line)) })?;
        Ok(Some(match parsed {
            Line { call: Some(method), params, .. } => Self::Call { method, params },
            Line { log: Some(text), level, .. } => Self::Log { text, level },
            Line { ok: Some(true), stop, .. } => Self::Succeeded { stop },
            Line { error: Some(message), .. } => Self::Failed(message),
            Line { keep: Some(value), .. } => Self::Keep(value),
            _ => return Err(WireError::NoMessage),
        }))
    }
}

/// Collects bytes and returns them line by line.
#[derive(Debug, Default)]
pub(super) struct LineBuffer {
    bytes: Vec<u8>,
    /// Where the bytes begin that were not taken yet.
    start: usize,
    /// Where the bytes begin that may hold the end of a line.
    searched: usize,
}

impl LineBuffer {
    /// Reads once and returns how many bytes arrived; 0 is the end, or an error.
    pub(super) fn fill(&mut self, from: &mut impl Read) -> usize {
        self.bytes.drain(..self.start);
        self.searched -= std::mem::take(&mut self.start);
        self.bytes.shrink_to(2 * READ_BYTES);
        let before = self.bytes.len();
        self.bytes.resize(before + READ_BYTES, 0);
        let read = loop {
            match from.read(&mut self.bytes[before..]) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                read => break read.unwrap_or(0),
            }
        };
        self.bytes.truncate(before + read);
        read
    }

    /// Takes the first whole line, with its end; `None` if no line is whole.
    pub(super) fn take_line(&mut self) -> Option<Vec<u8>> {
        let Some(end) = self.bytes[self.searched..].iter().position(|byte| *byte == b'\n') else {
            self.searched = self.bytes.len();
            return None;
        };
        self.searched += end + 1;
        let line = self.bytes[self.start..self.searched].to_vec();
        self.start = self.searched;
        Some(line)
    }

    /// Takes everything as the last line; `None` if nothing is left.
    pub(super) fn take_rest(&mut self) -> Option<Vec<u8>> {
        let rest = self.bytes.split_off(self.start);
        *self = Self::default();
        (!rest.is_empty()).then_some(rest)
    }

    /// Whether something is left, and none of it is a whole line. It is known after [`LineBuffer::take_line`].
    pub(super) fn has_cut_line(&self) -> bool {
        !self.is_empty() && self.searched == self.bytes.len()
    }

    /// Whether nothing is left.
    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many bytes are left.
    pub(super) fn len(&self) -> usize {
        self.bytes.len() - self.start
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn each_kind_of_line_is_a_message() {
        let message = |line: &str| Message::parse(line.as_bytes()).unwrap();
        assert_eq!(message(" \r\n"), None);
        let call = Message::Call { method: "Contact.get".into(), params: Map::from_iter([("limit".into(), json!(1))]) };
        assert_eq!(message("{\"call\":\"Contact.get\",\"params\":{\"limit\":1}}\n"), Some(call));
        let log = Message::Log { text: "now".into(), level: Some("debug".into()) };
        assert_eq!(message("{\"log\":\"now\",\"level\":\"debug\"}"), Some(log));
        assert_eq!(message("{\"keep\":[1]}"), Some(Message::Keep(json!([1]))));
        assert_eq!(message("{\"ok\":true}"), Some(Message::Succeeded { stop: false }));
        assert_eq!(message("\u{feff}{\"ok\":true}\r\n"), Some(Message::Succeeded { stop: false }));
        assert_eq!(message("\u{feff}\r\n"), None);
        assert_eq!(message("{\"ok\":true,\"stop\":true}"), Some(Message::Succeeded { stop: true }));
        assert_eq!(message("{\"error\":\"no\"}"), Some(Message::Failed("no".into())));
    }

    #[test]
    fn any_other_line_breaks_the_protocol() {
        let error = |line: &str| Message::parse(line.as_bytes()).unwrap_err();
        for line in ["{}", "{\"ok\":false}", "{\"params\":{}}"] {
            assert!(matches!(error(line), WireError::NoMessage), "{line}");
        }
        for line in ["babble", "{\"ok\":true} {\"ok\":true}", "{\"okay\":true}", "[]]", "{\"call\":1}"] {
            assert!(error(line).to_string().ends_with(&format!(": {line}")), "{line}");
        }
    }

    #[test]
    fn bytes_become_lines_in_order() {
        let mut buffer = LineBuffer::default();
        let mut lines = Vec::new();
        for part in ["on", "e\ntw", "o\n\nthree"] {
            assert_eq!(buffer.fill(&mut part.as_bytes()), part.len());
            lines.extend(std::iter::from_fn(|| buffer.take_line()));
        }
        assert_eq!(lines, [&b"one\n"[..], b"two\n", b"\n"]);
        assert!(buffer.has_cut_line());
        assert_eq!(buffer.fill(&mut &b""[..]), 0);
        assert_eq!(buffer.take_rest().as_deref(), Some(&b"three"[..]));
        assert!(buffer.is_empty() && buffer.take_rest().is_none() && !buffer.has_cut_line());
    }

    #[test]
    fn taken_lines_take_no_memory() {
        let mut buffer = LineBuffer::default();
        for _ in 0..1000 {
            buffer.fill(&mut std::io::repeat(b'\n'));
            assert_eq!(std::iter::from_fn(|| buffer.take_line()).count(), READ_BYTES);
        }
        assert!(buffer.bytes.capacity() <= 2 * READ_BYTES);
    }
}

//! The head of a reply.

use std::mem;

use chrono::Utc;

use crate::model::{Failure, FailureClass, UnixTime};
use crate::site::http_date;

/// The largest head that is read, with the interim heads before it, in bytes.
pub(in crate::site) const MAX_HEAD_BYTES: usize = 64 * 1024;

/// How much is kept of what is not HTTP, in bytes.
pub(super) const MAX_FOREIGN_BYTES: usize = 1024;

/// How many headers are passed on. The parser of ureq takes 128.
const MAX_HEADERS: usize = 100;

const CONNECTION: &str = "connection";
const CONTENT_LENGTH: &str = "content-length";
const DATE: &str = "date";
const KEEP_ALIVE: &str = "keep-alive";
const RETRY_AFTER: &str = "retry-after";
const TRANSFER_ENCODING: &str = "transfer-encoding";

/// The headers that are kept. Nothing uses the others.
const KEPT: [&str; 9] = [
    CONNECTION,
    CONTENT_LENGTH,
    DATE,
    KEEP_ALIVE,
    TRANSFER_ENCODING,
    "content-encoding",
    "content-type",
    "location",
    RETRY_AFTER,
];

/// Those of them that ureq does not get: only the transport knows the body's end and the connection.
const NOT_PASSED_ON: [&str; 4] = [CONNECTION, CONTENT_LENGTH, KEEP_ALIVE, TRANSFER_ENCODING];

/// A head that is not interim.
#[derive(Debug)]
pub(super) struct Head {
    pub(super) status: u16,
    /// Whether the connection stays open by default, which it does since HTTP/1.1.
    pub(super) is_persistent: bool,
    headers: Vec<(&'static str, Vec<u8>)>,
}

impl Head {
    /// The values of `Content-Length` and of `Transfer-Encoding`, one per line of the head.
    pub(super) fn lengths(&self) -> impl Iterator<Item = &[u8]> {
        self.values(CONTENT_LENGTH)
    }

    pub(super) fn transfer_encodings(&self) -> impl Iterator<Item = &[u8]> {
        self.values(TRANSFER_ENCODING)
    }

    /// The values of `Connection` and of `Keep-Alive`.
    pub(super) fn connection_options(&self) -> impl Iterator<Item = &[u8]> {
        self.values(CONNECTION)
    }

    pub(super) fn keep_alive(&self) -> impl Iterator<Item = &[u8]> {
        self.values(KEEP_ALIVE)
    }

    /// The time of the first `Date` header that can be read.
    pub(super) fn date(&self) -> Option<UnixTime> {
        let date = self.values(DATE).find_map(|value| http_date::parse(str::from_utf8(value).ok()?, Utc::now()));
        date.map(|date| date.timestamp())
    }

    fn values(&self, name: &str) -> impl Iterator<Item = &[u8]> {
        self.headers.iter().filter(move |header| header.0 == name).map(|(_, value)| value.trim_ascii())
    }

    /// Appends the head as a strict parser reads it, with this length of the body.
    pub(super) fn write(&self, length: Option<u64>, clean: &mut Vec<u8>) {
        let Self { status, headers, .. } = self;
        clean.extend_from_slice(format!("HTTP/1.1 {status} \r\n").as_bytes());
        if let Some(length) = length {
            clean.extend_from_slice(format!("{CONTENT_LENGTH}: {length}\r\n").as_bytes());
        }
        let is_passed_on = |name: &str| name != RETRY_AFTER && !NOT_PASSED_ON.contains(&name);
        let passed_on = headers.iter().filter(|(name, _)| is_passed_on(name)).take(MAX_HEADERS);
        for (name, value) in passed_on {
            write_line(name, value.trim_ascii(), clean);
        }
        // A list means the same as several lines.
        let values: Vec<_> = self.values(RETRY_AFTER).collect();
        if !values.is_empty() {
            write_line(RETRY_AFTER, &values.join(&b", "[..]), clean);
        }
        clean.extend_from_slice(b"\r\n");
    }
}

fn write_line(name: &str, value: &[u8], clean: &mut Vec<u8>) {
    clean.extend_from_slice(name.as_bytes());
    clean.extend_from_slice(b": ");
    clean.extend(value.iter().map(|byte| if byte.is_ascii_control() { b' ' } else { *byte }));
    clean.extend_from_slice(b"\r\n");
}

/// Reads lines until the end of a head that is not interim.
#[derive(Debug, Default)]
pub(super) struct HeadReader {
    /// What has arrived of a line.
    line: Vec<u8>,
    /// In bytes.
    received: usize,
    /// The head so far; `None` before the status line.
    head: Option<Head>,
    /// Whether the last line was a header that is kept, so that the next one may continue it.
    may_continue: bool,
    /// What arrived instead of a status line. Empty for HTTP.
    foreign: Vec<u8>,
}

impl HeadReader {
    /// Reads a piece of the head. Returns how many bytes belong to it, and the head at its end.
    ///
    /// # Errors
    /// The head is too large, or has NUL bytes.
    pub(super) fn read(&mut self, input: &[u8]) -> Result<(usize, Option<Head>), Failure> {
        let mut rest = input;
        while !rest.is_empty() && self.foreign.is_empty() {
            let end = rest.iter().position(|&byte| byte == b'\n').map_or(rest.len(), |index| index + 1);
            let (piece, next) = rest.split_at(end);
            self.line.extend_from_slice(piece);
            if self.head.is_none() && !may_be_status_line(&self.line) {
                self.foreign = mem::take(&mut self.line);
                self.foreign.truncate(MAX_FOREIGN_BYTES);
                rest = next;
                break;
            }
            rest = next;
            self.received += piece.len();
            if self.received > MAX_HEAD_BYTES {
                let message = format!("header of more than {MAX_HEAD_BYTES} bytes");
                return Err(Failure::new(FailureClass::TooLarge, message));
            }
            if self.line.ends_with(b"\n") {
                let mut line = mem::take(&mut self.line);
                let head = self.end_line(&line)?;
                line.clear();
                self.line = line;
                if head.is_some() {
                    return Ok((input.len() - rest.len(), head));
                }
            }
        }
        self.foreign.extend(rest.iter().take(MAX_FOREIGN_BYTES.saturating_sub(self.foreign.len())));
        Ok((input.len(), None))
    }

    /// The start of what arrived instead of HTTP; `None` for HTTP, also if nothing has arrived.
    pub(super) fn foreign(&self) -> Option<&[u8]> {
        Some(self.foreign.as_slice()).filter(|start| !start.is_empty())
    }

    /// Adds a line. Returns the head if the line is its end.
    fn end_line(&mut self, line: &[u8]) -> Result<Option<Head>, Failure> {
        let text = line.strip_suffix(b"\n").unwrap_or(line);
        let text = text.strip_suffix(b"\r").unwrap_or(text);
        let status = self.head.as_ref().map(|head| head.status);
        if text.contains(&0) {
            let place = status.map_or("the status line".to_owned(), |status| format!("a header of status {status}"));
            return Err(Failure::new(FailureClass::Garbled, format!("invalid HTTP: NUL byte in {place}")));
        }
        match (&mut self.head, text) {
            (None, []) => {}
            (None, _) => match status_of(text) {
                Some((status, is_persistent)) => self.head = Some(Head { status, is_persistent, headers: Vec::new() }),
                None => self.foreign = line.to_vec(),
            },
            (Some(_), []) => {
                self.may_continue = false;
                // 101 is final: what follows it is another protocol.
                return Ok(self.head.take().filter(|head| !matches!(head.status, 100 | 102..200)));
            }
            (Some(head), [b' ' | b'\t', ..]) => {
                if let (true, Some((_, value))) = (self.may_continue, head.headers.last_mut()) {
                    value.push(b' ');
                    value.extend_from_slice(text.trim_ascii());
                }
            }
            (Some(head), _) => {
                let header = header_of(text);
                self.may_continue = header.is_some();
                head.headers.extend(header);
            }
        }
        Ok(None)
    }
}

/// Whether a line that begins like this may be a status line, or an empty one before it.
fn may_be_status_line(line: &[u8]) -> bool {
    const PROTOCOL: &[u8] = b"HTTP/";
    let length = line.len().min(PROTOCOL.len());
    matches!(line, b"\r" | b"\n" | b"\r\n") || line[..length].eq_ignore_ascii_case(&PROTOCOL[..length])
}

/// The status of a status line, and whether its version is above 1.0: `HTTP/1.1 200 OK`. The reason may be anything.
///
/// `None` if it is not one of HTTP/1.
fn status_of(line: &[u8]) -> Option<(u16, bool)> {
    let (version, rest) = line.split_at_checked(8)?;
    if !(version[..7].eq_ignore_ascii_case(b"HTTP/1.") && version[7].is_ascii_digit()) {
        return None;
    }
    let text = rest.trim_ascii_start();
    let (digits, reason) = text.split_at_checked(3)?;
    let is_apart = text.len() < rest.len() && !reason.first().is_some_and(u8::is_ascii_digit);
    let status = if digits.iter().all(u8::is_ascii_digit) { str::from_utf8(digits).ok()?.parse().ok()? } else { 0 };
    (is_apart && status >= 100).then_some((status, version[7] > b'0'))
}

/// The name and value of a header; `None` if it is not kept or is no header.
fn header_of(line: &[u8]) -> Option<(&'static str, Vec<u8>)> {
    let colon = line.iter().position(|&byte| byte == b':')?;
    let name = KEPT.into_iter().find(|name| line[..colon].trim_ascii_end().eq_ignore_ascii_case(name.as_bytes()))?;
    Some((name, line[colon + 1..].trim_ascii().to_vec()))
}

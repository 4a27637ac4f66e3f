//! A reply, as CGI/1.1 has it on standard output.

use std::fmt::Write;

use serde_json::Value;

use crate::protocol::{CONTENT_TYPE, insecure};

/// A reply to a request. It is written only once everything is decided.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// The status of HTTP.
    pub status: u16,
    /// The media type of the body.
    pub content_type: &'static str,
    /// The body.
    pub body: Vec<u8>,
    /// The methods that the resource takes, where the method was wrong.
    pub allow: Option<&'static str>,
    /// In how many seconds the request may succeed; `None` if time does not help, or nothing is known.
    pub retry_after_s: Option<u64>,
}

impl Reply {
    fn new(status: u16, content_type: &'static str, body: Vec<u8>) -> Self {
        Self { status, content_type, body, allow: None, retry_after_s: None }
    }

    /// A message, which only the site can read.
    pub(super) fn message(message: Vec<u8>) -> Self {
        Self::new(200, CONTENT_TYPE, message)
    }

    /// An error that everyone can read.
    pub(super) fn insecure(status: u16, text: &str) -> Self {
        Self::new(status, CONTENT_TYPE, insecure(text))
    }

    /// A JSON document.
    pub(super) fn json(document: &Value) -> Self {
        Self::new(200, "application/json", document.to_string().into_bytes())
    }

    /// An error of HTTP, which no site gets.
    pub(super) fn plain(status: u16) -> Self {
        Self::new(status, "text/plain", format!("{}\n", reason(status)).into_bytes())
    }

    /// The reply where something is wrong on this side.
    #[must_use]
    pub fn own_fault() -> Self {
        Self::insecure(500, "the app cannot take registrations: its administrator must repair it")
    }

    /// The reply where something on this side will pass.
    pub(super) fn unavailable(retry_after_s: Option<u64>) -> Self {
        Self { retry_after_s, ..Self::insecure(503, "the app cannot take registrations at present") }
    }

    /// The reply as the web server reads it; without a body if the method is `HEAD`.
    #[must_use]
    pub fn to_bytes(&self, is_head: bool) -> Vec<u8> {
        let Self { status, content_type, body, .. } = self;
        let mut head = format!(
            "Status: {status} {}\r\nContent-Type: {content_type}\r\nContent-Length: {}\r\nCache-Control: no-store\r\n",
            reason(*status),
            body.len()
        );
        // Writing to a string does not fail.
        if let Some(methods) = self.allow {
            let _ = write!(head, "Allow: {methods}\r\n");
        }
        if let Some(seconds) = self.retry_after_s {
            let _ = write!(head, "Retry-After: {seconds}\r\n");
        }
        head.push_str("\r\n");
        let mut bytes = head.into_bytes();
        if !is_head {
            bytes.extend_from_slice(body);
        }
        bytes
    }
}

/// What HTTP calls a status.
fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        400 => "Bad Request",
        404 => "Not Found",
        405 => "Method Not Allowed",
        408 => "Request Timeout",
        413 => "Content Too Large",
        429 => "Too Many Requests",
        503 => "Service Unavailable",
        _ => "Internal Server Error",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reply_has_its_length_and_is_never_stored() {
        let reply = Reply::insecure(400, "no");
        let body = "CXN-0.2-INSECURE\u{1}{\"is_error\":1,\"error_message\":\"no\"}";
        let head = "Status: 400 Bad Request\r\nContent-Type: application/x-civi-cxn\r\nContent-Length: 52\r\n\
                    Cache-Control: no-store\r\n\r\n";
        assert_eq!(body.len(), 52);
        assert_eq!(String::from_utf8(reply.to_bytes(false)).unwrap(), format!("{head}{body}"));
        assert_eq!(String::from_utf8(reply.to_bytes(true)).unwrap(), head);
    }

    #[test]
    fn what_helps_is_in_the_head() {
        let text = |reply: Reply| String::from_utf8(reply.to_bytes(false)).unwrap();
        let wrong_method = text(Reply { allow: Some("GET, HEAD"), ..Reply::plain(405) });
        assert!(
            wrong_method.starts_with("Status: 405 Method Not Allowed\r\n")
                && wrong_method.contains("\r\nAllow: GET, HEAD\r\n")
        );
        let busy = text(Reply::unavailable(Some(30)));
        assert!(
            busy.starts_with("Status: 503 Service Unavailable\r\n") && busy.contains("\r\nRetry-After: 30\r\n\r\n")
        );
        assert!(!text(Reply::unavailable(None)).contains("Retry-After"));
    }
}

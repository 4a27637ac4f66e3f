//! A reply: the message in it, or a failure that shows what came instead.

use std::io::{self, Read};
use std::time::Duration;

use chrono::Utc;
use ureq::http::header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderName, RETRY_AFTER};
use ureq::http::{HeaderMap, HeaderValue, Response, StatusCode};
use ureq::{Body, BodyReader};

use super::evidence::{Content, Evidence, What};
use super::failure::{Phase, at_host, body_too_large, from_ureq, of_status, with_reason};
use super::retry_after::seconds_to_wait;
use super::transport::read_limit;
use crate::model::{Cause, Failure, Secret};
use crate::protocol;
use crate::util::text::{decode, sanitize};

/// The largest body that is accepted, in bytes.
const MAX_BODY_BYTES: usize = 1 << 20;

/// How much of a body is read before it is checked whether it may be a message, in bytes.
///
/// Of an error's body no more is read.
const BODY_START_BYTES: u64 = 16 * 1024;

/// How long an error's body is read: it only adds to the message.
const MAX_ERROR_BODY_TIME: Duration = Duration::from_secs(1);

/// A reply that is not a redirect.
#[derive(Debug)]
pub struct Reply {
    pub(super) status: StatusCode,
    pub(super) body: Vec<u8>,
    content_type: Option<String>,
    encoding: Option<String>,
    retry_after: Option<u32>,
    /// The host that replied; `None` without a redirect.
    host: Option<String>,
}

impl Reply {
    /// Reads the body of a reply, which came from `host` if that is not the site's own.
    ///
    /// Of a body that cannot be a message, only the start is kept. An error's body ends where it cannot be read.
    ///
    /// # Errors
    /// Where the body of a reply with a status of 2xx does not arrive whole, or is too large.
    pub(super) fn read(mut response: Response<Body>, host: Option<String>) -> Result<Self, Failure> {
        let (status, headers) = (response.status(), response.headers());
        let retry_after = matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE)
            .then(|| seconds_to_wait(headers.get_all(RETRY_AFTER).iter().map(HeaderValue::as_bytes), Utc::now()));
        let (content_type, encoding) = (text_of(headers, CONTENT_TYPE), text_of(headers, CONTENT_ENCODING));
        let body = if status.is_success() {
            read_body(response.body_mut()).map_err(|failure| at_host(failure, host.as_deref()))?
        } else if status.as_u16() >= 400 {
            read_limit::within(MAX_ERROR_BODY_TIME, || read_start(response.body_mut().as_reader()))
        } else {
            Vec::new()
        };
        Ok(Self { status, body, content_type, encoding, retry_after: retry_after.flatten(), host })
    }

    /// The message in the reply, which is not decoded.
    ///
    /// # Errors
    /// Class `http` or `gone` with a status of 400 or above, `garbled` for other replies that are not a message. The
    /// failure shows what came, without the secret.
    pub fn message(&self, secret: &Secret) -> Result<&[u8], Failure> {
        let is_success = self.status.is_success();
        if is_success && protocol::may_be_message(&self.body) {
            return Ok(&self.body);
        }
        let mut failure = of_status(self.status);
        failure.retry_after = self.retry_after;
        if !is_success && self.body.is_empty() {
            return Err(self.at_host(failure));
        }
        let (media_type, encoding) = (self.content_type.as_deref(), self.encoding.as_deref());
        let evidence = Evidence::of(Content { media_type, encoding, start: &self.body }, secret);
        let lead = match (self.status, &evidence.what) {
            (StatusCode::OK, What::Unencrypted(_) | What::Preceded(_) | What::ByteOrderMark | What::Blank) => {
                String::new()
            }
            (StatusCode::OK, _) => "not a message: ".to_owned(),
            (status, _) => format!("status {}: ", with_reason(status)),
        };
        failure.message = sanitize(&format!("{lead}{evidence}"));
        failure.cause = match evidence.what {
            What::Unencrypted(text) if !text.is_empty() => Cause::Status(self.status.as_u16(), Some(text)),
            What::Page(title) if is_success => Cause::Page(title),
            _ if is_success => Cause::Message,
            _ => failure.cause,
        };
        Err(self.at_host(failure))
    }

    /// Names the host that replied in a failure, unless it is the site's own.
    pub(super) fn at_host(&self, failure: Failure) -> Failure {
        at_host(failure, self.host.as_deref())
    }
}

fn text_of(headers: &HeaderMap, name: HeaderName) -> Option<String> {
    headers.get(name).map(|value| decode(value.as_bytes()))
}

/// Reads a body whole, or its start if that cannot be a message.
///
/// The rest is read and ignored, so that an endless page takes no memory.
fn read_body(body: &mut Body) -> Result<Vec<u8>, Failure> {
    if body.content_length().is_some_and(|length| length > MAX_BODY_BYTES as u64) {
        return Err(body_too_large(MAX_BODY_BYTES as u64));
    }
    let mut reader = body.with_config().limit(MAX_BODY_BYTES as u64).reader();
    let mut reply = Vec::new();
    let read = reader.by_ref().take(BODY_START_BYTES).read_to_end(&mut reply).and_then(|read| {
        if !protocol::may_be_message(&reply) {
            return io::copy(&mut reader, &mut io::sink()).map(drop);
        }
        if read as u64 == BODY_START_BYTES {
            // A buffer that grows in steps is copied at each of them, and takes up to twice as much memory.
            reply.reserve_exact(MAX_BODY_BYTES);
        }
        reader.read_to_end(&mut reply).map(drop)
    });
    read.map(|()| reply).map_err(|error| from_ureq(error.into(), Phase::Reading))
}

/// Reads the start of a body, or as much of it as arrives.
fn read_start(reader: BodyReader) -> Vec<u8> {
    let mut start = Vec::new();
    // What was read before an error stays.
    let _ = reader.take(BODY_START_BYTES).read_to_end(&mut start);
    start
}

//! A reply as bytes become a clean one: a small head that any parser reads, and the bytes of the body.
//!
//! Heads are read as curl and browsers do. Where these differ, RFC 9112 decides.

mod chunks;
mod foreign;
mod framing;
mod head;
mod persistence;

use std::time::Duration;

use chunks::ChunkReader;
use framing::Framing;
pub(in crate::site) use head::MAX_HEAD_BYTES;
use head::{Head, HeadReader};
use persistence::idle_limit;

use crate::model::{Failure, UnixTime};

/// Reads a reply, in pieces of any size.
#[derive(Debug)]
pub(super) struct Reply(Stage);

#[derive(Debug)]
enum Stage {
    Head(HeadReader),
    Body { status: u16, date: Option<UnixTime>, idle_limit: Option<Duration>, body: Body },
}

#[derive(Debug)]
enum Body {
    /// So many bytes are still to come.
    Length(u64),
    Chunked(ChunkReader),
    UntilClosed,
    /// It cannot be known where the body ends.
    Refused(Failure),
}

impl Reply {
    pub(super) fn new() -> Self {
        Self(Stage::Head(HeadReader::default()))
    }

    /// Reads a piece of the reply, and appends what is clean to `clean`. Returns how many bytes it read.
    ///
    /// It stops at the end of the head, and at the end of the reply.
    ///
    /// # Errors
    /// The reply is not HTTP, or its head is too large.
    pub(super) fn read(&mut self, raw: &[u8], clean: &mut Vec<u8>) -> Result<usize, Failure> {
        match &mut self.0 {
            Stage::Head(reader) => {
                let (used, head) = reader.read(raw)?;
                if let Some(head) = head {
                    self.0 = begin_body(&head, clean);
                }
                Ok(used)
            }
            Stage::Body { body: Body::Length(left), .. } => {
                let used = usize::try_from(*left).map_or(raw.len(), |left| left.min(raw.len()));
                clean.extend_from_slice(&raw[..used]);
                *left -= used as u64;
                Ok(used)
            }
            Stage::Body { body: Body::Chunked(chunks), .. } => chunks.read(raw, clean),
            Stage::Body { body: Body::UntilClosed, .. } => {
                clean.extend_from_slice(raw);
                Ok(raw.len())
            }
            Stage::Body { body: Body::Refused(failure), .. } => Err(failure.clone()),
        }
    }

    pub(super) fn has_head(&self) -> bool {
        matches!(self.0, Stage::Body { .. })
    }

    /// The time of the `Date` header; `None` if there is none yet.
    pub(super) fn date(&self) -> Option<UnixTime> {
        match self.0 {
            Stage::Body { date, .. } => date,
            Stage::Head(_) => None,
        }
    }

    /// Whether the end of the reply has been read.
    pub(super) fn is_complete(&self) -> bool {
        match &self.0 {
            Stage::Body { body: Body::Length(left), .. } => *left == 0,
            Stage::Body { body: Body::Chunked(chunks), .. } => chunks.is_complete(),
            _ => false,
        }
    }

    /// How long the connection may be idle until another request.
    ///
    /// `None` if none may follow, or the reply is not read whole.
    pub(super) fn idle_limit(&self) -> Option<Duration> {
        match &self.0 {
            Stage::Body { idle_limit, body: Body::Length(0), .. } => *idle_limit,
            Stage::Body { idle_limit, body: Body::Chunked(chunks), .. } if chunks.has_ended() => *idle_limit,
            _ => None,
        }
    }

    /// Whether the reply is whole if the connection ends now.
    pub(super) fn may_end(&self) -> bool {
        self.is_complete() || matches!(self.0, Stage::Body { body: Body::UntilClosed, .. })
    }

    /// What arrived instead of HTTP, as a failure, and whether more of it would show more; `None` for HTTP.
    pub(super) fn not_http(&self) -> Option<(Failure, bool)> {
        match &self.0 {
            Stage::Head(reader) => reader.foreign().map(|start| (foreign::failure(start), foreign::is_cut(start))),
            Stage::Body { .. } => None,
        }
    }
}

/// Writes the clean head.
fn begin_body(head: &Head, clean: &mut Vec<u8>) -> Stage {
    let framing = if matches!(head.status, 101 | 204 | 304) { Ok(Framing::Length(0)) } else { Framing::of(head) };
    let body = match framing {
        Ok(Framing::Length(length)) => Body::Length(length),
        Ok(Framing::Chunked) => Body::Chunked(ChunkReader::default()),
        Ok(Framing::UntilClosed) => Body::UntilClosed,
        Err(failure) => Body::Refused(failure),
    };
    head.write(if let Body::Length(length) = body { Some(length) } else { None }, clean);
    Stage::Body { status: head.status, date: head.date(), idle_limit: idle_limit(head), body }
}

/// Whether a reply that begins like this makes the rest of the request pointless.
///
/// That is what is not HTTP, a failure or a redirect, and a success that is whole.
pub(super) fn settles(mut input: &[u8]) -> bool {
    let (mut reply, mut clean) = (Reply::new(), Vec::new());
    loop {
        match reply.read(input, &mut clean) {
            Ok(0) => break,
            Ok(used) => input = &input[used..],
            Err(_) => return true,
        }
    }
    match reply.0 {
        Stage::Body { status: 200..300, .. } => reply.is_complete(),
        Stage::Body { .. } => true,
        Stage::Head(reader) => reader.foreign().is_some(),
    }
}

#[cfg(test)]
mod tests;

//! The last step of a connection: ureq gets a clean reply, and errors with their phase.

use std::io;
use std::mem;
use std::time::{Duration, Instant};

use ureq::Error;
use ureq::unversioned::transport::{Buffers, NextTimeout, Transport};

use super::idle::{self, Connection};
use super::read_limit;
use super::reply::Reply;
use super::step::in_phase;
use super::stream::{Stream, Unsent};
use super::trace;
use crate::model::{Failure, FailureClass};
use crate::site::failure::Phase;
use crate::util::time::unix_now;

/// How many bytes are received for one request.
///
/// This is more than any header, body and framing need. It ends replies that have no other limit than time, such as
/// endless extensions of a chunk.
const MAX_REPLY_BYTES: usize = 4 << 20;

/// How much of a reply is read at a time, in bytes. It bounds the memory for clean bytes.
const PIECE_BYTES: usize = 4096;

/// How long the rest of what is not HTTP is waited for. A server that sends a greeting waits itself.
const FOREIGN_WAIT: Duration = Duration::from_millis(250);

/// A used connection was closed before the whole request was sent, so no server has processed it.
#[derive(Debug, thiserror::Error)]
#[error("the connection was closed before the request was sent")]
pub(in crate::site) struct NotSent;

/// A connection during one request: it reads a reply leniently, and passes it on as strict HTTP.
///
/// When it is dropped, the connection is kept for the next request if it can be used again.
#[derive(Debug)]
pub(super) struct Reader {
    /// `None` only while it is dropped.
    connection: Option<Connection>,
    /// Whether the request has begun.
    has_begun: bool,
    /// How much of the output is not sent yet, in bytes: a head, which is sent together with the body.
    held: usize,
    /// Whether a part of the reply arrived before the request was sent.
    is_early: bool,
    reply: Reply,
    /// In bytes.
    received: usize,
    /// What ureq reads.
    clean: Vec<u8>,
    /// How much of it ureq has read, in bytes.
    consumed: usize,
}

impl Reader {
    pub(super) fn new(connection: Connection) -> Self {
        Self {
            connection: Some(connection),
            has_begun: false,
            held: 0,
            is_early: false,
            reply: Reply::new(),
            received: 0,
            clean: Vec::new(),
            consumed: 0,
        }
    }

    fn connection(&mut self) -> &mut Connection {
        self.connection.as_mut().expect("only dropping takes it")
    }

    fn stream(&mut self) -> &mut Stream {
        &mut self.connection().stream
    }

    /// Sends this much of the output. Returns whether the connection takes more.
    fn send(&mut self, amount: usize, timeout: NextTimeout) -> Result<bool, Error> {
        self.held = 0;
        self.stream().transmit_output(amount, timeout).map_err(in_phase(Phase::Sending))?;
        let takes_more = self.stream().is_open();
        self.is_early |= !takes_more || !self.stream().buffers().input().is_empty();
        Ok(takes_more)
    }

    /// Reads what has arrived, until there is something for ureq.
    fn read(&mut self) -> Result<(), Failure> {
        let had_head = self.reply.has_head();
        loop {
            let used = self.read_piece()?;
            self.received += used;
            if self.received > MAX_REPLY_BYTES {
                let message = format!("reply of more than {MAX_REPLY_BYTES} bytes");
                return Err(Failure::new(FailureClass::TooLarge, message));
            }
            if used == 0 || !self.clean.is_empty() {
                break;
            }
        }
        if let (false, Some(date)) = (had_head, self.reply.date()) {
            trace::update(|trace| trace.clock_offset_s = Some(date - unix_now()));
        }
        Ok(())
    }

    /// Reads a piece of what has arrived. Returns how many bytes it was.
    fn read_piece(&mut self) -> Result<usize, Failure> {
        let Self { connection, reply, clean, .. } = self;
        let buffers = connection.as_mut().expect("only dropping takes it").stream.buffers();
        let raw = buffers.input();
        let used = reply.read(&raw[..raw.len().min(PIECE_BYTES)], clean)?;
        buffers.input_consume(used);
        Ok(used)
    }

    fn phase(&self) -> Phase {
        if self.reply.has_head() { Phase::Reading } else { Phase::Waiting }
    }

    /// Waits for more; `false` at the end of the connection.
    fn receive(&mut self, timeout: NextTimeout) -> Result<bool, Error> {
        let phase = self.phase();
        let error = match self.stream().await_input(timeout) {
            Ok(arrived) => return Ok(arrived),
            Err(Error::Other(other)) => match other.downcast::<Unsent>() {
                Ok(unsent) if phase == Phase::Waiting => return Err(self.sending_error(unsent.sending)),
                Ok(unsent) => unsent.reading,
                Err(other) => Some(Error::Other(other)),
            },
            Err(error) => Some(error),
        };
        match error {
            None => Ok(false),
            Some(error) => Err(in_phase(phase)(error)),
        }
    }

    /// What ended sending, and no reply explains it.
    fn sending_error(&mut self, error: Error) -> Error {
        let is_closed = |error: &io::Error| {
            matches!(
                error.kind(),
                io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset | io::ErrorKind::UnexpectedEof
            )
        };
        match error {
            Error::Io(error) if self.connection().is_used && self.received == 0 && is_closed(&error) => {
                Error::Other(NotSent.into())
            }
            error => in_phase(Phase::Sending)(error),
        }
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        // Of a reply that was not read to its end, such as a redirect, the rest may have arrived.
        while self.read_piece().is_ok_and(|used| used > 0) {
            self.clean.clear();
        }
        let is_whole = self.has_begun && self.held == 0 && !self.is_early;
        let idle_limit = self.reply.idle_limit().filter(|_| is_whole);
        if let (Some(limit), Some(mut connection)) = (idle_limit, self.connection.take())
            && connection.stream.buffers().input().is_empty()
        {
            idle::keep(connection, limit);
        }
    }
}

impl Transport for Reader {
    fn buffers(&mut self) -> &mut dyn Buffers {
        self
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), Error> {
        if self.reply.has_head() {
            return Ok(());
        }
        let amount = self.held + amount;
        if !mem::replace(&mut self.has_begun, true) {
            let output = self.stream().buffers().output();
            if amount <= output.len() / 2 && output[..amount].ends_with(b"\r\n\r\n") {
                self.held = amount;
                return Ok(());
            }
        }
        let started = Instant::now();
        if !self.send(amount, timeout)? {
            // Sending has ended, so the head of the reply has arrived or never will.
            let after = timeout.after.saturating_sub(started.elapsed()).into();
            self.await_input(NextTimeout { after, ..timeout })?;
        }
        Ok(())
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, Error> {
        let (started, timeout) = (Instant::now(), read_limit::shortened(timeout));
        if self.held > 0 {
            self.send(self.held, timeout)?;
        }
        let mut foreign_since = None;
        loop {
            self.read().map_err(|failure| Error::Other(failure.into()))?;
            if !self.clean.is_empty() {
                return Ok(true);
            }
            if self.reply.is_complete() {
                return Ok(false);
            }
            let mut limit = timeout.after.saturating_sub(started.elapsed());
            let not_http = self.reply.not_http();
            if let Some((failure, is_cut)) = &not_http {
                let waited = foreign_since.get_or_insert_with(Instant::now).elapsed();
                if !is_cut || waited >= FOREIGN_WAIT {
                    return Err(Error::Other(failure.clone().into()));
                }
                limit = limit.min(FOREIGN_WAIT.saturating_sub(waited));
            }
            let arrived = self.receive(NextTimeout { after: limit.into(), ..timeout });
            match (arrived, not_http) {
                (Ok(true), _) => {}
                (_, Some((failure, _))) => return Err(Error::Other(failure.into())),
                (Ok(false), None) if self.reply.may_end() => return Ok(false),
                (Ok(false), None) => {
                    return Err(in_phase(self.phase())(Error::Io(io::ErrorKind::UnexpectedEof.into())));
                }
                (Err(error), None) => return Err(error),
            }
        }
    }

    /// Whether ureq may keep the connection, which it never does: dropping keeps it.
    fn is_open(&mut self) -> bool {
        false
    }

    fn is_tls(&self) -> bool {
        self.connection.as_ref().is_some_and(|connection| connection.stream.is_tls())
    }
}

impl Buffers for Reader {
    fn output(&mut self) -> &mut [u8] {
        let held = self.held;
        &mut self.stream().buffers().output()[held..]
    }

    fn input(&self) -> &[u8] {
        &self.clean[self.consumed..]
    }

    fn input_append_buf(&mut self) -> &mut [u8] {
        // Only this connection appends input.
        &mut []
    }

    fn input_appended(&mut self, _amount: usize) {}

    fn input_consume(&mut self, amount: usize) {
        self.consumed += amount;
        if self.consumed == self.clean.len() {
            self.clean.clear();
            self.consumed = 0;
        }
    }

    fn tmp_and_output(&mut self) -> (&mut [u8], &mut [u8]) {
        let held = self.held;
        let (tmp, output) = self.stream().buffers().tmp_and_output();
        (tmp, &mut output[held..])
    }

    fn can_use_input(&self) -> bool {
        !self.input().is_empty()
    }
}

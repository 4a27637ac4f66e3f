//! The last step of a connection: ureq gets a clean reply, and errors with their phase.

use std::io;
use std::time::{Duration, Instant};

use ureq::Error;
use ureq::unversioned::transport::{Buffers, NextTimeout, Transport};

use super::read_limit;
use super::reply::Reply;
use super::step::in_phase;
use super::stream::Unsent;
use super::trace;
use crate::model::{Failure, FailureClass};
use crate::site::failure::Phase;
use crate::util::time::unix_now;

/// How many bytes are received on one connection.
///
/// This is more than any header, body and framing need. It ends replies that have no other limit than time, such as
/// endless extensions of a chunk.
const MAX_REPLY_BYTES: usize = 4 << 20;

/// How much of a reply is read at a time, in bytes. It bounds the memory for clean bytes.
const PIECE_BYTES: usize = 4096;

/// How long the rest of what is not HTTP is waited for. A server that sends a greeting waits itself.
const FOREIGN_WAIT: Duration = Duration::from_millis(250);

/// A connection that reads a reply leniently, and passes it on as strict HTTP.
#[derive(Debug)]
pub(super) struct Reader<T> {
    connection: T,
    reply: Reply,
    /// In bytes.
    received: usize,
    /// What ureq reads.
    clean: Vec<u8>,
    /// How much of it ureq has read, in bytes.
    consumed: usize,
}

impl<T: Transport> Reader<T> {
    pub(super) fn new(connection: T) -> Self {
        Self { connection, reply: Reply::new(), received: 0, clean: Vec::new(), consumed: 0 }
    }

    /// Reads what has arrived, until there is something for ureq.
    fn read(&mut self) -> Result<(), Failure> {
        let had_head = self.reply.has_head();
        loop {
            let raw = self.connection.buffers().input();
            let used = self.reply.read(&raw[..raw.len().min(PIECE_BYTES)], &mut self.clean)?;
            self.connection.buffers().input_consume(used);
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

    fn phase(&self) -> Phase {
        if self.reply.has_head() { Phase::Reading } else { Phase::Waiting }
    }

    /// Waits for more; `false` at the end of the connection.
    fn receive(&mut self, timeout: NextTimeout) -> Result<bool, Error> {
        let phase = self.phase();
        let error = match self.connection.await_input(timeout) {
            Ok(arrived) => return Ok(arrived),
            Err(Error::Other(other)) => match other.downcast::<Unsent>() {
                Ok(unsent) if phase == Phase::Waiting => return Err(in_phase(Phase::Sending)(unsent.sending)),
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
}

impl<T: Transport> Transport for Reader<T> {
    fn buffers(&mut self) -> &mut dyn Buffers {
        self
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), Error> {
        if self.reply.has_head() {
            return Ok(());
        }
        let started = Instant::now();
        self.connection.transmit_output(amount, timeout).map_err(in_phase(Phase::Sending))?;
        if !self.connection.is_open() {
            // Sending has ended, so the head of the reply has arrived or never will.
            let after = timeout.after.saturating_sub(started.elapsed()).into();
            self.await_input(NextTimeout { after, ..timeout })?;
        }
        Ok(())
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, Error> {
        let (started, timeout) = (Instant::now(), read_limit::shortened(timeout));
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

    fn is_open(&mut self) -> bool {
        self.connection.is_open()
    }

    fn is_tls(&self) -> bool {
        self.connection.is_tls()
    }
}

impl<T: Transport> Buffers for Reader<T> {
    fn output(&mut self) -> &mut [u8] {
        self.connection.buffers().output()
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
        self.connection.buffers().tmp_and_output()
    }

    fn can_use_input(&self) -> bool {
        !self.input().is_empty()
    }
}

//! A connection as ureq uses it.
//!
//! A reply that has arrived counts, whatever became of the request (RFC 9112, 9.5). So sending never fails here: what ended
//! it is reported when nothing more can be read.

use std::io;
use std::net::{IpAddr, TcpStream};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustls::ClientConnection;
use ureq::Error;
use ureq::unversioned::transport::{Buffers, LazyBuffers, NextTimeout, Transport};

use super::channel::Channel;
use super::reply::settles;
use super::trace;
use crate::site::options::BUFFER_BYTES;

/// How much of the time is kept for reading when a request cannot be sent, but at most a quarter of it.
///
/// A reply may have arrived meanwhile.
const READING_TIME: Duration = Duration::from_secs(1);

/// The request was not sent whole, and then nothing more could be read.
#[derive(Debug, thiserror::Error)]
#[error("the request was not sent")]
pub(super) struct Unsent {
    /// What ended sending.
    pub(super) sending: Error,
    /// What ended reading; `None` is the end of the connection.
    pub(super) reading: Option<Error>,
}

/// A connection over TCP, for https with TLS.
#[derive(Debug)]
pub(super) struct Stream {
    channel: Channel,
    buffers: LazyBuffers,
    /// Whether the rest of the request is still to be sent.
    is_sending: bool,
    /// What ended sending, until it has been reported.
    send_error: Option<Error>,
}

impl Stream {
    /// Makes a connection of a socket that is connected and does not block.
    ///
    /// # Errors
    /// The socket cannot be configured.
    pub(super) fn new(socket: TcpStream) -> Result<Self, Error> {
        socket.set_nodelay(true)?;
        Ok(Self { channel: Channel::plain(socket), buffers: new_buffers(), is_sending: true, send_error: None })
    }

    /// Makes the TLS handshake.
    ///
    /// # Errors
    /// It fails, or lasts longer than the timeout.
    pub(super) fn secure(&mut self, session: ClientConnection, timeout: NextTimeout) -> Result<(), Error> {
        let deadline = deadline(*timeout.after);
        self.channel.begin_tls(session);
        loop {
            match self.channel.shake_hands() {
                Ok(()) => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    let events = if self.channel.has_unsent() { PollFlags::OUT } else { PollFlags::IN };
                    if wait(&self.channel, events, deadline)?.is_empty() {
                        return Err(Error::Timeout(timeout.reason));
                    }
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// The address that it leads to; `None` if it was reset.
    pub(super) fn address(&self) -> Option<IpAddr> {
        self.channel.peer_address().ok()
    }

    /// Whether the connection is open, and nothing has arrived on it that was not asked for.
    ///
    /// Only then may it be used for another request. It does not wait. Session tickets and new keys of TLS are taken in.
    pub(super) fn is_idle(&mut self) -> bool {
        // What arrives here is no answer to the request that comes next.
        let trace = trace::current();
        let is_idle = self.is_sending && self.buffers.input().is_empty() && matches!(self.read(), Ok(None));
        trace::begin(trace);
        is_idle
    }

    /// Sends this much of the output, unless a reply arrives that makes it pointless.
    fn send(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), Error> {
        let deadline = deadline(timeout.after.saturating_sub(READING_TIME.min(*timeout.after / 4)));
        let mut sent = 0;
        while sent < amount || self.channel.has_unsent() {
            match self.channel.write(&self.buffers.output()[sent..amount]) {
                Ok(count) => sent += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    let reads = !self.buffers.input_append_buf().is_empty();
                    let events = if reads { PollFlags::IN | PollFlags::OUT } else { PollFlags::OUT };
                    let ready = wait(&self.channel, events, deadline)?;
                    if ready.is_empty() {
                        return Err(Error::Timeout(timeout.reason));
                    }
                    let arrived = if reads && ready.contains(PollFlags::IN) { self.read()? } else { None };
                    if arrived == Some(0) {
                        return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
                    }
                    if arrived.is_some() && settles(self.buffers.input()) {
                        self.is_sending = false;
                        return Ok(());
                    }
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// Frees the buffers, unless something was read that is still to be used. They are allocated when they are needed.
    ///
    /// Most connections of a run wait for their reply.
    fn free_buffers(&mut self) {
        if self.buffers.input().is_empty() {
            self.buffers = new_buffers();
        }
    }

    /// Waits for input and reads it; returns how many bytes it was, 0 at the end of the connection.
    fn receive(&mut self, timeout: NextTimeout) -> Result<usize, Error> {
        let deadline = deadline(*timeout.after);
        loop {
            if !self.channel.has_input() {
                self.free_buffers();
                if wait(&self.channel, PollFlags::IN, deadline)?.is_empty() {
                    return Err(Error::Timeout(timeout.reason));
                }
            }
            if let Some(count) = self.read()? {
                return Ok(count);
            }
        }
    }

    /// Reads what has arrived; returns how many bytes it was, 0 at the end of the connection. `None` if nothing has arrived.
    fn read(&mut self) -> io::Result<Option<usize>> {
        loop {
            match self.channel.read(self.buffers.input_append_buf()) {
                Ok(count) => {
                    self.buffers.input_appended(count);
                    return Ok(Some(count));
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
                Err(error) => return Err(error),
            }
        }
    }
}

impl Transport for Stream {
    fn buffers(&mut self) -> &mut dyn Buffers {
        &mut self.buffers
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), Error> {
        if self.is_sending
            && let Err(error) = self.send(amount, timeout)
        {
            self.is_sending = false;
            self.send_error = Some(error);
        }
        Ok(())
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, Error> {
        let received = self.receive(timeout);
        if !matches!(received, Ok(1..))
            && let Some(sending) = self.send_error.take()
        {
            return Err(Error::Other(Unsent { sending, reading: received.err() }.into()));
        }
        received.map(|count| count > 0)
    }

    /// Whether the connection still takes the request.
    fn is_open(&mut self) -> bool {
        self.is_sending
    }

    fn is_tls(&self) -> bool {
        self.channel.is_tls()
    }
}

/// Buffers that are not allocated yet.
fn new_buffers() -> LazyBuffers {
    LazyBuffers::new(BUFFER_BYTES, BUFFER_BYTES)
}

/// Waits until the socket is ready; returns for what. Nothing means that the time is over.
fn wait(socket: impl AsFd, events: PollFlags, deadline: Option<Instant>) -> io::Result<PollFlags> {
    loop {
        let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        let left = left.and_then(|left| Timespec::try_from(left).ok());
        let mut sockets = [PollFd::new(&socket, events)];
        match poll(&mut sockets, left.as_ref()) {
            Ok(_) => return Ok(sockets[0].revents()),
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// The end of this time from now; `None` for a time without end.
fn deadline(after: Duration) -> Option<Instant> {
    Instant::now().checked_add(after)
}

#[cfg(test)]
mod tests;

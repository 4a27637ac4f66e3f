//! What carries the bytes of a connection: a socket, and for https a TLS session on it.
//!
//! Nothing here waits. What would wait is an error of the kind `WouldBlock`.

use std::io::{self, Read, Write};
use std::net::{IpAddr, TcpStream};
use std::os::fd::{AsFd, BorrowedFd};

use rustls::{ClientConnection, Error};

use super::trace;

/// A socket that does not block, with the TLS session on it.
#[derive(Debug)]
pub(super) struct Channel {
    socket: TcpStream,
    /// `None` for plain http.
    tls: Option<Box<ClientConnection>>,
}

impl Channel {
    /// A channel without TLS.
    pub(super) fn plain(socket: TcpStream) -> Self {
        Self { socket, tls: None }
    }

    /// Whether what is written is encrypted.
    pub(super) fn is_tls(&self) -> bool {
        self.tls.is_some()
    }

    /// The address of the other end.
    ///
    /// # Errors
    /// The connection was reset.
    pub(super) fn peer_address(&self) -> io::Result<IpAddr> {
        self.socket.peer_addr().map(|address| address.ip())
    }

    /// Begins a TLS session. Nothing is sent before [`Channel::shake_hands`].
    pub(super) fn begin_tls(&mut self, session: ClientConnection) {
        self.tls = Some(Box::new(session));
    }

    /// Goes on with the handshake until it is done.
    ///
    /// The last message of the client may be left for [`Channel::write`], which sends it together with the request.
    ///
    /// # Errors
    /// The handshake fails, or would wait: to write if [`Channel::has_unsent`], else to read.
    pub(super) fn shake_hands(&mut self) -> io::Result<()> {
        let Self { socket, tls: Some(tls) } = self else { return Ok(()) };
        while tls.is_handshaking() {
            if tls.wants_write() {
                tls.write_tls(socket)?;
                continue;
            }
            if receive(tls, socket)? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            process(tls, socket)?;
        }
        Ok(())
    }

    /// Sends more, and returns how many of these bytes it has taken.
    ///
    /// TLS takes bytes before it hands them to the system: they are sent once [`Channel::has_unsent`] is `false`.
    ///
    /// # Errors
    /// Sending fails, or would wait.
    pub(super) fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let Self { socket, tls: Some(tls) } = self else { return self.socket.write(bytes) };
        let taken = tls.writer().write(bytes)?;
        if taken == 0 {
            tls.write_tls(socket)?;
        }
        Ok(taken)
    }

    /// Whether bytes that were taken have not been handed to the system yet.
    pub(super) fn has_unsent(&self) -> bool {
        self.tls.as_ref().is_some_and(|tls| tls.wants_write())
    }

    /// Reads what has arrived. Returns how many bytes it was: 0 at the end, in TLS also at one without `close_notify`.
    ///
    /// # Errors
    /// Reading fails, or would wait. In TLS, bytes that arrived before an error are returned first.
    pub(super) fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let Self { socket, tls: Some(tls) } = self else {
            return self.socket.read(buffer).inspect(|count| trace::received(*count));
        };
        loop {
            let processed = process(tls, socket);
            match tls.reader().read(buffer) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => processed?,
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return processed.map(|()| 0),
                read => return read,
            }
            receive(tls, socket)?;
        }
    }

    /// Whether [`Channel::read`] returns without anything more of the socket.
    pub(super) fn has_input(&mut self) -> bool {
        let Some(tls) = &mut self.tls else { return false };
        tls.process_new_packets().map_or(true, |state| state.plaintext_bytes_to_read() > 0 || state.peer_has_closed())
    }
}

impl AsFd for Channel {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// Reads what has arrived for a session, without processing it. Returns how many bytes it was.
fn receive(tls: &mut ClientConnection, socket: &mut TcpStream) -> io::Result<usize> {
    tls.read_tls(socket).inspect(|count| trace::received(*count))
}

/// Processes what was received.
fn process(tls: &mut ClientConnection, socket: &mut TcpStream) -> io::Result<()> {
    tls.process_new_packets().map(drop).map_err(|error: Error| {
        // An alert has the reason. It is sent if that is possible at once.
        let _ = tls.write_tls(socket);
        io::Error::new(io::ErrorKind::InvalidData, error)
    })
}

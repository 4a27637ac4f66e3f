//! The last step: adds the phase to the errors of an open connection, and bounds what is received.

use std::io;

use ureq::Error;
use ureq::unversioned::transport::{Buffers, ConnectionDetails, Connector, NextTimeout, Transport};

use super::step::in_phase;
use crate::model::{Failure, FailureClass};
use crate::site::failure::Phase;

/// How many bytes are received on one connection.
///
/// This is more than any header, body and framing need. It ends replies that have no other limit than time, such as
/// endless trailers.
const MAX_REPLY_BYTES: usize = 4 << 20;

/// Wraps a finished connection in [`Tagged`].
#[derive(Debug)]
pub(super) struct PhaseTagging;

impl<In: Transport> Connector<In> for PhaseTagging {
    type Out = Tagged<In>;

    fn connect(&self, _details: &ConnectionDetails, chained: Option<In>) -> Result<Option<Self::Out>, Error> {
        Ok(chained.map(|connection| Tagged { connection, received: 0 }))
    }
}

/// A connection that distinguishes errors of sending and receiving, and a reset from an end.
#[derive(Debug)]
pub(super) struct Tagged<T> {
    connection: T,
    /// In bytes.
    received: usize,
}

impl<T: Transport> Transport for Tagged<T> {
    fn buffers(&mut self) -> &mut dyn Buffers {
        self.connection.buffers()
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), Error> {
        self.connection.transmit_output(amount, timeout).map_err(in_phase(Phase::Sending))
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, Error> {
        let before = self.connection.buffers().input().len();
        let arrived = self.connection.await_input(timeout).map_err(|error| match error {
            // ureq takes a reset for the end of a body that has no announced length.
            Error::Io(io) if matches!(io.kind(), io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionAborted) => {
                in_phase(Phase::Reading)(Error::Io(io))
            }
            error => error,
        })?;
        self.received += self.connection.buffers().input().len().saturating_sub(before);
        if self.received > MAX_REPLY_BYTES {
            let failure = Failure::new(FailureClass::TooLarge, format!("reply of more than {MAX_REPLY_BYTES} bytes"));
            return Err(Error::Other(failure.into()));
        }
        Ok(arrived)
    }

    fn is_open(&mut self) -> bool {
        self.connection.is_open()
    }

    fn is_tls(&self) -> bool {
        self.connection.is_tls()
    }
}

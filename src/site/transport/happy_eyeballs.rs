//! Which of a host's addresses is connected to (Happy Eyeballs, RFC 8305, section 5).
//!
//! An address that does not answer must not delay those after it. So the next one is tried while the first still may answer, and
//! the first connection that is made wins. Time and sockets are behind a trait, so that the rules can be tested without them.

use std::io;
use std::mem;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use super::connect_error::ConnectError;
use crate::model::{Cause, Failure, Fault};
use crate::site::failure::Phase;
use crate::site::shortage::shortage;

/// How long the next address waits for those that are being tried, where the limit is not short.
const ATTEMPT_DELAY: Duration = Duration::from_millis(250);

/// The shortest limit.
const MIN_LIMIT: Duration = Duration::from_millis(10);

/// What connecting needs from the system.
pub(super) trait Sockets {
    /// A socket, which closes when it is dropped.
    type Socket;

    /// Returns the time since connecting began.
    fn elapsed(&self) -> Duration;

    /// Begins to connect; returns the socket and whether it is connected already.
    ///
    /// # Errors
    /// The address cannot be connected to.
    fn begin(&mut self, address: SocketAddr) -> Result<(Self::Socket, bool), ConnectError>;

    /// Waits until attempts end, but not longer than `limit`; returns for each whether it has ended.
    ///
    /// # Errors
    /// The system cannot wait.
    fn wait(&mut self, attempts: &[Attempt<Self::Socket>], limit: Duration) -> io::Result<Vec<bool>>;

    /// Returns how an attempt has ended.
    ///
    /// # Errors
    /// The connection is not made.
    fn end(&mut self, socket: &Self::Socket) -> Result<(), ConnectError>;

    /// Whether this machine has a route to an address.
    fn has_route(&self, address: SocketAddr) -> bool;
}

/// An attempt to connect that is in flight.
pub(super) struct Attempt<S> {
    address: SocketAddr,
    pub(super) socket: S,
}

/// Connects to one of these addresses within a limit; returns it with its socket.
///
/// They are tried in this order. The next one begins as soon as one has failed, else after [`ATTEMPT_DELAY`] or less. The sockets
/// of the others are closed.
///
/// # Errors
/// The most telling failure of all addresses.
pub(super) fn connect<S: Sockets>(
    sockets: &mut S,
    addresses: &[SocketAddr],
    limit: Duration,
) -> Result<(IpAddr, S::Socket), Failure> {
    let limit = limit.max(MIN_LIMIT);
    let delay = attempt_delay(addresses.len(), limit);
    let mut untried = addresses;
    let mut attempts = Vec::with_capacity(1);
    let mut telling = Telling::default();
    let mut next_at = Duration::ZERO;
    loop {
        let now = sockets.elapsed();
        if let [address, others @ ..] = untried
            && next_at <= now
            && now < limit
        {
            match sockets.begin(*address) {
                Ok((socket, true)) => return Ok((address.ip(), socket)),
                Ok((socket, false)) => {
                    attempts.push(Attempt { address: *address, socket });
                    (untried, next_at) = (others, now + delay);
                }
                // The address is tried again, at the latest when an attempt has ended and its socket is closed.
                Err(ConnectError { error, .. }) if !attempts.is_empty() && shortage(&error).is_some() => {
                    next_at = now + delay;
                }
                Err(error) => {
                    telling.add_error(&error, *address, sockets);
                    untried = others;
                }
            }
            continue;
        }
        if attempts.is_empty() {
            return Err(telling.failure());
        }
        let until = if untried.is_empty() { limit } else { next_at.min(limit) };
        let ended = sockets.wait(&attempts, until.saturating_sub(now));
        let ended = ended.map_err(|error| ConnectError::from(error).failure(attempts[0].address.ip(), || true))?;
        let mut ended = ended.into_iter();
        for attempt in mem::take(&mut attempts) {
            if ended.next() != Some(true) {
                attempts.push(attempt);
                continue;
            }
            match sockets.end(&attempt.socket) {
                Ok(()) => return Ok((attempt.address.ip(), attempt.socket)),
                Err(error) => {
                    telling.add_error(&error, attempt.address, sockets);
                    next_at = now;
                }
            }
        }
        if now >= limit {
            if !attempts.is_empty() {
                telling.add(TIMED_OUT, Phase::Connecting.timed_out());
            }
            return Err(telling.failure());
        }
    }
}

/// How long the next address waits. The last one is left half of the limit.
fn attempt_delay(addresses: usize, limit: Duration) -> Duration {
    let others = u32::try_from(addresses).unwrap_or(u32::MAX).saturating_sub(1);
    ATTEMPT_DELAY.min(limit / 2 / others.max(1))
}

/// The most telling failure so far, with its weight.
#[derive(Default)]
struct Telling(Option<(u8, Failure)>);

/// The weight of an address that does not answer.
const TIMED_OUT: u8 = 2;

impl Telling {
    fn add_error(&mut self, error: &ConnectError, address: SocketAddr, sockets: &impl Sockets) {
        let failure = error.failure(address.ip(), || sockets.has_route(address));
        self.add(weight(&failure, error.error.kind()), failure);
    }

    fn add(&mut self, weight: u8, failure: Failure) {
        if self.0.as_ref().is_none_or(|(most, _)| weight > *most) {
            self.0 = Some((weight, failure));
        }
    }

    fn failure(self) -> Failure {
        self.0.map_or_else(|| Phase::Connecting.timed_out(), |(_, failure)| failure)
    }
}

/// How much a failure shows about the site. What this machine could not do shows nothing about it.
fn weight(failure: &Failure, kind: io::ErrorKind) -> u8 {
    match (&failure.cause, kind) {
        (Cause::Local(Fault::NoRoute), _) => 0,
        (Cause::Local(_), _) => 1,
        (_, io::ErrorKind::TimedOut) => TIMED_OUT,
        // Only the site itself refuses.
        (_, io::ErrorKind::ConnectionRefused) => 4,
        _ => 3,
    }
}

#[cfg(test)]
mod tests;

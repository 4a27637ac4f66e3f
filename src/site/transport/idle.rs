//! Connections between two requests.
//!
//! Between its calls they belong to a poll, so that no other poll uses them. Those that are left at its end are kept for
//! other sites of the host, so that each address has at most as many connections as polls are allowed.
//!
//! ureq passes nothing from a connection to the caller. Both run on the caller's thread, so a variable of the thread has
//! the connections of the poll during a call.

use std::cell::RefCell;
use std::iter;
use std::mem;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use ureq::http::Uri;
use ureq::http::uri::{Authority, Scheme};

use super::stream::Stream;

/// How many connections a poll keeps: to its site, and to what that redirects to.
const MAX_OF_POLL: usize = 2;

/// How many connections are kept for the polls to come.
pub const MAX_SPARE_CONNECTIONS: usize = 64;

thread_local! {
    static CALL: RefCell<Call> = const { RefCell::new(Call { idle: None, needs_new: false }) };
}

/// What a call on this thread may use.
struct Call {
    /// `None` if no call follows that could use a connection again.
    idle: Option<IdleConnections>,
    /// Whether the next connection must be a new one.
    needs_new: bool,
}

/// The idle connections of a poll.
pub(in crate::site) type IdleConnections = Vec<Idle>;

/// Scheme, host and port of a URL. In a URL of [`Endpoint`](crate::site::Endpoint), the default port is left out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::site) struct Origin {
    scheme: Option<Scheme>,
    authority: Option<Authority>,
}

impl Origin {
    pub(in crate::site) fn of(uri: &Uri) -> Self {
        Self { scheme: uri.scheme().cloned(), authority: uri.authority().cloned() }
    }

    fn host(&self) -> Option<&str> {
        self.authority.as_ref().map(Authority::host)
    }
}

/// A connection to an origin.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) stream: Stream,
    pub(super) origin: Origin,
    /// `None` if it was reset before it could be looked up.
    pub(super) address: Option<IpAddr>,
    /// Whether an earlier request was sent over it.
    pub(super) is_used: bool,
}

impl Connection {
    fn is_at(&self, addresses: &[SocketAddr]) -> bool {
        addresses.iter().any(|address| Some(address.ip()) == self.address)
    }
}

/// A connection that is idle.
#[derive(Debug)]
pub(in crate::site) struct Idle {
    connection: Connection,
    /// When it has been idle for too long to be used again.
    until: Instant,
}

impl Idle {
    fn is_fresh(&self) -> bool {
        Instant::now() < self.until
    }

    /// The connection, if it can be used again.
    fn into_open(mut self) -> Option<Connection> {
        (self.is_fresh() && self.connection.stream.is_idle()).then_some(self.connection)
    }
}

/// Calls a function that sends requests over these connections, and keeps its own among them.
///
/// With `None` its own are closed.
pub(in crate::site) fn with_connections<T>(idle: &mut Option<IdleConnections>, call: impl FnOnce() -> T) -> T {
    let _lent = Lent::new(idle);
    call()
}

/// The connections of a poll while they are those of the thread. They are given back after a panic as well.
struct Lent<'a>(&'a mut Option<IdleConnections>);

impl<'a> Lent<'a> {
    fn new(idle: &'a mut Option<IdleConnections>) -> Self {
        CALL.with_borrow_mut(|call| mem::swap(&mut call.idle, idle));
        Self(idle)
    }
}

impl Drop for Lent<'_> {
    fn drop(&mut self) {
        CALL.with_borrow_mut(|call| mem::swap(&mut call.idle, self.0));
    }
}

/// Sends the next request of this thread over a new connection.
pub(in crate::site) fn require_new_connection() {
    CALL.with_borrow_mut(|call| call.needs_new = true);
}

/// Keeps a connection of the call on this thread for at most `limit`, unless no call follows.
pub(super) fn keep(connection: Connection, limit: Duration) {
    let connection = Connection { is_used: true, ..connection };
    let idle = Idle { connection, until: Instant::now() + limit };
    CALL.with_borrow_mut(|call| {
        if let Some(kept) = &mut call.idle {
            kept.push(idle);
            close_oldest(kept, MAX_OF_POLL);
        }
    });
}

fn close_oldest(kept: &mut Vec<Idle>, limit: usize) {
    kept.drain(..kept.len().saturating_sub(limit));
}

/// Removes the connection to an origin, at one of these addresses, that was used last.
fn take_last(kept: &mut Vec<Idle>, origin: &Origin, addresses: &[SocketAddr]) -> Option<Idle> {
    let fits = |idle: &Idle| idle.connection.origin == *origin && idle.connection.is_at(addresses);
    kept.iter().rposition(fits).map(|index| kept.remove(index))
}

/// Closes one connection to each of these addresses.
fn close_one_at_each(kept: &mut Vec<Idle>, addresses: &[SocketAddr]) {
    for address in addresses {
        if let Some(index) = kept.iter().position(|idle| idle.connection.address == Some(address.ip())) {
            kept.remove(index);
        }
    }
}

/// The connections that are kept for the polls to come.
#[derive(Debug, Default)]
pub(in crate::site) struct SpareConnections(Mutex<Vec<Idle>>);

impl SpareConnections {
    /// An open connection to this origin, of the call on this thread or of earlier polls.
    ///
    /// It leads to one of these addresses. `None` means that a new one may be made. The call has no other connection to
    /// them then, and one that was kept for each of them is closed.
    pub(super) fn take(&self, origin: &Origin, addresses: &[SocketAddr]) -> Option<Connection> {
        let needs_new = CALL.with_borrow_mut(|call| mem::take(&mut call.needs_new));
        let of_call = || CALL.with_borrow_mut(|call| take_last(call.idle.as_mut()?, origin, addresses));
        let spare = || take_last(&mut self.lock(), origin, addresses);
        if !needs_new && let Some(open) = iter::from_fn(of_call).find_map(Idle::into_open) {
            return Some(open);
        }
        CALL.with_borrow_mut(|call| call.idle.iter_mut().for_each(|kept| close_one_at_each(kept, addresses)));
        if !needs_new && let Some(open) = iter::from_fn(spare).find_map(Idle::into_open) {
            return Some(open);
        }
        close_one_at_each(&mut self.lock(), addresses);
        None
    }

    /// Ends a poll whose first call went to `origin`.
    ///
    /// Its connections to that host are kept if another site of the host waits. Otherwise all to the host are closed.
    pub(in crate::site) fn end_poll(&self, origin: &Origin, idle: IdleConnections, is_awaited: impl FnOnce() -> bool) {
        let is_of_host = |idle: &Idle| idle.connection.origin.host() == origin.host();
        let mut spare = self.lock();
        if idle.is_empty() && spare.is_empty() {
            return;
        }
        if is_awaited() {
            spare.extend(idle.into_iter().filter(is_of_host));
            close_oldest(&mut spare, MAX_SPARE_CONNECTIONS);
        } else {
            spare.retain(|idle| !is_of_host(idle));
        }
    }

    /// Closes all connections.
    pub(in crate::site) fn close(&self) {
        self.lock().clear();
    }

    /// The connections that are still fresh. Closing a connection does not block.
    fn lock(&self) -> MutexGuard<'_, Vec<Idle>> {
        let mut spare = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        spare.retain(Idle::is_fresh);
        spare
    }
}

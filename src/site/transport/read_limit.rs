//! A limit for the rest of a reply that is shorter than that of the call.
//!
//! ureq takes the limits of a call before it is known what the reply is. All runs on the caller's thread.

use std::cell::Cell;
use std::time::{Duration, Instant};

use ureq::unversioned::transport::NextTimeout;

/// The shortest limit: ureq takes 0 for none.
const MIN_LIMIT: Duration = Duration::from_millis(1);

thread_local! {
    static DEADLINE: Cell<Option<Instant>> = const { Cell::new(None) };
}

/// Calls a function that reads from a connection for at most `limit`.
///
/// The limit of the call still holds.
pub(in crate::site) fn within<T>(limit: Duration, read: impl FnOnce() -> T) -> T {
    DEADLINE.set(Some(Instant::now() + limit));
    let _end = End;
    read()
}

/// Ends the limit, after a panic as well.
struct End;

impl Drop for End {
    fn drop(&mut self) {
        DEADLINE.set(None);
    }
}

/// Shortens a limit so that it ends with the time for reading.
pub(super) fn shortened(timeout: NextTimeout) -> NextTimeout {
    let Some(deadline) = DEADLINE.get() else { return timeout };
    let left = deadline.saturating_duration_since(Instant::now()).max(MIN_LIMIT);
    NextTimeout { after: left.min(*timeout.after).into(), ..timeout }
}

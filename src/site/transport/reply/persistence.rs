//! Whether another request may follow on a connection (RFC 9112, 9.3), and for how long.

use std::time::Duration;

use super::framing::elements;
use super::head::Head;

/// The longest time that a connection is idle before it is used again.
///
/// Servers close idle connections after some seconds, some after 2 s. A request that is on its way then is a failure,
/// because it cannot be known whether it was processed.
const MAX_IDLE: Duration = Duration::from_millis(1500);

/// How long the connection may be idle after a reply with this head; `None` if no request may follow.
///
/// A server that announces how long it waits gets the next request in half of that time.
pub(super) fn idle_limit(head: &Head) -> Option<Duration> {
    let has = |option: &[u8]| head.connection_options().flat_map(elements).any(|is| is.eq_ignore_ascii_case(option));
    let is_kept = !has(b"close") && (head.is_persistent || has(b"keep-alive"));
    // Where the length is beside chunks, another reader of the reply may find its end elsewhere. After a status without a
    // body, some servers send one.
    let is_ambiguous = head.transfer_encodings().next().is_some() && head.lengths().next().is_some();
    if !is_kept || is_ambiguous || matches!(head.status, 101 | 204 | 304) {
        return None;
    }
    let announced = head.keep_alive().flat_map(elements).filter_map(timeout).min();
    Some(announced.map_or(MAX_IDLE, |timeout| MAX_IDLE.min(timeout / 2))).filter(|limit| !limit.is_zero())
}

/// The value of `timeout=5`, in seconds.
fn timeout(parameter: &[u8]) -> Option<Duration> {
    let (name, value) = str::from_utf8(parameter).ok()?.split_once('=')?;
    let seconds = value.trim().trim_matches('"').parse().ok()?;
    name.trim().eq_ignore_ascii_case("timeout").then_some(Duration::from_secs(seconds))
}

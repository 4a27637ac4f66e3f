//! What the calls of one poll showed about the network.

use std::net::IpAddr;

/// What the calls of one poll showed about the network, whatever its outcome.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PollTrace {
    /// The address that the first call connected to, or tried to.
    ///
    /// `None` if it has no address, or none that may be connected to. A redirect does not change it.
    pub address: Option<IpAddr>,
    /// Whether the first call connected to it.
    ///
    /// `false` means that no address of the host could be connected to.
    pub connected: bool,
    /// Whether any byte arrived.
    pub answered: bool,
    /// Whether a whole reply arrived, or a redirect.
    pub replied: bool,
    /// The site's time by the `Date` header of its last reply, minus the time of this machine, in seconds.
    pub clock_offset_s: Option<i64>,
}

//! Calls to sites: where they go, what may be connected to, and what can go wrong on the way. A call hands over
//! bytes and returns bytes; what they mean is the protocol's business.

mod agent;
mod api;
mod client;
mod egress;
mod failure;
mod resolver;
mod target;
#[cfg(test)]
mod tests;

pub use api::Api;
pub use client::{Client, Options, Timeouts, moved_to};
pub use egress::{Policy, Refused, RefusedPorts};
pub use target::Target;

/// How many files a client may have open beside a connection for each call: one for each look-up of a name.
pub const LOOK_UPS: usize = resolver::THREADS;

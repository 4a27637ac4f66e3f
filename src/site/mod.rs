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
pub use client::{Client, Options};
pub use egress::{Policy, Refused};
pub use failure::before_any_byte;
pub use target::Target;

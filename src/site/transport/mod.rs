//! How ureq connects.
//!
//! Only this directory uses the `unversioned` interfaces of ureq, which may change with any release. A connection is
//! made in steps: names and policy, TCP, TLS, and a reader that makes any reply strict HTTP. Each step of connecting has its own
//! limit, and its errors name it.

mod agent;
mod channel;
mod connect_error;
mod happy_eyeballs;
mod policy_resolver;
pub(super) mod read_limit;
mod reader;
mod reply;
mod step;
mod stream;
mod tcp;
mod tls;
pub(super) mod trace;
mod unverified;

pub(super) use agent::agent;
pub(super) use reply::MAX_HEAD_BYTES;
pub(super) use tls::Trust;

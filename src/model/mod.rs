//! The words of the domain as types. Nothing here reads a clock, a disk or a network.

mod cxn;
mod id;
mod outcome;
mod secret;
mod status;
mod via_port;

pub use cxn::{AppMeta, Cxn, Tls, host, host_hash};
pub use id::{AppId, BatchCode, CxnId, InvalidId, JobName};
pub use outcome::{Failure, FailureClass, Outcome, safe_text};
pub use secret::{InvalidSecret, Secret};
pub use status::{Attempt, PollStatus};
pub use via_port::{InvalidViaPort, ViaPort};

/// Seconds since 1970-01-01T00:00:00Z.
pub type UnixTime = i64;

//! The terms of the domain as types. Nothing here reads a clock, a disk or a network.

mod cause;
mod cxn;
mod id;
mod lateness;
mod outcome;
mod secret;
mod site_url;
mod status;
mod threads;
mod time;
mod trace;
mod transition;
mod via_port;

pub use cause::{Cause, Fault, TlsCause};
pub use cxn::{AppMeta, Cxn, Tls, host};
pub use id::{AppId, BatchCode, CxnId, InvalidId, JobName};
pub use lateness::Lateness;
pub use outcome::{Failure, FailureClass, Outcome};
pub use secret::{InvalidSecret, Secret};
pub use site_url::{SiteUrl, is_callable};
pub use status::{Attempt, PollStatus, Schedule, SeenRedirect};
pub use threads::{MAX_WORKERS, Threads};
pub use time::UnixTime;
pub use trace::PollTrace;
pub use transition::{Condition, Transition, was_recorded};
pub use via_port::{InvalidViaPort, ViaPort};

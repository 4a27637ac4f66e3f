//! What the steps of a connection share: a limit for one step, and the phase of its errors.

use std::time::Duration;

use ureq::Error;
use ureq::unversioned::transport::{ConnectionDetails, NextTimeout, time};

use super::stream::Unsent;
use crate::site::failure::{Phase, from_ureq};

/// Returns the timeout of the next step with this limit.
pub(super) fn limited(details: &ConnectionDetails, limit: Duration) -> NextTimeout {
    let now = (details.current_time)();
    let elapsed = match (now, details.now) {
        (time::Instant::Exact(now), time::Instant::Exact(began)) => now.saturating_duration_since(began),
        _ => Duration::ZERO,
    };
    let after = details.timeout.after.saturating_sub(elapsed).min(limit).into();
    NextTimeout { after, ..details.timeout }
}

/// Turns errors of ureq into failures of a phase. Made for `map_err`.
pub(super) fn in_phase(phase: Phase) -> impl Fn(Error) -> Error {
    move |error| {
        let error = match error {
            Error::Other(other) => match other.downcast::<Unsent>() {
                Ok(unsent) => unsent.sending,
                Err(other) => Error::Other(other),
            },
            error => error,
        };
        Error::Other(Box::new(from_ureq(error, phase)))
    }
}

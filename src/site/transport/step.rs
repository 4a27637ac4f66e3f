//! What the steps of a connection share: a limit for one step, and the phase of its errors.

use std::sync::Arc;
use std::time::Duration;

use ureq::Error;
use ureq::config::Config;
use ureq::unversioned::transport::{ConnectionDetails, NextTimeout, time};

use super::stream::Unsent;
use crate::site::failure::{Phase, from_ureq};

/// Returns the current time, and the timeout of the next step with this limit.
pub(super) fn limited(details: &ConnectionDetails, limit: Duration) -> (time::Instant, NextTimeout) {
    let now = (details.current_time)();
    let elapsed = match (now, details.now) {
        (time::Instant::Exact(now), time::Instant::Exact(began)) => now.saturating_duration_since(began),
        _ => Duration::ZERO,
    };
    let after = details.timeout.after.saturating_sub(elapsed).min(limit).into();
    (now, NextTimeout { after, ..details.timeout })
}

/// Returns the details of a connection with a limit for the next step and another configuration.
pub(super) fn with_limit<'a>(
    details: &ConnectionDetails<'a>,
    limit: Duration,
    config: &'a Config,
) -> ConnectionDetails<'a> {
    let (now, timeout) = limited(details, limit);
    let mut addrs = details.resolver.empty();
    details.addrs.iter().for_each(|address| addrs.push(*address));
    ConnectionDetails {
        uri: details.uri,
        addrs,
        config,
        // Each call sets a timeout of its own. ureq would take that for a TLS configuration of its own as well, and
        // read all certificates of the system again.
        request_level: false,
        resolver: details.resolver,
        now,
        timeout,
        current_time: Arc::clone(&details.current_time),
        run_connector: Arc::clone(&details.run_connector),
        register_shutdown: Arc::clone(&details.register_shutdown),
    }
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

//! Turns errors of the HTTP library into failures that a person can act on.

use std::fmt;
use std::io;

use ureq::Error;
use ureq::http::StatusCode;

use super::shortage::shortage;
use super::tls_reason;
use crate::model::{Cause, Failure, FailureClass, TlsCause};
use crate::util::text::{sanitize, system_text};

/// The step of a call that failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    Resolving,
    Connecting,
    Securing,
    Sending,
    Waiting,
    Reading,
}

impl Phase {
    /// Makes the failure of a call that timed out in this phase.
    pub(super) fn timed_out(self) -> Failure {
        Failure::new(FailureClass::Timeout, format!("timed out while {self}"))
    }
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Resolving => "resolving the host's name",
            Self::Connecting => "connecting",
            Self::Securing => "making the TLS connection",
            Self::Sending => "sending the request",
            Self::Waiting => "waiting for the reply",
            Self::Reading => "reading the reply",
        })
    }
}

/// Turns an error of ureq that occurred in this phase into a failure.
pub(super) fn from_ureq(error: Error, phase: Phase) -> Failure {
    use FailureClass::{Blocked, Connect, Dns, Garbled, Tls, TooLarge};
    match error {
        // A failure of this module that passed through ureq.
        Error::Other(other) => match other.downcast::<Failure>() {
            Ok(failure) => *failure,
            Err(other) => Failure::new(Garbled, format!("{other} while {phase}")),
        },
        Error::Timeout(_) => phase.timed_out(),
        Error::Io(error) => from_io(&error, phase),
        Error::HostNotFound => Failure::new(Dns, "the host's name has no address"),
        Error::ConnectionFailed => Failure::new(Connect, "the connection failed"),
        error @ (Error::Tls(_) | Error::TlsRequired) => Failure::new(Tls, error.to_string()),
        Error::LargeResponseHeader(_, limit) => Failure::new(TooLarge, format!("header of more than {limit} bytes")),
        Error::BodyExceedsLimit(limit) => body_too_large(limit),
        Error::BadUri(_) | Error::Http(_) => Failure::new(Blocked, "the site's URL cannot be called"),
        Error::Protocol(error) => Failure::new(Garbled, format!("invalid HTTP: {error}")),
        error => Failure::new(Garbled, format!("{error} while {phase}")),
    }
}

/// Turns an error of the system that occurred in this phase into a failure.
pub(super) fn from_io(error: &io::Error, phase: Phase) -> Failure {
    if let Some(failure) = shortage(error) {
        return failure;
    }
    if let Some(error) = error.get_ref().and_then(|inner| inner.downcast_ref()) {
        return tls_reason::failure(error, phase == Phase::Securing);
    }
    let reason = &system_text(error);
    let tls =
        |message: &str| Failure { cause: Cause::Tls(TlsCause::Other), ..Failure::new(FailureClass::Tls, message) };
    match (phase, error.kind()) {
        (Phase::Resolving, _) => Failure::new(FailureClass::Dns, reason),
        (Phase::Connecting, io::ErrorKind::TimedOut) => phase.timed_out(),
        (Phase::Connecting, _) => Failure::new(FailureClass::Connect, reason),
        (Phase::Securing, io::ErrorKind::UnexpectedEof) => tls(&format!("closed while {phase}")),
        (Phase::Securing, _) => tls(reason),
        (_, io::ErrorKind::UnexpectedEof) => Failure::new(FailureClass::Disconnected, format!("closed while {phase}")),
        _ => Failure::new(FailureClass::Disconnected, format!("{reason} while {phase}")),
    }
}

/// Makes the failure of a reply whose body is larger than `limit` bytes.
pub(super) fn body_too_large(limit: u64) -> Failure {
    Failure::new(FailureClass::TooLarge, format!("body of more than {limit} bytes"))
}

/// Makes the failure of a reply with this status, which shows only the status.
pub(super) fn of_status(status: StatusCode) -> Failure {
    let class = match status {
        StatusCode::GONE => FailureClass::Gone,
        status if status.as_u16() >= 400 => FailureClass::Http,
        // 101, which was not requested, or no message.
        _ => FailureClass::Garbled,
    };
    let cause = Cause::Status(status.as_u16(), None);
    Failure { cause, ..Failure::new(class, format!("status {}", with_reason(status))) }
}

/// Names the host in a failure; `None` leaves it as it is.
pub(super) fn at_host(failure: Failure, host: Option<&str>) -> Failure {
    match host {
        Some(host) => Failure { message: sanitize(&format!("at {host}: {}", failure.message)), ..failure },
        None => failure,
    }
}

/// `503 Service Unavailable`; only the number where the status has no name.
pub(super) fn with_reason(status: StatusCode) -> String {
    format!("{} {}", status.as_str(), status.canonical_reason().unwrap_or_default()).trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_has_its_class_and_its_reason() {
        for (status, expected) in [
            (410, "gone: status 410 Gone"),
            (400, "http: status 400 Bad Request"),
            (599, "http: status 599"),
            (101, "garbled: status 101 Switching Protocols"),
        ] {
            let failure = of_status(StatusCode::from_u16(status).unwrap());
            assert_eq!((failure.to_string().as_str(), failure.cause), (expected, Cause::Status(status, None)));
        }
    }
}

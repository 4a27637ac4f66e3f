//! Why TLS failed, in words that lead to a remedy.

use chrono::DateTime;
use rustls::pki_types::UnixTime;
use rustls::{AlertDescription, CertificateError, Error, InvalidMessage, PeerIncompatible};

use crate::model::{Cause, Failure, FailureClass, Fault, TlsCause};
use crate::util::text::count;

/// How many names of a certificate a message lists.
const MAX_NAMES: usize = 3;

/// Turns an error of TLS into a failure. `in_handshake` is whether it occurred before anything else was received.
pub(super) fn failure(error: &Error, in_handshake: bool) -> Failure {
    let (cause, message) = match error {
        Error::InvalidCertificate(error) => of_certificate(error),
        Error::InvalidMessage(InvalidMessage::InvalidContentType | InvalidMessage::UnknownProtocolVersion)
            if in_handshake =>
        {
            (TlsCause::NotTls, "the port does not speak TLS: perhaps the siteUrl should begin with http://".to_owned())
        }
        Error::NoCertificatesPresented => (TlsCause::Other, "the site has no certificate".to_owned()),
        Error::PeerIncompatible(error) => (TlsCause::Other, of_incompatibility(error)),
        Error::AlertReceived(alert) => (TlsCause::Other, of_alert(*alert)),
        Error::FailedToGetCurrentTime => return Failure::local(Fault::Clock, "this machine's clock is before 1970"),
        error => (TlsCause::Other, error.to_string()),
    };
    Failure { cause: Cause::Tls(cause), ..Failure::new(FailureClass::Tls, message) }
}

fn of_certificate(error: &CertificateError) -> (TlsCause, String) {
    use CertificateError as E;
    match error {
        E::ExpiredContext { not_after, .. } => {
            let message = format!("the site's certificate expired on {}: it must be renewed", date(*not_after));
            (TlsCause::Expired, message)
        }
        E::Expired => (TlsCause::Expired, "the site's certificate has expired: it must be renewed".to_owned()),
        E::NotValidYetContext { time, not_before } => {
            let message = format!(
                "the site's certificate is valid from {} on, and this machine's clock shows {}",
                date(*not_before),
                date(*time)
            );
            (TlsCause::NotYetValid, message)
        }
        E::NotValidYet => (TlsCause::NotYetValid, "the site's certificate is not valid yet".to_owned()),
        E::UnknownIssuer => {
            let message = "no trusted authority signed the site's certificate: it is self-signed, or the site does not send \
                           the intermediate certificate";
            (TlsCause::UnknownIssuer, message.to_owned())
        }
        E::NotValidForNameContext { expected, presented } => {
            (TlsCause::WrongName, of_names(&expected.to_str(), presented))
        }
        E::NotValidForName => (TlsCause::WrongName, "the site's certificate is for another name".to_owned()),
        E::Revoked => (TlsCause::Other, "the site's certificate was revoked".to_owned()),
        E::Other(other) => match other.0.downcast_ref() {
            Some(webpki::Error::CaUsedAsEndEntity) => {
                (TlsCause::UnknownIssuer, "the site's certificate is that of an authority, self-signed".to_owned())
            }
            _ => (TlsCause::Other, format!("the site's certificate is invalid: {}", other.0)),
        },
        error => (TlsCause::Other, format!("the site's certificate is invalid: {error}")),
    }
}

/// Describes a certificate for other names than the site's.
///
/// The library has the names as `DnsName("www.example.org")`.
fn of_names(expected: &str, presented: &[String]) -> String {
    let name = |text: &String| {
        let text = text.split_once('(').map_or(text.as_str(), |(_, name)| name.trim_end_matches(')'));
        text.trim_matches('"').to_owned()
    };
    let mut names: Vec<_> = presented.iter().map(name).take(MAX_NAMES).collect();
    match presented.len().saturating_sub(MAX_NAMES) {
        0 => {}
        more => names.push(count(more as u64, "other name")),
    }
    let names = if names.is_empty() { "no name".to_owned() } else { names.join(", ") };
    format!("the site's certificate is not for {expected}, but for {names}")
}

fn of_incompatibility(error: &PeerIncompatible) -> String {
    use PeerIncompatible as E;
    match error {
        E::ServerDoesNotSupportTls12Or13
        | E::ServerTlsVersionIsDisabledByOurConfig
        | E::Tls12NotOffered
        | E::Tls12NotOfferedOrEnabled
        | E::SupportedVersionsExtensionRequired => {
            "the site offers no secure version of TLS: it needs TLS 1.2 or later".to_owned()
        }
        E::NoCipherSuitesInCommon
        | E::NoKxGroupsInCommon
        | E::NoSignatureSchemesInCommon
        | E::NoEcPointFormatsInCommon => "the site offers no modern cipher".to_owned(),
        error => format!("the site's TLS does not fit: {error:?}"),
    }
}

fn of_alert(alert: AlertDescription) -> String {
    match alert {
        AlertDescription::ProtocolVersion | AlertDescription::InsufficientSecurity => {
            "the site refuses TLS 1.2 and 1.3: it needs a newer version of TLS".to_owned()
        }
        AlertDescription::HandshakeFailure => {
            "the site refused the TLS handshake: perhaps it has no modern cipher, or no certificate for this name"
                .to_owned()
        }
        AlertDescription::UnrecognisedName => "the server has no certificate for the site's name".to_owned(),
        AlertDescription::CertificateRequired | AlertDescription::NoCertificate => {
            "the site requires a certificate of the client".to_owned()
        }
        alert => format!("the site ended TLS with the alert {alert:?}"),
    }
}

/// The day of a time, in UTC.
fn date(time: UnixTime) -> String {
    let seconds = i64::try_from(time.as_secs()).ok();
    let date = seconds.and_then(|seconds| DateTime::from_timestamp(seconds, 0));
    date.map_or_else(|| "an unknown day".to_owned(), |date| date.format("%Y-%m-%d").to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::time::Duration;

    use rustls::OtherError;
    use rustls::pki_types::ServerName;

    fn day(days: u64) -> UnixTime {
        UnixTime::since_unix_epoch(Duration::from_secs(days * 86_400))
    }

    #[test]
    fn certificates_have_a_cause_and_a_reason() {
        let named = |presented: &[&str]| CertificateError::NotValidForNameContext {
            expected: ServerName::try_from("a.example.org").unwrap(),
            presented: presented.iter().map(|name| (*name).to_owned()).collect(),
        };
        let other = |error: webpki::Error| CertificateError::Other(OtherError(Arc::new(error)));
        for (error, cause, expected) in [
            (
                CertificateError::ExpiredContext { time: day(20_100), not_after: day(20_000) },
                TlsCause::Expired,
                "the site's certificate expired on 2024-10-04: it must be renewed",
            ),
            (
                CertificateError::NotValidYetContext { time: day(20_000), not_before: day(20_100) },
                TlsCause::NotYetValid,
                "the site's certificate is valid from 2025-01-12 on, and this machine's clock shows 2024-10-04",
            ),
            (
                CertificateError::UnknownIssuer,
                TlsCause::UnknownIssuer,
                "no trusted authority signed the site's certificate: it is self-signed, or the site does not send the \
                 intermediate certificate",
            ),
            (
                other(webpki::Error::CaUsedAsEndEntity),
                TlsCause::UnknownIssuer,
                "the site's certificate is that of an authority, self-signed",
            ),
            (
                named(&["DnsName(\"b.example.org\")", "IpAddress(192.0.2.1)"]),
                TlsCause::WrongName,
                "the site's certificate is not for a.example.org, but for b.example.org, 192.0.2.1",
            ),
            (
                named(&["DnsName(\"1\")", "DnsName(\"2\")", "DnsName(\"3\")", "DnsName(\"4\")", "DnsName(\"5\")"]),
                TlsCause::WrongName,
                "the site's certificate is not for a.example.org, but for 1, 2, 3, 2 other names",
            ),
            (named(&[]), TlsCause::WrongName, "the site's certificate is not for a.example.org, but for no name"),
            (
                other(webpki::Error::UnsupportedCertVersion),
                TlsCause::Other,
                "the site's certificate is invalid: UnsupportedCertVersion",
            ),
            (CertificateError::Revoked, TlsCause::Other, "the site's certificate was revoked"),
        ] {
            let failure = failure(&Error::InvalidCertificate(error), true);
            assert_eq!((failure.class, failure.cause), (FailureClass::Tls, Cause::Tls(cause)), "{expected}");
            assert_eq!(failure.message, expected);
        }
    }

    #[test]
    fn other_reasons_say_what_the_site_lacks() {
        let not_tls = Error::InvalidMessage(InvalidMessage::InvalidContentType);
        assert_eq!(failure(&not_tls, true).cause, Cause::Tls(TlsCause::NotTls));
        assert_eq!(failure(&not_tls, false).cause, Cause::Tls(TlsCause::Other));
        for (error, expected) in [
            (not_tls, "the port does not speak TLS"),
            (Error::PeerIncompatible(PeerIncompatible::ServerDoesNotSupportTls12Or13), "needs TLS 1.2 or later"),
            (Error::PeerIncompatible(PeerIncompatible::NoCipherSuitesInCommon), "no modern cipher"),
            (Error::AlertReceived(AlertDescription::ProtocolVersion), "newer version of TLS"),
            (Error::AlertReceived(AlertDescription::UnrecognisedName), "no certificate for the site's name"),
            (Error::AlertReceived(AlertDescription::InternalError), "ended TLS with the alert InternalError"),
        ] {
            let message = failure(&error, true).message;
            assert!(message.contains(expected), "{message}");
        }
    }
}

//! What failures of many sites can have in common.

use std::net::IpAddr;

/// What caused a failure, as far as other sites can fail for the same cause.
///
/// Failures with the same class and cause have the same fingerprint.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub enum Cause {
    /// Nothing but the message.
    #[default]
    Message,
    /// This machine could not try.
    Local(Fault),
    /// The name has no address.
    NoSuchName,
    /// The name server did not answer, or not with success.
    NameServer,
    /// The egress policy refuses the address of the name.
    Address(IpAddr),
    /// TLS failed.
    Tls(TlsCause),
    /// The status of the reply, and the site's own text where it is an unencrypted reply.
    Status(u16, Option<String>),
    /// The host that the reply redirects to.
    Redirect(String),
    /// The title of the page that came as the reply.
    Page(String),
    /// The text of the site's API, or of a listener.
    Text(String),
    /// The reply had expired when it arrived.
    Expired,
}

/// Why TLS failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TlsCause {
    /// The certificate has expired.
    Expired,
    /// The certificate is not valid yet.
    NotYetValid,
    /// No trusted authority has signed the certificate.
    UnknownIssuer,
    /// The certificate is for another name.
    WrongName,
    /// The port does not speak TLS.
    NotTls,
    /// Anything else.
    Other,
}

/// A fault of this machine, its network or its configuration, for which no site is to blame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Fault {
    /// No byte arrives from any site.
    Network = 1,
    /// The name servers do not answer, or find no name.
    NameServers = 2,
    /// All names have the same address.
    SameAddress = 3,
    /// A firewall of this machine, or a missing permission, forbids to connect.
    Firewall = 4,
    /// This machine has no route to the address.
    NoRoute = 5,
    /// No local port is free.
    NoPort = 6,
    /// The limit of open files is reached.
    OpenFiles = 7,
    /// There is not enough memory.
    Memory = 8,
    /// The clock is wrong.
    Clock = 9,
    /// There are no CA certificates.
    Authorities = 10,
    /// A captive portal, or a proxy that requires a login, answers for all sites.
    Portal = 11,
    /// All sites refuse with the same status.
    Refused = 12,
    /// All sites refuse the app's certificate or its secrets.
    Distrusted = 13,
    /// The job's own logic fails at all sites.
    Listener = 14,
    /// The API of all sites returns the same error.
    Api = 15,
    /// All sites fail with the same answer.
    SameAnswer = 16,
}

impl Fault {
    /// All faults, in the order of their numbers.
    pub const ALL: [Self; 16] = [
        Self::Network,
        Self::NameServers,
        Self::SameAddress,
        Self::Firewall,
        Self::NoRoute,
        Self::NoPort,
        Self::OpenFiles,
        Self::Memory,
        Self::Clock,
        Self::Authorities,
        Self::Portal,
        Self::Refused,
        Self::Distrusted,
        Self::Listener,
        Self::Api,
        Self::SameAnswer,
    ];

    /// The name that scripts use.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Network => "network",
            Self::NameServers => "name-servers",
            Self::SameAddress => "same-address",
            Self::Firewall => "firewall",
            Self::NoRoute => "no-route",
            Self::NoPort => "no-local-port",
            Self::OpenFiles => "open-files",
            Self::Memory => "memory",
            Self::Clock => "clock",
            Self::Authorities => "ca-certificates",
            Self::Portal => "captive-portal",
            Self::Refused => "refused",
            Self::Distrusted => "distrusted",
            Self::Listener => "listener",
            Self::Api => "api",
            Self::SameAnswer => "same-answer",
        }
    }

    /// The fault of a stored number; `None` for an unknown number.
    #[must_use]
    pub fn from_number(number: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|fault| *fault as u8 == number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_is_found_by_its_number_and_has_a_name_of_its_own() {
        for fault in Fault::ALL {
            assert_eq!(Fault::from_number(fault as u8), Some(fault));
            assert_eq!(Fault::ALL.iter().filter(|other| other.name() == fault.name()).count(), 1);
        }
        assert_eq!(Fault::from_number(0), None);
    }
}

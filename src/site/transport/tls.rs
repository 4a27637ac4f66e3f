//! The step of a connection that makes the TLS handshake for https.

use std::io;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use rustls::client::Resumption;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore};
use ureq::Error;
use ureq::unversioned::transport::ConnectionDetails;

use super::step::{in_phase, limited};
use super::stream::Stream;
use super::unverified::Unverified;
use crate::model::{Cause, Failure, FailureClass, Fault, Tls as Verification};
use crate::site::authorities;
use crate::site::endpoint::bare_host;
use crate::site::failure::Phase;

/// For how many names sessions are kept, so that they can be resumed.
///
/// A name is used again by the next call of a poll and by other sites of the host, so it must not be dropped while other
/// workers call theirs. The oldest name goes first. A name takes some 10 KiB: two tickets, each with the certificates.
const MAX_NAMES: usize = 1024;

/// How many tickets rustls keeps for a name. It divides the size of its cache by that.
const TICKETS_PER_NAME: usize = 8;

/// Which certificates are trusted.
#[derive(Debug)]
pub(in crate::site) struct Trust {
    pub(in crate::site) tls: Verification,
    /// Authorities that are trusted in addition to those of the platform, in DER.
    pub(in crate::site) authorities: Vec<Vec<u8>>,
}

impl Trust {
    /// Makes the configuration of all sessions. Reads the platform's certificates.
    ///
    /// # Errors
    /// Class `local` if there are no certificates of authorities, or they cannot be read now.
    fn config(&self) -> Result<ClientConfig, Failure> {
        let config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|error| Failure::new(FailureClass::Tls, error.to_string()))?;
        let config = if self.tls == Verification::SkipVerify {
            config.dangerous().with_custom_certificate_verifier(Arc::new(Unverified))
        } else {
            config.with_root_certificates(self.roots()?)
        };
        let mut config = config.with_no_client_auth();
        config.resumption = Resumption::in_memory_sessions(MAX_NAMES * TICKETS_PER_NAME);
        Ok(config)
    }

    /// The certificates of all authorities.
    fn roots(&self) -> Result<RootCertStore, Failure> {
        let mut roots = match authorities::read() {
            Err(failure) if self.authorities.is_empty() || failure.cause != Cause::Local(Fault::Authorities) => {
                return Err(failure);
            }
            platform => platform.unwrap_or_else(|_| RootCertStore::empty()),
        };
        roots.add_parsable_certificates(self.authorities.iter().map(|der| CertificateDer::from(der.as_slice())));
        Ok(roots)
    }
}

/// Makes TLS handshakes within a limit.
#[derive(Debug)]
pub(super) struct Tls {
    limit: Duration,
    trust: Trust,
    /// Set by the first handshake for which certificates can be read.
    config: OnceLock<Arc<ClientConfig>>,
    /// Locked while they are read. At the start of a run every thread makes its first handshake at the same time.
    reading: Mutex<()>,
}

impl Tls {
    pub(super) fn new(limit: Duration, trust: Trust) -> Self {
        Self { limit, trust, config: OnceLock::new(), reading: Mutex::default() }
    }

    /// Makes the handshake on a connection.
    ///
    /// # Errors
    /// The handshake fails or lasts too long, or no certificates can be read.
    pub(super) fn secure(&self, details: &ConnectionDetails, stream: &mut Stream) -> Result<(), Error> {
        let config = self.config(|| self.trust.config()).map_err(|failure| Error::Other(failure.into()))?;
        let name = ServerName::try_from(bare_host(details.uri).to_owned())
            .map_err(|_| Error::Tls("the host's name cannot be in a certificate"));
        name.and_then(|name| {
            let session = ClientConnection::new(Arc::clone(config), name).map_err(io::Error::other)?;
            stream.secure(session, limited(details, self.limit))
        })
        .map_err(in_phase(Phase::Securing))
    }

    /// The configuration of all sessions, which `read` makes on one thread at a time until it succeeds.
    ///
    /// # Errors
    /// That of `read`. It is not kept, since this machine may be short of files only now.
    fn config(&self, read: impl FnOnce() -> Result<ClientConfig, Failure>) -> Result<&Arc<ClientConfig>, Failure> {
        if let Some(config) = self.config.get() {
            return Ok(config);
        }
        let _reading = self.reading.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(config) = self.config.get() {
            return Ok(config);
        }
        let config = read()?.into();
        Ok(self.config.get_or_init(|| config))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_to_read_certificates_is_not_kept() {
        let trust = |tls| Trust { tls, authorities: Vec::new() };
        let tls = Tls::new(Duration::MAX, trust(Verification::Verify));
        let short = Failure::local(Fault::OpenFiles, "too many open files");
        assert_eq!(tls.config(|| Err(short.clone())).err(), Some(short));
        assert!(tls.config(|| trust(Verification::SkipVerify).config()).is_ok());
        assert!(tls.config(|| unreachable!("certificates are read once")).is_ok());
    }
}

//! The step of a connection that makes the TLS handshake for https.

use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Duration;

use ureq::Error;
use ureq::config::Config;
use ureq::tls::{Certificate, TlsConfig};
use ureq::unversioned::transport::{
    Buffers, ConnectionDetails, Connector, LazyBuffers, NextTimeout, RustlsConnector, Transport,
};

use super::step::{in_phase, with_limit};
use crate::model::{Cause, Failure, Fault, Tls as Verification};
use crate::site::authorities;
use crate::site::failure::Phase;
use crate::site::options::BUFFER_BYTES;

/// Which certificates are trusted.
#[derive(Debug)]
pub(in crate::site) struct Trust {
    pub(in crate::site) tls: Verification,
    /// Authorities that are trusted in addition to those of the platform, in DER.
    pub(in crate::site) authorities: Vec<Vec<u8>>,
}

impl Trust {
    /// Makes the configuration for ureq. Reads the platform's certificates.
    ///
    /// # Errors
    /// Class `local` if there are no certificates of authorities, or they cannot be read now.
    fn config(&self) -> Result<TlsConfig, Failure> {
        let config = TlsConfig::builder();
        if self.tls == Verification::SkipVerify {
            return Ok(config.disable_verification(true).build());
        }
        let platform = match authorities::read() {
            Err(failure) if self.authorities.is_empty() || failure.cause != Cause::Local(Fault::Authorities) => {
                return Err(failure);
            }
            platform => platform.unwrap_or_default(),
        };
        let all = platform.iter().chain(&self.authorities);
        Ok(config.root_certs(all.map(|der| Certificate::from_der(der).to_owned()).into()).build())
    }
}

/// Makes TLS handshakes within a limit. Connections of plain http pass through.
#[derive(Debug)]
pub(super) struct Tls {
    connector: RustlsConnector,
    limit: Duration,
    trust: Trust,
    /// Set by the first handshake for which certificates can be read.
    config: OnceLock<Config>,
    /// Locked while they are read.
    reading: Mutex<()>,
}

impl Tls {
    pub(super) fn new(limit: Duration, trust: Trust) -> Self {
        Self { connector: RustlsConnector::default(), limit, trust, config: OnceLock::new(), reading: Mutex::default() }
    }

    /// The configuration of all handshakes, which `read` makes on one thread at a time until it succeeds.
    ///
    /// # Errors
    /// That of `read`. It is not kept, since this machine may be short of files only now.
    fn config(&self, read: impl FnOnce() -> Result<Config, Failure>) -> Result<&Config, Failure> {
        if let Some(config) = self.config.get() {
            return Ok(config);
        }
        let _reading = self.reading.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(config) = self.config.get() {
            return Ok(config);
        }
        let config = read()?;
        Ok(self.config.get_or_init(|| config))
    }
}

impl<In: Transport> Connector<In> for Tls {
    type Out = <RustlsConnector as Connector<In>>::Out;

    fn connect(&self, details: &ConnectionDetails, chained: Option<In>) -> Result<Option<Self::Out>, Error> {
        if !details.needs_tls() {
            return self.connector.connect(details, chained);
        }
        let config = self.config(|| {
            let sizes = Config::builder().input_buffer_size(BUFFER_BYTES).output_buffer_size(BUFFER_BYTES);
            let config = sizes.tls_config(self.trust.config()?).build();
            // ureq reads all certificates in the first handshake. At the start of a run every thread makes its first
            // handshake at the same time, and each would read them. This handshake fails, and reads them once for all.
            drop(self.connector.connect(&with_limit(details, self.limit, &config), Some(ClosedTransport::default())));
            Ok(config)
        });
        let config = config.map_err(|failure| Error::Other(failure.into()))?;
        let details = with_limit(details, self.limit, config);
        self.connector.connect(&details, chained).map_err(in_phase(Phase::Securing))
    }
}

/// A connection that is closed from the start.
#[derive(Debug)]
struct ClosedTransport(LazyBuffers);

impl Default for ClosedTransport {
    fn default() -> Self {
        Self(LazyBuffers::new(1, 1))
    }
}

impl Transport for ClosedTransport {
    fn buffers(&mut self) -> &mut dyn Buffers {
        &mut self.0
    }

    fn transmit_output(&mut self, _amount: usize, _timeout: NextTimeout) -> Result<(), Error> {
        Err(Error::ConnectionFailed)
    }

    fn await_input(&mut self, _timeout: NextTimeout) -> Result<bool, Error> {
        Err(Error::ConnectionFailed)
    }

    fn is_open(&mut self) -> bool {
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_to_read_certificates_is_not_kept() {
        let tls = Tls::new(Duration::MAX, Trust { tls: Verification::Verify, authorities: Vec::new() });
        let short = Failure::local(Fault::OpenFiles, "too many open files");
        assert_eq!(tls.config(|| Err(short.clone())).err(), Some(short));
        assert!(tls.config(|| Ok(Config::builder().build())).is_ok());
        assert!(tls.config(|| unreachable!("certificates are read once")).is_ok());
    }
}

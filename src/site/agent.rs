//! How ureq connects: everything that touches its `unversioned` interfaces, which may change with any release.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use ureq::config::Config;
use ureq::http::Uri;
use ureq::http::uri::Scheme;
use ureq::tls::{Certificate, RootCerts, TlsConfig};
use ureq::unversioned::resolver::{ArrayVec, Resolver as UreqResolver};
use ureq::unversioned::transport::{
    Buffers, ConnectionDetails, Connector, LazyBuffers, NextTimeout, RustlsConnector, TcpConnector, Transport, time,
};
use ureq::{Agent, Error};

use super::client::{BUFFER, Timeouts};
use super::egress::{Policy, Refused};
use super::failure::{Phase, from_ureq};
use super::resolver::Resolver;
use super::target::bare_host;
use crate::model::{Failure, FailureClass, Tls as Demand};

/// An agent that connects to what `policy` allows, through no proxy, and whose errors tell the phase that they came
/// up in. Cheap: certificates are read when the first https site is called.
pub(super) fn new(config: Config, names: Resolver, policy: Policy, limits: Timeouts, trust: Trust) -> Agent {
    let tcp = Tcp { connector: TcpConnector::default(), limit: limits.connect };
    let tls = Tls { connector: RustlsConnector::default(), limit: limits.tls, trust, config: OnceLock::new() };
    Agent::with_parts(config, ().chain(tcp).chain(tls).chain(Watch), Guard { names, policy })
}

/// Whose certificates are good.
#[derive(Debug)]
pub(super) struct Trust {
    pub(super) tls: Demand,
    /// Trusted beside those of the platform, in DER.
    pub(super) authorities: Vec<Vec<u8>>,
}

impl Trust {
    /// What ureq makes of it. Reads the platform's certificates where others stand beside them.
    fn config(&self) -> TlsConfig {
        let config = TlsConfig::builder();
        let config = match (self.tls, self.authorities.as_slice()) {
            (Demand::SkipVerify, _) => config.disable_verification(true),
            (Demand::Verify, []) => config.root_certs(RootCerts::PlatformVerifier),
            (Demand::Verify, more) => {
                // What can't be read is missing, as it is to the platform's own verifier.
                let platform = rustls_native_certs::load_native_certs().certs;
                let all = platform.iter().map(AsRef::as_ref).chain(more.iter().map(Vec::as_slice));
                config.root_certs(all.map(|der: &[u8]| Certificate::from_der(der).to_owned()).into())
            }
        };
        config.build()
    }
}

/// The same step of a connection, with a limit of its own and another configuration.
fn within<'a>(details: &ConnectionDetails<'a>, limit: Duration, config: &'a Config) -> ConnectionDetails<'a> {
    let now = (details.current_time)();
    let elapsed = match (now, details.now) {
        (time::Instant::Exact(now), time::Instant::Exact(began)) => now.saturating_duration_since(began),
        _ => Duration::ZERO,
    };
    let mut addrs = details.resolver.empty();
    details.addrs.iter().for_each(|address| addrs.push(*address));
    ConnectionDetails {
        uri: details.uri,
        addrs,
        config,
        // A call sets its own limit of time. ureq takes that for a TLS configuration of its own as well, and would read
        // all certificates of the system again for every call.
        request_level: false,
        resolver: details.resolver,
        now,
        timeout: NextTimeout {
            after: details.timeout.after.saturating_sub(elapsed).min(limit).into(),
            ..details.timeout
        },
        current_time: Arc::clone(&details.current_time),
        run_connector: Arc::clone(&details.run_connector),
        register_shutdown: Arc::clone(&details.register_shutdown),
    }
}

fn in_phase(phase: Phase) -> impl Fn(Error) -> Error {
    move |error| Error::Other(Box::new(from_ureq(error, phase)))
}

/// Resolves names, and lets only those addresses through that the policy allows. It stands between every URL and its
/// connection, so a redirect, or a name that changes its address, can't slip past.
#[derive(Debug)]
struct Guard {
    names: Resolver,
    policy: Policy,
}

/// How many addresses of a host are tried; ureq's limit.
const ADDRESSES: usize = 16;

impl UreqResolver for Guard {
    fn resolve(
        &self,
        uri: &Uri,
        _config: &Config,
        timeout: NextTimeout,
    ) -> Result<ArrayVec<SocketAddr, ADDRESSES>, Error> {
        let blocked = |refused: Refused| Error::Other(Failure::new(FailureClass::Blocked, refused.to_string()).into());
        let port = uri.port_u16().unwrap_or(if uri.scheme() == Some(&Scheme::HTTPS) { 443 } else { 80 });
        self.policy.check_port(port).map_err(blocked)?;
        let host = bare_host(uri);
        let addresses: Arc<[IpAddr]> = match host.parse() {
            Ok(address) => [address].into(),
            Err(_) => self.names.resolve(host, *timeout.after).map_err(|failure| Error::Other(failure.into()))?,
        };

        let mut allowed = self.empty();
        let mut refused = None;
        for &address in addresses.iter() {
            match self.policy.check(address) {
                Ok(()) if allowed.len() < ADDRESSES => allowed.push((address, port).into()),
                Ok(()) => break,
                Err(error) => refused = refused.or(Some(error)),
            }
        }
        match refused {
            Some(refused) if allowed.is_empty() => Err(blocked(refused)),
            _ => Ok(allowed),
        }
    }
}

/// TCP, whose errors are those of connecting.
#[derive(Debug)]
struct Tcp {
    connector: TcpConnector,
    limit: Duration,
}

impl<In: Transport> Connector<In> for Tcp {
    type Out = <TcpConnector as Connector<In>>::Out;

    fn connect(&self, details: &ConnectionDetails, chained: Option<In>) -> Result<Option<Self::Out>, Error> {
        let details = within(details, self.limit, details.config);
        self.connector.connect(&details, chained).map_err(in_phase(Phase::Connecting))
    }
}

/// TLS for https, whose errors are those of TLS.
#[derive(Debug)]
struct Tls {
    connector: RustlsConnector,
    limit: Duration,
    trust: Trust,
    /// Made in the first handshake.
    config: OnceLock<Config>,
}

impl<In: Transport> Connector<In> for Tls {
    type Out = <RustlsConnector as Connector<In>>::Out;

    fn connect(&self, details: &ConnectionDetails, chained: Option<In>) -> Result<Option<Self::Out>, Error> {
        if !details.needs_tls() {
            return self.connector.connect(details, chained);
        }
        let config = self.config.get_or_init(|| {
            let sizes = Config::builder().input_buffer_size(BUFFER).output_buffer_size(BUFFER);
            let config = sizes.tls_config(self.trust.config()).build();
            // ureq reads certificates in the first handshake, which at the start of a run is the first of every thread:
            // 20 ms each. A handshake with nobody, which fails, reads them once for all.
            drop(self.connector.connect(&within(details, self.limit, &config), Some(Nobody::default())));
            config
        });
        let details = within(details, self.limit, config);
        self.connector.connect(&details, chained).map_err(in_phase(Phase::Securing))
    }
}

/// A connection that is closed from the start.
#[derive(Debug)]
struct Nobody(LazyBuffers);

impl Default for Nobody {
    fn default() -> Self {
        Self(LazyBuffers::new(1, 1))
    }
}

impl Transport for Nobody {
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

/// Wraps the finished connection in [`Watched`].
#[derive(Debug)]
struct Watch;

impl<In: Transport> Connector<In> for Watch {
    type Out = Watched<In>;

    fn connect(&self, _details: &ConnectionDetails, chained: Option<In>) -> Result<Option<Self::Out>, Error> {
        Ok(chained.map(|connection| Watched { connection, received: 0 }))
    }
}

/// How many bytes are taken of one connection: more than any header, body and framing need, and an end to what is limited
/// by time alone, such as trailers.
const LARGEST_REPLY: usize = 4 << 20;

/// A connection that tells sending from receiving, and a reset from an end.
#[derive(Debug)]
struct Watched<T> {
    connection: T,
    received: usize,
}

impl<T: Transport> Transport for Watched<T> {
    fn buffers(&mut self) -> &mut dyn Buffers {
        self.connection.buffers()
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), Error> {
        self.connection.transmit_output(amount, timeout).map_err(in_phase(Phase::Sending))
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, Error> {
        let before = self.connection.buffers().input().len();
        let arrived = self.connection.await_input(timeout).map_err(|error| match error {
            // ureq takes a reset for the end of a body that has no announced length.
            Error::Io(io) if matches!(io.kind(), io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionAborted) => {
                in_phase(Phase::Reading)(Error::Io(io))
            }
            error => error,
        })?;
        self.received += self.connection.buffers().input().len().saturating_sub(before);
        if self.received > LARGEST_REPLY {
            let failure = Failure::new(FailureClass::TooLarge, format!("reply of more than {LARGEST_REPLY} bytes"));
            return Err(Error::Other(failure.into()));
        }
        Ok(arrived)
    }

    fn is_open(&mut self) -> bool {
        self.connection.is_open()
    }

    fn is_tls(&self) -> bool {
        self.connection.is_tls()
    }
}

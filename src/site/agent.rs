//! How ureq connects: everything that touches its `unversioned` interfaces, which may change with any release.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, OnceLock};

use ureq::config::Config;
use ureq::http::Uri;
use ureq::http::uri::Scheme;
use ureq::unversioned::resolver::{ArrayVec, Resolver as UreqResolver};
use ureq::unversioned::transport::{
    Buffers, ConnectionDetails, Connector, LazyBuffers, NextTimeout, RustlsConnector, TcpConnector, Transport,
};
use ureq::{Agent, Error};

use super::egress::Policy;
use super::failure::{Phase, from_ureq};
use super::resolver::Resolver;
use super::target::bare_host;
use crate::model::{Failure, FailureClass};

/// An agent that connects to what `policy` allows, through no proxy, and whose errors tell the phase that they came
/// up in. Cheap: certificates are read when the first https site is called.
pub(super) fn new(config: Config, names: Resolver, policy: Policy) -> Agent {
    let connector = ().chain(Tcp(TcpConnector::default())).chain(Tls::default()).chain(Watch);
    Agent::with_parts(config, connector, Guard { names, policy })
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
        let port = uri.port_u16().unwrap_or(if uri.scheme() == Some(&Scheme::HTTPS) { 443 } else { 80 });
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
            Some(refused) if allowed.is_empty() => {
                Err(Error::Other(Failure::new(FailureClass::Blocked, refused.to_string()).into()))
            }
            _ => Ok(allowed),
        }
    }
}

/// TCP, whose errors are those of connecting.
#[derive(Debug)]
struct Tcp(TcpConnector);

impl<In: Transport> Connector<In> for Tcp {
    type Out = <TcpConnector as Connector<In>>::Out;

    fn connect(&self, details: &ConnectionDetails, chained: Option<In>) -> Result<Option<Self::Out>, Error> {
        self.0.connect(details, chained).map_err(in_phase(Phase::Connecting))
    }
}

/// TLS for https, whose errors are those of TLS.
#[derive(Debug, Default)]
struct Tls {
    rustls: RustlsConnector,
    certificates_read: OnceLock<()>,
}

impl<In: Transport> Connector<In> for Tls {
    type Out = <RustlsConnector as Connector<In>>::Out;

    fn connect(&self, details: &ConnectionDetails, chained: Option<In>) -> Result<Option<Self::Out>, Error> {
        // A call sets its own limit of time. ureq takes that for a TLS configuration of its own as well, and would
        // read all certificates of the system again for every call.
        let details = ConnectionDetails {
            request_level: false,
            uri: details.uri,
            addrs: details.resolver.empty(),
            config: details.config,
            resolver: details.resolver,
            now: details.now,
            timeout: details.timeout,
            current_time: Arc::clone(&details.current_time),
            run_connector: Arc::clone(&details.run_connector),
            register_shutdown: Arc::clone(&details.register_shutdown),
        };
        if details.needs_tls() {
            // ureq reads them in the first handshake, which at the start of a run is the first of every thread: 20 ms
            // each. A handshake with nobody, which fails, reads them once for all.
            self.certificates_read.get_or_init(|| drop(self.rustls.connect(&details, Some(Nobody::default()))));
        }
        self.rustls.connect(&details, chained).map_err(in_phase(Phase::Securing))
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
        Ok(chained.map(Watched))
    }
}

/// A connection that tells sending from receiving, and a reset from an end.
#[derive(Debug)]
struct Watched<T>(T);

impl<T: Transport> Transport for Watched<T> {
    fn buffers(&mut self) -> &mut dyn Buffers {
        self.0.buffers()
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), Error> {
        self.0.transmit_output(amount, timeout).map_err(in_phase(Phase::Sending))
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, Error> {
        self.0.await_input(timeout).map_err(|error| match error {
            // ureq takes a reset for the end of a body that has no announced length.
            Error::Io(io) if matches!(io.kind(), io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionAborted) => {
                in_phase(Phase::Reading)(Error::Io(io))
            }
            error => error,
        })
    }

    fn is_open(&mut self) -> bool {
        self.0.is_open()
    }

    fn is_tls(&self) -> bool {
        self.0.is_tls()
    }
}

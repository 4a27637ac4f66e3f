//! One POST to a site.

use std::borrow::Cow;
use std::io::{self, Read};
use std::net::IpAddr;
use std::time::{Duration, Instant};

use chrono::Utc;
use ureq::config::Config;
use ureq::http::header::{AUTHORIZATION, CONNECTION, CONTENT_TYPE, HOST, LOCATION, RETRY_AFTER};
use ureq::http::{HeaderValue, Request, Response, StatusCode};
use ureq::{Agent, Body};

use super::egress::EgressPolicy;
use super::endpoint::{Endpoint, bare_host};
use super::failure::{Phase, body_too_large, from_status, from_ureq, with_reason};
use super::options::{BUFFER_BYTES, Options};
use super::redirect::{Redirect, WhyNotFollowed};
use super::resolver::{self, Lookup, Resolver};
use super::transport::{self, Trust};
use crate::model::{Cxn, Failure, FailureClass, PollTrace};
use crate::protocol;

/// The largest body that is accepted, in bytes.
const MAX_BODY_BYTES: usize = 1 << 20;

/// How much of a body is read before it is checked whether it may be a message, in bytes.
const BODY_START_BYTES: u64 = 16 * 1024;

/// How many redirects are followed.
const MAX_REDIRECTS: usize = 3;

/// Calls sites. One client serves all threads of a run, and caches the addresses of names as long as it exists.
#[derive(Debug)]
pub struct Client {
    agent: Agent,
    names: Resolver,
    /// The limit for a whole call.
    limit: Duration,
}

impl Client {
    /// Makes a client. This is cheap: certificates are read when the first https site is called.
    #[must_use]
    pub fn new(options: Options) -> Self {
        Self::with_lookup(options, Box::new(resolver::system))
    }

    /// Makes a client that resolves names with a function.
    pub(super) fn with_lookup(options: Options, lookup: Box<Lookup>) -> Self {
        let user_agent: String =
            options.user_agent.chars().map(|c| if matches!(c, ' '..='~') { c } else { '?' }).collect();
        let limits = options.timeouts;
        let config = Config::builder()
            .proxy(None)
            .http_status_as_error(false)
            // Redirects are followed by this client. ureq does not repeat the body, which 307 and 308 require, and
            // would turn a 302 into a GET whose 200 looks like a success.
            .max_redirects(0)
            .max_redirects_will_error(false)
            .timeout_resolve(Some(limits.resolve))
            // ureq has one limit for both. Each of the two connectors enforces its own.
            .timeout_connect(Some(limits.connect.saturating_add(limits.tls)))
            .timeout_recv_response(limits.first_byte)
            .user_agent(user_agent)
            .accept_encoding("identity")
            .max_idle_connections(0)
            .max_idle_connections_per_host(0)
            .input_buffer_size(BUFFER_BYTES)
            .output_buffer_size(BUFFER_BYTES)
            // ureq reports a header that fills the whole buffer as a closed connection.
            .max_response_header_size(BUFFER_BYTES - 1)
            .build();
        let policy = EgressPolicy { allow: options.allow_net, refuse: options.refuse_ports };
        let trust = Trust { tls: options.tls, authorities: options.authorities };
        let names = Resolver::new(lookup);
        Self { agent: transport::agent(config, names.clone(), policy, limits, trust), names, limit: limits.call }
    }

    /// Looks names up again that have no address yet. To be called after a pause of the process.
    pub fn forget_failed_lookups(&self) {
        self.names.forget_failures();
    }

    /// The addresses of a connection's host; none if they are not known.
    #[must_use]
    pub fn addresses(&self, cxn: &Cxn) -> Vec<IpAddr> {
        let endpoint = Endpoint::new(cxn.site_url.with_credentials(), cxn.via_port.as_ref());
        let Ok(endpoint) = endpoint else { return Vec::new() };
        let host = bare_host(endpoint.uri());
        match host.parse() {
            Ok(address) => vec![address],
            Err(_) => self.names.resolve(host, self.limit).map_or_else(|_| Vec::new(), |found| found.to_vec()),
        }
    }

    /// The limit for a whole call.
    #[must_use]
    pub fn timeout(&self) -> Duration {
        self.limit
    }

    /// Posts a message and returns the body of the reply, which may be empty.
    ///
    /// Of a body that cannot be a message, only the start is returned.
    ///
    /// # Errors
    /// Everything but a whole reply with a status of 2xx, in the classes `dns`, `connect`, `tls`, `timeout`,
    /// `disconnected`, `http`, `gone`, `redirect`, `too-large`, `blocked` and `garbled`.
    pub fn post(&self, endpoint: &Endpoint, body: &[u8]) -> Result<Vec<u8>, Failure> {
        self.post_traced(endpoint, body, &mut PollTrace::default())
    }

    /// Posts a message as [`Client::post`] does, and adds what it shows about the network to `trace`.
    ///
    /// # Errors
    /// As [`Client::post`].
    pub fn post_traced(&self, endpoint: &Endpoint, body: &[u8], trace: &mut PollTrace) -> Result<Vec<u8>, Failure> {
        transport::trace::begin(*trace);
        let reply = self.post_untraced(endpoint, body);
        *trace = transport::trace::current();
        trace.answered |= reply.as_ref().err().is_none_or(|failure| !failure.before_first_byte);
        reply
    }

    fn post_untraced(&self, endpoint: &Endpoint, body: &[u8]) -> Result<Vec<u8>, Failure> {
        let started = Instant::now();
        let mut endpoint = Cow::Borrowed(endpoint);
        let mut redirects = 0;
        loop {
            let limit = self.limit.saturating_sub(started.elapsed());
            let response = self.send(&endpoint, body, limit)?;
            let status = response.status();
            if status.is_success() {
                return read_body(response);
            }
            if !status.is_redirection() {
                let retry_after = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok());
                return Err(from_status(status, retry_after, Utc::now()));
            }
            let next = redirect_target(&endpoint, &response)?;
            let not_followed = |why| Err(Redirect::new(status, why, &endpoint, &next).into());
            if !matches!(status, StatusCode::TEMPORARY_REDIRECT | StatusCode::PERMANENT_REDIRECT) {
                return not_followed(WhyNotFollowed::Status);
            }
            if redirects == MAX_REDIRECTS {
                return not_followed(WhyNotFollowed::TooMany);
            }
            redirects += 1;
            endpoint = Cow::Owned(next);
        }
    }

    /// Sends a GET request and ignores the body of the reply.
    ///
    /// # Errors
    /// Everything but a status of 2xx, with the classes of [`Client::post`]. Redirects are not followed.
    pub fn get(&self, url: &str) -> Result<(), Failure> {
        let endpoint = Endpoint::new(url, None)?;
        let mut request = self.agent.get(endpoint.uri()).header(CONNECTION, HeaderValue::from_static("close"));
        if let Some(authorization) = endpoint.authorization() {
            request = request.header(AUTHORIZATION, authorization);
        }
        let reply = request.config().timeout_global(Some(self.limit)).build().call();
        let reply = reply.map_err(|error| from_ureq(error, Phase::Waiting))?;
        let status = reply.status();
        if status.is_success() {
            return Ok(());
        }
        if status.is_redirection() {
            return Err(Failure::new(FailureClass::Redirect, format!("status {}", with_reason(status))));
        }
        Err(from_status(status, None, Utc::now()))
    }

    /// Sends one request and returns its reply, whose body is not read yet.
    fn send(&self, endpoint: &Endpoint, body: &[u8], limit: Duration) -> Result<Response<Body>, Failure> {
        let mut request = Request::post(endpoint.uri().clone())
            .header(CONTENT_TYPE, HeaderValue::from_static(protocol::CONTENT_TYPE))
            // No connection is used twice. The server should close it: the side that closes first keeps its port busy
            // for a while, and many sites behind one proxy could exhaust the ports of this machine.
            .header(CONNECTION, HeaderValue::from_static("close"));
        if let Some(host) = endpoint.host_header() {
            request = request.header(HOST, host);
        }
        if let Some(authorization) = endpoint.authorization() {
            request = request.header(AUTHORIZATION, authorization);
        }
        request
            .body(body)
            .map_err(ureq::Error::from)
            .and_then(|request| {
                let request = self.agent.configure_request(request).timeout_global(Some(limit)).build();
                self.agent.run(request)
            })
            .map_err(|error| from_ureq(error, Phase::Waiting))
    }
}

/// Reads the body of a reply.
///
/// Of a body that cannot be a message, only the start is kept, so that an endless page takes no memory.
fn read_body(mut response: Response<Body>) -> Result<Vec<u8>, Failure> {
    let body = response.body_mut();
    if body.content_length().is_some_and(|length| length > MAX_BODY_BYTES as u64) {
        return Err(body_too_large(MAX_BODY_BYTES as u64));
    }
    let mut reader = body.with_config().limit(MAX_BODY_BYTES as u64).reader();
    let mut reply = Vec::new();
    let read = reader.by_ref().take(BODY_START_BYTES).read_to_end(&mut reply).and_then(|read| {
        if !protocol::may_be_message(&reply) {
            return io::copy(&mut reader, &mut io::sink()).map(drop);
        }
        if read as u64 == BODY_START_BYTES {
            // A buffer that grows in steps is copied at each of them, and takes up to twice as much memory.
            reply.reserve_exact(MAX_BODY_BYTES);
        }
        reader.read_to_end(&mut reply).map(drop)
    });
    read.map(|()| reply).map_err(|error| from_ureq(error.into(), Phase::Reading))
}

/// The target that a reply redirects to.
fn redirect_target(endpoint: &Endpoint, response: &Response<Body>) -> Result<Endpoint, Failure> {
    let Some(location) = response.headers().get(LOCATION).and_then(|value| str::from_utf8(value.as_bytes()).ok())
    else {
        let message = format!("status {} without a location", with_reason(response.status()));
        return Err(Failure::new(FailureClass::Redirect, message));
    };
    endpoint.redirected(location)
}

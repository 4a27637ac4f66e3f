//! One POST to a site.

use std::borrow::Cow;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ureq::config::Config;
use ureq::http::header::{AUTHORIZATION, CONNECTION, CONTENT_TYPE, HOST, LOCATION};
use ureq::http::{HeaderValue, Request, Response, Uri, request};
use ureq::{Agent, Body, Error};

use super::addresses::Addresses;
use super::egress::EgressPolicy;
use super::endpoint::{Endpoint, bare_host};
use super::failure::{Phase, at_host, from_ureq, of_status, with_reason};
use super::options::{BUFFER_BYTES, Options};
use super::poll_calls::PollCalls;
use super::redirect::Redirects;
use super::reply::Reply;
use super::resolver::Resolver;
use super::transport::idle::{self, Origin, SpareConnections};
use super::transport::{self, NotSent, Trust};
use crate::model::{Cxn, Failure, FailureClass, PollTrace};
use crate::protocol;

/// Calls sites. One client serves all threads of a run, and caches the addresses of names as long as it exists.
#[derive(Debug)]
pub struct Client {
    agent: Agent,
    addresses: Arc<Addresses>,
    spare: Arc<SpareConnections>,
    /// The limit for a whole call.
    limit: Duration,
}

impl Client {
    /// Makes a client. This is cheap: certificates are read when the first https site is called.
    #[must_use]
    pub fn new(options: Options) -> Self {
        let limit = options.timeouts.lookup();
        Self::with_names(options, Resolver::system(limit))
    }

    /// Makes a client that resolves names with a function.
    #[cfg(test)]
    pub(super) fn with_lookup(options: Options, lookup: Box<super::resolver::Lookup>) -> Self {
        let limit = options.timeouts.lookup();
        Self::with_names(options, Resolver::new(lookup, limit))
    }

    fn with_names(options: Options, names: Resolver) -> Self {
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
            // Connections are kept by the transport.
            .max_idle_connections(0)
            .max_idle_connections_per_host(0)
            .input_buffer_size(BUFFER_BYTES)
            .output_buffer_size(BUFFER_BYTES)
            // The transport bounds the header. What it passes on to ureq may be a little longer.
            .max_response_header_size(2 * transport::MAX_HEAD_BYTES)
            .build();
        let policy = EgressPolicy { allow: options.allow_net, refuse: options.refuse_ports };
        let trust = Trust { tls: options.tls, authorities: options.authorities };
        let addresses = Arc::new(Addresses::new(names, policy));
        let spare = Arc::default();
        let agent = transport::agent(config, Arc::clone(&addresses), limits, trust, Arc::clone(&spare));
        Self { agent, addresses, spare, limit: limits.call }
    }

    /// Looks names up again that have no address yet. To be called after a pause of the process.
    pub fn forget_failed_lookups(&self) {
        self.addresses.names().forget_failures();
    }

    /// Calls a function with the addresses of a connection's host, in the order in which they are tried.
    ///
    /// It gets none if the lookup fails, and none that the egress policy refuses. It is called at once if the addresses are
    /// known, else on another thread. That may be later than [`Client::lookup_limit`].
    pub fn look_up(&self, cxn: &Cxn, on_answer: Box<dyn FnOnce(Vec<IpAddr>) + Send>) {
        match Endpoint::new(cxn.site_url.with_credentials(), cxn.via_port.as_ref()) {
            Ok(endpoint) => self.addresses.look_up(bare_host(endpoint.uri()), on_answer),
            Err(_) => on_answer(Vec::new()),
        }
    }

    /// How long a poll waits for a name at most, from when the lookup began.
    #[must_use]
    pub fn lookup_limit(&self) -> Duration {
        self.addresses.names().limit()
    }

    /// Sets whether an address is down, and so is tried after all others of a host.
    pub fn set_down(&self, address: IpAddr, is_down: bool) {
        self.addresses.set_down(address, is_down);
    }

    /// The limit for a whole call.
    #[must_use]
    pub fn timeout(&self) -> Duration {
        self.limit
    }

    /// Posts a message and returns the reply. The connection is closed.
    ///
    /// # Errors
    /// Where no whole reply arrives, in the classes `dns`, `connect`, `tls`, `timeout`, `disconnected`, `redirect`,
    /// `too-large`, `blocked` and `garbled`. After a redirect the message names the host.
    pub fn post(&self, endpoint: &Endpoint, body: &[u8]) -> Result<Reply, Failure> {
        self.post_in_poll(&PollCalls::default(), endpoint, body)
    }

    /// Posts a message as [`Client::post`] does, as one of the calls of a poll.
    ///
    /// # Errors
    /// As [`Client::post`].
    pub fn post_in_poll(&self, poll: &PollCalls, endpoint: &Endpoint, body: &[u8]) -> Result<Reply, Failure> {
        let mut poll = poll.lock();
        if poll.origin.is_none() {
            poll.origin = Some(Origin::of(endpoint.uri()));
        }
        let keeps_connections = poll.idle.is_some();
        transport::trace::begin(poll.trace);
        let mut redirects = Redirects::default();
        let call = || self.follow(endpoint, body, keeps_connections, &mut redirects);
        let reply = idle::with_connections(&mut poll.idle, call);
        poll.redirection = redirects.led;
        poll.trace = transport::trace::current();
        reply
    }

    /// Ends a poll and returns what it showed about the network. At most the connections to its host stay open.
    ///
    /// They do if another site of the host is awaited: its poll uses them. Otherwise all connections to the host are closed.
    pub fn end_poll(&self, poll: PollCalls, is_awaited: impl FnOnce() -> bool) -> PollTrace {
        let poll = poll.into_state();
        if let Some(origin) = poll.origin {
            self.spare.end_poll(&origin, poll.idle.unwrap_or_default(), is_awaited);
        }
        poll.trace
    }

    /// Closes the connections that are kept for polls to come.
    pub fn close_connections(&self) {
        self.spare.close();
    }

    /// Posts a message, follows redirects, and returns the reply.
    fn follow(
        &self,
        endpoint: &Endpoint,
        body: &[u8],
        keeps_connections: bool,
        redirects: &mut Redirects,
    ) -> Result<Reply, Failure> {
        let started = Instant::now();
        let mut endpoint = Cow::Borrowed(endpoint);
        loop {
            let limit = self.limit.saturating_sub(started.elapsed());
            let host = redirects.host(&endpoint);
            let named = |failure| at_host(failure, host.as_deref());
            let response = self
                .send(&endpoint, body, limit, keeps_connections)
                .map_err(|failure| redirects.as_cause_of(named(failure), &endpoint))?;
            let status = response.status();
            if !status.is_redirection() {
                let reply = Reply::read(response, host)?;
                transport::trace::update(|trace| trace.replied = true);
                return Ok(reply);
            }
            transport::trace::update(|trace| trace.replied = true);
            let location = response.headers().get(LOCATION);
            endpoint = Cow::Owned(redirects.follow(&endpoint, status, location).map_err(named)?);
        }
    }

    /// Sends a GET request and ignores the body of the reply.
    ///
    /// # Errors
    /// Everything but a status of 2xx, with the classes of [`Client::post`]. Redirects are not followed.
    pub fn get(&self, url: &str) -> Result<(), Failure> {
        self.call_url(url, Request::get, &[], &[])
    }

    /// Posts JSON with headers to a URL, and ignores the body of the reply.
    ///
    /// # Errors
    /// As [`Client::get`].
    pub fn post_json(&self, url: &str, headers: &[(&str, String)], body: &[u8]) -> Result<(), Failure> {
        let headers = [headers, &[(CONTENT_TYPE.as_str(), "application/json".to_owned())]].concat();
        self.call_url(url, Request::post, &headers, body)
    }

    fn call_url(
        &self,
        url: &str,
        method: fn(Uri) -> request::Builder,
        headers: &[(&str, String)],
        body: &[u8],
    ) -> Result<(), Failure> {
        let endpoint = Endpoint::new(url, None)?;
        let mut request = method(endpoint.uri().clone()).header(CONNECTION, HeaderValue::from_static("close"));
        if let Some(authorization) = endpoint.authorization() {
            request = request.header(AUTHORIZATION, authorization);
        }
        let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, value));
        let sent = request.body(body).map_err(Error::from).and_then(|request| {
            self.agent.run(self.agent.configure_request(request).timeout_global(Some(self.limit)).build())
        });
        let status = sent.map_err(|error| from_ureq(error, Phase::Waiting))?.status();
        if status.is_success() {
            return Ok(());
        }
        if status.is_redirection() {
            return Err(Failure::new(FailureClass::Redirect, format!("status {}", with_reason(status))));
        }
        Err(of_status(status))
    }

    /// The time of a site's host minus that of this machine, in seconds.
    ///
    /// It is in the reply to a HEAD request for the front page, which has no credentials. `None` if no reply has a date.
    #[must_use]
    pub fn clock_offset_s(&self, cxn: &Cxn) -> Option<i64> {
        let site = Endpoint::new(cxn.site_url.with_credentials(), None).ok()?;
        let endpoint = Endpoint::new(site.site_url().join("/").ok()?.as_str(), cxn.via_port.as_ref()).ok()?;
        let mut request = self.agent.head(endpoint.uri()).header(CONNECTION, HeaderValue::from_static("close"));
        if let Some(host) = endpoint.host_header() {
            request = request.header(HOST, host);
        }
        transport::trace::begin(PollTrace::default());
        // Any reply will do, also one that cannot be read to its end.
        let _ = request.config().timeout_global(Some(self.limit)).build().call();
        transport::trace::current().clock_offset_s
    }

    /// Sends a request and returns its reply, whose body is not read yet.
    ///
    /// It is sent once more if its connection, which had been used before, was closed before it was sent whole.
    fn send(
        &self,
        endpoint: &Endpoint,
        body: &[u8],
        limit: Duration,
        keeps_connections: bool,
    ) -> Result<Response<Body>, Failure> {
        let (started, trace) = (Instant::now(), transport::trace::current());
        let send = |limit| self.send_once(endpoint, body, limit, keeps_connections);
        let sent = match send(limit) {
            Err(Error::Other(error)) if error.is::<NotSent>() => {
                // The new connection may lead to another address, or not be made.
                transport::trace::begin(trace);
                idle::require_new_connection();
                send(limit.saturating_sub(started.elapsed()))
            }
            sent => sent,
        };
        sent.map_err(|error| from_ureq(error, Phase::Waiting))
    }

    fn send_once(
        &self,
        endpoint: &Endpoint,
        body: &[u8],
        limit: Duration,
        keeps_connections: bool,
    ) -> Result<Response<Body>, Error> {
        let mut request = Request::post(endpoint.uri().clone())
            .header(CONTENT_TYPE, HeaderValue::from_static(protocol::CONTENT_TYPE));
        if !keeps_connections {
            // The server should close the connection: the side that closes first keeps its port busy for a while.
            request = request.header(CONNECTION, HeaderValue::from_static("close"));
        }
        if let Some(host) = endpoint.host_header() {
            request = request.header(HOST, host);
        }
        if let Some(authorization) = endpoint.authorization() {
            request = request.header(AUTHORIZATION, authorization);
        }
        let request = self.agent.configure_request(request.body(body)?).timeout_global(Some(limit)).build();
        self.agent.run(request)
    }
}

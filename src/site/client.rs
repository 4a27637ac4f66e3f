//! One POST to a site.

use std::borrow::Cow;
use std::io::{self, Read};
use std::time::{Duration, Instant};

use chrono::Utc;
use ipnet::IpNet;
use serde::{Deserialize, Deserializer, de};
use ureq::config::Config;
use ureq::http::header::{CONNECTION, CONTENT_TYPE, HOST, LOCATION, RETRY_AFTER};
use ureq::http::{HeaderValue, Request, Response, StatusCode};
use ureq::{Agent, Body};

use super::agent::{self, Trust};
use super::egress::{Policy, RefusedPorts};
use super::failure::{Phase, from_status, from_ureq, too_large, with_reason};
use super::resolver::{self, LookUp, Resolver};
use super::target::Target;
use crate::model::{Failure, FailureClass, Tls};
use crate::protocol;

/// The largest body that we take, in bytes.
const LARGEST_BODY: usize = 1 << 20;

/// How much of a body is read before it is told whether it may be a message, in bytes.
const BEGINNING: u64 = 16 * 1024;

/// Enough for a message and its reply; ureq's 128 KiB each way would be most of the memory of a run. A smaller one for what is
/// sent would save 4 MiB at 512 threads, and split long messages.
pub(super) const BUFFER: usize = 16 * 1024;

/// How many redirects are followed.
const REDIRECTS: usize = 3;

/// How a [`Client`] calls.
#[derive(Debug, Clone)]
pub struct Options {
    /// Networks that may be connected to although they are not public.
    pub allow_net: Vec<IpNet>,
    /// Ports that are not connected to.
    pub refuse_ports: RefusedPorts,
    /// Limits of time.
    pub timeouts: Timeouts,
    /// What is asked of certificates.
    pub tls: Tls,
    /// Certificates of authorities that are trusted beside those of the platform, in DER.
    pub authorities: Vec<Vec<u8>>,
    /// Who we are, with a way to reach us. What can't stand in a header becomes `?`.
    pub user_agent: String,
}

impl Default for Options {
    /// Public networks only, and certificates that the platform trusts.
    fn default() -> Self {
        Self {
            allow_net: Vec::new(),
            refuse_ports: RefusedPorts::default(),
            timeouts: Timeouts::default(),
            tls: Tls::Verify,
            authorities: Vec::new(),
            user_agent: concat!("cxnpoll/", env!("CARGO_PKG_VERSION")).into(),
        }
    }
}

/// How long each part of a call may take. None outlasts the whole call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Timeouts {
    /// Finding the host's addresses.
    #[serde(deserialize_with = "seconds")]
    pub resolve: Duration,
    /// Connecting, to as many of the addresses as it takes.
    #[serde(deserialize_with = "seconds")]
    pub connect: Duration,
    /// Making the TLS connection.
    #[serde(deserialize_with = "seconds")]
    pub tls: Duration,
    /// From the request's last byte until the reply's header is there. Most of it is the site at work.
    #[serde(deserialize_with = "some_seconds")]
    pub first_byte: Option<Duration>,
    /// The whole call, with its redirects and the reply's body.
    #[serde(deserialize_with = "seconds")]
    pub call: Duration,
}

impl Default for Timeouts {
    /// 10 seconds for each step on the way to the site, 60 for the whole call.
    fn default() -> Self {
        let ten = Duration::from_secs(10);
        Self { resolve: ten, connect: ten, tls: ten, first_byte: None, call: Duration::from_secs(60) }
    }
}

fn seconds<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    Duration::try_from_secs_f64(f64::deserialize(deserializer)?)
        .ok()
        .filter(|limit| !limit.is_zero() && limit.as_secs() < 1 << 32)
        .ok_or_else(|| de::Error::custom("expected a number of seconds above 0, such as 10 or 0.5"))
}

fn some_seconds<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
    seconds(deserializer).map(Some)
}

/// Calls sites. Made once, shared by all threads of a run; what it learns of names is kept as long as it lives.
#[derive(Debug)]
pub struct Client {
    agent: Agent,
    /// The limit for a whole call.
    limit: Duration,
}

impl Client {
    /// A client. Costs next to nothing: certificates are read when the first https site is called.
    #[must_use]
    pub fn new(options: Options) -> Self {
        Self::with_look_up(options, Box::new(resolver::system))
    }

    /// A client that finds the addresses of names in its own way.
    pub(super) fn with_look_up(options: Options, look_up: Box<LookUp>) -> Self {
        let user_agent: String =
            options.user_agent.chars().map(|c| if matches!(c, ' '..='~') { c } else { '?' }).collect();
        let limits = options.timeouts;
        let config = Config::builder()
            .proxy(None)
            .http_status_as_error(false)
            // 307 and 308 ask for the body again, which ureq refuses, and a followed 302 would become a GET whose 200
            // passes for success. So redirects are followed here, or not at all.
            .max_redirects(0)
            .max_redirects_will_error(false)
            .timeout_resolve(Some(limits.resolve))
            // ureq has one limit for both; each of them keeps to its own.
            .timeout_connect(Some(limits.connect.saturating_add(limits.tls)))
            .timeout_recv_response(limits.first_byte)
            .user_agent(user_agent)
            .accept_encoding("identity")
            .max_idle_connections(0)
            .max_idle_connections_per_host(0)
            .input_buffer_size(BUFFER)
            .output_buffer_size(BUFFER)
            // Where a header fills the buffer, ureq takes the lack of space for a closed connection.
            .max_response_header_size(BUFFER - 1)
            .build();
        let policy = Policy { allow: options.allow_net, refuse: options.refuse_ports };
        let trust = Trust { tls: options.tls, authorities: options.authorities };
        Self { agent: agent::new(config, Resolver::new(look_up), policy, limits, trust), limit: limits.call }
    }

    /// Posts a message and returns the body of the reply, which may be empty; of what can't be a message the beginning.
    ///
    /// # Errors
    /// Everything but a whole reply with a status of 2xx, in the classes `dns`, `connect`, `tls`, `timeout`,
    /// `disconnected`, `http`, `gone`, `redirect`, `too-large`, `blocked` and `garbled`.
    pub fn post(&self, target: &Target, body: &[u8]) -> Result<Vec<u8>, Failure> {
        let started = Instant::now();
        let mut target = Cow::Borrowed(target);
        let mut redirects = 0;
        loop {
            let limit = self.limit.saturating_sub(started.elapsed());
            let response = self.send(&target, body, limit)?;
            let status = response.status();
            if status.is_success() {
                return read(response);
            }
            if !status.is_redirection() {
                let retry_after = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok());
                return Err(from_status(status, retry_after, Utc::now()));
            }
            let next = redirected(&target, &response)?;
            let not_followed = |how| {
                let message = format!("redirected{how} ({}) to {}", with_reason(status), next.place(&target));
                Err(Failure::new(FailureClass::Redirect, message))
            };
            if !matches!(status, StatusCode::TEMPORARY_REDIRECT | StatusCode::PERMANENT_REDIRECT) {
                return not_followed("");
            }
            if redirects == REDIRECTS {
                return not_followed(" once too often");
            }
            redirects += 1;
            target = Cow::Owned(next);
        }
    }

    /// Asks for a URL, whatever it answers, unless that is an error or leads elsewhere.
    ///
    /// # Errors
    /// Those of [`Client::post`] that a reply without a look at its body can have.
    pub fn get(&self, url: &str) -> Result<(), Failure> {
        let target = Target::new(url, None)?;
        let request = self.agent.get(target.uri()).header(CONNECTION, HeaderValue::from_static("close"));
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

    /// One request, and the head of its reply.
    fn send(&self, target: &Target, body: &[u8], limit: Duration) -> Result<Response<Body>, Failure> {
        let mut request = Request::post(target.uri().clone())
            .header(CONTENT_TYPE, HeaderValue::from_static(protocol::CONTENT_TYPE))
            // No connection is used twice. The server should close it: the side that closes first keeps the port busy
            // for a while, and many sites behind one proxy could use ours up.
            .header(CONNECTION, HeaderValue::from_static("close"));
        if let Some(host) = target.host_header() {
            request = request.header(HOST, host);
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

/// The body of a reply, if it isn't too large. Of what can't be a message only the beginning is kept: a page that never
/// ends takes no memory.
fn read(mut response: Response<Body>) -> Result<Vec<u8>, Failure> {
    let body = response.body_mut();
    if body.content_length().is_some_and(|length| length > LARGEST_BODY as u64) {
        return Err(too_large(LARGEST_BODY as u64));
    }
    let mut reader = body.with_config().limit(LARGEST_BODY as u64).reader();
    let mut reply = Vec::new();
    let read = reader.by_ref().take(BEGINNING).read_to_end(&mut reply).and_then(|read| {
        if !protocol::may_be_message(&reply) {
            return io::copy(&mut reader, &mut io::sink()).map(drop);
        }
        if read as u64 == BEGINNING {
            // All at once: a buffer that grows by and by is copied, and takes up to twice as much.
            reply.reserve_exact(LARGEST_BODY);
        }
        reader.read_to_end(&mut reply).map(drop)
    });
    read.map(|()| reply).map_err(|error| from_ureq(error.into(), Phase::Reading))
}

/// Where a reply redirects to.
fn redirected(target: &Target, response: &Response<Body>) -> Result<Target, Failure> {
    let Some(location) = response.headers().get(LOCATION).and_then(|value| str::from_utf8(value.as_bytes()).ok())
    else {
        let message = format!("status {}, but no place to go to", with_reason(response.status()));
        return Err(Failure::new(FailureClass::Redirect, message));
    };
    target.redirected(location)
}

/// Where a site seems to have moved to, by a failure of the class `redirect`; `None` where the place is not known whole.
#[must_use]
pub fn moved_to(failure: &Failure) -> Option<&str> {
    let (_, place) = failure.message.rsplit_once(") to ").filter(|_| failure.class == FailureClass::Redirect)?;
    (!place.ends_with('…') && Target::new(place, None).is_ok()).then_some(place)
}

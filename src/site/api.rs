//! API calls to one site.

use serde_json::{Map, Value};

use super::{Client, Endpoint, PollCalls};
use crate::model::{Cxn, Failure, Fault, UnixTime};
use crate::protocol::{self, ProtocolError};
use crate::util::time::unix_now;

/// A client for the API of one site.
#[derive(Clone, Copy)]
pub struct Api<'a> {
    client: &'a Client,
    cxn: &'a Cxn,
    app_cert: &'a str,
    poll: Option<&'a PollCalls>,
}

impl<'a> Api<'a> {
    /// Makes a client for the site of a connection.
    ///
    /// `app_cert` (PEM, or empty) is sent with every call.
    #[must_use]
    pub fn new(client: &'a Client, cxn: &'a Cxn, app_cert: &'a str) -> Self {
        Self { client, cxn, app_cert, poll: None }
    }

    /// The same client, whose calls are those of a poll.
    #[must_use]
    pub fn in_poll(self, poll: &'a PollCalls) -> Self {
        Self { poll: Some(poll), ..self }
    }

    /// Calls the site and returns its decoded reply, which may hold an error of the API.
    ///
    /// `version` 3 is added to params that lack it.
    ///
    /// # Errors
    /// A failure of any class but `api` and `listener`.
    pub fn call(&self, entity: &str, action: &str, params: Map<String, Value>) -> Result<Value, Failure> {
        let Cxn { cxn_id, secret, .. } = self.cxn;
        self.post(entity, action, params, |message, now| protocol::decode(message, cxn_id, secret, now))
    }

    /// Calls the site and checks its reply, without building its values.
    ///
    /// Returns the failure that the reply reports; `None` if it reports none. `with_value` also builds the reply, unless it
    /// is too large.
    ///
    /// # Errors
    /// As [`Api::call`], except that a reply may have any number of values.
    pub fn check(
        &self,
        entity: &str,
        action: &str,
        params: Map<String, Value>,
        with_value: bool,
    ) -> Result<(Option<Failure>, Option<Value>), Failure> {
        let Cxn { cxn_id, secret, .. } = self.cxn;
        self.post(entity, action, params, |message, now| {
            let failure = protocol::check(message, cxn_id, secret, now)?;
            let value = if with_value { protocol::decode(message, cxn_id, secret, now).ok() } else { None };
            Ok((failure, value))
        })
    }

    /// Calls the site and decodes the message with which it replies.
    ///
    /// `decode` gets the message and the current time. No failure contains the start of the secret.
    fn post<T>(
        &self,
        entity: &str,
        action: &str,
        params: Map<String, Value>,
        decode: impl FnOnce(&[u8], UnixTime) -> Result<T, ProtocolError>,
    ) -> Result<T, Failure> {
        let Cxn { cxn_id, secret, .. } = self.cxn;
        let endpoint = Endpoint::new(self.cxn.site_url.with_credentials(), self.cxn.via_port.as_ref())?;
        let mut iv = [0; 32];
        // What can fail is to open the file of random numbers, where the system has no call for them.
        getrandom::fill(&mut iv).map_err(|error| {
            Failure::local(Fault::OpenFiles, format!("this machine provides no random numbers: {error}"))
        })?;
        let plaintext = protocol::request(entity, action, params, self.app_cert);
        // The site compares with its own clock, so the real time counts here, whatever time the schedule assumes.
        let ttl = unix_now() + protocol::TTL_S;
        let message = protocol::encode(cxn_id, secret, &plaintext, ttl, &iv);
        let reply = match self.poll {
            Some(poll) => self.client.post_in_poll(poll, &endpoint, &message),
            None => self.client.post(&endpoint, &message),
        };
        let reply = reply.map_err(|failure| {
            let safe = protocol::before_secret(&failure.message, secret).into_owned();
            // Otherwise its cause holds the secret too.
            if safe == failure.message { failure } else { Failure::new(failure.class, safe) }
        })?;
        decode(reply.message(secret)?, unix_now()).map_err(|error| reply.at_host(error.into()))
    }
}

//! API calls to one site.

use chrono::Utc;
use serde_json::{Map, Value};

use super::{Client, Target};
use crate::model::{Cxn, Failure, FailureClass};
use crate::protocol;

/// A client for the API of one site.
#[derive(Clone, Copy)]
pub struct Api<'a> {
    client: &'a Client,
    cxn: &'a Cxn,
    app_cert: &'a str,
}

impl<'a> Api<'a> {
    /// A client for the site of a connection; `app_cert` (PEM, or nothing) goes with every call.
    #[must_use]
    pub fn new(client: &'a Client, cxn: &'a Cxn, app_cert: &'a str) -> Self {
        Self { client, cxn, app_cert }
    }

    /// Calls the site and returns its decoded reply, whatever it says. `version` 3 is added to params that lack it.
    ///
    /// # Errors
    /// Every class of failure but `api` and `listener`.
    pub fn call(&self, entity: &str, action: &str, params: Map<String, Value>) -> Result<Value, Failure> {
        let Cxn { cxn_id, secret, .. } = self.cxn;
        let target = Target::new(&self.cxn.site_url, self.cxn.via_port.as_ref())?;
        let mut iv = [0; 32];
        getrandom::fill(&mut iv)
            .map_err(|_| Failure::new(FailureClass::Listener, "the system gives no random numbers"))?;
        let plaintext = protocol::request(entity, action, params, self.app_cert);
        // Messages are judged by the real clock, whatever the schedule's clock says.
        let ttl = Utc::now().timestamp() + protocol::TTL;
        let message = protocol::encode(cxn_id, secret, &plaintext, ttl, &iv);
        let reply = self.client.post(&target, &message)?;
        Ok(protocol::decode(&reply, cxn_id, secret, Utc::now().timestamp())?)
    }
}

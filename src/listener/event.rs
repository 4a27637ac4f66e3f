//! What listeners are told, and what they can do with it.

use std::time::Instant;

use serde_json::{Map, Value, json};
use tracing::info;

use super::BY_HAND;
use super::name::{EventName, Phase};
use crate::batch::Batch;
use crate::model::{AppMeta, Cxn, Failure, FailureClass, JobName, UnixTime, safe_text};
use crate::protocol::{api_failure, scrubbed};
use crate::site::Api;

/// One visit to one site.
pub struct PollEvent<'a> {
    /// The app that polls.
    pub app: &'a AppMeta,
    /// The job that is due.
    pub job: &'a JobName,
    /// The connection that is visited.
    pub cxn: &'a Cxn,
    /// The moment that the run judges sites by, UTC seconds.
    pub now: UnixTime,
    pub(super) api: Option<Api<'a>>,
    pub(super) by_hand: bool,
    pub(super) kept: Option<Value>,
    pub(super) stopped: bool,
    /// Why the last call got no reply, if it got none.
    pub(super) call_failure: Option<Failure>,
}

impl<'a> PollEvent<'a> {
    #[doc(hidden)]
    /// An event; without an `api` every call fails. `by_hand` shows the calls to who polls one site at a terminal.
    #[must_use]
    pub fn new(
        app: &'a AppMeta,
        job: &'a JobName,
        cxn: &'a Cxn,
        now: UnixTime,
        api: Option<Api<'a>>,
        by_hand: bool,
    ) -> Self {
        Self { app, job, cxn, now, api, by_hand, kept: None, stopped: false, call_failure: None }
    }

    /// The event's name by the formula of the specification: `app:org.example.myapp:job=default:poll`.
    #[must_use]
    pub fn name(&self) -> String {
        name(self.app, self.job, Phase::Poll)
    }

    /// Calls the site's API, as `event.call("Contact", "get", json!({"limit": 1}))`, and returns the decoded reply.
    /// `version` 3 is added to params that lack it; `null` is no params.
    ///
    /// # Errors
    /// The failure of the call (its class tells what went wrong on the way), or class `api` where the reply has a true
    /// `is_error`.
    pub fn call(&mut self, entity: &str, action: &str, params: Value) -> Result<Value, Failure> {
        let reply = self.call_any(entity, action, params)?;
        api_failure(&reply, &self.cxn.secret).map_or(Ok(reply), Err)
    }

    /// The same, but a reply that speaks of an error is a reply like any other.
    ///
    /// # Errors
    /// The failure of the call; class `listener` where `params` are no object.
    pub fn call_any(&mut self, entity: &str, action: &str, params: Value) -> Result<Value, Failure> {
        let params = match params {
            Value::Object(params) => params,
            Value::Null => Map::new(),
            _ => return Err(format!("the params of {entity}.{action} are no object").into()),
        };
        let Some(api) = self.api else { return Err("there is no site to call".into()) };
        if self.by_hand {
            let params = self.shown(&Value::Object(params.clone()));
            info!(target: BY_HAND, "call {entity}.{action} {params}");
        }
        let began = Instant::now();
        let reply = api.call(entity, action, params);
        if self.by_hand {
            let ms = began.elapsed().as_millis();
            match &reply {
                Ok(reply) => info!(target: BY_HAND, "reply after {ms} ms: {}", self.shown(reply)),
                Err(failure) => info!(target: BY_HAND, "no reply after {ms} ms: {failure}"),
            }
        }
        self.call_failure = reply.as_ref().err().cloned();
        reply
    }

    /// Keeps a value for `cxnpoll results`. What an object holds is added to an object that was kept before; anything else
    /// takes its place. Text that shows the connection's secret is struck out.
    pub fn keep(&mut self, value: Value) {
        let value = scrubbed(value, &self.cxn.secret);
        match (&mut self.kept, value) {
            (Some(Value::Object(before)), Value::Object(more)) => before.extend(more),
            (kept, value) => *kept = Some(value),
        }
    }

    /// No listener after this one gets the event.
    pub fn stop_propagation(&mut self) {
        self.stopped = true;
    }

    /// The event as programs get it. The secret is not in it.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let cxn = self.cxn;
        json!({
            "event": self.name(),
            "app": app_json(self.app),
            "job": self.job,
            "now": self.now,
            "cxn": {
                "cxnId": cxn.cxn_id,
                "appId": cxn.app_id,
                "appUrl": cxn.app_url.as_ref(),
                "siteUrl": cxn.site_url,
                "viaPort": cxn.via_port.as_ref().map(ToString::to_string),
                "batchCode": cxn.batch_code,
                "perm": cxn.perm.as_ref(),
            },
        })
    }

    /// What is kept, once the listeners are through.
    pub(crate) fn into_kept(self) -> Option<Value> {
        self.kept
    }

    /// A value as it is shown at a terminal: without secrets, and short.
    fn shown(&self, value: &Value) -> String {
        safe_text(&scrubbed(value.clone(), &self.cxn.secret).to_string())
    }
}

/// The beginning or the end of a run.
pub struct RunEvent<'a> {
    /// The app that polls.
    pub app: &'a AppMeta,
    /// The job that is due.
    pub job: &'a JobName,
    /// The batch; [`Batch::range`] tells its batch codes.
    pub batch: Batch,
    /// The moment that the run judges sites by, UTC seconds.
    pub now: UnixTime,
    /// How many sites are due.
    pub due: u64,
    /// What the run did, as `poll --json` prints it; `None` before the first poll.
    pub summary: Option<Value>,
    pub(super) stopped: bool,
}

impl<'a> RunEvent<'a> {
    pub(crate) fn new(
        app: &'a AppMeta,
        job: &'a JobName,
        batch: Batch,
        now: UnixTime,
        due: u64,
        summary: Option<Value>,
    ) -> Self {
        Self { app, job, batch, now, due, summary, stopped: false }
    }

    /// The event's name: `app:org.example.myapp:job=default:pre-poll`, or `:post-poll`.
    #[must_use]
    pub fn name(&self) -> String {
        name(self.app, self.job, self.phase())
    }

    pub(super) fn phase(&self) -> Phase {
        if self.summary.is_some() { Phase::PostPoll } else { Phase::PrePoll }
    }

    /// No listener after this one gets the event.
    pub fn stop_propagation(&mut self) {
        self.stopped = true;
    }

    /// The event as programs get it.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let range = self.batch.range();
        let mut event = json!({
            "event": self.name(),
            "app": app_json(self.app),
            "job": self.job,
            "now": self.now,
            "batch": {"name": self.batch.to_string(), "from": range.start(), "to": range.end()},
            "due": self.due,
        });
        if let Some(summary) = &self.summary {
            event["summary"] = summary.clone();
        }
        event
    }
}

fn name(app: &AppMeta, job: &JobName, phase: Phase) -> String {
    EventName { job: Some((app.app_id.clone(), job.clone())), phase }.to_string()
}

fn app_json(app: &AppMeta) -> Value {
    json!({"appId": app.app_id, "metadata": app.metadata})
}

impl From<String> for Failure {
    /// A failure of class `listener`.
    fn from(message: String) -> Self {
        Self::new(FailureClass::Listener, message)
    }
}

impl From<&str> for Failure {
    /// A failure of class `listener`.
    fn from(message: &str) -> Self {
        Self::new(FailureClass::Listener, message)
    }
}

//! The events that listeners get, and what they can do with them.

use std::time::Instant;

use serde_json::{Map, Value, json};
use tracing::info;

use super::name::{EventName, Phase};
use crate::batch::Batch;
use crate::model::{AppMeta, Cxn, Failure, JobName, Outcome, SiteUrl, UnixTime};
use crate::protocol::{api_failure, redact};
use crate::site::Api;
use crate::util::text::sanitize;

/// The target of log messages about the poll of a single site.
///
/// They are shown at the terminal only, and written to no log file.
pub(crate) const TERMINAL_ONLY: &str = "cxnpoll::terminal";

/// The message of a call when the event has no site.
pub(super) const NO_SITE: &str = "there is no site to call";

/// One poll of one site.
pub struct PollEvent<'a> {
    /// The app that polls.
    pub app: &'a AppMeta,
    /// The job that is due.
    pub job: &'a JobName,
    /// The connection that is polled.
    pub cxn: &'a Cxn,
    /// The time that the run's schedule is based on, in seconds since 1970.
    pub now: UnixTime,
    pub(super) api: Option<Api<'a>>,
    pub(super) shows_calls: bool,
    pub(super) kept: Option<Value>,
    pub(super) stopped: bool,
    /// Why the last call got no reply; `None` if it got one.
    pub(super) call_failure: Option<Failure>,
}

impl<'a> PollEvent<'a> {
    /// Makes an event. Without an `api` every call fails. With `shows_calls` the calls are logged for the terminal.
    #[doc(hidden)]
    #[must_use]
    pub fn new(
        app: &'a AppMeta,
        job: &'a JobName,
        cxn: &'a Cxn,
        now: UnixTime,
        api: Option<Api<'a>>,
        shows_calls: bool,
    ) -> Self {
        Self { app, job, cxn, now, api, shows_calls, kept: None, stopped: false, call_failure: None }
    }

    /// The event's name, as the specification builds it: `app:org.example.myapp:job=default:poll`.
    #[must_use]
    pub fn name(&self) -> String {
        event_name(self.app, self.job, Phase::Poll).to_string()
    }

    /// Calls the site's API and returns the decoded reply.
    ///
    /// An example: `event.call("Contact", "get", json!({"limit": 1}))`. `version` 3 is added to params that lack it;
    /// `null` stands for no params.
    ///
    /// # Errors
    /// The failure of the call, or class `api` where the reply has a true `is_error`.
    pub fn call(&mut self, entity: &str, action: &str, params: Value) -> Result<Value, Failure> {
        let reply = self.call_any(entity, action, params)?;
        api_failure(&reply, &self.cxn.secret).map_or(Ok(reply), Err)
    }

    /// Calls the site's API and returns the decoded reply, also one that has a true `is_error`.
    ///
    /// # Errors
    /// The failure of the call; class `listener` where `params` are neither an object nor `null`.
    pub fn call_any(&mut self, entity: &str, action: &str, params: Value) -> Result<Value, Failure> {
        let params = match params {
            Value::Object(params) => params,
            Value::Null => Map::new(),
            _ => return Err(format!("the params of {entity}.{action} are not an object").into()),
        };
        self.request((entity, action), params, |api, params| api.call(entity, action, params), |reply| Some(reply))
    }

    /// Calls the site's API for the outcome only, so that the values of the reply are not built.
    ///
    /// # Errors
    /// The failure of the call, or class `api` where the reply has a true `is_error`, unless `allow_error` is true.
    pub(super) fn check(
        &mut self,
        entity: &str,
        action: &str,
        params: Map<String, Value>,
        allow_error: bool,
    ) -> Outcome {
        let with_value = self.shows_calls;
        let check = |api: Api, params| api.check(entity, action, params, with_value);
        let (reported, _) = self.request((entity, action), params, check, |(_, value)| value.as_ref())?;
        reported.filter(|_| !allow_error).map_or(Ok(()), Err)
    }

    /// Makes a call, and logs it for the terminal if that is wanted. `value` returns the reply if it was built.
    fn request<T>(
        &mut self,
        (entity, action): (&str, &str),
        params: Map<String, Value>,
        call: impl FnOnce(Api, Map<String, Value>) -> Result<T, Failure>,
        value: impl FnOnce(&T) -> Option<&Value>,
    ) -> Result<T, Failure> {
        let Some(api) = self.api else { return Err(NO_SITE.into()) };
        if self.shows_calls {
            let params = self.shown(&Value::Object(params.clone()));
            info!(target: TERMINAL_ONLY, "call {entity}.{action} {params}");
        }
        let began = Instant::now();
        let reply = call(api, params);
        if self.shows_calls {
            let ms = began.elapsed().as_millis();
            match reply.as_ref().map(value) {
                Ok(Some(reply)) => info!(target: TERMINAL_ONLY, "reply after {ms} ms: {}", self.shown(reply)),
                Ok(None) => info!(target: TERMINAL_ONLY, "reply after {ms} ms, too large to be shown"),
                Err(failure) => info!(target: TERMINAL_ONLY, "no reply after {ms} ms: {failure}"),
            }
        }
        self.call_failure = reply.as_ref().err().cloned();
        reply
    }

    /// Keeps a value for `cxnpoll results`.
    ///
    /// An object is merged into an object that was kept before. Any other value replaces it. Text that contains the
    /// connection's secret is replaced by a note.
    pub fn keep(&mut self, value: Value) {
        let value = redact(value, &self.cxn.secret);
        match (&mut self.kept, value) {
            (Some(Value::Object(before)), Value::Object(more)) => before.extend(more),
            (kept, value) => *kept = Some(value),
        }
    }

    /// Keeps the event from the listeners after this one.
    pub fn stop_propagation(&mut self) {
        self.stopped = true;
    }

    /// The event as programs get it, without the secret.
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
                "appUrl": SiteUrl::from(cxn.app_url.as_ref()),
                "siteUrl": cxn.site_url,
                "viaPort": cxn.via_port.as_ref().map(ToString::to_string),
                "batchCode": cxn.batch_code,
                "perm": cxn.perm.as_ref(),
            },
        })
    }

    /// Returns what the listeners kept; `None` if they kept nothing.
    pub(crate) fn into_kept(self) -> Option<Value> {
        self.kept
    }

    /// A value as it is shown at a terminal: short, and without the secret.
    fn shown(&self, value: &Value) -> String {
        sanitize(&redact(value.clone(), &self.cxn.secret).to_string())
    }
}

/// The start or the end of a run.
pub struct RunEvent<'a> {
    /// The app that polls.
    pub app: &'a AppMeta,
    /// The job that is due.
    pub job: &'a JobName,
    /// The batch. [`Batch::range`] returns its batch codes.
    pub batch: Batch,
    /// The time that the run's schedule is based on, in seconds since 1970.
    pub now: UnixTime,
    /// How many sites are due.
    pub due: u64,
    /// The summary of the run, as `poll --json` prints it; `None` before the first poll.
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
        self.event_name().to_string()
    }

    pub(super) fn event_name(&self) -> EventName {
        let phase = if self.summary.is_some() { Phase::PostPoll } else { Phase::PrePoll };
        event_name(self.app, self.job, phase)
    }

    /// Keeps the event from the listeners after this one.
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

fn event_name(app: &AppMeta, job: &JobName, phase: Phase) -> EventName {
    EventName { app: Some(app.app_id.clone()), job: Some(job.clone()), phase }
}

/// An app as programs get it.
pub(super) fn app_json(app: &AppMeta) -> Value {
    json!({"appId": app.app_id, "metadata": app.metadata})
}

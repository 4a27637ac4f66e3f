//! The logic that a poll event is handed to.

use std::panic::{AssertUnwindSafe, catch_unwind};

use serde_json::Map;

use crate::model::{AppMeta, Cxn, Failure, FailureClass, JobName, Outcome};
use crate::protocol::api_failure;
use crate::site::Api;

/// One visit to one site.
pub struct PollEvent<'a> {
    /// The app that polls.
    pub app: &'a AppMeta,
    /// The job that is due.
    pub job: &'a JobName,
    /// The connection that is visited.
    pub cxn: &'a Cxn,
    /// Calls to the site.
    pub api: Api<'a>,
}

impl PollEvent<'_> {
    /// The event's name by the formula of the specification: `app:org.example.myapp:job=default:poll`.
    #[must_use]
    pub fn name(&self) -> String {
        format!("{}:job={}:poll", self.app.app_id, self.job)
    }
}

/// Hands an event to its listener. A listener that panics makes this poll a failure and hurts no other.
pub(crate) fn dispatch(event: &PollEvent) -> Outcome {
    catch_unwind(AssertUnwindSafe(|| system_get(event))).unwrap_or_else(|_| {
        let message = format!("the listener of {} panicked", event.name());
        Err(Failure::new(FailureClass::Listener, message))
    })
}

/// The built-in listener: `System.get`, which proves that the connection lives.
fn system_get(event: &PollEvent) -> Outcome {
    let reply = event.api.call("System", "get", Map::new())?;
    api_failure(&reply, &event.cxn.secret).map_or(Ok(()), Err)
}

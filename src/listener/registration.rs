//! The event of a site that connects or disconnects by itself.

use serde_json::{Value, json};

use super::event::app_json;
use super::name::{EventName, Phase};
use crate::model::{AppMeta, CxnId, SiteUrl, UnixTime};
use crate::protocol::registration::SiteDetails;

/// A site that connects to an app, gets new details, or disconnects.
pub struct RegistrationEvent<'a> {
    /// The app.
    pub app: &'a AppMeta,
    /// The connection.
    pub cxn_id: &'a CxnId,
    /// What the site registers; `None` if it has disconnected.
    pub details: Option<&'a SiteDetails>,
    /// The address that the request came from, as the web server reports it.
    pub remote: &'a str,
    /// When it arrived, in seconds since 1970.
    pub now: UnixTime,
    pub(super) stopped: bool,
}

impl<'a> RegistrationEvent<'a> {
    pub(crate) fn new(
        app: &'a AppMeta,
        cxn_id: &'a CxnId,
        details: Option<&'a SiteDetails>,
        remote: &'a str,
        now: UnixTime,
    ) -> Self {
        Self { app, cxn_id, details, remote, now, stopped: false }
    }

    /// The event's name: `app:org.example.myapp:register`, or `:unregister`.
    #[must_use]
    pub fn name(&self) -> String {
        self.event_name().to_string()
    }

    pub(super) fn event_name(&self) -> EventName {
        let phase = if self.details.is_some() { Phase::Register } else { Phase::Unregister };
        EventName { app: Some(self.app.app_id.clone()), job: None, phase }
    }

    /// Keeps the event from the listeners after this one.
    pub fn stop_propagation(&mut self) {
        self.stopped = true;
    }

    /// The event as programs get it, without the secret.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let mut cxn = json!({"cxnId": self.cxn_id, "appId": self.app.app_id});
        if let Some(details) = self.details {
            cxn["appUrl"] = json!(SiteUrl::from(details.app_url.as_str()));
            cxn["siteUrl"] = json!(details.site_url);
            cxn["viaPort"] = json!(details.via_port.as_ref().map(ToString::to_string));
            cxn["perm"] = details.perm.clone();
        }
        json!({
            "event": self.name(),
            "app": app_json(self.app),
            "now": self.now,
            "remote": self.remote,
            "cxn": cxn,
        })
    }
}

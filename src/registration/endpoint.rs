//! The endpoint of an app: the checks of a message in their order, and what it asks for.

use serde_json::{Value, json};

use super::error::{Error, Result};
use super::rate::Limit;
use super::rate_file::{Subject, wait_s};
use super::reply::Reply;
use super::service::{Note, Service};
use crate::config::is_of_other_key;
use crate::listener::{ListenerChain, Phase, RegistrationEvent};
use crate::model::{AppMeta, UnixTime, host};
use crate::protocol::registration::{Action, Opened, Request, Sender, SiteDetails, open, refusal, success};
use crate::protocol::{redact_text, token};
use crate::store::{CxnPatch, FieldPatch, Registration, RegistrationChange, RegistrationOutcome, Store};
use crate::util::text::sanitize;

/// The refusal of an app that is switched off.
const DISABLED: &str = "the app takes no registrations at present";

/// A request to an app, and what is known of it so far.
pub(super) struct Exchange<'a> {
    pub(super) service: &'a Service<'a>,
    pub(super) app: &'a AppMeta,
    /// The address that the request came from.
    pub(super) remote: &'a str,
    pub(super) now: UnixTime,
    pub(super) note: &'a mut Note,
    /// What went wrong on this side once the request was done.
    pub(super) late_fault: &'a mut Option<Error>,
}

/// How a reply to a sender is made: with fresh random bytes, drawn before anything is done.
struct Replies {
    to: Sender,
    now: UnixTime,
    iv: [u8; 32],
}

impl Replies {
    fn success(&self, values: &Value) -> Reply {
        Reply::message(success(&self.to, values, self.now, &self.iv))
    }

    /// That what was asked for is done.
    fn done(&self) -> Reply {
        self.success(&json!({"cxn_id": self.to.cxn_id}))
    }

    fn refusal(&self, text: &str) -> Reply {
        Reply::message(refusal(&self.to, text, self.now, &self.iv))
    }
}

impl Exchange<'_> {
    /// Answers a message.
    ///
    /// # Errors
    /// Faults on this side.
    pub(super) fn answer(mut self, body: &[u8]) -> Result<Reply> {
        let table = &self.service.config.registration;
        let store = (self.service.open_store)()?;
        let address = Subject::address(self.remote).zip(Limit::per_minute(table.requests_per_minute));
        if let Some(reply) = self.limited(&store, address)? {
            return Ok(reply);
        }
        let app_id = &self.app.app_id;
        let (key, _) = self.service.config.app_key(app_id)?.ok_or_else(|| Error::NoKey(app_id.clone()))?;
        if is_of_other_key(self.app, &key) {
            return Err(Error::OtherKey(app_id.clone()));
        }
        let (mut instead, mut iv) = ([0; 32], [0; 32]);
        getrandom::fill(&mut instead)?;
        getrandom::fill(&mut iv)?;
        let opened = match open(body, app_id, &key, self.now, instead) {
            Ok(opened) => opened,
            Err(rejection) => return Ok(self.insecure(400, &rejection.to_string())),
        };
        let replies = |to| Replies { to, now: self.now, iv };
        match Request::read(&opened.plaintext, app_id) {
            Err(invalid) => {
                let Some(sender) = invalid.sender else { return Ok(self.insecure(400, &invalid.text)) };
                let replies = replies(sender);
                Ok(self.refused(&replies, &invalid.text))
            }
            Ok(Request { sender, action }) => {
                let replies = replies(sender);
                self.note.cxn_id = Some(replies.to.cxn_id.clone());
                match action {
                    Action::Register(details) => self.register(&store, &opened, &replies, &details),
                    Action::Unregister => self.unregister(&store, &opened, &replies),
                    Action::GetLink(page) => self.link(&store, &replies, page.as_deref()),
                }
            }
        }
    }

    fn register(&mut self, store: &Store, opened: &Opened, replies: &Replies, details: &SiteDetails) -> Result<Reply> {
        let table = &self.service.config.registration;
        let site_host = host(&details.site_url.to_string(), None);
        let is_allowed = table.allows(&site_host);
        self.note.host = Some(site_host);
        if let Some(reply) = self.limited_site(store, replies, details)? {
            return Ok(reply);
        }
        if self.app.disabled {
            return Ok(self.refused(replies, DISABLED));
        }
        if !is_allowed {
            return Ok(self.refused(replies, "the app does not take registrations of this host"));
        }
        let registration = self.registration(
            opened,
            RegistrationChange::Register {
                patch: Box::new(patch(&replies.to, self.app, details)),
                hold: table.hold,
                per_host: (table.connections_per_host > 0).then_some(table.connections_per_host),
            },
        );
        let listeners = self.service.listeners.of_registration(&self.app.app_id, Phase::Register);
        // They are called only for a request that would succeed.
        if !listeners.is_empty() {
            let preview = store.preview_registration(&registration, self.now)?;
            if preview != RegistrationOutcome::Done {
                return Ok(self.finish(replies, preview, "registered"));
            }
            if let Some(text) = self.emit(&listeners, replies, Some(details))? {
                return Ok(self.refused_as(replies, &text, "refused by a listener"));
            }
        }
        let outcome = store.register(&registration, self.now)?;
        Ok(self.finish(replies, outcome, "registered"))
    }

    fn unregister(&mut self, store: &Store, opened: &Opened, replies: &Replies) -> Result<Reply> {
        let Sender { cxn_id, secret } = replies.to.clone();
        let app_id = self.app.app_id.clone();
        let registration = self.registration(opened, RegistrationChange::Unregister { cxn_id, secret, app_id });
        let listeners = self.service.listeners.of_registration(&self.app.app_id, Phase::Unregister);
        // Anyone can unregister a connection that does not exist.
        let was_registered =
            !listeners.is_empty() && store.is_registered(&replies.to.cxn_id, &replies.to.secret, &self.app.app_id)?;
        let outcome = store.register(&registration, self.now)?;
        if was_registered && outcome == RegistrationOutcome::Done {
            // The site has left, whatever the listeners return.
            *self.late_fault = self.emit(&listeners, replies, None).err();
        }
        Ok(self.finish(replies, outcome, "unregistered"))
    }

    fn link(&mut self, store: &Store, replies: &Replies, page: Option<&str>) -> Result<Reply> {
        let (app_id, Sender { cxn_id, secret }) = (&self.app.app_id, &replies.to);
        if self.app.disabled {
            return Ok(self.refused(replies, DISABLED));
        }
        let Some(page) = page else { return Ok(self.refused(replies, "missing or invalid: params.page")) };
        if !store.is_registered(cxn_id, secret, app_id)? {
            return Ok(self.refused(replies, "the connection is not registered with this app and this secret"));
        }
        let config = self.service.config;
        let url = match config.link_secret(app_id)? {
            Some(secret) => config.link_url(app_id, page, cxn_id, &token(&secret, cxn_id, self.now)),
            None => None,
        };
        let Some(url) = url else { return Ok(self.refused(replies, "the app has no such page")) };
        "link".clone_into(&mut self.note.outcome);
        Ok(replies.success(&json!({"mode": "iframe", "width": "50%", "height": "50%", "cxn_id": cxn_id, "url": url})))
    }

    /// What the store gets of a message.
    fn registration(&self, opened: &Opened, change: RegistrationChange) -> Registration {
        Registration { change, hmac: opened.hmac, ttl: opened.ttl, origin: sanitize(self.remote) }
    }

    /// The reply to a site that registers too often; `None` if it does not.
    ///
    /// Each connection has a limit of its own. Connections that are not stored share that of the site's URL. So the connection of
    /// a site cannot be kept out by strangers with the URL of that site.
    fn limited_site(&mut self, store: &Store, replies: &Replies, details: &SiteDetails) -> Result<Option<Reply>> {
        let limit = Limit::per_hour(self.service.config.registration.requests_per_site_and_hour);
        let Sender { cxn_id, secret } = &replies.to;
        let connection = Some(Subject::connection(cxn_id, secret)).zip(limit);
        if let Some(reply) = self.limited(store, connection)? {
            return Ok(Some(reply));
        }
        match self.limited(store, Some(Subject::site(&details.site_url)).zip(limit))? {
            Some(_) if store.is_registered(cxn_id, secret, &self.app.app_id)? => Ok(None),
            limited => Ok(limited),
        }
    }

    /// The reply to a request that comes too early; `None` if it does not, or there is no limit.
    fn limited(&mut self, store: &Store, limited: Option<(Subject, Limit)>) -> Result<Option<Reply>> {
        let Some((subject, limit)) = limited else { return Ok(None) };
        let wait = wait_s(&store.registration_dir()?, &subject, limit, self.now)?;
        Ok(wait.map(|seconds| {
            let reply = self.insecure(429, "too many requests: try again later");
            Reply { retry_after_s: Some(seconds), ..reply }
        }))
    }

    /// Calls the listeners, and returns the text of one that refuses the site; `None` if none does.
    ///
    /// The text is made safe.
    fn emit(&self, chain: &ListenerChain, replies: &Replies, details: Option<&SiteDetails>) -> Result<Option<String>> {
        let mut event = RegistrationEvent::new(self.app, &replies.to.cxn_id, details, self.remote, self.now);
        let outcome = chain.dispatcher().registration(&mut event)?;
        let text = outcome.err().map(|failure| sanitize(redact_text(&failure.message, &replies.to.secret)));
        Ok(text.map(|text| if text.is_empty() { "the app refuses this site".to_owned() } else { text }))
    }

    /// The reply to what the store did, or would do. `done` is the outcome in the log.
    fn finish(&mut self, replies: &Replies, outcome: RegistrationOutcome, done: &str) -> Reply {
        let text = match outcome {
            RegistrationOutcome::Done => {
                done.clone_into(&mut self.note.outcome);
                return replies.done();
            }
            RegistrationOutcome::Repeated => {
                self.note.outcome = format!("{done} before, by the same message");
                return replies.done();
            }
            RegistrationOutcome::OtherSecret => "the connection has another secret",
            RegistrationOutcome::OtherApp => "the connection is to another app",
            RegistrationOutcome::HostFull => "the host has as many connections as it may have",
        };
        self.refused(replies, text)
    }

    fn refused(&mut self, replies: &Replies, text: &str) -> Reply {
        self.refused_as(replies, text, text)
    }

    /// Refuses a request with a text that the log does not get.
    fn refused_as(&mut self, replies: &Replies, text: &str, outcome: &str) -> Reply {
        self.note.cxn_id = Some(replies.to.cxn_id.clone());
        outcome.clone_into(&mut self.note.outcome);
        replies.refusal(text)
    }

    fn insecure(&mut self, status: u16, text: &str) -> Reply {
        text.clone_into(&mut self.note.outcome);
        Reply::insecure(status, text)
    }
}

/// The connection as the store gets it. Its `perm` and its proxy are what the site sent, also if it sent none.
fn patch(sender: &Sender, app: &AppMeta, details: &SiteDetails) -> CxnPatch {
    CxnPatch {
        cxn_id: sender.cxn_id.clone(),
        secret: sender.secret.clone(),
        app_id: app.app_id.clone(),
        app_url: details.app_url.clone(),
        site_url: details.site_url.clone(),
        perm: FieldPatch::Set(details.perm.clone()),
        via_port: details.via_port.clone().map_or(FieldPatch::Clear, FieldPatch::Set),
        batch_code: None,
        disabled: FieldPatch::Keep,
        poll_status: Vec::new(),
    }
}

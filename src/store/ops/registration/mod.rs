//! The changes that sites ask for when they connect and disconnect by themselves.

use std::collections::{HashMap, HashSet};

use super::delete::delete_cxn;
use super::upsert::{Change, CxnPatch, FieldPatch};
use crate::model::{AppId, CxnId, Secret, UnixTime, host};
use crate::store::engine::{TreeName, Tx};
use crate::store::error::{Error, Item, Problem, Result};
use crate::store::history::{Audit, History};
use crate::store::schema::{
    CxnKey, CxnRecord, Message, ReadSession, Record, WriteSession, find_message, find_record, read_status,
    remember_message,
};
use crate::util::text::sanitize;

/// The user of the changes in history.
const SITE: &str = "site";

/// What a site asks the store for.
#[derive(Debug, Clone, PartialEq)]
pub struct Registration {
    /// What it changes.
    pub change: RegistrationChange,
    /// The signature of the message. The same message again changes nothing.
    pub hmac: [u8; 32],
    /// Until when the message is valid.
    pub ttl: UnixTime,
    /// The address that it came from, for the audit trail.
    pub origin: String,
}

/// The change that a site asks for.
#[derive(Debug, Clone, PartialEq)]
pub enum RegistrationChange {
    /// To be added, or to get new details.
    Register {
        /// The connection; its `perm` and `via_port` are set or cleared, the rest is as in an import.
        patch: Box<CxnPatch>,
        /// Whether a new connection is stored disabled.
        hold: bool,
        /// How many connections a host may have at most; `None` is any number.
        per_host: Option<u32>,
    },
    /// To be removed.
    Unregister {
        /// The connection.
        cxn_id: CxnId,
        /// Its secret, as the site knows it.
        secret: Secret,
        /// Its app, as the site knows it.
        app_id: AppId,
    },
}

/// What became of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RegistrationOutcome {
    /// The store is as the site wants it, and that is durable.
    Done,
    /// The same message was answered with success before. Nothing was changed.
    Repeated,
    /// The connection has another secret.
    OtherSecret,
    /// The connection is to another app.
    OtherApp,
    /// The host has as many connections as it may have.
    HostFull,
}

impl RegistrationChange {
    /// The connection that it is about.
    #[must_use]
    pub fn cxn_id(&self) -> &CxnId {
        match self {
            Self::Register { patch, .. } => &patch.cxn_id,
            Self::Unregister { cxn_id, .. } => cxn_id,
        }
    }

    /// The secret and the app of the connection, as the site knows them.
    fn credentials(&self) -> (&Secret, &AppId) {
        match self {
            Self::Register { patch, .. } => (&patch.secret, &patch.app_id),
            Self::Unregister { secret, app_id, .. } => (secret, app_id),
        }
    }

    /// The host that counts for a limit of connections per host; `None` if there is no limit.
    fn limited_host(&self) -> Option<(String, u32)> {
        match self {
            Self::Register { patch, per_host: Some(most), .. } => {
                Some((host_of(patch.site_url.with_credentials()), *most))
            }
            _ => None,
        }
    }
}

/// A registration with the number of its request, which no other has, and the time at which it came.
pub struct Request<'a> {
    /// The registration.
    pub registration: &'a Registration,
    /// The number.
    pub number: u64,
    /// The time.
    pub now: UnixTime,
}

/// What became of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Registered {
    /// The outcome.
    pub outcome: RegistrationOutcome,
    /// Whether its connection may have been removed, so that its kept results are of no connection.
    pub is_removed: bool,
}

/// What is to be done for a request.
enum Step {
    /// Nothing.
    Answer(Registered),
    /// Only its message is remembered.
    Remember,
    /// A connection is added, or changed.
    Upsert(Box<CxnPatch>),
    /// A connection is removed.
    Remove(CxnKey, Box<CxnRecord>),
}

/// How many connections hosts have, as far as that is asked.
#[derive(Default)]
struct HostCounts(HashMap<String, u32>);

fn host_of(site_url: &str) -> String {
    host(site_url, None)
}

/// Whether a connection is not at a host yet, being new or at another one.
fn is_new_at(host: &str, stored: Option<&CxnRecord>) -> bool {
    stored.is_none_or(|record| host_of(&record.site_url) != host)
}

fn answer(outcome: RegistrationOutcome) -> Step {
    Step::Answer(Registered { outcome, is_removed: false })
}

/// Separates the error of a connection that cannot be read from the errors of the whole database.
fn apart<T>(done: Result<T>) -> Result<Result<T>> {
    match done {
        Err(error @ Error::Database { problem: Problem::Unreadable(_) | Problem::MissingCxn(_), .. }) => Ok(Err(error)),
        done => done.map(Ok),
    }
}

impl HostCounts {
    /// Counts the connections of the limited hosts of all requests, once one of the next ones needs that.
    fn prepare(&mut self, session: &ReadSession, all: &[Request], next: &[usize]) -> Result<()> {
        let is_needed = |request: &Request| {
            let change = &request.registration.change;
            let Some((host, _)) = change.limited_host().filter(|(host, _)| !self.0.contains_key(host)) else {
                return Ok(false);
            };
            let stored = apart(session.registered(change.cxn_id()))?;
            Ok::<_, Error>(stored.is_ok_and(|stored| is_new_at(&host, stored.as_ref().map(|(_, record)| record))))
        };
        if !next.iter().map(|at| is_needed(&all[*at])).collect::<Result<Vec<_>>>()?.contains(&true) {
            return Ok(());
        }
        let hosts = all.iter().filter_map(|request| request.registration.change.limited_host());
        self.0 = hosts.map(|(host, _)| (host, 0)).collect();
        for entry in session.trees.entries(TreeName::Cxn, &[], None) {
            if let Ok(record) = CxnRecord::from_bytes(&entry?.1) {
                self.change(&record.site_url, 1);
            }
        }
        Ok(())
    }

    fn change(&mut self, site_url: &str, by: i32) {
        if !self.0.is_empty()
            && let Some(count) = self.0.get_mut(&host_of(site_url))
        {
            *count = count.saturating_add_signed(by);
        }
    }

    /// Counts a change as if it were made.
    fn note(&mut self, before: Option<&str>, after: Option<&str>) {
        for (site_url, by) in before.map(|before| (before, -1)).into_iter().chain(after.map(|after| (after, 1))) {
            self.change(site_url, by);
        }
    }
}

impl ReadSession {
    /// What [`WriteSession::register`] would return for a single request.
    ///
    /// # Errors
    /// [`Error::Database`], also if something of the connection cannot be read.
    pub fn preview_registration(&self, registration: &Registration, now: UnixTime) -> Result<RegistrationOutcome> {
        let request = [Request { registration, number: 0, now }];
        let mut hosts = HostCounts::default();
        hosts.prepare(self, &request, &[0])?;
        Ok(match self.plan(&request[0], &mut hosts)? {
            Step::Answer(Registered { outcome, .. }) => outcome,
            _ => RegistrationOutcome::Done,
        })
    }

    /// Whether a connection is stored with this secret and this app.
    ///
    /// # Errors
    /// [`Error::Database`], also if something of the connection cannot be read.
    pub fn is_registered(&self, cxn_id: &CxnId, secret: &Secret, app_id: &AppId) -> Result<bool> {
        let Some((key, record)) = self.registered(cxn_id)? else { return Ok(false) };
        Ok(Secret::from_bytes(record.secret) == *secret && self.app_id(key.app)? == *app_id)
    }

    fn registered(&self, cxn_id: &CxnId) -> Result<Option<(CxnKey, CxnRecord)>> {
        let found = find_record(&self.trees, cxn_id)?;
        match found {
            Some((_, record)) if record.cxn_id != cxn_id.as_str() => Err(Item::CxnId.into()),
            found => Ok(found),
        }
    }

    fn plan(&self, request: &Request, hosts: &mut HostCounts) -> Result<Step> {
        let Request { registration: Registration { change, hmac, .. }, number, now } = request;
        if let Some(message) = find_message(&self.trees, self.host_key, hmac, *now)? {
            // The process that made the change was killed before it answered this very request.
            let is_own = message.request == *number;
            let outcome = if is_own { RegistrationOutcome::Done } else { RegistrationOutcome::Repeated };
            let is_removed = is_own && matches!(change, RegistrationChange::Unregister { .. });
            return Ok(Step::Answer(Registered { outcome, is_removed }));
        }
        let stored = self.registered(change.cxn_id())?;
        let (secret, app_id) = change.credentials();
        if let Some((key, record)) = &stored {
            if Secret::from_bytes(record.secret) != *secret {
                return Ok(answer(RegistrationOutcome::OtherSecret));
            }
            if self.app_id(key.app)? != *app_id {
                return Ok(answer(RegistrationOutcome::OtherApp));
            }
        }
        match (change, stored) {
            (RegistrationChange::Unregister { .. }, None) => Ok(Step::Remember),
            (RegistrationChange::Unregister { .. }, Some((key, record))) => {
                // All of it must be readable to be removed.
                self.job_names(key.app)?
                    .iter()
                    .try_for_each(|(job, _)| read_status(&self.trees, *job, key.locator).map(drop))?;
                hosts.note(Some(&record.site_url), None);
                Ok(Step::Remove(key, Box::new(record)))
            }
            (RegistrationChange::Register { patch, hold, .. }, stored) => {
                let after = patch.site_url.with_credentials();
                if let Some((host, most)) = change.limited_host()
                    && is_new_at(&host, stored.as_ref().map(|(_, record)| record))
                    && hosts.0.get(&host).is_some_and(|count| *count >= most)
                {
                    return Ok(answer(RegistrationOutcome::HostFull));
                }
                let mut patch = CxnPatch { poll_status: Vec::new(), batch_code: None, ..(**patch).clone() };
                if patch.perm == FieldPatch::Keep {
                    patch.perm = FieldPatch::Clear;
                }
                if patch.via_port == FieldPatch::Keep {
                    patch.via_port = FieldPatch::Clear;
                }
                patch.disabled = if stored.is_none() && *hold { FieldPatch::Set(true) } else { FieldPatch::Keep };
                let plan = match self.registration_change(&patch)? {
                    Change::Unchanged => Step::Remember,
                    _ => Step::Upsert(Box::new(patch)),
                };
                hosts.note(stored.as_ref().map(|(_, record)| &*record.site_url), Some(after));
                Ok(plan)
            }
        }
    }
}

impl WriteSession {
    /// Does what sites ask for, and returns for each what became of it. History gets the changes before the store.
    ///
    /// Each request is one transaction, in which its message is remembered. A request about a connection of which something
    /// cannot be read has that error, and the others are not affected.
    ///
    /// # Errors
    /// [`Error::Database`], [`Error::File`].
    pub fn register(&self, history: &History, requests: &[Request], now: UnixTime) -> Result<Vec<Result<Registered>>> {
        let mut done: Vec<Option<Result<Registered>>> = requests.iter().map(|_| None).collect();
        let mut hosts = HostCounts::default();
        loop {
            // Those about one connection are done one after the other.
            let mut taken = (HashSet::new(), HashSet::new());
            let is_next = |at: &usize| {
                let Registration { change, hmac, .. } = requests[*at].registration;
                done[*at].is_none() && taken.0.insert(change.cxn_id()) && taken.1.insert(hmac)
            };
            let next: Vec<usize> = (0..requests.len()).filter(is_next).collect();
            if next.is_empty() {
                self.forget_removed();
                return Ok(done.into_iter().flatten().collect());
            }
            hosts.prepare(self, requests, &next)?;
            let mut plans = Vec::with_capacity(next.len());
            for at in next {
                match apart(self.plan(&requests[at], &mut hosts))? {
                    Ok(plan) => plans.push((at, plan)),
                    Err(error) => done[at] = Some(Err(error)),
                }
            }
            self.note_registrations(history, requests, &plans, now)?;
            for (at, plan) in plans {
                done[at] = Some(apart(self.carry_out(&requests[at], plan))?);
            }
        }
    }

    /// Adds to history what is about to be changed.
    fn note_registrations(
        &self,
        history: &History,
        requests: &[Request],
        plans: &[(usize, Step)],
        now: UnixTime,
    ) -> Result<()> {
        let (mut removed, mut actions) = (Vec::new(), Vec::new());
        for (at, plan) in plans {
            let Registration { change, origin, .. } = requests[*at].registration;
            let action = match plan {
                Step::Answer(_) | Step::Remember => continue,
                Step::Upsert(_) => "register",
                Step::Remove(key, _) => {
                    removed.push((*key, change.cxn_id().clone()));
                    "unregister"
                }
            };
            let audit = Audit { user: SITE.to_owned(), detail: sanitize(origin) };
            actions.extend(audit.frame(action, vec![change.cxn_id().to_string()]));
        }
        let losses = history.frames_of(self.losses(&removed, now)?)?;
        history.append_all(self, losses.into_iter().chain(actions))
    }

    fn carry_out(&self, request: &Request, plan: Step) -> Result<Registered> {
        let Request { registration: Registration { hmac, ttl, .. }, number, now } = request;
        let message = Message::new(hmac, *ttl, *now, *number);
        let remember = |tx: &Tx| remember_message(tx, self.host_key, message, *now);
        let is_removed = matches!(plan, Step::Remove(..));
        match plan {
            Step::Answer(registered) => return Ok(registered),
            Step::Remember => self.trees.transact(remember)?,
            Step::Upsert(patch) => self.register_one(&patch, remember)?,
            Step::Remove(key, record) => {
                let jobs: Vec<_> = self.job_names(key.app)?.iter().map(|(job, _)| *job).collect();
                self.trees.transact(|tx| {
                    delete_cxn(tx, &jobs, key, &record)?;
                    remember(tx)
                })?;
            }
        }
        Ok(Registered { outcome: RegistrationOutcome::Done, is_removed })
    }
}

#[cfg(test)]
mod tests;

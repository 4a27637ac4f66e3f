//! Makes messages at the end of runs, and sends them until their channels accept them.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use super::channel::Channel;
use super::digest::{JobId, Site, Sites};
use super::error::{DeliveryError, Error};
use super::message::{Change, Message};
use super::state::{ChannelState, State, StateFiles};
use super::templates::{Templates, sample};
use crate::config::NotifyTable;
use crate::model::UnixTime;
use crate::store::failpoint::{self, Failpoint};
use crate::store::{self, CxnHash, Frame, Positions, ReadSession, Store};
use crate::util::lock::Backoff;
use crate::util::text::sanitize;

/// How long the first run with a new channel waits for the files.
const BEGIN_WAIT: Duration = Duration::from_secs(2);
/// A run may be so many seconds early, as a site is: cron does not start at the same second each time.
const MAX_EARLY_S: i64 = 30;
/// A message from so many seconds ahead was made while the clock was wrong.
const MAX_AHEAD_S: i64 = 300;
/// How long changes wait for other runs of their jobs to end, in seconds.
const MAX_WAIT_S: i64 = 900;

/// A channel that did not accept a message, which is to be reported.
pub type Failed = (Channel, DeliveryError);

/// What a run knows of other runs, and how it sends.
pub struct AfterRun<'a> {
    /// When the run began, by the clock of the schedule.
    pub now: UnixTime,
    /// Whether a run of a job is active.
    pub is_active: &'a dyn Fn(&JobId) -> bool,
    /// Sends a message.
    pub send: &'a dyn Fn(Channel, &Message) -> Result<(), DeliveryError>,
}

/// Makes and sends the messages of a store.
pub struct Notifier<'a> {
    table: &'a NotifyTable,
    store: &'a Store,
    files: StateFiles,
}

impl<'a> Notifier<'a> {
    /// The notifier of a table with channels; `None` if it has none.
    #[must_use]
    pub fn new(table: Option<&'a NotifyTable>, store: &'a Store) -> Option<Self> {
        let table = table.filter(|table| table.has_channel())?;
        Some(Self { table, store, files: StateFiles::new(store.history().dir()) })
    }

    /// Prepares channels that are new: what history has by now is no news for them.
    ///
    /// # Errors
    /// Those of the files.
    pub fn begin(&self) -> Result<(), Error> {
        let lacks = |state: &State| {
            Channel::of(self.table).into_iter().any(|channel| !state.channels.contains_key(channel.name()))
        };
        if !lacks(&self.files.load()?) {
            return Ok(());
        }
        let Some(_lock) = self.files.lock(&mut Backoff::new(BEGIN_WAIT))? else { return Ok(()) };
        let mut state = self.files.load()?;
        let positions = self.store.history().end()?;
        for channel in Channel::of(self.table) {
            let begin = || ChannelState { positions: positions.clone(), ..ChannelState::default() };
            state.channels.entry(channel.name().to_owned()).or_insert_with(begin);
        }
        Ok(self.files.save(&state)?)
    }

    /// Makes what messages are due, and sends those that are not delivered. Returns the failures that are to be reported.
    ///
    /// Does nothing if another process does it.
    ///
    /// # Errors
    /// Those of the files and the store. What was not delivered is left to the next run.
    pub fn finish(&self, run: &AfterRun<'_>) -> Result<Vec<Failed>, Error> {
        let Some(_lock) = self.files.lock(&mut Backoff::new(Duration::ZERO))? else { return Ok(Vec::new()) };
        let mut state = self.files.load()?;
        let mut failed = Vec::new();
        for channel in Channel::of(self.table) {
            // It is missing if another process held the lock when the run began.
            let Some(mut of_channel) = state.channels.remove(channel.name()) else { continue };
            let is_changed = of_channel.pending.is_none()
                && self.is_due(of_channel.last_at, run.now)
                && self.read(&mut of_channel, run)?;
            state.channels.insert(channel.name().to_owned(), of_channel);
            if is_changed {
                self.files.save(&state)?;
            }
            let Some(of_channel) = state.channels.get_mut(channel.name()) else { continue };
            let Some(message) = &of_channel.pending else { continue };
            failpoint::hit(Failpoint::NotificationNoted);
            match (run.send)(channel, message) {
                Ok(()) => {
                    failpoint::hit(Failpoint::NotificationSent);
                    self.files.note_sent(&message.id)?;
                    *of_channel =
                        ChannelState { pending: None, warned_at: None, last_at: Some(run.now), ..of_channel.clone() };
                }
                Err(DeliveryError::Stopped) => return Ok(failed),
                Err(error) if self.is_due(of_channel.warned_at, run.now) => {
                    of_channel.warned_at = Some(run.now);
                    failed.push((channel, error));
                }
                Err(_) => continue,
            }
            self.files.save(&state)?;
        }
        Ok(failed)
    }

    /// The channels with a message that they did not accept yet, and the time of the run that made it.
    ///
    /// # Errors
    /// Those of the files.
    pub fn undelivered(&self) -> Result<Vec<(Channel, UnixTime)>, Error> {
        let state = self.files.load()?;
        let pending = |channel: Channel| {
            let of_channel = state.channels.get(channel.name())?;
            of_channel.warned_at.and(of_channel.pending.as_ref()).map(|message| (channel, message.at))
        };
        Ok(Channel::of(self.table).into_iter().filter_map(pending).collect())
    }

    /// A message that only shows that a channel works.
    #[must_use]
    pub fn test_message(table: &NotifyTable, now: UnixTime) -> Message {
        let mut message = Message { id: new_id(), at: now, host: host_name(), changes: Vec::new(), ..sample() };
        Templates::new(table).add_texts(&mut message);
        message
    }

    /// Whether so much time has passed since the last time that something may happen once in `every`.
    fn is_due(&self, last: Option<UnixTime>, now: UnixTime) -> bool {
        let every_s = i64::try_from(self.table.every.0.as_secs()).unwrap_or(i64::MAX);
        let early_s = (every_s / 20).min(MAX_EARLY_S);
        last.is_none_or(|last| {
            let passed = now.saturating_sub(last);
            passed >= every_s - early_s || passed < -MAX_AHEAD_S
        })
    }

    /// Reads what is new in history, and makes a message if that is news. Returns whether the state changed.
    fn read(&self, channel: &mut ChannelState, run: &AfterRun<'_>) -> Result<bool, Error> {
        let history = self.store.history();
        let end = history.end()?;
        let is_behind = |(name, end): (&String, &u64)| channel.positions.get(name).is_none_or(|read| read < end);
        if !end.iter().any(is_behind) && !channel.tracker.is_waiting() {
            return Ok(false);
        }
        let (positions, tracker) = (&channel.positions, &channel.tracker);
        // No process writes while the session lasts, so that history and the store agree.
        let read = self.store.read(|session| {
            let (mut frames, mut read) = (Vec::new(), where_to_read(positions, &end));
            history.scan_behind(&read.clone(), |frame, (name, position)| {
                read.insert(name, position);
                frames.push(frame);
                Ok::<_, store::Error>(())
            })?;
            let sites = sites(session, &tracker.wanted(&frames))?;
            Ok((frames, read, sites))
        })?;
        let (frames, positions, sites) = read;
        let jobs: BTreeSet<_> = frames.iter().filter_map(|frame| frame.job.as_ref()).collect();
        let is_recent = |frame: &Frame| (0..MAX_WAIT_S).contains(&run.now.saturating_sub(frame.at));
        if frames.iter().all(is_recent) && jobs.into_iter().any(run.is_active) {
            // The run that ends last reports what all of them found.
            return Ok(false);
        }
        let changes = channel.tracker.digest(run.now, &frames, &sites);
        channel.positions = positions;
        if !changes.is_empty() {
            channel.last_at = Some(run.now);
            channel.pending = Some(self.message(run.now, changes));
        }
        Ok(true)
    }

    fn message(&self, now: UnixTime, changes: Vec<Change>) -> Message {
        let (subject, text) = (String::new(), String::new());
        let mut message = Message { id: new_id(), at: now, host: host_name(), test: false, changes, subject, text };
        Templates::new(self.table).add_texts(&mut message);
        message
    }
}

/// Where to go on reading. A file that became shorter was replaced, and what it has is no news.
fn where_to_read(positions: &Positions, end: &Positions) -> Positions {
    let within = |(name, read): (&String, &u64)| Some((name.clone(), *read.min(end.get(name)?)));
    positions.iter().filter_map(within).collect()
}

/// What the store knows of sites.
fn sites(session: &ReadSession, wanted: &BTreeMap<JobId, BTreeSet<CxnHash>>) -> store::Result<Sites> {
    let all: BTreeSet<_> = wanted.values().flatten().copied().collect();
    let keys = if all.is_empty() { HashMap::new() } else { session.find_hashed(&all)? };
    let jobs: BTreeMap<_, _> =
        session.jobs_with_apps()?.into_iter().map(|(app_id, job)| ((app_id, job.name.clone()), job)).collect();
    let mut sites = Sites::default();
    for (id, hashes) in wanted {
        let Some(job) = jobs.get(id) else { continue };
        let policy = job.last_policy().unwrap_or_default();
        let of_job = sites.0.entry(id.clone()).or_default();
        for hash in hashes {
            let Some(key) = keys.get(hash) else { continue };
            let Some(cxn) = session.cxn(*key)?.filter(|cxn| !cxn.disabled && cxn.app_id == id.0) else { continue };
            let status = session.status(job.no, key.locator)?.unwrap_or_default();
            let site = Site {
                host: sanitize(&cxn.host()),
                url: sanitize(&cxn.site_url.without_query()),
                is_down: policy.condition(&status).is_down(),
                last_run: status.last_run,
                cxn_id: cxn.cxn_id,
            };
            of_job.insert(hash.0, site);
        }
    }
    Ok(sites)
}

/// A new id of a message.
fn new_id() -> String {
    let mut bytes = [0; 16];
    // Without random numbers the time has to do.
    if getrandom::fill(&mut bytes).is_err() {
        bytes[..8].copy_from_slice(&crate::util::time::unix_now().to_be_bytes());
    }
    hex::encode(bytes)
}

/// The name of this machine.
fn host_name() -> String {
    sanitize(&rustix::system::uname().nodename().to_string_lossy())
}

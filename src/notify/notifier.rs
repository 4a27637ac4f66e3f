//! Makes messages at the end of runs, and sends them until their channels accept them.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::time::{Duration, Instant};

use super::channel::Channel;
use super::digest::{JobId, Site, Sites};
use super::error::{DeliveryError, Error};
use super::message::{Change, Message};
use super::state::{ChannelState, State, StateFiles};
use super::templates::{Templates, sample};
use crate::config::NotifyTable;
use crate::model::{AppId, UnixTime};
use crate::retry::Policy;
use crate::store::failpoint::{self, Failpoint};
use crate::store::{self, CxnHash, CxnKey, Entry, Frame, History, Job, Moved, Positions, ReadSession, SLICE, Store};
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
/// How many entries of history make one message at most: some 50 MiB with their sites. More are left to the next one.
const MAX_ENTRIES: usize = 1 << 17;

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
        Some(Self { table, store, files: StateFiles::new(store) })
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
                && self.read(&state, &mut of_channel, run)?;
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
    fn read(&self, state: &State, channel: &mut ChannelState, run: &AfterRun<'_>) -> Result<bool, Error> {
        let history = self.store.history();
        let end = history.end()?;
        let is_behind = |(name, end): (&String, &u64)| channel.positions.get(name).is_none_or(|read| read < end);
        if !end.iter().any(is_behind) && !channel.tracker.is_waiting() {
            return Ok(false);
        }
        // Meanwhile no restore replaces the history. After one, the next run knows where to read.
        self.store
            .lock_shared(|| if self.files.is_current(state) { self.read_behind(channel, &end, run) } else { Ok(false) })
    }

    /// As [`Notifier::read`], in pieces.
    fn read_behind(&self, channel: &mut ChannelState, end: &Positions, run: &AfterRun<'_>) -> Result<bool, Error> {
        let history = self.store.history();
        let mut is_changed = false;
        loop {
            let piece = Piece::read(&history, where_to_read(&channel.positions, end), MAX_ENTRIES)?;
            let jobs: BTreeSet<_> = piece.frames.iter().filter_map(|frame| frame.job.as_ref()).collect();
            let is_recent = |frame: &Frame| (0..MAX_WAIT_S).contains(&run.now.saturating_sub(frame.at));
            if piece.frames.iter().all(is_recent) && jobs.into_iter().any(run.is_active) {
                // The run that ends last reports what all of them found.
                return Ok(is_changed);
            }
            let mut sites = self.sites(&channel.tracker.wanted(&piece.frames))?;
            // Other processes may have written meanwhile.
            let mut done = HashSet::new();
            history.scan_behind(&piece.end, |frame, _| {
                sites.take_back(&frame, &mut done);
                Ok::<_, store::Error>(())
            })?;
            let changes = channel.tracker.digest(run.now, &piece.frames, &sites);
            channel.positions = piece.end;
            is_changed = true;
            if !changes.is_empty() {
                channel.last_at = Some(run.now);
                channel.pending = Some(self.message(run.now, changes));
            }
            if channel.pending.is_some() || !piece.is_cut {
                return Ok(true);
            }
        }
    }

    /// What the store knows of sites. Each session is short.
    fn sites(&self, wanted: &BTreeMap<JobId, BTreeSet<CxnHash>>) -> store::Result<Sites> {
        let all: BTreeSet<_> = wanted.values().flatten().copied().collect();
        let mut sites = Sites::default();
        if all.is_empty() {
            return Ok(sites);
        }
        let keys = self.store.find_hashed(&all)?;
        let of_job = |(id, hashes)| BTreeSet::iter(hashes).map(move |hash: &CxnHash| (id, hash));
        let mut rest = wanted.iter().flat_map(of_job).peekable();
        while rest.peek().is_some() {
            self.store.read(|session| {
                let began = Instant::now();
                let jobs: HashMap<_, _> = session.jobs_with_apps()?.into_iter().map(by_id).collect();
                for (id, hash) in rest.by_ref() {
                    if let Some((key, (job, policy))) = keys.get(hash).copied().zip(jobs.get(id))
                        && let Some(site) = site(session, id, key, job, policy)?
                    {
                        sites.0.entry(JobId::clone(id)).or_default().insert(hash.0, site);
                    }
                    if began.elapsed() > SLICE {
                        break;
                    }
                }
                Ok(())
            })?;
        }
        Ok(sites)
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

/// A job and its retry expression, by its app and name.
fn by_id((app_id, job): (AppId, Job)) -> (JobId, (Job, Policy)) {
    let policy = job.last_policy().unwrap_or_default();
    ((app_id, job.name.clone()), (job, policy))
}

/// What the store knows of a site; `None` if it is gone or disabled.
fn site(
    session: &ReadSession,
    (app_id, _): &JobId,
    key: CxnKey,
    job: &Job,
    policy: &Policy,
) -> store::Result<Option<Site>> {
    let Some(cxn) = session.cxn(key)?.filter(|cxn| !cxn.disabled && cxn.app_id == *app_id) else { return Ok(None) };
    let status = session.status(job.no, key.locator)?.unwrap_or_default();
    Ok(Some(Site {
        host: sanitize(&cxn.host()),
        url: sanitize(&cxn.site_url.without_query()),
        condition: policy.condition(&status),
        last_run: status.last_poll().last_run,
        cxn_id: cxn.cxn_id,
    }))
}

/// A part of history, without what is no news.
struct Piece {
    frames: Vec<Frame>,
    /// Where it ends.
    end: Positions,
    /// Whether more follows.
    is_cut: bool,
}

impl Piece {
    /// Reads the frames behind positions, until they have so many entries.
    fn read(history: &History, mut end: Positions, max_entries: usize) -> store::Result<Self> {
        let (mut frames, mut entries, mut is_cut) = (Vec::new(), 0, false);
        history.scan_behind(&end.clone(), |mut frame, (name, position)| {
            frame.entries.retain(|entry| !matches!(entry, Entry::Admin(action) if Moved::of(action).is_none()));
            let is_kept = frame.job.is_some() && !frame.entries.is_empty();
            is_cut |= is_kept && entries >= max_entries;
            if !is_cut {
                end.insert(name, position);
                if is_kept {
                    entries += frame.entries.len();
                    frames.push(frame);
                }
            }
            Ok::<_, store::Error>(())
        })?;
        Ok(Self { frames, end, is_cut })
    }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Condition, Transition};
    use crate::store::{AdminEntry, SiteTransition};

    #[test]
    fn history_is_read_in_pieces_of_a_limited_size() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::create(&dir.path().join("store"), Duration::from_secs(10)).unwrap();
        let history = store.history();
        let job: JobId = ("app:org.example.myapp".parse().unwrap(), "default".parse().unwrap());
        let entry = |at: UnixTime, cxn: u64| {
            let transition =
                Transition { at, from: Condition::Up, to: Condition::Failing, class: None, unknown_from: None };
            Entry::Transition(SiteTransition { cxn: CxnHash(cxn), host: None, transition })
        };
        let (user, action, cxns) = ("root".to_owned(), "import".to_owned(), vec!["cxn:1".to_owned(); 9]);
        let import = AdminEntry { at: 1, user, action, cxns, detail: String::new() };
        // In two months.
        let frames: Vec<_> = (0..6_u8).map(|number| (i64::from(number / 3) * 40 * 86_400, u64::from(number))).collect();
        let write = |session: &store::WriteSession| {
            for (at, number) in &frames {
                let entries =
                    (0..3).map(|cxn| entry(*at, number * 3 + cxn)).chain([Entry::Admin(import.clone())]).collect();
                history.append(session, Frame { at: *at, job: Some(job.clone()), entries })?;
                history.append(session, Frame { at: *at, job: None, entries: vec![Entry::Admin(import.clone())] })?;
            }
            Ok(())
        };
        store.write(write).unwrap();
        let (mut end, mut read, mut sizes) = (Positions::new(), Vec::new(), Vec::new());
        loop {
            let piece = Piece::read(&history, end, 4).unwrap();
            let entries: Vec<_> = piece.frames.iter().flat_map(|frame| &frame.entries).collect();
            sizes.push(entries.len());
            read.extend(entries.into_iter().map(|entry| entry.transition().unwrap().cxn.0));
            end = piece.end;
            if !piece.is_cut {
                break;
            }
        }
        assert_eq!((read, sizes), ((0..18).collect::<Vec<_>>(), vec![6, 6, 6]));
        assert_eq!(end, history.end().unwrap());
    }
}

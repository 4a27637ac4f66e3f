//! Holds failures back as long as they may be our own fault, and decides whether they are.
//!
//! The rule of the network: witnesses failed before any byte arrived, and no poll that began since the first of these was
//! answered. A reply to an earlier poll proves nothing, so replies count by the time at which their poll began.

use std::collections::{BTreeMap, HashSet};
use std::time::Duration;

use super::answers::{Answer, Answers};
use super::diagnosis::{self, Outage};
use super::observation::{Evidence, Observation};
use super::witness::Key;
use crate::model::{FailureClass, Fault, UnixTime};

/// How many witnesses make an outage of the network if no site has answered in the run.
const MIN_WITNESSES: usize = 3;
/// How likely it may be that as many witnesses fail by themselves, if a site has answered.
///
/// At the end of a run nothing is left to be polled, and dead sites may come last.
const MAX_CHANCE: f64 = 1e-6;
/// How many witnesses that were reached are assumed for an estimate, in addition to those of the run.
const ASSUMED_REACHED: u32 = 20;
/// How many more polls are made before an outage of the network is declared.
pub(super) const PROBES: usize = 10;
/// How many failures are held back at most without a suspicion. One host may have any number of sites.
const MAX_HELD: usize = 8192;
/// For how long runs that all end in an outage do not count failures, in seconds.
const MAX_OUTAGE_S: UnixTime = 86_400;

/// Whether the failures so far may be our own fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Suspicion {
    /// They are the sites' own, or too few.
    None,
    /// Sites cannot be reached. This many more polls decide.
    Network(usize),
    /// Sites give the same answer. So many more of them decide; 0 is enough.
    SameAnswer(usize),
}

/// What a run ends with.
#[derive(Debug)]
pub struct Conclusion<T> {
    /// Which fault of our own the run met; `None` if it met none.
    pub outage: Option<Outage>,
    /// Failures that are counted, in the order in which their polls ended.
    pub counted: Vec<T>,
}

/// Observes the polls of a run.
///
/// Each comes with an item, which is returned once its outcome is to be counted. An item that is never returned is not
/// counted. Times are durations since the run began.
#[derive(Debug)]
pub struct OutageDetector<T> {
    enabled: bool,
    /// How many polls have ended.
    polls: u64,
    /// In the order in which their polls ended.
    held: Vec<Held<T>>,
    answers: Answers,
    /// When the last poll began that was answered.
    last_reply: Option<Duration>,
    /// How many witnesses were reached, and how many were not although the network worked.
    reached: (u32, u32),
    /// What this machine could not do: how often, and the first time of each.
    local: BTreeMap<Fault, (u64, Evidence)>,
}

/// A failure that is held back.
#[derive(Debug)]
struct Held<T> {
    seq: u64,
    seen: Observation,
    /// `None` if it is not counted in any case.
    item: Option<T>,
}

impl<T> OutageDetector<T> {
    /// A detector for a run at `now`.
    ///
    /// If every run since `outage_since` ended in an outage, for a day or longer, it is disabled: failures are counted again,
    /// except for what this machine could not do.
    #[must_use]
    pub fn new(now: UnixTime, outage_since: Option<UnixTime>) -> Self {
        let enabled = outage_since.is_none_or(|since| now.saturating_sub(since) < MAX_OUTAGE_S);
        let (answers, local) = (Answers::default(), BTreeMap::new());
        Self { enabled, polls: 0, held: Vec::new(), answers, last_reply: None, reached: (0, 0), local }
    }

    /// Takes a poll that ended. Returns the items to be counted now, in the order in which their polls ended.
    pub fn observe(&mut self, seen: Observation, item: T) -> Vec<T> {
        self.polls += 1;
        let seq = self.polls;
        if seen.has_replied() {
            self.last_reply = self.last_reply.max(Some(seen.began));
            self.reached.0 += u32::from(seen.is_witness);
        }
        let (fault, is_deferral) = match &seen.failure {
            None => (None, false),
            Some(evidence) => {
                let local = (evidence.failure.class == FailureClass::Local).then(|| diagnosis::fault_of(evidence));
                (local, evidence.failure.retry_after.is_some())
            }
        };
        if let (Some(fault), Some(evidence)) = (fault, &seen.failure) {
            self.local.entry(fault).or_insert_with(|| (0, evidence.clone())).0 += 1;
        }
        let item = fault.is_none().then_some(item);
        if !self.enabled {
            return item.into_iter().collect();
        }
        let (key, began) = (seen.key, seen.began);
        match &seen.failure {
            None => self.answers.add(Answer { seq, key, began, failure: None, attempts: 0, alike: 0 }),
            Some(evidence) if seen.is_witness && fault.is_none() && !is_deferral => {
                let Evidence { fingerprint, attempts, alike, .. } = *evidence;
                self.answers.add(Answer { seq, key, began, failure: Some(fingerprint), attempts, alike });
            }
            Some(_) => {}
        }
        if seen.failure.is_none() || is_deferral {
            let mut counted = self.release();
            counted.extend(item);
            return counted;
        }
        self.held.push(Held { seq, seen, item });
        // A suspicion limits polls, unless these decide nothing.
        let is_full =
            self.held.len() == MAX_HELD && self.suspicion() == Suspicion::None || self.held.len() >= 2 * MAX_HELD;
        if is_full {
            let oldest_kept = self.held[MAX_HELD / 2].seq;
            self.answers.drop_before(oldest_kept);
            let mut counted: Vec<T> = self.held.drain(..MAX_HELD / 2).filter_map(|held| held.item).collect();
            counted.extend(self.release());
            return counted;
        }
        self.release()
    }

    /// Whether the failures so far may be our own fault, so that the run should find out before it goes on.
    #[must_use]
    pub fn suspicion(&self) -> Suspicion {
        if self.is_network_down() {
            return Suspicion::Network(PROBES);
        }
        self.answers.suspicion().map_or(Suspicion::None, Suspicion::SameAnswer)
    }

    /// Decides on what is held back, at the end of a run.
    pub fn conclude(&mut self) -> Conclusion<T> {
        let local: u64 = self.local.values().map(|(count, _)| count).sum();
        let uncounted = local + self.held.iter().filter(|held| held.item.is_some()).count() as u64;
        let found: Vec<_> = match self.answers.verdict() {
            _ if self.is_network_down() => self.silent_witnesses().collect(),
            Some(fingerprint) => self.witnesses_with(fingerprint).collect(),
            None => Vec::new(),
        };
        if !found.is_empty() {
            // A portal may answer for http, and break or block https.
            let portal: Vec<_> = self.witnesses().filter(|seen| diagnosis::is_of_portal(seen)).collect();
            let is_portal = portal.len() * 3 >= self.witnesses().count();
            let outage = Some(diagnosis::verdict(if is_portal { &portal } else { &found }, uncounted));
            self.held.clear();
            return Conclusion { outage, counted: Vec::new() };
        }
        let most = self.local.iter().max_by_key(|(_, (count, _))| *count);
        let outage = most.map(|(fault, (_, evidence))| diagnosis::local(*fault, evidence, local));
        Conclusion { outage, counted: self.held.drain(..).filter_map(|held| held.item).collect() }
    }

    /// Whether the run ends for our own fault if it ends now.
    #[must_use]
    pub fn is_outage(&self) -> bool {
        self.is_network_down() || self.answers.verdict().is_some()
    }

    /// Removes and returns what no rule holds back any longer.
    ///
    /// Nothing that ended since the first failure of an outage is counted: polls that began before it may hang.
    fn release(&mut self) -> Vec<T> {
        let last_reply = self.last_reply;
        let is_suspect = |held: &&Held<T>| held.seen.is_witness && held.seen.is_silent_since(last_reply);
        let window = self.answers.since();
        let mut before = self.held.iter().take_while(|held| window.is_none_or(|since| held.seq < since));
        let since = before.find(is_suspect).map(|held| held.seq).or(window);
        let end = since.map_or(self.held.len(), |since| self.held.partition_point(|held| held.seq < since));
        let is_silent = |held: &Held<T>| held.seen.is_witness && held.seen.is_silent_since(None);
        let mut items = Vec::new();
        for held in self.held.drain(..end) {
            self.reached.1 += u32::from(is_silent(&held));
            items.extend(held.item);
        }
        items
    }

    fn is_network_down(&self) -> bool {
        let count = |key: fn(&Observation) -> Key| self.silent_witnesses().map(key).collect::<HashSet<_>>().len();
        if self.last_reply.is_none() {
            return count(|seen| seen.key) >= MIN_WITNESSES;
        }
        // The name servers of one provider may fail.
        let silent = count(|seen| seen.former_key);
        let (reached, failed) = self.reached;
        let rate = f64::from(failed + 1) / f64::from(reached + failed + ASSUMED_REACHED);
        silent >= MIN_WITNESSES && rate.powi(i32::try_from(silent).unwrap_or(i32::MAX)) < MAX_CHANCE
    }

    /// Witnesses whose failures are held back.
    fn witnesses(&self) -> impl Iterator<Item = &Observation> {
        self.held.iter().map(|held| &held.seen).filter(|seen| seen.is_witness)
    }

    /// Witnesses that could not be reached.
    fn silent_witnesses(&self) -> impl Iterator<Item = &Observation> {
        self.witnesses().filter(|seen| seen.is_silent_since(self.last_reply))
    }

    /// Witnesses with this failure.
    fn witnesses_with(&self, fingerprint: u64) -> impl Iterator<Item = &Observation> {
        let has_it = move |evidence: &Evidence| evidence.fingerprint == fingerprint;
        self.witnesses().filter(move |seen| seen.failure.as_ref().is_some_and(has_it))
    }
}

//! Holds failures back as long as they may be our own fault, and decides whether they are.
//!
//! The rule of the network: witnesses failed before any byte arrived, and no poll that began since the first of these was
//! answered. A reply to an earlier poll proves nothing, so replies count by the time at which their poll began.

use std::collections::{BTreeMap, HashSet};
use std::time::Duration;

use super::answers::{Answer, Answers};
use super::diagnosis::{self, Outage};
use super::observation::{Evidence, Observation};
use crate::model::{Cause, FailureClass, Fault, UnixTime};

/// How many witnesses make an outage of the network if no site has answered in the run.
const MIN_WITNESSES: usize = 3;
/// How many do so if a site has answered.
///
/// At the end of a run nothing is left to be polled, and dead sites may come last.
const MIN_WITNESSES_AFTER_ANSWER: usize = 10;
/// How many more polls are made before an outage of the network is declared.
pub(super) const PROBES: usize = 10;
/// How many failures are held back at most. One host may have any number of sites.
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
/// Each comes with an item, which is returned once its outcome is to be counted. An item that is never returned is not counted. Times are durations since the run began.
#[derive(Debug)]
pub struct OutageDetector<T> {
    enabled: bool,
    /// How many polls have ended.
    polls: u64,
    held: Vec<Held<T>>,
    answers: Answers,
    /// When the last poll began that was answered.
    last_reply: Option<Duration>,
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
        Self { enabled, polls: 0, held: Vec::new(), answers, last_reply: None, local }
    }

    /// Takes a poll that ended. Returns the items to be counted now, in the order in which their polls ended.
    pub fn observe(&mut self, seen: Observation, item: T) -> Vec<T> {
        self.polls += 1;
        let seq = self.polls;
        if seen.answered {
            self.last_reply = self.last_reply.max(Some(seen.began));
        }
        let (fault, is_deferral) = match &seen.failure {
            None => (None, false),
            Some(evidence) => {
                let local = (evidence.failure.class == FailureClass::Local).then(|| fault_of(evidence));
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
        match &seen.failure {
            None => self.answers.add(Answer { seq, key: seen.key, failure: None, attempts: 0, alike: 0 }),
            // A site that could not be reached gave no answer.
            Some(evidence) if seen.is_witness && fault.is_none() && !is_deferral && !seen.is_silent_since(None) => {
                let Evidence { fingerprint, attempts, alike, .. } = *evidence;
                self.answers.add(Answer { seq, key: seen.key, failure: Some(fingerprint), attempts, alike });
            }
            Some(_) => {}
        }
        if seen.failure.is_none() || is_deferral {
            let mut counted = self.release();
            counted.extend(item);
            return counted;
        }
        self.held.push(Held { seq, seen, item });
        if self.held.len() > MAX_HELD && self.suspicion() == Suspicion::None {
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
            let outage = Some(diagnosis::verdict(&found, uncounted));
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
    fn release(&mut self) -> Vec<T> {
        let (since, last_reply) = (self.answers.since(), self.last_reply);
        let is_network_suspect = self.silent_witnesses().next().is_some();
        let is_held = |held: &Held<T>| {
            let is_silent = is_network_suspect && held.seen.is_silent_since(last_reply);
            is_silent || since.is_some_and(|since| held.seq >= since)
        };
        self.held.extract_if(.., |held| !is_held(held)).filter_map(|held| held.item).collect()
    }

    fn is_network_down(&self) -> bool {
        let needed = if self.last_reply.is_some() { MIN_WITNESSES_AFTER_ANSWER } else { MIN_WITNESSES };
        self.silent_witnesses().map(|seen| seen.key).collect::<HashSet<_>>().len() >= needed
    }

    /// Witnesses that could not be reached.
    fn silent_witnesses(&self) -> impl Iterator<Item = &Observation> {
        let witnesses = self.held.iter().map(|held| &held.seen).filter(|seen| seen.is_witness);
        witnesses.filter(|seen| seen.is_silent_since(self.last_reply))
    }

    /// Witnesses with this failure.
    fn witnesses_with(&self, fingerprint: u64) -> impl Iterator<Item = &Observation> {
        let witnesses = self.held.iter().map(|held| &held.seen).filter(|seen| seen.is_witness);
        witnesses.filter(move |seen| seen.failure.as_ref().is_some_and(|failure| failure.fingerprint == fingerprint))
    }
}

/// The fault that a failure of class `local` names.
fn fault_of(evidence: &Evidence) -> Fault {
    match evidence.failure.cause {
        Cause::Local(fault) => fault,
        _ => Fault::Network,
    }
}

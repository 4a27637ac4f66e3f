//! The rule of the same answer: if nearly all sites fail in one way, it is our own fault.
//!
//! The answers of witnesses are a sequence of successes and fingerprints. The window is the end of it, from a failure on, in
//! which nearly all are the same failure. Before the first success of a run it is the whole sequence. Each witness key and
//! answer counts once in it. As soon as the window breaks, what it held back is counted. So in a run with few failures it is
//! always short.

use std::collections::{HashMap, HashSet, VecDeque};
use std::time::Duration;

use super::witness::Key;

/// How many witnesses make a suspicion.
const MIN_WITNESSES: usize = 10;
/// How many witnesses make a verdict while others can still be polled. Half of the sites may fail, in random order.
const ENOUGH_WITNESSES: usize = 30;
/// How many witnesses make a verdict where no site answered otherwise, and all are polled.
const FEW_WITNESSES: usize = 3;

/// How many failures with other causes are tolerated among few.
const MAX_OTHERS: usize = 2;

/// An answer of a witness.
#[derive(Debug)]
pub(super) struct Answer {
    /// The number of its poll, in the order in which polls ended.
    pub(super) seq: u64,
    pub(super) key: Key,
    /// When its poll began.
    pub(super) began: Duration,
    /// The fingerprint of its failure; `None` is a success.
    pub(super) failure: Option<u64>,
    /// How many polls are in the history of the site.
    pub(super) attempts: usize,
    /// How many of them failed with the same class.
    pub(super) alike: usize,
}

/// The answers of a run, as far as they matter.
#[derive(Debug, Default)]
pub(super) struct Answers {
    window: VecDeque<Answer>,
    /// What is in the window.
    known: HashSet<(Key, Option<u64>)>,
    /// How many keys gave each answer in the window.
    counts: HashMap<Option<u64>, usize>,
    /// Successes and failures before the window.
    before: (usize, usize),
    /// When the last poll began that succeeded. Slow failures end last, whenever they began.
    last_success: Option<Duration>,
}

impl Answers {
    /// Adds an answer.
    pub(super) fn add(&mut self, answer: Answer) {
        if answer.failure.is_none() {
            self.last_success = self.last_success.max(Some(answer.began));
        }
        let id = (answer.key, answer.failure);
        if self.window.is_empty() && answer.failure.is_none() {
            self.before.0 += 1;
        } else if self.known.insert(id) {
            *self.counts.entry(answer.failure).or_default() += 1;
            self.window.push_back(answer);
            while !self.is_consistent() {
                self.pop();
            }
        }
    }

    /// The number of the first poll in the window; `None` if it is empty.
    pub(super) fn since(&self) -> Option<u64> {
        self.window.front().map(|first| first.seq)
    }

    /// Shortens the window to the polls from this number on.
    pub(super) fn drop_before(&mut self, seq: u64) {
        while self.since().is_some_and(|first| first < seq) || !self.is_consistent() {
            self.pop();
        }
    }

    /// How many more witnesses must give the answer that nearly all gave; `None` if there is no suspicion.
    pub(super) fn suspicion(&self) -> Option<usize> {
        let (fingerprint, same) = self.most_frequent()?;
        let recent = self.since_last_success(fingerprint);
        let are_many = recent >= MIN_WITNESSES || same >= MIN_WITNESSES && self.are_nearly_all(same);
        let is_suspicious = are_many && self.was_well_before() && self.is_unusual();
        is_suspicious.then(|| ENOUGH_WITNESSES.saturating_sub(recent))
    }

    /// The fingerprint of the failures that are our own fault, if no more witnesses can be polled.
    ///
    /// `None` if there is none.
    pub(super) fn verdict(&self) -> Option<u64> {
        let (fingerprint, same) = self.most_frequent()?;
        let is_same = if self.before.0 + self.successes() == 0 {
            same >= FEW_WITNESSES && same * 5 >= self.window.len() * 2
        } else {
            let recent = self.since_last_success(fingerprint);
            recent >= ENOUGH_WITNESSES || same >= MIN_WITNESSES && self.are_nearly_all(same)
        };
        (is_same && self.was_well_before() && self.is_unusual()).then_some(fingerprint)
    }

    fn pop(&mut self) {
        let Some(first) = self.window.pop_front() else { return };
        self.known.remove(&(first.key, first.failure));
        if let Some(count) = self.counts.get_mut(&first.failure) {
            *count -= 1;
            if *count == 0 {
                self.counts.remove(&first.failure);
            }
        }
        if first.failure.is_none() {
            self.before.0 += 1;
        } else {
            self.before.1 += 1;
        }
    }

    /// Whether the window begins with a failure, and nearly all in it is the same failure.
    ///
    /// Failures with other causes prove little either way, because some sites fail at any time. So only successes are
    /// limited to a tenth, and other failures to a third. Without any success nothing speaks against our own fault.
    fn is_consistent(&self) -> bool {
        let Some(first) = self.window.front() else { return true };
        let same = self.most_frequent().map_or(0, |(_, same)| same);
        let (ok, all) = (self.successes(), self.window.len());
        let is_most = same * 3 >= all * 2 || same + MAX_OTHERS >= all;
        self.before.0 + ok == 0 || first.failure.is_some() && ok * 9 <= same && is_most
    }

    /// How many witnesses failed so whose polls began after the last one that succeeded.
    fn since_last_success(&self, fingerprint: u64) -> usize {
        let is_recent = |answer: &&Answer| self.last_success.is_none_or(|last| last < answer.began);
        self.window.iter().filter(|answer| answer.failure == Some(fingerprint)).filter(is_recent).count()
    }

    /// Whether so many are nine tenths of the run's witnesses, without other failures.
    fn are_nearly_all(&self, same: usize) -> bool {
        (self.before.0 + self.successes()) * 9 <= same
    }

    /// The most frequent failure of the window.
    fn most_frequent(&self) -> Option<(u64, usize)> {
        self.counts
            .iter()
            .filter_map(|(failure, count)| Some(((*failure)?, *count)))
            .max_by_key(|(fingerprint, count)| (*count, *fingerprint))
    }

    fn successes(&self) -> usize {
        self.counts.get(&None).copied().unwrap_or_default()
    }

    /// Whether few witnesses failed before the window, or none succeeded.
    fn was_well_before(&self) -> bool {
        let (ok, failed) = self.before;
        ok == 0 || failed * 10 <= 10 + ok + failed
    }

    /// Whether the sites usually do not fail so.
    fn is_unusual(&self) -> bool {
        let failures = || self.window.iter().filter(|answer| answer.failure.is_some());
        let (alike, attempts) =
            failures().fold((0, 0), |(alike, all), answer| (alike + answer.alike, all + answer.attempts));
        // A few sites have short histories.
        alike * 10 < attempts + 20
    }
}

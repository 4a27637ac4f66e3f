//! When a run calls no site of a host any longer: while it is down, and once it asked to wait.
//!
//! A host is one address here. A poll fails if it could not connect, or timed out before a whole reply arrived. As many
//! failures as the host allows polls at once show that it is down, as long as it has not answered in this run. Later it
//! takes several times as many, without an answer since the first of them began: some of its sites may hang by themselves.
//! All times are durations since the run began, without its pauses.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::time::Duration;

use super::event::Effect;
use crate::model::{Failure, FailureClass, Outcome, PollTrace};
use crate::store::SkipReason;

/// The interval between two probes of a host that is down.
const PROBE_INTERVAL: Duration = Duration::from_secs(30);
/// A host that has answered is down after so many times its limit of failures.
const ROUNDS_AFTER_ANSWER: usize = 3;
/// How many addresses are remembered that answered.
///
/// This bounds the memory of a run over a million addresses. Beyond it, an address that fails later is down as soon as one that
/// has never answered.
const MAX_ANSWERS: usize = 65_536;

/// A poll that ended.
#[derive(Debug)]
pub(super) struct PollEnd<'a> {
    /// The sequence number of the site.
    pub(super) seq: u64,
    /// The addresses of its host; none if they are not known.
    pub(super) addresses: &'a [IpAddr],
    /// How many polls its host allows at once.
    pub(super) limit: usize,
    /// When it began.
    pub(super) began: Duration,
    /// When it ended.
    pub(super) ended: Duration,
    /// How it ended; `None` if that shows nothing, because the process did not run for a while.
    pub(super) outcome: Option<&'a Outcome>,
    /// What its calls showed.
    pub(super) trace: PollTrace,
}

/// Decides which hosts are not called, from the polls of a run.
#[derive(Debug, Default)]
pub(super) struct Breaker {
    polls: HashMap<IpAddr, Polls>,
    down: BTreeMap<IpAddr, Down>,
    /// The sequence number of the first site of each host that asked to wait; `None` once the run waits.
    asked: HashMap<IpAddr, Option<u64>>,
}

/// What the polls of a host have shown.
#[derive(Debug, Default)]
struct Polls {
    /// When the last one ended that was answered.
    last_answer: Option<Duration>,
    /// How many failed that began since then.
    failed: usize,
}

/// A host that is down.
#[derive(Debug)]
struct Down {
    next_probe: Duration,
    /// Since when a probe is allowed that has not ended.
    probing: Option<Duration>,
}

/// What a poll shows about its host.
#[derive(Debug, PartialEq, Eq)]
enum Sign {
    Answer,
    Failure,
    None,
}

impl Breaker {
    /// Takes a poll that ended.
    pub(super) fn observe(&mut self, poll: &PollEnd<'_>, effects: &mut Vec<Effect>) {
        let called = poll.trace.address;
        for address in poll.addresses.iter().chain(&called) {
            if let Some(down) = self.down.get_mut(address) {
                down.probing = down.probing.filter(|since| poll.began < *since);
            }
        }
        let Some(outcome) = poll.outcome else { return };
        match sign(outcome, poll.trace) {
            Sign::Answer => {
                if let Some(address) = called {
                    self.add_answer(address, poll, effects);
                }
            }
            Sign::Failure => {
                // Without an address that was called, none of them has failed: the name was looked up again in vain.
                let is_one = poll.trace.connected || poll.addresses.is_empty() || called.is_none();
                let failed = if is_one { called.as_slice() } else { poll.addresses };
                for address in failed {
                    self.add_failure(*address, poll, effects);
                }
            }
            Sign::None => {}
        }
    }

    /// Allows the probes that are due.
    pub(super) fn probe(&mut self, at: Duration, effects: &mut Vec<Effect>) {
        for (address, down) in &mut self.down {
            if down.probing.is_none() && at >= down.next_probe {
                *down = Down { next_probe: at + PROBE_INTERVAL, probing: Some(at) };
                effects.push(Effect::ProbeHost(*address));
            }
        }
    }

    fn add_answer(&mut self, address: IpAddr, poll: &PollEnd<'_>, effects: &mut Vec<Effect>) {
        if self.polls.len() < MAX_ANSWERS || self.polls.contains_key(&address) {
            let polls = self.polls.entry(address).or_default();
            *polls = Polls { last_answer: polls.last_answer.max(Some(poll.ended)), failed: 0 };
        }
        if self.down.remove(&address).is_some() {
            effects.push(Effect::ReleaseHost(address));
        }
        if let Some(Err(Failure { retry_after: Some(_), .. })) = poll.outcome {
            let first = self.asked.entry(address).or_insert(Some(poll.seq));
            if first.is_some_and(|first| first != poll.seq) {
                *first = None;
                effects.push(Effect::HoldHost(address, SkipReason::AskedToWait));
            }
        }
    }

    fn add_failure(&mut self, address: IpAddr, poll: &PollEnd<'_>, effects: &mut Vec<Effect>) {
        let polls = self.polls.entry(address).or_default();
        polls.failed += usize::from(polls.last_answer.is_none_or(|answer| poll.began >= answer));
        let rounds = if polls.last_answer.is_some() { ROUNDS_AFTER_ANSWER } else { 1 };
        let is_held = self.down.contains_key(&address) || self.asked.get(&address) == Some(&None);
        if polls.failed >= rounds * poll.limit && !is_held {
            self.down.insert(address, Down { next_probe: poll.ended + PROBE_INTERVAL, probing: None });
            effects.push(Effect::HoldHost(address, SkipReason::Down));
        }
    }
}

/// Works out what a poll shows about the host that it called.
///
/// A listener may succeed, or fail, without an answer of the site.
fn sign(outcome: &Outcome, trace: PollTrace) -> Sign {
    use FailureClass::{Connect, Dns, Listener, Local, Timeout};
    match outcome {
        _ if trace.replied => Sign::Answer,
        Ok(()) => Sign::None,
        Err(failure) => match failure.class {
            Connect | Timeout => Sign::Failure,
            Dns | Local | Listener => Sign::None,
            _ => Sign::Answer,
        },
    }
}

#[cfg(test)]
mod tests;

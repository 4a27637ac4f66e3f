//! When sites are left to the next run because of their host.
//!
//! It is held, or it is the last one and holds up the run.

use std::mem;
use std::time::Duration;

use super::probing::MAX_ROUNDS;
use super::{Phase, RunState};
use crate::model::Outcome;
use crate::run::breaker::PollEnd;
use crate::run::event::Effect;
use crate::run::message::PollResult;
use crate::run::queue::QueueView;
use crate::store::{DueEntry, SkippedHost};

impl RunState {
    /// Holds or releases hosts by what a poll shows; `None` if its outcome shows nothing.
    pub(super) fn watch_host(&mut self, result: &PollResult, outcome: Option<&Outcome>, effects: &mut Vec<Effect>) {
        // A poll by hand calls its host in any case, and a run that is stopping calls none.
        if self.rules.by_hand || self.phase != Phase::Polling {
            return;
        }
        let ran = |at: Duration| at.saturating_sub(self.pauses.within(Duration::ZERO, at).unwrap_or_default());
        let (began, ended) = (ran(result.began), ran(result.ended));
        let PollResult { task, addresses, limit, trace, .. } = result;
        let (seq, limit, trace) = (task.locator.seq, *limit, *trace);
        self.breaker.observe(&PollEnd { seq, addresses, limit, began, ended, outcome, trace }, effects);
    }

    /// How many polls are in flight, given the current state of the queue.
    pub(super) fn in_flight(&self, queue: QueueView) -> usize {
        self.outstanding.saturating_sub(queue.waiting + queue.held)
    }

    /// Leaves sites to the next run once only held hosts are left, or where the last host holds up the run.
    ///
    /// Polls in flight are waited for, since they may show that the last host is down, or that a held one is not. Returns
    /// whether any sites are left now.
    pub(super) fn leave_hosts(&mut self, at: Duration, queue: QueueView, effects: &mut Vec<Effect>) -> bool {
        let is_loading = self.session.as_ref().is_some_and(|session| session.loading > 0);
        if self.phase != Phase::Polling || is_loading {
            return false;
        }
        // The last host may be held by now.
        let was_leaving = self.is_leaving && queue.held > 0;
        let is_leaving =
            if queue.waiting == 0 { was_leaving } else { self.last_host.leaves(at, queue, self.rest.len()) };
        if self.is_leaving != is_leaving {
            self.is_leaving = is_leaving;
            effects.push(Effect::SetPermits(is_leaving.then_some(0)));
        }
        let is_suspicious = self.probing.as_ref().is_some_and(|probing| probing.rounds <= MAX_ROUNDS);
        let is_all_held = queue.waiting == 0 && self.rest.is_empty();
        if self.in_flight(queue) > 0 || is_suspicious || !(is_leaving || is_all_held) {
            return false;
        }
        if queue.held > 0 {
            effects.push(Effect::SkipHeld);
        } else if queue.waiting > 0 {
            let unloaded = mem::take(&mut self.rest).len();
            effects.push(Effect::LeaveWaiting { unloaded });
        } else {
            return false;
        }
        true
    }

    /// Leaves the sites of held hosts to the next run, which were removed from the queue.
    ///
    /// In an outage of our own, the hosts may be well.
    pub(super) fn skip(&mut self, mut hosts: Vec<SkippedHost>) {
        let sites: u64 = hosts.iter().map(|host| host.sites).sum();
        self.outstanding -= usize::try_from(sites).unwrap_or(usize::MAX);
        if self.ends_for_outage {
            return;
        }
        // What is not loaded is on one host, that of the last site.
        if let Some(DueEntry { host, .. }) = self.rest.last()
            && let Some(held) = hosts.iter_mut().find(|held| held.names.contains(host))
        {
            held.sites += mem::take(&mut self.rest).len() as u64;
        }
        self.summary.run.skipped += hosts.iter().map(|host| host.sites).sum::<u64>();
        self.summary.run.skipped_hosts.extend(hosts);
    }
}

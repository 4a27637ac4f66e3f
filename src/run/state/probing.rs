//! When a run makes only some more polls, and when it ends, because failures may be our own fault.

use std::time::Duration;

use super::{Probing, RunState, SHUTDOWN_GRACE};
use crate::run::event::Effect;
use crate::run::outage::Suspicion;
use crate::run::queue::QueueView;

/// How often more polls are allowed before the run goes on as usual.
pub(super) const MAX_ROUNDS: u32 = 3;

impl RunState {
    /// Limits new polls while failures may be our own fault.
    ///
    /// Polls in flight are waited for before the run ends for it. `is_stale` means that other tasks wait by now.
    pub(super) fn probe(&mut self, at: Duration, queue: QueueView, is_stale: bool, effects: &mut Vec<Effect>) {
        if !self.counts_polls() {
            return;
        }
        let suspicion = self.detector.suspicion();
        let (Suspicion::Network(probes) | Suspicion::SameAnswer(probes)) = suspicion else {
            self.ends_for_outage = false;
            if self.probing.take().is_some() {
                self.set_permits(None, effects);
            }
            return;
        };
        let Some(Probing { since, rounds }) = self.probing else {
            self.probing = Some(Probing { since: at, rounds: 1 });
            self.set_permits(Some(probes), effects);
            // The queue as it was before does not count.
            return;
        };
        // Sites that answer are waited for as long as one of them does.
        let waits_since = if matches!(suspicion, Suspicion::Network(_)) { since } else { self.last_end.max(since) };
        let all_taken = queue.waiting == 0 && self.rest.is_empty();
        let none_in_flight = !is_stale && (queue.is_out_of_permits || all_taken) && self.in_flight(queue) == 0;
        if !none_in_flight && at.saturating_sub(waits_since) <= SHUTDOWN_GRACE {
            return;
        }
        self.ends_for_outage = self.detector.is_outage();
        if !self.ends_for_outage && rounds <= MAX_ROUNDS {
            self.probing = Some(Probing { since, rounds: rounds + 1 });
            self.set_permits((rounds < MAX_ROUNDS).then_some(probes), effects);
        }
    }

    /// Limits new polls, unless none may start because the last host is left.
    fn set_permits(&self, permits: Option<usize>, effects: &mut Vec<Effect>) {
        effects.push(Effect::SetPermits(if self.is_leaving { Some(0) } else { permits }));
    }
}

//! When a run makes only some more polls, and when it ends, because failures may be our own fault.

use std::time::Duration;

use super::{Probing, RunState, SHUTDOWN_GRACE};
use crate::run::event::Effect;
use crate::run::outage::Suspicion;
use crate::run::queue::QueueView;

/// How often more polls are allowed before the run goes on as usual.
const MAX_ROUNDS: u32 = 3;

impl RunState {
    /// Limits new polls while failures may be our own fault.
    ///
    /// Polls in flight are waited for before the run ends for it.
    pub(super) fn probe(&mut self, at: Duration, queue: QueueView, effects: &mut Vec<Effect>) {
        if !self.counts_polls() {
            return;
        }
        let suspicion = self.detector.suspicion();
        let (Suspicion::Network(probes) | Suspicion::SameAnswer(probes)) = suspicion else {
            self.ends_for_outage = false;
            if self.probing.take().is_some() {
                effects.push(Effect::SetPermits(None));
            }
            return;
        };
        let Some(Probing { since, rounds }) = &mut self.probing else {
            self.probing = Some(Probing { since: at, rounds: 1 });
            effects.push(Effect::SetPermits(Some(probes)));
            // The queue as it was before does not count.
            return;
        };
        // Sites that answer are waited for as long as one of them does.
        let waits_since = if matches!(suspicion, Suspicion::Network(_)) { *since } else { self.last_end.max(*since) };
        let all_taken = queue.waiting == 0 && self.rest.is_empty();
        let none_in_flight = (queue.is_out_of_permits || all_taken) && self.outstanding == queue.waiting;
        if !none_in_flight && at.saturating_sub(waits_since) <= SHUTDOWN_GRACE {
            return;
        }
        self.ends_for_outage = self.detector.is_outage();
        if !self.ends_for_outage && *rounds <= MAX_ROUNDS {
            *rounds += 1;
            effects.push(Effect::SetPermits((*rounds <= MAX_ROUNDS).then_some(probes)));
        }
    }
}

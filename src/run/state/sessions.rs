//! When a run uses the store: to load what is polled next, and to record outcomes.

use std::time::Duration;

use super::{Phase, RunState, Session};
use crate::run::Error;
use crate::run::event::Effect;
use crate::run::message::{SessionReport, SessionWork};
use crate::run::queue::{QUEUE_CAPACITY, QueueView};
use crate::run::summary::count_recorded;
use crate::run::update::Warning;
use crate::store::error::Error as StoreError;
use crate::store::{DueEntry, EncodedResult, PollTask};

/// An outcome is recorded within about this time.
pub(super) const FLUSH_INTERVAL: Duration = Duration::from_secs(1);
/// From this many outcomes on they are recorded early, so that less is left for the end of the run.
pub(super) const FLUSH_COUNT: usize = 2048;
/// The interval between recordings, in durations of opening the store. So opening takes at most a twentieth of a run.
pub(super) const MAX_OPEN_OVERHEAD: u32 = 20;
/// The same interval once the run is to stop, when a second signal may end the process at any time.
pub(super) const MAX_STOPPING_OVERHEAD: u32 = 4;
/// From this many bytes of results on they are stored early.
pub(super) const FLUSH_RESULT_BYTES: usize = 8 << 20;
/// The next connections are loaded once fewer wait.
pub(super) const LOW_WATERMARK: usize = QUEUE_CAPACITY / 4;

impl RunState {
    /// Enqueues what a session loaded, unless the run is stopping.
    pub(super) fn add_loaded(&mut self, tasks: Vec<PollTask>, effects: &mut Vec<Effect>) {
        if let Some(session) = &mut self.session {
            let loaded = std::mem::take(&mut session.loading);
            if self.phase == Phase::Polling {
                self.rest.truncate(self.rest.len() - loaded);
                self.outstanding += tasks.len();
                effects.push(Effect::Enqueue(tasks));
            }
        }
    }

    /// Applies the end of a session. A later session records what a failed one did not.
    pub(super) fn end_session(&mut self, at: Duration, report: SessionReport, effects: &mut Vec<Effect>) {
        let SessionReport { updates, results, recorded, results_error } = report;
        self.session = None;
        self.recording = 0;
        self.add_results(results);
        if let Some(error) = results_error {
            effects.push(Effect::Warn(Warning::ResultsNotStored(error)));
        }
        match recorded {
            // Only results were stored.
            Ok(None) => {}
            Ok(Some((recorded, opening))) => {
                self.last_session = at;
                self.opening = self.opening.min(opening);
                count_recorded(&mut self.summary.run, &self.rules.policy, &updates, &recorded);
            }
            Err(error) => {
                self.last_session = at;
                self.updates.extend(updates);
                self.not_before = at + FLUSH_INTERVAL;
                match error {
                    // The run is stopping, and its last session waits for the store.
                    StoreError::Cancelled => {}
                    StoreError::Busy { .. } => {
                        let outcomes = self.updates.len();
                        effects.push(Effect::Warn(Warning::StoreBusy { error, outcomes }));
                    }
                    error => {
                        self.error.get_or_insert(Error::Store(error));
                    }
                }
            }
        }
    }

    /// Starts a session where connections must be loaded, or where it is time to record outcomes.
    pub(super) fn start_session_if_needed(&mut self, at: Duration, queue: QueueView, effects: &mut Vec<Effect>) {
        let idle = self.session.is_none() && matches!(self.phase, Phase::Polling | Phase::Stopping { .. });
        if !idle || at < self.not_before {
            return;
        }
        // Tasks that wait for the times of their starts must not keep all others from the queue.
        let waiting = queue.waiting - queue.waiting_for_starts.min(QUEUE_CAPACITY);
        let unloaded = if self.is_leaving { 0 } else { self.rest.len() };
        let needs_load = unloaded > 0 && waiting < LOW_WATERMARK;
        let work = if needs_load || self.is_time_to_record(at, queue) {
            let room = QUEUE_CAPACITY.saturating_sub(waiting).min(unloaded);
            let load = self.rest[self.rest.len() - room..].iter().rev().copied().collect();
            self.take_work(load)
        } else if self.result_bytes > FLUSH_RESULT_BYTES {
            SessionWork { results: self.take_results(), ..SessionWork::default() }
        } else {
            return;
        };
        self.session = Some(Session { loading: work.load.len() });
        effects.push(Effect::StartSession(work));
    }

    fn is_time_to_record(&self, at: Duration, queue: QueueView) -> bool {
        let since = at.saturating_sub(self.last_session);
        if matches!(self.phase, Phase::Stopping { .. }) {
            // Once no poll is in flight, the last session follows.
            let is_last = self.in_flight(queue) == 0;
            return !is_last && !self.updates.is_empty() && since >= self.opening * MAX_STOPPING_OVERHEAD;
        }
        let enough = self.updates.len() >= FLUSH_COUNT || (since >= FLUSH_INTERVAL && !self.updates.is_empty());
        enough && since >= self.opening * MAX_OPEN_OVERHEAD
    }

    /// All that a session is to do: load these connections, and store what is there.
    pub(super) fn take_work(&mut self, load: Vec<DueEntry>) -> SessionWork {
        let mut updates = std::mem::take(&mut self.updates);
        // In the order of the store, in which neighbors are on the same page.
        updates.sort_unstable_by_key(|update| update.locator);
        self.recording += updates.len();
        SessionWork { load, updates, results: self.take_results() }
    }

    /// Adds results to be stored.
    pub(super) fn add_results(&mut self, results: impl IntoIterator<Item = EncodedResult>) {
        for result in results {
            self.result_bytes += result.size();
            self.results.push(result);
        }
    }

    fn take_results(&mut self) -> Vec<EncodedResult> {
        self.result_bytes = 0;
        std::mem::take(&mut self.results)
    }
}

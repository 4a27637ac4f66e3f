//! What the end of a poll leads to.

use std::sync::Arc;

use super::{Completed, RunState};
use crate::model::Outcome;
use crate::run::Error;
use crate::run::event::Effect;
use crate::run::message::PollResult;
use crate::run::outage::{Verdict, is_reply};
use crate::store::StatusUpdate;

impl RunState {
    /// Applies a poll that ended.
    ///
    /// While this machine's network is in doubt, failures wait to be counted. A failure of a poll that overlaps a pause is
    /// not counted.
    pub(super) fn add_result(&mut self, result: PollResult, effects: &mut Vec<Effect>) {
        if !self.counts_polls() {
            return;
        }
        self.outstanding -= 1;
        let paused = self.pauses.within(result.began, result.ended);
        if paused.is_some() && may_be_of_pause(&result.outcome) {
            self.summary.run.polled += 1;
            self.summary.run.dropped += 1;
            self.paused += 1;
            return;
        }
        let duration_ms = result.duration_ms(paused.unwrap_or_default());
        let PollResult { task, outcome, result, trace: _, began, ended: _ } = result;
        let outcome = match outcome {
            Ok(outcome) => outcome,
            Err(error) => {
                self.summary.run.dropped += 1;
                self.error.get_or_insert(error);
                return;
            }
        };
        self.summary.run.polled += 1;
        self.add_results(result);
        self.summary.durations.push(duration_ms);
        self.summary.add_lateness(&task, began);
        let verdict = self.detector.observe(&task.status, task.host, began, &outcome);
        let completed = Completed { task: Arc::unwrap_or_clone(task), outcome, duration_ms };
        if verdict == Verdict::Online {
            self.count_doubtful(effects);
        }
        if verdict == Verdict::Online || is_reply(&completed.outcome) {
            self.count(completed, effects);
        } else {
            self.doubtful.push(completed);
        }
    }

    /// Counts the failures that waited, since they were not those of this machine's network.
    pub(super) fn count_doubtful(&mut self, effects: &mut Vec<Effect>) {
        for completed in std::mem::take(&mut self.doubtful) {
            self.count(completed, effects);
        }
    }

    /// Counts an outcome: works out the next state of the connection.
    fn count(&mut self, completed: Completed, effects: &mut Vec<Effect>) {
        let Completed { task, outcome, duration_ms } = completed;
        let mut next = task.status.clone();
        self.rules.policy.apply(&mut next, self.rules.now, &outcome);
        if let Some(last) = next.attempts.last_mut() {
            last.duration_ms = duration_ms;
        }
        self.summary.count(&outcome, &next);
        if self.rules.by_hand {
            effects.push(Effect::ReportByHand(outcome, next.clone()));
        }
        self.updates.push(StatusUpdate { locator: task.locator, expected: task.status, next });
    }
}

/// Whether a poll may have ended so because the process did not run for a while.
///
/// A site whose reply was not read in time may answer anything. Only a deferral is certainly the site's own.
fn may_be_of_pause(outcome: &Result<Outcome, Error>) -> bool {
    match outcome {
        Ok(Ok(())) => false,
        Ok(Err(failure)) => failure.retry_after.is_none(),
        Err(error) => error.is_program_timeout(),
    }
}

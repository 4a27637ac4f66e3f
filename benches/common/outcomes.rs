//! Poll statuses of healthy sites, and outcomes to record.

use std::mem;

use cxnpoll::batch::Batch;
use cxnpoll::model::{Attempt, PollStatus, UnixTime};
use cxnpoll::retry::Policy;
use cxnpoll::store::{Job, StatusUpdate, Store};

use super::common::{HOUR, Result};

/// Returns the status of a site that has succeeded every hour until `last_run`.
pub fn healthy(last_run: UnixTime) -> PollStatus {
    let hours = (0..PollStatus::ATTEMPTS).rev().map(|hours| UnixTime::try_from(hours).expect("a small number"));
    let attempts = hours.map(|hours| Attempt { at: last_run - hours * HOUR, class: None, duration_ms: 40 }).collect();
    PollStatus { last_run, last_success: Some(last_run), attempts, ..PollStatus::default() }
}

/// Returns a successful outcome for each of the first `count` connections that are due at `now`.
pub fn successes(store: &Store, job: &Job, policy: &Policy, now: UnixTime, count: usize) -> Result<Vec<StatusUpdate>> {
    let mut due = store.read(|session| session.due(job, policy, &Batch::default().range(), now))?;
    due.truncate(count);
    let tasks = store.read(|session| session.load(job, policy, Some(now), &due))?;
    let outcomes = tasks.into_iter().map(|task| {
        let mut next = task.status.clone();
        policy.apply(&mut next, now, &Ok(()));
        StatusUpdate { locator: task.locator, expected: task.status, next, transition: None, moved: None }
    });
    Ok(outcomes.collect())
}

/// Turns outcomes that were just recorded into those that restore the earlier statuses.
pub fn revert(outcomes: &mut [StatusUpdate]) {
    for outcome in outcomes {
        mem::swap(&mut outcome.expected, &mut outcome.next);
    }
}

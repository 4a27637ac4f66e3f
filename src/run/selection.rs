//! Selects what a run polls.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tracing::warn;

use super::poll_run::PollRun;
use super::queue::{INITIAL_LOAD, QUEUE_CAPACITY};
use super::retry_change::RetryChange;
use super::spread::{MAX_EXACT, SiteCounts, Spread};
use super::{Error, order};
use crate::model::CxnId;
use crate::retry::{MAX_LEEWAY_S, Policy};
use crate::store::error::{Error as StoreError, Result as StoreResult};
use crate::store::{
    AppNo, CxnHash, CxnKey, DueEntry, Entry, Frame, History, HostKey, Job, PollTask, ReadSession, RunOutage,
    SiteTransition, Store, WriteSession,
};
use crate::util::text::count;

/// What a run polls.
#[derive(Debug)]
pub(super) struct Selection {
    pub(super) job: Job,
    /// The key of the hashes of hosts.
    pub(super) host_key: HostKey,
    /// What is due, in the order in which it is polled.
    pub(super) due: Vec<DueEntry>,
    /// The first [`INITIAL_LOAD`] of it, loaded.
    pub(super) first: Vec<PollTask>,
    /// Where the next polls of these go; `None` if they keep their exact times.
    pub(super) spread: Option<Spread>,
    /// How many sites there are; `None` if they were not counted.
    pub(super) sites: Option<SiteCounts>,
    /// How long opening and closing the store took.
    pub(super) opening: Duration,
}

/// What former runs of a job show.
#[derive(Debug, Clone)]
pub(super) struct Past {
    /// The usual time between two runs, in seconds.
    pub(super) tick_s: i64,
    /// How many sites one of them counted; `None` if that is not known.
    pub(super) sites: Option<SiteCounts>,
}

/// Runs a session; returns its result and how long opening and closing the store took.
pub(super) fn timed<T: Send>(
    store: &Store,
    work: impl FnOnce(&WriteSession) -> StoreResult<T> + Send,
) -> StoreResult<(T, Duration)> {
    let began = Instant::now();
    let (result, worked) = store.write(|session| {
        let began = Instant::now();
        Ok((work(session)?, began.elapsed()))
    })?;
    Ok((result, began.elapsed().saturating_sub(worked)))
}

/// Creates missing statuses and selects what is due; `None` means that the app has no connections.
///
/// Goes in sessions that each hold the store for a short time.
///
/// # Errors
/// Those of the store, and [`StoreError::Cancelled`] once `stop` is true. It fails if the one requested connection cannot
/// be polled.
pub(super) fn select(run: &PollRun, store: &Store, past: &Past, stop: &AtomicBool) -> Result<Option<Selection>, Error> {
    // Again, as the connection may have changed while the run waited for its lock.
    let only = find_only(run, store)?;
    let history = store.history();
    let mut next = None;
    loop {
        let (selected, opening) = timed(store, |session| {
            let Some(app) = session.app_no(&run.app.app_id)? else { return Ok(Selected::NoConnections) };
            let job = session.ensure_job(app, &run.job)?;
            if !session.backfill(&job)? || !add_given_up(run, &history, session, &job, &mut next)? {
                return Ok(Selected::NotYet);
            }
            remember_retry(run, session, &job)?;
            // Read again: the job now records that all connections have a status.
            let job = session.ensure_job(app, &run.job)?;
            let mut due = due(run, session, app, Some(&job), only)?;
            let ahead = polled_ahead_of_now(run, &due);
            due.truncate(run.limit.unwrap_or(usize::MAX));
            let first = session.load(&job, &run.policy, run.due_at(), &due[..due.len().min(INITIAL_LOAD)])?;
            Ok(Selected::Due { job: Box::new(job), host_key: session.host_key(), due, first, ahead })
        })?;
        match selected {
            Selected::NoConnections => return Ok(None),
            Selected::NotYet if stop.load(Ordering::Relaxed) => return Err(StoreError::Cancelled.into()),
            Selected::NotYet => {}
            Selected::Due { job, host_key, due, first, ahead } => {
                if ahead > 0 {
                    let sites = count(ahead as u64, "site");
                    warn!("the last poll of {sites} lies in the future, because the clock was wrong: due now");
                }
                let (spread, sites) = spread(run, store, &job, due.len() as u64, past)?.unzip();
                let (job, sites) = (*job, sites.flatten());
                return Ok(Some(Selection { job, host_key, due, first, spread, sites, opening }));
            }
        }
    }
}

/// How far one session got.
enum Selected {
    NoConnections,
    /// Some connections still lack a status, or history lacks that they are given up.
    NotYet,
    Due {
        job: Box<Job>,
        host_key: HostKey,
        due: Vec<DueEntry>,
        first: Vec<PollTask>,
        /// How many are due because the clock was wrong.
        ahead: usize,
    },
}

/// Passes what would be polled to `emit`, and polls and writes nothing.
///
/// # Errors
/// As [`select`], and those of `emit`.
pub(super) fn list<E: From<Error>>(
    run: &PollRun,
    store: &Store,
    mut emit: impl FnMut(PollTask) -> Result<(), E>,
) -> Result<(), E> {
    let only = find_only(run, store)?;
    let selected = store.read(|session| {
        let Some(app) = session.app_no(&run.app.app_id)? else { return Ok(None) };
        let job = session.job(app, &run.job)?;
        let mut due = due(run, session, app, job.as_ref(), only)?;
        due.truncate(run.limit.unwrap_or(usize::MAX));
        Ok(Some((app, job, due)))
    });
    let Some((app, job, due)) = selected.map_err(Error::Store)? else { return Ok(()) };
    for chunk in due.chunks(QUEUE_CAPACITY) {
        let load = |session: &ReadSession| {
            let tasks = chunk.iter().filter_map(|entry| session.task(app, job.as_ref(), entry).transpose());
            tasks.collect::<StoreResult<Vec<_>>>()
        };
        store.read(load).map_err(Error::Store)?.into_iter().try_for_each(&mut emit)?;
    }
    Ok(())
}

/// Finds the one connection that is polled by hand, if one is.
///
/// # Errors
/// Those of the store. It fails if the connection does not exist, belongs to another app or is disabled.
pub(super) fn find_only(run: &PollRun, store: &Store) -> Result<Option<CxnKey>, Error> {
    let Some(cxn_id) = &run.only else { return Ok(None) };
    let missing = || Error::NoSuchCxn(cxn_id.clone());
    let found = store.read(|session| {
        let Some(key) = session.find(cxn_id)? else { return Ok(None) };
        Ok(session.cxn(key)?.map(|cxn| (key, cxn)))
    })?;
    let (key, cxn) = found.ok_or_else(missing)?;
    if cxn.app_id != run.app.app_id {
        let (cxn_id, polled) = (CxnId::clone(cxn_id), run.app.app_id.clone());
        return Err(Error::CxnOfOtherApp { cxn_id, app_id: cxn.app_id, polled });
    }
    if cxn.disabled {
        return Err(Error::CxnDisabled(cxn_id.clone()));
    }
    Ok(Some(key))
}

/// What is due, in the order in which it is polled. For a job that never ran that is everything.
fn due(
    run: &PollRun,
    session: &ReadSession,
    app: AppNo,
    job: Option<&Job>,
    only: Option<CxnKey>,
) -> StoreResult<Vec<DueEntry>> {
    let mut due = match (only, job) {
        (Some(key), _) => vec![DueEntry { locator: key.locator, host: 0, due: run.now, permille_late: 0 }],
        (None, Some(job)) => session.due(job, &run.policy, &run.batch.range(), run.now)?,
        (None, None) => session.not_backfilled(app, None, &run.batch.range())?,
    };
    // After an outage the order is random, and another one each time. What looked like an outage may have been a dead
    // provider, whose sites would be the most overdue from now on and come first each time.
    let seed = job.and_then(|job| job.outage_since).map(|_| run.now);
    order::sort(&mut due, run.per_host, seed);
    Ok(due)
}

/// Where next polls go, and how many sites there are if they were counted.
///
/// `None` if the run polls few sites, or one by hand.
fn spread(
    run: &PollRun,
    store: &Store,
    job: &Job,
    due: u64,
    past: &Past,
) -> StoreResult<Option<(Spread, Option<SiteCounts>)>> {
    let PollRun { policy, now, .. } = run;
    if run.only.is_some() || due <= MAX_EXACT {
        return Ok(None);
    }
    let usual = past.sites.as_ref().and_then(|sites| Spread::of_usual_run(policy, *now, past.tick_s, sites, due));
    if let Some(spread) = usual {
        return Ok(Some((spread, None)));
    }
    let mut spread = Spread::new(policy, *now, past.tick_s);
    let mut next: Option<Vec<u8>> = None;
    loop {
        next = store.read(|session| {
            session.scheduled(job, policy, &run.batch.range(), next.as_deref(), |status| spread.add(status))
        })?;
        if next.is_none() {
            let sites = spread.counts();
            return Ok(Some((spread, Some(sites))));
        }
    }
}

/// Adds the sites to history that the retry expression gives up without a poll.
///
/// Begins at `next`, and works for about half a second. Returns whether it reached the last of them. A run that is killed before it
/// stores the expression leaves them to the next one.
fn add_given_up(
    run: &PollRun,
    history: &History,
    session: &WriteSession,
    job: &Job,
    next: &mut Option<Vec<u8>>,
) -> StoreResult<bool> {
    let levels = |policy: &Policy| u32::try_from(policy.levels().len()).unwrap_or(u32::MAX);
    let range = |before: &Policy| levels(&run.policy)..levels(before);
    let before = job.last_policy().filter(|before| run.only.is_none() && !range(before).is_empty());
    let Some(before) = before else { return Ok(true) };
    let mut entries = Vec::new();
    *next = session.at_levels(job, range(&before), next.as_deref(), |task| {
        let outages: Vec<_> = RunOutage::times_for(&job.outages, task.locator.batch_code).collect();
        let transition = before.giving_up(&run.policy, &task.status, run.now, &outages);
        let cxn = || CxnHash::from(&task.cxn.cxn_id);
        entries.extend(transition.map(|transition| SiteTransition { cxn: cxn(), host: None, transition }));
    })?;
    let job = Some((run.app.app_id.clone(), run.job.clone()));
    let entries = entries.into_iter().map(Entry::Transition).collect();
    history.append(session, Frame { at: run.now, job, entries })?;
    Ok(next.is_none())
}

/// Stores the retry expression, and warns if it gives up or revives sites since the last run.
///
/// A poll by hand changes nothing.
fn remember_retry(run: &PollRun, session: &WriteSession, job: &Job) -> StoreResult<()> {
    let retry = run.policy.to_string();
    if run.only.is_some() || job.retry.as_ref() == Some(&retry) {
        return Ok(());
    }
    if let Some(change) = RetryChange::of(session, job, &run.policy)? {
        warn!("{change}");
    }
    session.remember_retry(job.no, &retry)
}

/// How many sites are due because the clock was wrong. Others are due at most [`MAX_LEEWAY_S`] early.
fn polled_ahead_of_now(run: &PollRun, due: &[DueEntry]) -> usize {
    due.iter().filter(|entry| entry.due > run.now.saturating_add(MAX_LEEWAY_S)).count()
}

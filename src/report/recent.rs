//! How available a connection was lately, for commands that are about one.

use super::collector::Collector;
use super::data::SiteReport;
use super::ledger::Ledger;
use crate::model::{Cxn, PollStatus, UnixTime};
use crate::retry::Policy;
use crate::store::{Error, History, Job, Result};

/// How many seconds back commands look that are not reports: 30 days.
pub const RECENT_S: UnixTime = 30 * 86_400;

/// What happened to a connection for some jobs in the 30 days before `now`.
///
/// The sites are in the order of the jobs. An incident that lasts has its true start, as far as history or the kept attempts
/// show it.
///
/// # Errors
/// History cannot be read.
pub fn of_connection(
    history: &History,
    now: UnixTime,
    cxn: &Cxn,
    jobs: &[(&Job, &Policy, &PollStatus)],
) -> Result<Ledger> {
    let from = now.saturating_sub(RECENT_S);
    let collect = || {
        let mut collector = Collector::new(history, from, now, true)?;
        let numbers: Vec<_> =
            jobs.iter().map(|(job, policy, _)| collector.add_job(cxn.app_id.clone(), job, (*policy).clone())).collect();
        collector.add(cxn, numbers.into_iter().zip(jobs.iter().map(|(.., status)| *status)));
        Ok::<_, Error>(collector)
    };
    let recent = collect()?.read_recent(history)?;
    let is_older = |site: &SiteReport| site.incidents.iter().any(|incident| incident.from < from);
    if recent.sites().any(|site| is_older(&site)) { collect()?.read(history) } else { Ok(recent) }
}

//! What history has of the sites of a report.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::net::IpAddr;

use super::sums::{JobIndex, JobSums};
use super::timeline::{Event, HostNo, Origin};
use crate::model::{AppId, JobName, UnixTime};
use crate::store::{CxnHash, Entry, Error, Frame, History, Result, SiteTransition};

/// Numbers of sites.
pub(super) type SiteNumbers = HashMap<SiteKey, u32, BuildHasherDefault<KeyHasher>>;

/// A connection for one job. The hash is as good as random, so nothing better is needed for a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct SiteKey(u64);

impl SiteKey {
    pub(super) fn new(job: JobIndex, cxn: CxnHash) -> Self {
        Self(cxn.0.rotate_left(job.into()).wrapping_add(job.into()))
    }
}

/// Takes the key as its hash.
#[derive(Debug, Default)]
pub(super) struct KeyHasher(u64);

impl Hasher for KeyHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, _: &[u8]) {}

    fn write_u64(&mut self, key: u64) {
        self.0 = key;
    }
}

/// Numbers of jobs.
pub(super) type JobNumbers = HashMap<(AppId, JobName), JobIndex>;

/// The numbers of these jobs, in their order.
pub(super) fn job_numbers(jobs: &[JobSums]) -> JobNumbers {
    jobs.iter().zip(0..).map(|(job, number)| ((job.app_id.clone(), job.job.clone()), number)).collect()
}

/// What happened to a site.
pub(super) enum SiteEvent<'a> {
    /// Its condition changed.
    Transition(&'a SiteTransition),
    /// Its connection was removed at this time, if there was one.
    Removed(UnixTime),
}

impl SiteEvent<'_> {
    /// The event of a timeline; `host` numbers the address that a site is down on.
    pub(super) fn on_timeline(&self, origin: Origin, host: impl FnOnce(Option<IpAddr>) -> HostNo) -> Event {
        match self {
            Self::Transition(SiteTransition { host: address, transition, .. }) => {
                let host = if transition.to.is_down() { host(*address) } else { HostNo::default() };
                Event::new(origin, transition, host)
            }
            Self::Removed(at) => Event::Removed(origin.seconds(*at)),
        }
    }
}

/// Passes what happened to sites of these jobs from the month of `since` on to `emit`.
///
/// Returns how many bytes of history cannot be read.
///
/// # Errors
/// History cannot be read.
pub(super) fn read(
    history: &History,
    since: UnixTime,
    jobs: &JobNumbers,
    mut emit: impl FnMut(SiteKey, SiteEvent),
) -> Result<u64> {
    history.scan(since, |frame| {
        let job = frame.job.as_ref().and_then(|job| jobs.get(job).copied());
        of_frame(&frame, job, jobs.len(), &mut emit);
        Ok::<_, Error>(())
    })
}

/// Passes what a frame has to `emit`. `job` is `None` if the report is not about its job.
pub(super) fn of_frame(frame: &Frame, job: Option<JobIndex>, jobs: usize, mut emit: impl FnMut(SiteKey, SiteEvent)) {
    for entry in &frame.entries {
        match (job, entry) {
            (Some(job), Entry::Transition(transition)) => {
                emit(SiteKey::new(job, transition.cxn), SiteEvent::Transition(transition));
            }
            (_, Entry::Admin(admin)) if admin.removes() => {
                for cxn_id in admin.cxns.iter().filter_map(|cxn_id| cxn_id.parse().ok()) {
                    let hash = CxnHash::from(&cxn_id);
                    (0..).take(jobs).for_each(|job| emit(SiteKey::new(job, hash), SiteEvent::Removed(frame.at)));
                }
            }
            _ => {}
        }
    }
}

//! Collects what a report is about: sites from the store, then what history has of them.

use std::collections::{BTreeMap, HashSet};

use super::data::{Gone, RunHealth};
use super::events::{self, SiteEvent, SiteKey, SiteNumbers};
use super::incidents::Incidents;
use super::ledger::Ledger;
use super::names::CxnNames;
use super::slices::Slices;
use super::sums::{JobIndex, JobSums, Site, SiteSums};
use super::timeline::{HostNo, Open, Origin, Present, Seconds, Sink, Timeline};
use crate::model::{AppId, Condition, Cxn, PollStatus, UnixTime};
use crate::retry::Policy;
use crate::store::{CxnHash, History, Job, Result, RunOutage, SiteTransition};

/// The sites of a report, and later what happened to them.
///
/// Until history is read it takes little for each site, since the database takes its memory at the same time.
pub struct Collector {
    from: UnixTime,
    to: UnixTime,
    began: Option<UnixTime>,
    jobs: Vec<JobSums>,
    /// The numbers of the sites.
    numbers: SiteNumbers,
    sites: Vec<Site>,
    /// The sums of the sites, while history is read.
    sums: Vec<SiteSums>,
    /// The timelines of the sites, while history is read.
    timelines: Vec<Timeline>,
    names: CxnNames,
    incidents: Incidents,
    /// The connections that the store does not have, and their failures; `None` for a selection.
    gone: Option<(HashSet<SiteKey>, u64)>,
}

/// Memory is reserved for no more sites.
const MAX_RESERVED: usize = 200_000;

/// Takes the spans and incidents of a site.
struct SiteSink<'a> {
    origin: Origin,
    /// The end of the report.
    end: Seconds,
    job: &'a mut JobSums,
    sums: &'a mut SiteSums,
    incidents: &'a mut Incidents,
}

impl Collector {
    /// Begins a report about the time from `from` to `to`. `is_selection` is whether it is not about all sites of its jobs.
    ///
    /// # Errors
    /// History cannot be read.
    pub fn new(history: &History, from: UnixTime, to: UnixTime, is_selection: bool) -> Result<Self> {
        Ok(Self::with_began(history.began()?, from, to, is_selection))
    }

    fn with_began(began: Option<UnixTime>, from: UnixTime, to: UnixTime, is_selection: bool) -> Self {
        Self {
            from,
            to: to.max(from),
            began,
            jobs: Vec::new(),
            numbers: SiteNumbers::default(),
            sites: Vec::new(),
            sums: Vec::new(),
            timelines: Vec::new(),
            names: CxnNames::default(),
            incidents: Incidents::default(),
            gone: (!is_selection).then(Default::default),
        }
    }

    /// Reserves memory for so many connections, so that it need not be moved.
    pub fn reserve(&mut self, cxns: usize) {
        let sites = cxns.saturating_mul(self.jobs.len()).min(MAX_RESERVED);
        self.sites.reserve_exact(sites);
        self.numbers.reserve(sites);
        self.names.reserve(cxns.min(MAX_RESERVED));
    }

    /// Adds a job with its policy.
    pub fn add_job(&mut self, app_id: AppId, job: &Job, policy: Policy) -> JobIndex {
        self.jobs.push(JobSums {
            app_id,
            job: job.name.clone(),
            policy,
            outages: job.outages.clone(),
            sites: 0,
            down: 0,
            incidents: 0,
            classes: BTreeMap::new(),
            slices: Slices::new(self.from, self.to),
            runs: RunHealth::default(),
        });
        JobIndex::try_from(self.jobs.len() - 1).unwrap_or(JobIndex::MAX)
    }

    /// Adds a connection, with its statuses for some jobs.
    pub fn add<'s>(&mut self, cxn: &Cxn, jobs: impl Iterator<Item = (JobIndex, &'s PollStatus)>) {
        let mut name = None;
        let hash = CxnHash::from(&cxn.cxn_id);
        for (job, status) in jobs {
            let name = *name.get_or_insert_with(|| self.names.add(cxn));
            let JobSums { policy, outages, sites, .. } = &mut self.jobs[usize::from(job)];
            *sites += 1;
            let outages = RunOutage::times_for(outages, cxn.batch_code);
            let present = Present::of(Origin(self.from), policy, status, outages);
            self.numbers.insert(SiteKey::new(job, hash), u32::try_from(self.sites.len()).unwrap_or(u32::MAX));
            self.sites.push(Site { name, job, present });
        }
    }

    /// Reads what history has of the sites, and what the runs of the jobs did.
    ///
    /// # Errors
    /// History cannot be read.
    pub fn read(self, history: &History) -> Result<Ledger> {
        self.read_since(history, UnixTime::MIN)
    }

    /// As [`Collector::read`], but reads only the months from that of the start of the report on.
    ///
    /// An incident that began before them has an earlier start than it should.
    ///
    /// # Errors
    /// History cannot be read.
    pub fn read_recent(self, history: &History) -> Result<Ledger> {
        let since = self.from;
        self.read_since(history, since)
    }

    fn read_since(mut self, history: &History, since: UnixTime) -> Result<Ledger> {
        self.begin();
        let jobs = events::job_numbers(&self.jobs);
        let damaged_bytes = events::read(history, since, &jobs, |key, event| self.event(key, &event))?;
        for job in &mut self.jobs {
            let runs = history.runs(&job.app_id, &job.job)?;
            job.runs = RunHealth::of(&runs, job.policy.usual_period(), self.from, self.to);
        }
        Ok(Ledger { damaged_bytes, ..self.finish() })
    }

    fn begin(&mut self) {
        self.sums = vec![SiteSums::default(); self.sites.len()];
        self.timelines = vec![Timeline::new(Origin(self.from), self.began); self.sites.len()];
    }

    fn event(&mut self, key: SiteKey, event: &SiteEvent) {
        let Some(number) = self.numbers.get(&key).map(|number| *number as usize) else {
            return self.add_gone(key, event);
        };
        let (origin, end) = self.bounds();
        let Self { jobs, sites, timelines, sums, incidents, .. } = self;
        let event = event.on_timeline(origin, |address| incidents.host(address));
        let job = &mut jobs[usize::from(sites[number].job)];
        timelines[number].event(event, &mut SiteSink { origin, end, job, sums: &mut sums[number], incidents });
    }

    fn add_gone(&mut self, key: SiteKey, event: &SiteEvent) {
        let SiteEvent::Transition(SiteTransition { transition, .. }) = event else { return };
        if let Some((sites, incidents)) = self.gone.as_mut().filter(|_| (self.from..=self.to).contains(&transition.at))
        {
            // For many, the removal is all that happened.
            if transition.to != Condition::New {
                sites.insert(key);
            }
            *incidents += u64::from(transition.to.is_down() && !transition.from.is_down());
        }
    }

    fn bounds(&self) -> (Origin, Seconds) {
        let origin = Origin(self.from);
        (origin, origin.seconds(self.to))
    }

    fn finish(self) -> Ledger {
        let (origin, end) = self.bounds();
        let Self { from, to, began, mut jobs, sites, timelines, mut sums, names, mut incidents, gone, .. } = self;
        for ((site, timeline), sums) in sites.iter().zip(timelines).zip(&mut sums) {
            let job = &mut jobs[usize::from(site.job)];
            timeline.end(&site.present, &mut SiteSink { origin, end, job, sums, incidents: &mut incidents });
        }
        let gone = gone.map(|(sites, incidents)| Gone { sites: sites.len() as u64, incidents });
        Ledger { from, to, began, jobs, sites, sums, names, incidents, gone, damaged_bytes: 0 }
    }
}

impl Sink for SiteSink<'_> {
    fn span(&mut self, is_up: bool, from: Seconds, to: Seconds, host: HostNo) {
        let (from, to) = (from.max(0), to.min(self.end));
        let Some(seconds) = u32::try_from(to.saturating_sub(from)).ok().filter(|seconds| *seconds > 0) else { return };
        self.job.slices.add_span(is_up, self.origin.time(from), self.origin.time(to));
        if is_up {
            self.sums.up_s += seconds;
            return;
        }
        self.sums.down_s += seconds;
        match self.incidents.sums(host) {
            Some(host) => host.down_s += u64::from(seconds),
            None => self.sums.without_host_s += seconds,
        }
    }

    fn incident(&mut self, incident: Open, to: Option<Seconds>) {
        let to = to.filter(|to| *to <= self.end);
        // Those that are not within the time of the report are left out.
        if incident.from > self.end || to.is_some_and(|to| to <= 0) {
            return;
        }
        self.sums.last = self.incidents.add(self.sums.last, incident, to);
        self.job.incidents += 1;
        self.job.down += u64::from(to.is_none());
        if let Some(class) = incident.class {
            *self.job.classes.entry(class).or_default() += 1;
        }
        if incident.from >= 0 {
            self.job.slices.add_incident(self.origin.time(incident.from));
        }
    }
}

#[cfg(test)]
mod tests;

//! Collects what a report is about: sites from the store, then what history has of them.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::data::{Gone, RunHealth};
use super::incidents::{Incidents, NONE};
use super::ledger::Ledger;
use super::names::Names;
use super::slices::Slices;
use super::timeline::{Event, HostNo, Open, Present, Sink, Timeline};
use crate::model::{AppId, Cxn, FailureClass, JobName, PollStatus, Transition, UnixTime};
use crate::retry::Policy;
use crate::store::{AdminEntry, CxnHash, Entry, Error, Frame, History, Job, Result, RunOutage, SiteTransition};

/// The sites of a report, and later what happened to them.
///
/// It takes some hundred bytes for each site, and 16 for each incident.
pub struct Collector {
    from: UnixTime,
    to: UnixTime,
    began: Option<UnixTime>,
    jobs: Vec<JobSums>,
    /// The sites by job and connection.
    numbers: HashMap<(JobNo, CxnHash), u32>,
    sites: Vec<Site>,
    names: Names,
    incidents: Incidents,
    /// The connections that the store does not have, and their failures; `None` if the sites are a selection.
    gone: Option<(HashSet<(JobNo, CxnHash)>, u64)>,
}

/// The number of a job in a report.
pub type JobNo = u16;

/// A job, and the sums of its sites.
#[derive(Debug)]
pub(super) struct JobSums {
    pub(super) app_id: AppId,
    pub(super) job: JobName,
    policy: Policy,
    outages: Vec<RunOutage>,
    pub(super) sites: u64,
    pub(super) down: u64,
    pub(super) incidents: u64,
    pub(super) classes: BTreeMap<FailureClass, u64>,
    pub(super) slices: Slices,
    pub(super) runs: RunHealth,
}

/// A connection for one job.
struct Site {
    timeline: Timeline,
    present: Present,
    sums: SiteSums,
}

/// The sums of a site.
#[derive(Debug, Clone, Copy)]
pub(super) struct SiteSums {
    /// The number of the connection among the names.
    pub(super) name: u32,
    pub(super) job: JobNo,
    pub(super) up_s: u32,
    pub(super) down_s: u32,
    /// How much of that is in incidents without a known address.
    pub(super) without_host_s: u32,
    /// The last of its incidents, or [`NONE`].
    pub(super) last: u32,
}

/// Takes the spans and incidents of a site.
struct SiteSink<'a> {
    from: UnixTime,
    to: UnixTime,
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
        let to = to.max(from);
        Ok(Self {
            from,
            to,
            began: history.began()?,
            jobs: Vec::new(),
            numbers: HashMap::new(),
            sites: Vec::new(),
            names: Names::default(),
            incidents: Incidents::new(from, to),
            gone: (!is_selection).then(Default::default),
        })
    }

    /// Adds a job with its policy.
    pub fn add_job(&mut self, app_id: AppId, job: &Job, policy: Policy) -> JobNo {
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
        JobNo::try_from(self.jobs.len() - 1).unwrap_or(JobNo::MAX)
    }

    /// Adds a connection, with its statuses for some jobs.
    pub fn add<'s>(&mut self, cxn: &Cxn, jobs: impl Iterator<Item = (JobNo, &'s PollStatus)>) {
        let mut name = None;
        let hash = CxnHash::from(&cxn.cxn_id);
        for (job, status) in jobs {
            let name = *name.get_or_insert_with(|| self.names.add(cxn));
            let JobSums { policy, outages, sites, .. } = &mut self.jobs[usize::from(job)];
            *sites += 1;
            let outages = outages.iter().filter(|outage| outage.covers(cxn.batch_code)).map(|outage| outage.at);
            let present = Present::of(policy, status, outages);
            let timeline = Timeline::new(self.began.unwrap_or(UnixTime::MAX));
            let sums = SiteSums { name, job, up_s: 0, down_s: 0, without_host_s: 0, last: NONE };
            self.numbers.insert((job, hash), u32::try_from(self.sites.len()).unwrap_or(NONE));
            self.sites.push(Site { timeline, present, sums });
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
        let numbers = self.jobs.iter().zip(0..).map(|(job, number)| ((job.app_id.clone(), job.job.clone()), number));
        let numbers: HashMap<_, JobNo> = numbers.collect();
        history.scan(since, |Frame { at, job, entries }| {
            let job = job.and_then(|job| numbers.get(&job).copied());
            for entry in entries {
                match (job, entry) {
                    (Some(job), Entry::Transition(transition)) => self.transition(job, &transition),
                    (_, Entry::Admin(admin)) => self.admin(at, &admin),
                    _ => {}
                }
            }
            Ok::<_, Error>(())
        })?;
        for job in &mut self.jobs {
            let runs = history.runs(&job.app_id, &job.job)?;
            job.runs = RunHealth::of(&runs, job.policy.usual_period(), self.from, self.to);
        }
        Ok(self.finish())
    }

    fn transition(&mut self, job: JobNo, SiteTransition { cxn, host, transition }: &SiteTransition) {
        match self.numbers.get(&(job, *cxn)) {
            Some(number) => {
                let host = if transition.to.is_down() { self.incidents.host(*host) } else { HostNo::default() };
                self.event(*number, Event::Transition(*transition, host));
            }
            None => self.add_gone(job, *cxn, transition),
        }
    }

    fn add_gone(&mut self, job: JobNo, cxn: CxnHash, transition: &Transition) {
        if let Some((sites, incidents)) = self.gone.as_mut().filter(|_| (self.from..=self.to).contains(&transition.at))
        {
            sites.insert((job, cxn));
            *incidents += u64::from(transition.to.is_down() && !transition.from.is_down());
        }
    }

    fn admin(&mut self, at: UnixTime, admin: &AdminEntry) {
        if !admin.removes() {
            return;
        }
        let jobs = JobNo::try_from(self.jobs.len()).unwrap_or(JobNo::MAX);
        for cxn_id in admin.cxns.iter().filter_map(|cxn_id| cxn_id.parse().ok()) {
            let hash = CxnHash::from(&cxn_id);
            for job in 0..jobs {
                if let Some(number) = self.numbers.get(&(job, hash)) {
                    self.event(*number, Event::Removed(at));
                }
            }
        }
    }

    fn event(&mut self, number: u32, event: Event) {
        let Self { from, to, ref mut jobs, ref mut sites, ref mut incidents, .. } = *self;
        let Site { timeline, sums, .. } = &mut sites[number as usize];
        let job = &mut jobs[usize::from(sums.job)];
        timeline.event(event, &mut SiteSink { from, to, job, sums, incidents });
    }

    fn finish(self) -> Ledger {
        let Self { from, to, began, mut jobs, sites, names, mut incidents, gone, .. } = self;
        let end = |Site { timeline, present, mut sums }| {
            let job = &mut jobs[usize::from(sums.job)];
            timeline.end(&present, &mut SiteSink { from, to, job, sums: &mut sums, incidents: &mut incidents });
            sums
        };
        let sites = sites.into_iter().map(end).collect();
        let gone = gone.map(|(sites, incidents)| Gone { sites: sites.len() as u64, incidents });
        Ledger { from, to, began, jobs, sites, names, incidents, gone }
    }
}

impl Sink for SiteSink<'_> {
    fn span(&mut self, is_up: bool, from: UnixTime, to: UnixTime, host: HostNo) {
        let (from, to) = (from.max(self.from), to.min(self.to));
        let Some(seconds) = u32::try_from(to.saturating_sub(from)).ok().filter(|seconds| *seconds > 0) else { return };
        self.job.slices.add_span(is_up, from, to);
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

    fn incident(&mut self, incident: Open, to: Option<UnixTime>) {
        let Some(last) = self.incidents.add(self.sums.last, incident, to) else { return };
        self.sums.last = last;
        self.job.incidents += 1;
        self.job.down += u64::from(to.is_none_or(|to| to > self.to));
        if let Some(class) = incident.class {
            *self.job.classes.entry(class).or_default() += 1;
        }
        if (self.from..=self.to).contains(&incident.from) {
            self.job.slices.add_incident(incident.from);
        }
    }
}

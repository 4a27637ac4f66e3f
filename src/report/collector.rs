//! Collects what a report is about: sites from the store, then what history has of them.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::hash::{BuildHasherDefault, Hasher};

use super::data::{Gone, RunHealth};
use super::incidents::{Incidents, NONE};
use super::ledger::Ledger;
use super::names::Names;
use super::slices::Slices;
use super::strip::Strip;
use super::timeline::{Event, HostNo, Open, Origin, Present, Seconds, Sink, Timeline};
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
    /// The numbers of the sites.
    numbers: HashMap<SiteKey, u32, BuildHasherDefault<KeyHasher>>,
    sites: Vec<Site>,
    names: Names,
    incidents: Incidents,
    /// The connections that the store does not have, and their failures; `None` if the sites are a selection.
    gone: Option<(HashSet<SiteKey>, u64)>,
}

/// The number of a job in a report.
pub type JobNo = u16;

/// A connection for one job. The hash is as good as random, so nothing better is needed for a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct SiteKey(u64);

impl SiteKey {
    fn new(job: JobNo, cxn: CxnHash) -> Self {
        Self(cxn.0.rotate_left(job.into()).wrapping_add(job.into()))
    }
}

/// Takes the key as its hash.
#[derive(Debug, Default)]
struct KeyHasher(u64);

impl Hasher for KeyHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, _: &[u8]) {}

    fn write_u64(&mut self, key: u64) {
        self.0 = key;
    }
}

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
    pub(super) strip: Strip,
}

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
            numbers: HashMap::default(),
            sites: Vec::new(),
            names: Names::default(),
            incidents: Incidents::default(),
            gone: (!is_selection).then(Default::default),
        }
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
            let origin = Origin(self.from);
            let present = Present::of(origin, policy, status, outages);
            let timeline = Timeline::new(origin.seconds(self.began.unwrap_or(UnixTime::MAX)));
            let (last, strip) = (NONE, Strip::default());
            let sums = SiteSums { name, job, up_s: 0, down_s: 0, without_host_s: 0, last, strip };
            self.numbers.insert(SiteKey::new(job, hash), u32::try_from(self.sites.len()).unwrap_or(NONE));
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
        history.scan(since, |frame| {
            let job = frame.job.as_ref().and_then(|job| numbers.get(job).copied());
            self.frame(job, &frame);
            Ok::<_, Error>(())
        })?;
        for job in &mut self.jobs {
            let runs = history.runs(&job.app_id, &job.job)?;
            job.runs = RunHealth::of(&runs, job.policy.usual_period(), self.from, self.to);
        }
        Ok(self.finish())
    }

    /// Takes a frame of history; `job` is `None` if the report is not about its job.
    fn frame(&mut self, job: Option<JobNo>, frame: &Frame) {
        for entry in &frame.entries {
            match (job, entry) {
                (Some(job), Entry::Transition(transition)) => self.transition(job, transition),
                (_, Entry::Admin(admin)) => self.admin(frame.at, admin),
                _ => {}
            }
        }
    }

    fn transition(&mut self, job: JobNo, SiteTransition { cxn, host, transition }: &SiteTransition) {
        let key = SiteKey::new(job, *cxn);
        match self.numbers.get(&key) {
            Some(number) => {
                let host = if transition.to.is_down() { self.incidents.host(*host) } else { HostNo::default() };
                self.event(*number, Event::new(Origin(self.from), transition, host));
            }
            None => self.add_gone(key, transition),
        }
    }

    fn add_gone(&mut self, key: SiteKey, transition: &Transition) {
        if let Some((sites, incidents)) = self.gone.as_mut().filter(|_| (self.from..=self.to).contains(&transition.at))
        {
            sites.insert(key);
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
                if let Some(number) = self.numbers.get(&SiteKey::new(job, hash)) {
                    self.event(*number, Event::Removed(Origin(self.from).seconds(at)));
                }
            }
        }
    }

    fn event(&mut self, number: u32, event: Event) {
        let (origin, end) = self.bounds();
        let Self { jobs, sites, incidents, .. } = self;
        let Site { timeline, sums, .. } = &mut sites[number as usize];
        let job = &mut jobs[usize::from(sums.job)];
        timeline.event(event, &mut SiteSink { origin, end, job, sums, incidents });
    }

    fn bounds(&self) -> (Origin, Seconds) {
        let origin = Origin(self.from);
        (origin, origin.seconds(self.to))
    }

    fn finish(self) -> Ledger {
        let (origin, end) = self.bounds();
        let Self { from, to, began, mut jobs, sites, names, mut incidents, gone, .. } = self;
        let finish = |Site { timeline, present, mut sums }| {
            let job = &mut jobs[usize::from(sums.job)];
            timeline.end(&present, &mut SiteSink { origin, end, job, sums: &mut sums, incidents: &mut incidents });
            sums
        };
        let sites = sites.into_iter().map(finish).collect();
        let gone = gone.map(|(sites, incidents)| Gone { sites: sites.len() as u64, incidents });
        Ledger { from, to, began, jobs, sites, names, incidents, gone }
    }
}

impl Sink for SiteSink<'_> {
    fn span(&mut self, is_up: bool, from: Seconds, to: Seconds, host: HostNo) {
        let (from, to) = (from.max(0), to.min(self.end));
        let Some(seconds) = u32::try_from(to.saturating_sub(from)).ok().filter(|seconds| *seconds > 0) else { return };
        self.job.slices.add_span(is_up, self.origin.time(from), self.origin.time(to));
        self.sums.strip.add(is_up, (from.into(), to.into()), (0, self.end.into()));
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

//! What happened to the sites of a report.

use std::cmp::Reverse;
use std::collections::{BTreeSet, HashMap};

use super::data::{Gone, Host, HostReport, IncidentReport, JobReport, Report, SiteReport, Times};
use super::events::{self, SiteKey, SiteNumbers};
use super::incidents::Incidents;
use super::names::CxnNames;
use super::strip::{Strip, StripSink};
use super::sums::{JobSums, Site, SiteSums};
use super::timeline::{HostNo, Origin, Timeline};
use crate::model::UnixTime;
use crate::store::{CxnHash, History, Result};

/// The times and incidents of all sites of a report.
pub struct Ledger {
    pub(super) from: UnixTime,
    pub(super) to: UnixTime,
    pub(super) began: Option<UnixTime>,
    pub(super) jobs: Vec<JobSums>,
    pub(super) sites: Vec<Site>,
    /// The sums of the sites, in their order.
    pub(super) sums: Vec<SiteSums>,
    pub(super) names: CxnNames,
    pub(super) incidents: Incidents,
    pub(super) gone: Option<Gone>,
    pub(super) damaged_bytes: u64,
}

/// The greatest of many, in little memory.
struct Top<K> {
    size: usize,
    set: BTreeSet<K>,
}

impl<K: Ord> Top<K> {
    fn new(size: usize) -> Self {
        Self { size, set: BTreeSet::new() }
    }

    fn add(&mut self, key: K) {
        if self.set.len() < self.size || self.set.first().is_some_and(|least| key > *least) {
            self.set.insert(key);
            if self.set.len() > self.size {
                self.set.pop_first();
            }
        }
    }

    /// The greatest first.
    fn into_iter(self) -> impl Iterator<Item = K> {
        self.set.into_iter().rev()
    }
}

impl Ledger {
    /// How many bytes of history cannot be read, and are left out.
    #[must_use]
    pub fn damaged_bytes(&self) -> u64 {
        self.damaged_bytes
    }

    /// The sites in the order of the store, each with its incidents.
    pub fn sites(&self) -> impl Iterator<Item = SiteReport> {
        (0..self.sites.len()).map(|site| self.site(site))
    }

    /// The report, with at most so many of the worst sites and hosts and of the incidents.
    #[must_use]
    pub fn report(&self, most: usize) -> Report {
        let (mut longest, mut latest) = (Top::new(most), Top::new(most));
        let mut hosts: Vec<_> = self.incidents.hosts.clone();
        let mut names: HashMap<String, HostReport> = HashMap::new();
        for (number, (site, sums)) in self.sites.iter().zip(&self.sums).enumerate() {
            let mut on = Vec::new();
            let mut without_host = 0;
            for (index, incident, host) in self.incidents.list(Origin(self.from), sums.last) {
                longest.add((incident.duration_s(self.to), incident.from, Reverse((number, index))));
                latest.add((incident.from, incident.duration_s(self.to), Reverse((number, index))));
                match (host.0 as usize).checked_sub(1) {
                    Some(index) => {
                        hosts[index].incidents += 1;
                        if !on.contains(&host) {
                            hosts[index].sites += 1;
                            on.push(host);
                        }
                    }
                    None => without_host += 1,
                }
            }
            if without_host > 0 {
                let name = self.names.host(site.name);
                let host = Host::Name(name.clone());
                let entry = names.entry(name).or_insert(HostReport { host, sites: 0, incidents: 0, down_s: 0 });
                entry.sites += 1;
                entry.incidents += without_host;
                entry.down_s += u64::from(sums.without_host_s);
            }
        }
        let hosts = hosts.into_iter().map(|sums| HostReport {
            host: Host::Address(sums.address),
            sites: sums.sites,
            incidents: sums.incidents,
            down_s: sums.down_s,
        });
        let mut hosts: Vec<_> = hosts.chain(names.into_values()).filter(|host| host.incidents > 0).collect();
        hosts.sort_by(|a, b| (b.down_s, b.incidents, &a.host).cmp(&(a.down_s, a.incidents, &b.host)));
        let all_hosts = hosts.len() as u64;
        hosts.truncate(most);
        Report {
            from: self.from,
            to: self.to,
            began: self.began,
            jobs: self.jobs(),
            worst_sites: self.worst(most).map(|site| self.site(site)).collect(),
            worst_hosts: hosts,
            hosts: all_hosts,
            longest: longest.into_iter().map(|(.., Reverse(key))| self.incident(key)).collect(),
            latest: latest.into_iter().map(|(.., Reverse(key))| self.incident(key)).collect(),
            gone: self.gone,
        }
    }

    /// Reads history once more for the strips of the worst sites of this report.
    ///
    /// They are not kept for all sites, since that would take much memory.
    ///
    /// # Errors
    /// History cannot be read.
    pub fn add_strips(&self, report: &mut Report, history: &History) -> Result<()> {
        let (origin, mut numbers, mut drawn) = (Origin(self.from), SiteNumbers::default(), Vec::new());
        for (number, site) in self.worst(report.worst_sites.len()).zip(0..) {
            let Site { name, job, present } = self.sites[number];
            numbers.insert(SiteKey::new(job, CxnHash::from(&self.names.cxn_id(name))), site);
            drawn.push((Timeline::new(origin, self.began), present, StripSink::new(origin.seconds(self.to))));
        }
        events::read(history, UnixTime::MIN, &events::job_numbers(&self.jobs), |key, event| {
            if let Some(number) = numbers.get(&key) {
                let (timeline, _, sink) = &mut drawn[*number as usize];
                timeline.event(event.on_timeline(origin, |_| HostNo::default()), sink);
            }
        })?;
        for (site, (timeline, present, mut sink)) in report.worst_sites.iter_mut().zip(drawn) {
            timeline.end(&present, &mut sink);
            site.strip = sink.strip;
        }
        Ok(())
    }

    /// The numbers of the sites that were down for the largest part of their known time, the worst first.
    fn worst(&self, most: usize) -> impl Iterator<Item = usize> {
        let mut worst = Top::new(most);
        for (number, sums) in self.sums.iter().enumerate().filter(|(_, sums)| sums.down_s > 0) {
            let (up_s, down_s) = (u128::from(sums.up_s), u128::from(sums.down_s));
            // Compared as whole numbers: the part in which it was down, how long that was, and the order of the store.
            worst.add((down_s * (1 << 64) / (up_s + down_s), down_s, Reverse(number)));
        }
        worst.into_iter().map(|(.., Reverse(number))| number)
    }

    /// The jobs, by app and name.
    #[must_use]
    pub fn jobs(&self) -> Vec<JobReport> {
        let mut times = vec![Times::default(); self.jobs.len()];
        for (site, sums) in self.sites.iter().zip(&self.sums) {
            times[usize::from(site.job)] += self.times(sums);
        }
        let report = |(job, times): (&JobSums, Times)| JobReport {
            app_id: job.app_id.clone(),
            job: job.job.clone(),
            sites: job.sites,
            down: job.down,
            times,
            incidents: job.incidents,
            classes: job.classes.clone(),
            slices: job.slices.finish(self.from, self.to, job.sites),
            runs: job.runs.clone(),
        };
        let mut jobs: Vec<_> = self.jobs.iter().zip(times).map(report).collect();
        jobs.sort_by(|a, b| (&a.app_id, &a.job).cmp(&(&b.app_id, &b.job)));
        jobs
    }

    fn incident(&self, (site, incident): (usize, u32)) -> IncidentReport {
        let Site { name, job, .. } = self.sites[site];
        let JobSums { app_id, job, .. } = &self.jobs[usize::from(job)];
        IncidentReport {
            cxn_id: self.names.cxn_id(name),
            app_id: app_id.clone(),
            job: job.clone(),
            site_url: self.names.site_url(name),
            incident: self.incidents.get(Origin(self.from), incident),
        }
    }

    fn site(&self, number: usize) -> SiteReport {
        let (Site { name, job, .. }, sums) = (self.sites[number], &self.sums[number]);
        let JobSums { app_id, job, .. } = &self.jobs[usize::from(job)];
        let mut incidents: Vec<_> =
            self.incidents.list(Origin(self.from), sums.last).map(|(_, incident, _)| incident).collect();
        incidents.reverse();
        SiteReport {
            cxn_id: self.names.cxn_id(name),
            app_id: app_id.clone(),
            job: job.clone(),
            site_url: self.names.site_url(name),
            times: self.times(sums),
            incidents,
            strip: Strip::default(),
        }
    }

    fn times(&self, sums: &SiteSums) -> Times {
        let (up_s, down_s) = (sums.up_s.into(), sums.down_s.into());
        let length_s = self.to.saturating_sub(self.from).unsigned_abs();
        Times { up_s, down_s, unknown_s: length_s.saturating_sub(up_s + down_s) }
    }
}

#[cfg(test)]
mod tests;

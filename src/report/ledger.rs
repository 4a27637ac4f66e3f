//! What happened to the sites of a report.

use std::cmp::Reverse;
use std::collections::{BTreeSet, HashMap};

use super::collector::{JobSums, SiteSums};
use super::data::{Gone, Host, HostReport, IncidentReport, JobReport, Report, SiteReport, Times};
use super::incidents::Incidents;
use super::names::Names;
use super::timeline::Origin;
use crate::model::UnixTime;

/// The times and incidents of all sites of a report.
pub struct Ledger {
    pub(super) from: UnixTime,
    pub(super) to: UnixTime,
    pub(super) began: Option<UnixTime>,
    pub(super) jobs: Vec<JobSums>,
    pub(super) sites: Vec<SiteSums>,
    pub(super) names: Names,
    pub(super) incidents: Incidents,
    pub(super) gone: Option<Gone>,
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
    /// The sites in the order of the store, each with its incidents.
    pub fn sites(&self) -> impl Iterator<Item = SiteReport> {
        (0..self.sites.len()).map(|site| self.site(site))
    }

    /// The report, with at most so many of the worst sites and hosts and of the incidents.
    #[must_use]
    pub fn report(&self, most: usize) -> Report {
        let (mut worst, mut longest, mut latest) = (Top::new(most), Top::new(most), Top::new(most));
        let mut hosts: Vec<_> = self.incidents.hosts.clone();
        let mut names: HashMap<String, HostReport> = HashMap::new();
        for (number, site) in self.sites.iter().enumerate() {
            let known_s = u128::from(site.up_s) + u128::from(site.down_s);
            if site.down_s > 0 {
                // Compared as whole numbers: the part in which it was down, how long that was, and the order of the store.
                worst.add((u128::from(site.down_s) * (1 << 64) / known_s, site.down_s, Reverse(number)));
            }
            let mut on = Vec::new();
            let mut without_host = 0;
            for (index, incident, host) in self.incidents.list(Origin(self.from), site.last) {
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
                entry.down_s += u64::from(site.without_host_s);
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
            worst_sites: worst.into_iter().map(|(.., Reverse(site))| self.site(site)).collect(),
            worst_hosts: hosts,
            hosts: all_hosts,
            longest: longest.into_iter().map(|(.., Reverse(key))| self.incident(key)).collect(),
            latest: latest.into_iter().map(|(.., Reverse(key))| self.incident(key)).collect(),
            gone: self.gone,
        }
    }

    /// The jobs, by app and name.
    #[must_use]
    pub fn jobs(&self) -> Vec<JobReport> {
        let report = |(number, job): (usize, &JobSums)| {
            let mut times = Times::default();
            self.sites.iter().filter(|site| usize::from(site.job) == number).for_each(|site| times += self.times(site));
            JobReport {
                app_id: job.app_id.clone(),
                job: job.job.clone(),
                sites: job.sites,
                down: job.down,
                times,
                incidents: job.incidents,
                classes: job.classes.clone(),
                slices: job.slices.finish(self.from, self.to, job.sites),
                runs: job.runs.clone(),
            }
        };
        let mut jobs: Vec<_> = self.jobs.iter().enumerate().map(report).collect();
        jobs.sort_by(|a, b| (&a.app_id, &a.job).cmp(&(&b.app_id, &b.job)));
        jobs
    }

    fn incident(&self, (site, incident): (usize, u32)) -> IncidentReport {
        let SiteSums { name, job, .. } = self.sites[site];
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
        let site = &self.sites[number];
        let SiteSums { name, job, last, .. } = *site;
        let JobSums { app_id, job, .. } = &self.jobs[usize::from(job)];
        let mut incidents: Vec<_> =
            self.incidents.list(Origin(self.from), last).map(|(_, incident, _)| incident).collect();
        incidents.reverse();
        SiteReport {
            cxn_id: self.names.cxn_id(name),
            app_id: app_id.clone(),
            job: job.clone(),
            site_url: self.names.site_url(name),
            times: self.times(site),
            incidents,
            strip: site.strip,
        }
    }

    fn times(&self, site: &SiteSums) -> Times {
        let (up_s, down_s) = (site.up_s.into(), site.down_s.into());
        let length_s = self.to.saturating_sub(self.from).unsigned_abs();
        Times { up_s, down_s, unknown_s: length_s.saturating_sub(up_s + down_s) }
    }
}

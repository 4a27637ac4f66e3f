//! Collects what is news, and groups it into changes.

use std::collections::{BTreeMap, BTreeSet};

use super::sites::{JobId, Sites};
use crate::model::{CxnId, UnixTime, host};
use crate::notify::message::{Change, ChangedSite, Kind, MAX_LISTED};
use crate::store::Moved;
use crate::util::text::sanitize;

/// A site that changed.
#[derive(Debug, Clone)]
pub(super) struct Item {
    /// The hash of its cxnId.
    pub(super) cxn: u64,
    pub(super) host: String,
    pub(super) at: UnixTime,
    /// The failure class; `None` if it recovered.
    pub(super) class: Option<String>,
}

/// Sites that make one change, and how many more were not tried.
#[derive(Debug, Default)]
struct Group {
    items: Vec<Item>,
    skipped: u64,
}

/// Changes of sites by kind, job and host, and changes of runs. No host means that the sites have several.
#[derive(Debug)]
pub(super) struct News {
    now: UnixTime,
    sites: BTreeMap<(Kind, JobId, Option<String>), Group>,
    /// The sites that moved, and when each did last.
    moved: BTreeMap<JobId, BTreeMap<CxnId, (UnixTime, Moved)>>,
    /// Begin and cause, by kind, job, and whether it is over.
    runs: BTreeMap<(Kind, JobId, bool), (UnixTime, Option<String>)>,
}

impl News {
    /// No news at a time, UTC seconds.
    pub(super) fn new(now: UnixTime) -> Self {
        Self { now, sites: BTreeMap::new(), moved: BTreeMap::new(), runs: BTreeMap::new() }
    }

    /// Adds a site that changed by itself.
    pub(super) fn add(&mut self, kind: Kind, job: &JobId, item: Item) {
        self.sites.entry((kind, job.clone(), None)).or_default().items.push(item);
    }

    /// Adds sites that changed with their host, and how many more were not tried.
    pub(super) fn add_host(
        &mut self,
        kind: Kind,
        job: &JobId,
        host: &str,
        items: impl IntoIterator<Item = Item>,
        skipped: u64,
    ) {
        let group = self.sites.entry((kind, job.clone(), Some(host.to_owned()))).or_default();
        group.items.extend(items);
        group.skipped += skipped;
    }

    /// Adds a site that moved, which may have moved before.
    pub(super) fn add_moved(&mut self, job: &JobId, at: UnixTime, mut moved: Moved) {
        let sites = self.moved.entry(job.clone()).or_default();
        if let Some((_, before)) = sites.remove(&moved.cxn_id) {
            moved.from = before.from;
        }
        sites.insert(moved.cxn_id.clone(), (at, moved));
    }

    /// Sets that an own outage or lateness of a job began, or that it is over.
    pub(super) fn set(&mut self, kind: Kind, job: &JobId, over: bool, since: UnixTime, cause: Option<String>) {
        self.runs.insert((kind, job.clone(), over), (since, cause));
    }

    /// The changes, in the order of their kinds. Headlines are empty.
    pub(super) fn changes(self, sites: &Sites) -> Vec<Change> {
        let of_runs = self.runs.into_iter().map(|((kind, (app_id, job_name), over), (since, cause))| Change {
            kind,
            headline: String::new(),
            over,
            app_id,
            job_name,
            count: 0,
            hosts: Vec::new(),
            host_count: 0,
            sites: Vec::new(),
            since,
            cause,
        });
        let moved = self.moved.into_iter().map(|(job, sites)| of_moved(job, &sites));
        let of_sites = self
            .sites
            .into_iter()
            .map(|((kind, job, host), group)| of_group(kind, job, host.as_ref(), group, (self.now, sites)));
        let mut changes: Vec<_> = of_runs.chain(of_sites).chain(moved).collect();
        changes.sort_by_key(|change| change.kind);
        changes
    }
}

fn of_group(kind: Kind, job: JobId, host: Option<&String>, group: Group, (now, sites): (UnixTime, &Sites)) -> Change {
    let Group { mut items, skipped } = group;
    items.sort_by_key(|item| item.at);
    let mut classes: BTreeMap<&str, usize> = BTreeMap::new();
    items.iter().filter_map(|item| item.class.as_deref()).for_each(|class| *classes.entry(class).or_default() += 1);
    let hosts: BTreeSet<_> = host.into_iter().chain(items.iter().map(|item| &item.host)).collect();
    let site = |item: &Item| {
        let site = sites.get(&job, item.cxn)?;
        let (cxn_id, site_url) = (site.cxn_id.clone(), site.url.clone());
        Some(ChangedSite { cxn_id, site_url, old_url: None, at: item.at, class: item.class.clone() })
    };
    Change {
        kind,
        headline: String::new(),
        over: false,
        count: items.len() as u64 + skipped,
        host_count: hosts.len() as u64,
        hosts: hosts.into_iter().take(MAX_LISTED).cloned().collect(),
        sites: items.iter().filter_map(site).take(MAX_LISTED).collect(),
        since: items.first().map_or(now, |item| item.at),
        cause: classes.into_iter().max_by_key(|(_, count)| *count).map(|(class, _)| class.to_owned()),
        app_id: job.0,
        job_name: job.1,
    }
}

fn of_moved((app_id, job_name): JobId, sites: &BTreeMap<CxnId, (UnixTime, Moved)>) -> Change {
    let host_of = |(_, moved): &(UnixTime, Moved)| sanitize(&host(&moved.to.to_string(), None));
    let hosts: BTreeSet<_> = sites.values().map(host_of).collect();
    let site = |(at, Moved { cxn_id, from, to }): &(UnixTime, Moved)| {
        let [from, to] = [from, to].map(|url| sanitize(&url.without_query()));
        ChangedSite { cxn_id: cxn_id.clone(), site_url: to, old_url: Some(from), at: *at, class: None }
    };
    Change {
        kind: Kind::Moved,
        headline: String::new(),
        over: false,
        app_id,
        job_name,
        count: sites.len() as u64,
        host_count: hosts.len() as u64,
        hosts: hosts.into_iter().take(MAX_LISTED).collect(),
        sites: sites.values().take(MAX_LISTED).map(site).collect(),
        since: sites.values().map(|(at, _)| *at).min().unwrap_or_default(),
        cause: None,
    }
}

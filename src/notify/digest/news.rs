//! Collects what is news, and groups it into changes.

use std::collections::{BTreeMap, BTreeSet};

use super::sites::{JobId, Sites};
use crate::model::UnixTime;
use crate::notify::message::{Change, ChangedSite, Kind, MAX_LISTED};

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
    /// Begin and cause, by kind, job, and whether it is over.
    runs: BTreeMap<(Kind, JobId, bool), (UnixTime, Option<String>)>,
}

impl News {
    /// No news at a time, UTC seconds.
    pub(super) fn new(now: UnixTime) -> Self {
        Self { now, sites: BTreeMap::new(), runs: BTreeMap::new() }
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
            sites: Vec::new(),
            since,
            cause,
        });
        let of_sites = self
            .sites
            .into_iter()
            .map(|((kind, job, host), group)| change(kind, job, host.as_ref(), &group, (self.now, sites)));
        let mut changes: Vec<_> = of_runs.chain(of_sites).collect();
        changes.sort_by_key(|change| change.kind);
        changes
    }
}

fn change(kind: Kind, job: JobId, host: Option<&String>, group: &Group, (now, sites): (UnixTime, &Sites)) -> Change {
    let Group { items, skipped } = group;
    let mut classes: BTreeMap<&str, usize> = BTreeMap::new();
    items.iter().filter_map(|item| item.class.as_deref()).for_each(|class| *classes.entry(class).or_default() += 1);
    let hosts: BTreeSet<_> = host.into_iter().chain(items.iter().map(|item| &item.host)).collect();
    let site = |item: &Item| {
        let site = sites.get(&job, item.cxn)?;
        let (cxn_id, site_url) = (site.cxn_id.clone(), site.url.clone());
        Some(ChangedSite { cxn_id, site_url, at: item.at, class: item.class.clone() })
    };
    Change {
        kind,
        headline: String::new(),
        over: false,
        count: items.len() as u64 + skipped,
        hosts: hosts.into_iter().take(MAX_LISTED).cloned().collect(),
        sites: items.iter().filter_map(site).take(MAX_LISTED).collect(),
        since: items.iter().map(|item| item.at).min().unwrap_or(now),
        cause: classes.into_iter().max_by_key(|(_, count)| *count).map(|(class, _)| class.to_owned()),
        app_id: job.0,
        job_name: job.1,
    }
}

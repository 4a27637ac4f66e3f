//! Decides which changes of history are news, and which belong to what was reported before.
//!
//! A host counts as failing as a whole if runs report it as down, or if several of its sites began to fail within an hour. Then
//! one change reports it. Sites that fail there afterwards, and those that recover one by one, are no news. It is over once no
//! site fails there any longer, or once all that still fail were polled after the first recovery. All other sites are news by
//! themselves. Nothing here reads a clock, a file or the store.

mod news;
mod sites;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, HashMap};

use serde::{Deserialize, Serialize};

use super::message::{Change, Kind};
use super::pairs;
use crate::model::{Condition, Fault, UnixTime, was_recorded};
use crate::store::{CxnHash, Entry, Frame, RunProblems, SiteTransition};
use news::{Item, News};
pub(super) use sites::{JobId, Site, Sites};

/// How many sites of a host begin to fail within [`BURST_S`] if it fails as a whole.
const BURST_SITES: usize = 3;
const BURST_S: UnixTime = 3600;
/// A site that fails on a failing host is news again so many seconds after the last one did.
const QUIET_S: UnixTime = 86_400;

/// What was reported, and is not over.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Tracker {
    #[serde(with = "pairs")]
    jobs: BTreeMap<JobId, JobState>,
    /// The hosts that fail as a whole.
    hosts: BTreeMap<String, HostState>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct JobState {
    /// The sites that fail, by the hash of their cxnId.
    failing: BTreeMap<u64, Failing>,
    /// Since when runs end for an own fault.
    outage_since: Option<UnixTime>,
    /// Since when runs cannot keep up.
    late_since: Option<UnixTime>,
    /// The hosts that are down, and how many sites of each were left to the next run.
    down: BTreeMap<String, u64>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Failing {
    host: String,
    since: UnixTime,
    class: Option<String>,
    is_given_up: bool,
    /// Whether no message has it yet.
    #[serde(skip)]
    is_new: bool,
}

impl Failing {
    fn item(&self, cxn: u64) -> Item {
        Item { cxn, host: self.host.clone(), at: self.since, class: self.class.clone() }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct HostState {
    /// When a site began to fail there last.
    joined_at: UnixTime,
    /// When the first site recovered; `None` if none has.
    answered_at: Option<UnixTime>,
    /// The sites that recovered, by job.
    #[serde(with = "pairs")]
    recovered: BTreeMap<JobId, Vec<(u64, UnixTime)>>,
}

impl Tracker {
    /// Whether something may be over although history has nothing new.
    pub(super) fn is_waiting(&self) -> bool {
        self.hosts.values().any(|host| host.answered_at.is_some())
    }

    /// The sites that [`Tracker::digest`] has to know for these frames.
    pub(super) fn wanted(&self, frames: &[Frame]) -> BTreeMap<JobId, BTreeSet<CxnHash>> {
        let mut wanted: BTreeMap<JobId, BTreeSet<CxnHash>> = BTreeMap::new();
        let mut add = |job: &JobId, cxn| wanted.entry(job.clone()).or_default().insert(cxn);
        for (job, event) in transitions(frames) {
            add(job, event.cxn);
        }
        for (job, state) in &self.jobs {
            state.failing.keys().for_each(|cxn| _ = add(job, CxnHash(*cxn)));
        }
        for (job, recovered) in self.hosts.values().flat_map(|host| &host.recovered) {
            for (cxn, _) in recovered {
                add(job, CxnHash(*cxn));
            }
        }
        wanted
    }

    /// Returns what is news in the frames that follow those of the last call, and notes it as reported.
    pub(super) fn digest(&mut self, now: UnixTime, frames: &[Frame], sites: &Sites) -> Vec<Change> {
        let mut news = News::new(now);
        for (job, event) in recorded(frames, sites) {
            self.apply(job, event, sites, &mut news);
        }
        for (job, state) in &mut self.jobs {
            // The others are removed, disabled, or have another status by now.
            state.failing.retain(|cxn, _| sites.get(job, *cxn).is_some_and(|site| site.is_down));
        }
        for frame in frames {
            let Some(job) = &frame.job else { continue };
            for entry in &frame.entries {
                if let Entry::RunProblems(problems) = entry {
                    self.jobs.entry(job.clone()).or_default().apply(job, frame.at, problems, &mut news);
                }
            }
        }
        self.find_failing_hosts(now, &mut news);
        self.find_recovered_hosts(sites, &mut news);
        news.changes(sites)
    }

    fn apply(&mut self, job: &JobId, event: &SiteTransition, sites: &Sites, news: &mut News) {
        let Some(site) = sites.get(job, event.cxn.0) else { return };
        let SiteTransition { cxn: CxnHash(cxn), host, transition } = *event;
        let (at, class) = (transition.at, transition.class.map(|class| class.to_string()));
        let item = Item { cxn, host: host.map_or_else(|| site.host.clone(), |host| host.to_string()), at, class };
        let state = self.jobs.entry(job.clone()).or_default();
        if transition.to.is_down() {
            let Item { host, class, .. } = item.clone();
            let is_new = !transition.from.is_down();
            let failing = Failing { host, since: at, class, is_given_up: false, is_new };
            let failing = state.failing.entry(cxn).or_insert(failing);
            if transition.to == Condition::GivenUp && !failing.is_given_up {
                failing.is_given_up = true;
                news.add(Kind::GivenUp, job, Item { host: failing.host.clone(), ..item });
            }
            return;
        }
        match state.failing.remove(&cxn) {
            Some(failing) => {
                let recovered = Item { host: failing.host.clone(), class: None, ..item };
                if let Some(host) = self.hosts.get_mut(&failing.host) {
                    host.answered_at.get_or_insert(at);
                    host.recovered.entry(job.clone()).or_default().push((cxn, at));
                } else {
                    if failing.is_new {
                        news.add(Kind::Failing, job, failing.item(cxn));
                    }
                    news.add(Kind::Recovered, job, recovered);
                }
            }
            // It failed before notifications were configured.
            None if transition.from.is_down() => news.add(Kind::Recovered, job, item),
            None => {}
        }
    }

    /// Reports sites that began to fail, by themselves or with their host.
    fn find_failing_hosts(&mut self, now: UnixTime, news: &mut News) {
        let mut hosts: BTreeMap<String, OnHost> = BTreeMap::new();
        for (job, state) in &self.jobs {
            for (host, skipped) in &state.down {
                let on_host = hosts.entry(host.clone()).or_default();
                on_host.is_down = true;
                on_host.jobs.entry(job.clone()).or_default().1 = *skipped;
            }
            for (cxn, failing) in &state.failing {
                let on_host = hosts.entry(failing.host.clone()).or_default();
                on_host.has_new |= failing.is_new;
                on_host.burst += usize::from(failing.since > now.saturating_sub(BURST_S));
                on_host.jobs.entry(job.clone()).or_default().0.push((failing.is_new, failing.item(*cxn)));
            }
        }
        for (name, OnHost { is_down, has_new, burst, jobs }) in hosts {
            match self.hosts.get_mut(&name) {
                Some(host) if is_down || has_new && now.saturating_sub(host.joined_at) <= QUIET_S => {
                    host.joined_at = now;
                    host.answered_at = host.answered_at.filter(|_| !is_down);
                }
                None if is_down || has_new && burst >= BURST_SITES => {
                    let kind = if is_down { Kind::HostDown } else { Kind::Failing };
                    let recovered = jobs.keys().map(|job| (job.clone(), Vec::new())).collect();
                    for (job, (items, skipped)) in jobs {
                        news.add_host(kind, &job, &name, items.into_iter().map(|(_, item)| item), skipped);
                    }
                    self.hosts.insert(name, HostState { joined_at: now, answered_at: None, recovered });
                }
                _ => {
                    let items = jobs.into_iter().flat_map(|(job, (items, _))| {
                        items.into_iter().filter(|(is_new, _)| *is_new).map(move |(_, item)| (job.clone(), item))
                    });
                    items.for_each(|(job, item)| news.add(Kind::Failing, &job, item));
                }
            }
        }
        let all = self.jobs.values_mut().flat_map(|state| state.failing.values_mut());
        all.for_each(|failing| failing.is_new = false);
    }

    /// Reports hosts whose sites answer again.
    fn find_recovered_hosts(&mut self, sites: &Sites, news: &mut News) {
        let Self { jobs, hosts } = self;
        hosts.retain(|name, host| {
            if jobs.values().any(|state| state.down.contains_key(name)) {
                return true;
            }
            let on_host =
                jobs.iter().flat_map(|(job, state)| state.failing.iter().map(move |(cxn, of)| (job, cxn, of)));
            let on_host: Vec<_> = on_host.filter(|(_, _, failing)| failing.host == *name).collect();
            // A site that was given up is not polled again.
            let (given_up, failing): (Vec<_>, Vec<_>) = on_host.into_iter().partition(|(.., site)| site.is_given_up);
            let was_polled = |at: UnixTime| {
                let since = |(job, cxn, failing): &(&JobId, &u64, &Failing)| {
                    failing.since > at || sites.get(job, **cxn).is_some_and(|site| site.last_run > at)
                };
                failing.iter().all(since)
            };
            if !(failing.is_empty() || host.answered_at.is_some_and(was_polled)) {
                return true;
            }
            let recovered = std::mem::take(&mut host.recovered);
            let count: usize = recovered.values().map(Vec::len).sum();
            if count == 0 && !given_up.is_empty() {
                // All of them were reported.
                return false;
            }
            // If most sites still fail, some of them were repaired or moved, and the host was not.
            let is_over = failing.len() <= count;
            let first = recovered.keys().next().cloned();
            for (job, sites) in recovered {
                let item = |(cxn, at)| Item { cxn, host: name.clone(), at, class: None };
                let (sites, is_empty) = (sites.iter().copied().map(item), sites.is_empty());
                if !is_empty || count == 0 && Some(&job) == first.as_ref() {
                    news.add_host(Kind::Recovered, &job, name, sites, 0);
                }
                host.recovered.insert(job, Vec::new());
            }
            if is_over {
                for (job, cxn, of) in failing {
                    news.add_host(Kind::Failing, job, name, [of.item(*cxn)], 0);
                }
            }
            host.answered_at = None;
            !is_over
        });
    }
}

/// What a host has.
#[derive(Default)]
struct OnHost {
    /// Whether runs report it as down.
    is_down: bool,
    /// Whether no message has one of its failing sites yet.
    has_new: bool,
    /// How many of its sites began to fail lately.
    burst: usize,
    /// Its failing sites, and whether each is new; how many were left to the next run.
    jobs: BTreeMap<JobId, (Vec<(bool, Item)>, u64)>,
}

impl JobState {
    fn apply(&mut self, job: &JobId, at: UnixTime, problems: &RunProblems, news: &mut News) {
        let RunProblems { fault, behind_since, down } = problems;
        match (fault, self.outage_since) {
            (Some(fault), None) => news.set(Kind::OwnOutage, job, false, at, Some(Fault::name(*fault).to_owned())),
            (None, Some(since)) => news.set(Kind::OwnOutage, job, true, since, None),
            _ => {}
        }
        match (behind_since, self.late_since) {
            (Some(since), None) => news.set(Kind::Late, job, false, *since, None),
            (None, Some(since)) => news.set(Kind::Late, job, true, since, None),
            _ => {}
        }
        self.outage_since = fault.map(|_| self.outage_since.unwrap_or(at));
        self.late_since = behind_since.map(|since| self.late_since.unwrap_or(since));
        self.down = down.iter().map(|(address, sites)| (address.to_string(), *sites)).collect();
    }
}

/// The transitions of sites, with their jobs.
fn transitions(frames: &[Frame]) -> impl DoubleEndedIterator<Item = (&JobId, &SiteTransition)> {
    frames.iter().filter_map(|frame| Some((frame.job.as_ref()?, &frame.entries))).flat_map(|(job, entries)| {
        entries.iter().filter_map(Entry::transition).map(move |transition| (job, transition))
    })
}

/// The transitions that the store recorded: see [`SiteTransition`].
fn recorded<'a>(frames: &'a [Frame], sites: &Sites) -> Vec<(&'a JobId, &'a SiteTransition)> {
    let mut next: HashMap<(&JobId, CxnHash), bool> = HashMap::new();
    let mut recorded = Vec::new();
    for (job, event) in transitions(frames).rev() {
        let (from, to) = (event.transition.from.is_down(), event.transition.to.is_down());
        let known = next.get(&(job, event.cxn)).copied();
        let known = known.or_else(|| sites.get(job, event.cxn.0).map(|site| site.is_down)).unwrap_or(to);
        if was_recorded(&from, &to, &known) {
            recorded.push((job, event));
            next.insert((job, event.cxn), from);
        }
    }
    recorded.reverse();
    recorded
}

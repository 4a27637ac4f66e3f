//! Decides which changes of history are news, and which belong to what was reported before.
//!
//! A host counts as failing as a whole if runs report it as down, or if several of its sites began to fail within an hour. Then
//! one change reports it. Sites that fail there afterwards, and those that recover one by one, are no news. It is over once no
//! site fails there any longer, or once all that still fail were polled after the first recovery. All other sites are news by
//! themselves. What a site did between two messages is one change at most: only the first and the last condition count. Nothing
//! here reads a clock, a file or the store.

mod news;
mod sites;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, HashMap};

use serde::{Deserialize, Serialize};

use super::message::{Change, Kind};
use super::pairs::{self, Pairs};
use crate::model::{Condition, Fault, UnixTime, was_recorded};
use crate::store::{CxnHash, Entry, Frame, Moved, RunProblems, SiteTransition};
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
    /// How many sites of each host were left when it was down last, and did not fail since.
    ///
    /// Only hosts that fail as a whole.
    #[serde(default)]
    untried: BTreeMap<String, u64>,
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
    /// The sites that recovered and do not fail again, by job.
    #[serde(with = "pairs")]
    recovered: BTreeMap<JobId, Pairs<u64, UnixTime>>,
}

/// The sites that recovered by themselves, as they failed, and when they recovered.
///
/// None of them fails again.
type Recovered = BTreeMap<(JobId, u64), (Failing, UnixTime)>;

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
            recovered.0.keys().for_each(|cxn| _ = add(job, CxnHash(*cxn)));
        }
        wanted
    }

    /// Returns what is news in the frames that follow those of the last call, and notes it as reported.
    pub(super) fn digest(&mut self, now: UnixTime, frames: &[Frame], sites: &Sites) -> Vec<Change> {
        let (mut news, mut recovered) = (News::new(now), Recovered::new());
        let mut are_recorded = are_recorded(frames, sites).into_iter();
        for (job, at, entry) in frames.iter().flat_map(of_job) {
            match entry {
                Entry::Transition(event) if are_recorded.next() == Some(true) => {
                    self.apply(job, event, sites, &mut recovered, &mut news);
                }
                Entry::Transition(_) => {}
                Entry::RunProblems(problems) => {
                    self.jobs.entry(job.clone()).or_default().apply(job, at, problems, &mut news);
                }
                Entry::Admin(action) => {
                    if let Some(moved) = Moved::of(action) {
                        news.add_moved(job, at, moved);
                    }
                }
            }
        }
        for ((job, cxn), (failing, at)) in recovered {
            let Failing { host, is_new, .. } = &failing;
            let recovered = Item { cxn, host: host.clone(), at, class: None };
            let (kind, item) =
                if *is_new { (Kind::FailedMeanwhile, failing.item(cxn)) } else { (Kind::Recovered, recovered) };
            news.add(kind, &job, item);
        }
        for (job, state) in &mut self.jobs {
            // The others are removed, disabled, or have another status by now.
            state.failing.retain(|cxn, failing| {
                let site = sites.get(job, *cxn).filter(|site| site.condition.is_down());
                // Otherwise it was revived, or another retry expression brought it back.
                failing.is_given_up &= site.is_some_and(|site| site.condition == Condition::GivenUp);
                site.is_some()
            });
        }
        self.find_failing_hosts(now, &mut news);
        self.find_recovered_hosts(sites, &mut news);
        for state in self.jobs.values_mut() {
            state.untried.retain(|host, _| self.hosts.contains_key(host));
        }
        news.changes(sites)
    }

    fn apply(
        &mut self,
        job: &JobId,
        event: &SiteTransition,
        sites: &Sites,
        recovered: &mut Recovered,
        news: &mut News,
    ) {
        let Some(site) = sites.get(job, event.cxn.0) else { return };
        let SiteTransition { cxn: CxnHash(cxn), host, transition } = *event;
        if transition.to == Condition::New {
            // It was removed, and added again. It did not recover.
            if let Some(state) = self.jobs.get_mut(job) {
                state.failing.remove(&cxn);
            }
            return;
        }
        let (at, class) = (transition.at, transition.class.map(|class| class.to_string()));
        let item = Item { cxn, host: host.map_or_else(|| site.host.clone(), |host| host.to_string()), at, class };
        let state = self.jobs.entry(job.clone()).or_default();
        if transition.to.is_down() {
            let Item { host, class, .. } = item.clone();
            let is_new = !transition.from.is_down();
            if is_new {
                let of_host = self.hosts.get_mut(&host).and_then(|host| host.recovered.get_mut(job));
                let has_recovered = of_host.is_some_and(|recovered| recovered.0.remove(&cxn).is_some());
                if let Some(untried) = state.untried.get_mut(&host).filter(|_| !has_recovered) {
                    *untried = untried.saturating_sub(1);
                }
            }
            // That it recovered in between is no news.
            let is_new = recovered.remove(&(job.clone(), cxn)).map_or(is_new, |(before, _)| before.is_new);
            let failing = Failing { host, since: at, class, is_given_up: false, is_new };
            let failing = state.failing.entry(cxn).or_insert(failing);
            if transition.to == Condition::GivenUp && !failing.is_given_up {
                failing.is_given_up = true;
                news.add(Kind::GivenUp, job, Item { host: failing.host.clone(), ..item });
            }
            return;
        }
        // If it is not known, it failed before notifications were configured.
        let unknown = || Failing { host: item.host, since: at, class: None, is_given_up: false, is_new: false };
        let failing = state.failing.remove(&cxn).or_else(|| transition.from.is_down().then(unknown));
        let Some(failing) = failing else { return };
        match self.hosts.get_mut(&failing.host) {
            Some(host) => {
                host.answered_at.get_or_insert(at);
                host.recovered.entry(job.clone()).or_default().0.insert(cxn, at);
            }
            None => _ = recovered.insert((job.clone(), cxn), (failing, at)),
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
                    let recovered = jobs.keys().map(|job| (job.clone(), Pairs::default())).collect();
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
            let mut recovered = std::mem::take(&mut host.recovered);
            let untried: BTreeMap<_, _> =
                jobs.iter().filter_map(|(job, state)| Some((job, *state.untried.get(name)?))).collect();
            for job in untried.keys() {
                recovered.entry(JobId::clone(job)).or_default();
            }
            // Those that were left to the next run, and did not fail since, answer too.
            let count =
                recovered.values().map(|sites| sites.0.len() as u64).sum::<u64>() + untried.values().sum::<u64>();
            if count == 0 && !given_up.is_empty() {
                // All of them were reported.
                return false;
            }
            // If most sites still fail, some of them were repaired or moved, and the host was not.
            let is_over = failing.len() as u64 <= count;
            let first = recovered.keys().next().cloned();
            for (job, Pairs(sites)) in recovered {
                let untried = untried.get(&job).copied().filter(|_| is_over).unwrap_or(0);
                if !sites.is_empty() || untried > 0 || count == 0 && Some(&job) == first.as_ref() {
                    let sites = sites.into_iter().map(|(cxn, at)| Item { cxn, host: name.clone(), at, class: None });
                    news.add_host(Kind::Recovered, &job, name, sites, untried);
                }
                host.recovered.insert(job, Pairs::default());
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
        self.untried.extend(self.down.clone());
    }
}

/// The entries of a frame, with its job and its time; none if it belongs to no job.
fn of_job(frame: &Frame) -> impl DoubleEndedIterator<Item = (&JobId, UnixTime, &Entry)> {
    frame.job.iter().flat_map(move |job| frame.entries.iter().map(move |entry| (job, frame.at, entry)))
}

/// The transitions of sites, with their jobs.
fn transitions(frames: &[Frame]) -> impl DoubleEndedIterator<Item = (&JobId, &SiteTransition)> {
    frames.iter().flat_map(of_job).filter_map(|(job, _, entry)| Some((job, entry.transition()?)))
}

/// Whether the store recorded each of the transitions: see [`SiteTransition`].
fn are_recorded(frames: &[Frame], sites: &Sites) -> Vec<bool> {
    let mut next: HashMap<(&JobId, CxnHash), bool> = HashMap::new();
    let mut recorded = Vec::new();
    for (job, event) in transitions(frames).rev() {
        let (from, to) = (event.transition.from.is_down(), event.transition.to.is_down());
        let known = next.get(&(job, event.cxn)).copied();
        let known = known.or_else(|| sites.get(job, event.cxn.0).map(|site| site.condition.is_down())).unwrap_or(to);
        let is_recorded = was_recorded(&from, &to, &known);
        if is_recorded {
            next.insert((job, event.cxn), from);
        }
        recorded.push(is_recorded);
    }
    recorded.reverse();
    recorded
}

//! Which names are looked up, and when.
//!
//! A bounded number of lookups is under way, so that name servers are not flooded. Those of slow sites get at most half
//! of them: the lookups of hundreds of dead domains take many seconds each, and the names of other sites would wait.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::time::Duration;

use crate::store::HostHash;

/// How many names are looked up at a time, where the system allows it.
///
/// Each is two questions, one per family. dnsmasq, on many small networks the name server, refuses more than 150 at a time.
pub(in crate::run) const MAX_LOOKUPS_AHEAD: usize = 64;

/// The number of a lookup. None is used twice in a run.
pub(super) type LookupNo = u64;

/// The lookups of a run. Times are those of the queue.
#[derive(Debug)]
pub(super) struct Lookups {
    /// How many are under way at a time.
    max: usize,
    limit: Duration,
    /// Lookups that have not started, in order: those for slow sites, and the others.
    slow: VecDeque<(LookupNo, HostHash)>,
    others: VecDeque<(LookupNo, HostHash)>,
    under_way: BTreeMap<LookupNo, Lookup>,
    slow_under_way: usize,
    /// The names of those that are over their limit and have no answer yet.
    late: HashMap<LookupNo, HostHash>,
    last_no: LookupNo,
}

/// A lookup that is under way.
#[derive(Debug, Clone, Copy)]
pub(super) struct Lookup {
    pub(super) name: HostHash,
    pub(super) since: Duration,
    is_slow: bool,
}

impl Lookups {
    /// No lookups yet. Each may take as long as `limit`.
    pub(super) fn new(limit: Duration) -> Self {
        let (slow, others, under_way) = (VecDeque::new(), VecDeque::new(), BTreeMap::new());
        let late = HashMap::new();
        Self { max: MAX_LOOKUPS_AHEAD, limit, slow, others, under_way, slow_under_way: 0, late, last_no: 0 }
    }

    pub(super) fn set_max(&mut self, max: usize) {
        self.max = max.max(1);
    }

    /// How many names wait for their answer.
    pub(super) fn len(&self) -> usize {
        self.slow.len() + self.others.len() + self.under_way.len()
    }

    /// Adds a name behind those that wait.
    pub(super) fn push(&mut self, name: HostHash, is_slow: bool) {
        self.last_no += 1;
        if is_slow { &mut self.slow } else { &mut self.others }.push_back((self.last_no, name));
    }

    /// The names that wait for their answer, of slow sites or of others.
    pub(super) fn names(&self, is_slow: bool) -> impl Iterator<Item = HostHash> {
        let under_way = self.under_way.values().filter(move |lookup| lookup.is_slow == is_slow);
        let waiting = if is_slow { &self.slow } else { &self.others };
        under_way.map(|lookup| lookup.name).chain(waiting.iter().map(|(_, name)| *name))
    }

    /// Puts the lookup of a name before those that have not started either.
    pub(super) fn advance(&mut self, name: HostHash) {
        for waiting in [&mut self.slow, &mut self.others] {
            if let Some(index) = waiting.iter().position(|(_, other)| *other == name)
                && let Some(lookup) = waiting.remove(index)
            {
                waiting.push_front(lookup);
            }
        }
    }

    /// Starts the next lookup; `None` if none waits or enough are under way.
    pub(super) fn start(&mut self, at: Duration) -> Option<(LookupNo, HostHash)> {
        if self.under_way.len() >= self.max {
            return None;
        }
        let slow = self.slow.front().filter(|_| self.slow_under_way < self.max.div_ceil(2));
        let is_slow = slow.is_some_and(|slow| self.others.front().is_none_or(|other| slow < other));
        let (no, name) = if is_slow { &mut self.slow } else { &mut self.others }.pop_front()?;
        self.slow_under_way += usize::from(is_slow);
        self.under_way.insert(no, Lookup { name, since: at, is_slow });
        Some((no, name))
    }

    /// Ends a lookup; `None` if it has ended before.
    pub(super) fn end(&mut self, no: LookupNo) -> Option<Lookup> {
        let lookup = self.under_way.remove(&no)?;
        self.slow_under_way -= usize::from(lookup.is_slow);
        Some(lookup)
    }

    /// Ends a lookup that is over its limit; `None` if none is.
    pub(super) fn end_expired(&mut self, at: Duration) -> Option<Lookup> {
        let expired = self.under_way.iter().find(|(_, lookup)| at.saturating_sub(lookup.since) >= self.limit)?;
        let (no, name) = (*expired.0, expired.1.name);
        self.late.insert(no, name);
        self.end(no)
    }

    /// Ends a lookup that was over its limit, and returns its name; `None` if it was not.
    pub(super) fn end_late(&mut self, no: LookupNo) -> Option<HostHash> {
        self.late.remove(&no)
    }

    /// Counts the time of the lookups from now on.
    pub(super) fn restart_timers(&mut self, at: Duration) {
        self.under_way.values_mut().for_each(|lookup| lookup.since = at);
    }

    /// Removes all. Answers of those that are under way are ignored.
    pub(super) fn clear(&mut self) {
        self.slow.clear();
        self.others.clear();
        self.under_way.clear();
        self.late.clear();
        self.slow_under_way = 0;
    }
}

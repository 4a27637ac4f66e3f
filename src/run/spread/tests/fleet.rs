//! A fleet of sites that is polled at each tick, in memory, with the rules of real runs.

use std::ops::RangeInclusive;

use super::*;
use crate::model::{BatchCode, Failure, FailureClass, Outcome};
use crate::run::{Ticks, order};
use crate::store::{CxnLocator, DueEntry};

pub(super) const START: UnixTime = 1_767_225_600;

/// How a site answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Health {
    Well,
    /// It fails in so many of a hundred polls.
    Flaky(u8),
    Dead,
}

#[derive(Debug, Clone)]
pub(super) struct Site {
    seq: u64,
    pub(super) status: PollStatus,
    pub(super) health: Health,
    /// How often it was polled.
    pub(super) polls: u32,
}

/// What a run polled: how many sites, and how many were due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Run {
    pub(super) polled: u64,
    pub(super) due: u64,
}

pub(super) struct Fleet {
    pub(super) policy: Policy,
    pub(super) sites: Vec<Site>,
    pub(super) tick_s: i64,
    /// The most seconds by which cron is late.
    pub(super) jitter_s: i64,
    /// How many sites a run polls at most.
    pub(super) capacity: usize,
    now: UnixTime,
    ticks: Ticks,
    counts: Option<SiteCounts>,
    /// How often the sites were counted.
    pub(super) counted: u32,
    /// No site that was polled before is late: runs were missing, cut short or in vain until then.
    excused_until: UnixTime,
    /// The level of each site that was polled, and its lateness in thousandths of its period.
    pub(super) lateness: Vec<(u32, u32)>,
    next_seq: u64,
    rng: fastrand::Rng,
}

impl Fleet {
    pub(super) fn new(retry: &str, tick_s: i64) -> Self {
        Self {
            policy: retry.parse().unwrap(),
            sites: Vec::new(),
            tick_s,
            jitter_s: 0,
            capacity: usize::MAX,
            now: START,
            ticks: Ticks::default(),
            counts: None,
            counted: 0,
            excused_until: START,
            lateness: Vec::new(),
            next_seq: 0,
            rng: fastrand::Rng::with_seed(24),
        }
    }

    pub(super) fn import(&mut self, sites: usize, health: Health) {
        for _ in 0..sites {
            let status = PollStatus::default();
            self.sites.push(Site { seq: self.next_seq, status, health, polls: 0 });
            self.next_seq += 1;
        }
    }

    /// Removes the sites with these numbers.
    pub(super) fn remove(&mut self, seqs: RangeInclusive<u64>) {
        self.sites.retain(|site| !seqs.contains(&site.seq));
    }

    /// Changes the retry expression, by which sites may be late at once.
    pub(super) fn set_retry(&mut self, retry: &str) {
        self.policy = retry.parse().unwrap();
        self.excused_until = self.now + self.tick_s + self.jitter_s;
    }

    /// How many ticks a healthy site waits for its next poll.
    pub(super) fn ticks_per_period(&self) -> usize {
        let natural = self.policy.next_due(0, START).unwrap();
        usize::try_from(ticks_until(&self.policy, 0, natural, START, self.tick_s)).unwrap()
    }

    /// The run of a tick, which may fall in an outage of our own, in which nothing is counted.
    pub(super) fn run(&mut self, tick: i64, is_outage: bool) -> Run {
        let was = self.now;
        let now = START + tick * self.tick_s + self.rng.i64(0..=self.jitter_s);
        self.now = now;
        let Self { policy, sites, .. } = self;
        let mut entries: Vec<DueEntry> = Vec::new();
        for (index, site) in (0..).zip(sites.iter()).filter(|(_, site)| policy.is_due(&site.status, now)) {
            let due = policy.next_due_of_status(&site.status).unwrap();
            let permille_late = policy.permille_late(&site.status, now);
            let locator = CxnLocator { batch_code: BatchCode::MIN, seq: index };
            entries.push(DueEntry { locator, host: site.seq, due, permille_late });
        }
        order::sort(&mut entries, 4, None);
        self.ticks.add(now);
        let due = entries.len() as u64;
        let polled = entries.len().min(self.capacity);
        if is_outage || polled < entries.len() || now - was > self.tick_s + self.jitter_s {
            self.excused_until = now + self.jitter_s + 1;
        }
        let mut spread = (due > MAX_EXACT).then(|| self.spread(due));
        for entry in &entries[..if is_outage { 0 } else { polled }] {
            let index = usize::try_from(entry.locator.seq).unwrap();
            self.check(index);
            let site = &mut self.sites[index];
            self.lateness.push((site.status.level, entry.permille_late));
            let fails = match site.health {
                Health::Well => false,
                Health::Flaky(percent) => self.rng.u8(..100) < percent,
                Health::Dead => true,
            };
            let outcome: Outcome = if fails { Err(Failure::new(FailureClass::Timeout, "connecting")) } else { Ok(()) };
            self.policy.apply(&mut site.status, now, &outcome);
            if let Some(spread) = &mut spread {
                spread.place(&mut site.status);
            }
            site.polls += 1;
        }
        Run { polled: polled as u64, due }
    }

    /// The spread of a run, as `selection::select` makes it.
    fn spread(&mut self, due: u64) -> Spread {
        let tick_s = self.ticks.usual_s();
        let usual =
            self.counts.as_ref().and_then(|counts| Spread::of_usual_run(&self.policy, self.now, tick_s, counts, due));
        usual.unwrap_or_else(|| {
            let mut spread = Spread::new(&self.policy, self.now, tick_s);
            self.sites.iter().for_each(|site| spread.add(&site.status));
            self.counts = Some(spread.counts());
            self.counted += 1;
            spread
        })
    }

    /// Checks that a site that is polled now is neither late nor early.
    fn check(&self, index: usize) {
        let site = &self.sites[index];
        if site.health != Health::Well || site.status.is_new() {
            return;
        }
        let PollStatus { level, last_run, early_s, .. } = site.status;
        let period = self.policy.levels()[level as usize].period.mean_seconds();
        let waited = self.now - last_run;
        let is_excused = last_run < self.excused_until;
        assert!(is_excused || waited <= period + self.tick_s + self.jitter_s, "{site:?} is late at {}", self.now);
        assert!(waited + self.jitter_s >= self.tick_s, "{site:?} is polled at once at {}", self.now);
        if waited < period - self.policy.leeway(level) {
            assert!(early_s > 0, "{site:?} is early at {}", self.now);
        }
    }
}

//! Weeks of a fleet with everything that happens to one, checked at every tick.

use super::fleet::{Fleet, Health};

const RETRY: &str = "20 min (x6); 1 hour (x24); 1 day (x30)";
const TICK_S: i64 = 300;

/// The polls of each tick. Fails if they are not even, where they should be.
struct Evenness {
    polls: Vec<u64>,
    /// From which tick on all polls are to be even.
    from: usize,
    /// The highest peak over the mean of a period, in percent.
    worst_percent: u64,
}

impl Evenness {
    /// The polls may be uneven for the next three periods, and for twelve ticks at least.
    fn allow(&mut self, period: usize) {
        self.from = self.polls.len() + (3 * period).max(12);
    }

    fn add(&mut self, polled: u64, period: usize) {
        self.polls.push(polled);
        let even = self.polls.get(self.from..).unwrap_or_default();
        let Some(start) = even.len().checked_sub(period) else { return };
        let percent = 100 * polled * period as u64 / even[start..].iter().sum::<u64>();
        self.worst_percent = self.worst_percent.max(percent);
        assert!(percent <= 120, "tick {}: {polled} is {percent} % of the mean: {even:?}", self.polls.len() - 1);
    }
}

/// Polls a fleet for 30 days of so many ticks each, beginning with so many sites.
fn thirty_days(sites: usize, day: i64) -> (Fleet, Evenness) {
    let mut fleet = Fleet::new(RETRY, TICK_S);
    fleet.jitter_s = 4;
    let mut even = Evenness { polls: Vec::new(), from: 0, worst_percent: 0 };
    even.allow(fleet.ticks_per_period());
    let part = |percent: usize| sites * percent / 100;
    for (percent, health) in [(80, Health::Well), (5, Health::Flaky(1)), (5, Health::Flaky(5)), (10, Health::Well)] {
        fleet.import(part(percent), health);
    }
    // Time that no run took part in.
    let mut stopped = 0;
    for tick in 0..30 * day {
        let mut happens = true;
        match tick - tick / day * day {
            0 => match tick / day {
                // Another directory is imported, in batches.
                2 => fleet.import(part(4), Health::Well),
                // A provider dies, and comes back.
                4 | 6 => {
                    let health = if tick / day == 4 { Health::Dead } else { Health::Well };
                    fleet.sites[part(90)..part(100)].iter_mut().for_each(|site| site.health = health);
                }
                // Sites are removed that were imported together.
                8 => fleet.remove(0..=part(20) as u64),
                // The server is off for two days.
                10 => {
                    stopped += 2 * 86_400 / TICK_S;
                    // What is due takes more than one run.
                    fleet.capacity = fleet.sites.len() * 2 / 3;
                }
                12 => fleet.capacity = usize::MAX,
                // A provider dies for good.
                16 => fleet.sites[part(60)..part(64)].iter_mut().for_each(|site| site.health = Health::Dead),
                20 => fleet.set_retry("1 hour (x24); 1 day (x30)"),
                25 => fleet.set_retry(RETRY),
                _ => happens = false,
            },
            7 | 8 | 11 if tick / day == 2 => fleet.import(part(3), Health::Well),
            // Our own network is down at four ticks.
            10..14 if tick / day == 14 => {}
            _ => happens = false,
        }
        let is_outage = tick / day == 14 && (10..14).contains(&(tick % day));
        if happens {
            even.allow(fleet.ticks_per_period());
        }
        let run = fleet.run(tick + stopped, is_outage);
        even.add(if is_outage { 0 } else { run.polled }, fleet.ticks_per_period());
    }
    (fleet, even)
}

#[test]
fn runs_of_a_fleet_stay_even_through_thirty_short_days() {
    let (fleet, even) = thirty_days(1_600, 30);
    assert!(even.polls.len() == 900 && even.worst_percent > 100, "{}", even.worst_percent);
    // Counting all sites is rare.
    assert!(fleet.counted < 400, "{}", fleet.counted);
}

/// Takes seven seconds in release.
#[test]
#[ignore = "long"]
fn runs_of_a_large_fleet_stay_even_through_thirty_days() {
    let (fleet, even) = thirty_days(10_000, 288);
    let (sites, ticks) = (fleet.sites.len(), even.polls.len());
    println!("{sites} sites, {ticks} ticks, at most {} % of the mean, counted {}", even.worst_percent, fleet.counted);
}

#[test]
fn sites_of_a_small_crowd_are_polled_as_if_each_were_the_only_one() {
    let healths = [(60, Health::Well), (40, Health::Dead)];
    let mut crowd = Fleet::new(RETRY, TICK_S);
    for (sites, health) in healths {
        crowd.import(sites, health);
    }
    let mut single = healths.map(|(_, health)| {
        let mut fleet = Fleet::new(RETRY, TICK_S);
        fleet.import(1, health);
        fleet
    });
    for tick in 0..200 {
        crowd.run(tick, false);
        for (fleet, sites) in single.iter_mut().zip([0..60, 60..100]) {
            fleet.run(tick, false);
            assert!(crowd.sites[sites].iter().all(|site| site.status == fleet.sites[0].status), "tick {tick}");
        }
    }
}

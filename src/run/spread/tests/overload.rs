//! Runs that are cut short because there is more to poll than they can.

use super::fleet::{Fleet, Health};

/// Polls a fleet of which runs can poll four fifths, and returns the lateness at each of two levels.
///
/// It is that of the polls of the last day of three, in thousandths of the period of the level, and sorted.
fn overloaded() -> (Fleet, [Vec<u32>; 2]) {
    let mut fleet = Fleet::new("20 min (x1); 4 hour (x*)", 300);
    fleet.import(480, Health::Well);
    fleet.import(480, Health::Dead);
    // The mean of a tick is 120 of the first level, and 10 of the second.
    fleet.capacity = 104;
    for tick in 0..864 {
        if tick == 576 {
            fleet.lateness.clear();
        }
        assert_eq!(fleet.run(tick, false).polled, 104);
    }
    let of_level = |level: u32| {
        let mut lateness: Vec<_> =
            fleet.lateness.iter().filter(|(of, _)| *of == level).map(|(_, permille)| *permille).collect();
        lateness.sort_unstable();
        lateness
    };
    let lateness = [0, 1].map(of_level);
    (fleet, lateness)
}

#[test]
fn new_sites_do_not_starve_where_all_others_are_later_than_a_period() {
    let mut fleet = Fleet::new("20 min (x6); 1 hour (x24)", 300);
    fleet.import(400, Health::Well);
    fleet.capacity = 40;
    (0..60).for_each(|tick| _ = fleet.run(tick, false));
    fleet.import(100, Health::Well);
    (60..80).for_each(|tick| _ = fleet.run(tick, false));
    assert!(fleet.sites.iter().all(|site| site.polls > 0));
}

#[test]
fn no_site_and_no_level_starves_where_runs_poll_four_fifths_of_what_is_due() {
    let (fleet, lateness) = overloaded();
    let fewest = fleet.sites.iter().map(|site| site.polls).min();
    // Three days have 18 times four hours.
    assert!(fewest >= Some(13), "{fewest:?}");
    let [often, rarely] = lateness.map(|permille| (permille[permille.len() / 2], permille[permille.len() - 1]));
    // Each is polled a quarter of its period late. Of 20 minutes, one tick is a quarter.
    assert!(
        [often, rarely].iter().all(|(median, worst)| (200..=300).contains(median) && *worst <= 510),
        "{often:?} {rarely:?}"
    );
}

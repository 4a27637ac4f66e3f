//! The order in which due connections are polled.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};

use crate::model::UnixTime;
use crate::retry::NEW_PERMILLE_LATE;
use crate::store::{DueEntry, HostHash};

/// Sorts due connections into the order in which they are polled.
///
/// The order consists of rounds with up to `per_host` connections of each host, so that a host with thousands of sites
/// does not hold up the others. Within a round those come first that are the latest relative to their period, so that runs
/// that are cut short starve no site with a long one. New connections take each second place, so that neither they nor the
/// others have to wait for all of the rest. A `seed` replaces that by a random order, the same for the same seed.
pub(super) fn sort(due: &mut [DueEntry], per_host: usize, seed: Option<UnixTime>) {
    match seed {
        None => {
            due.sort_unstable_by_key(|entry| (Reverse(entry.permille_late), entry.due, entry.locator));
            let is_new = |entry: &DueEntry| entry.permille_late == NEW_PERMILLE_LATE;
            let new = due.partition_point(is_new);
            if (1..due.len()).contains(&new) {
                let mut places = [0, 1];
                due.sort_by_cached_key(|entry| {
                    let place = &mut places[usize::from(!is_new(entry))];
                    *place += 2;
                    *place
                });
            }
        }
        Some(seed) => due.sort_by_cached_key(|entry| {
            let mut hasher = DefaultHasher::new();
            (seed, entry.locator.seq).hash(&mut hasher);
            hasher.finish()
        }),
    }
    // Most hosts have few sites: of a million hosts no more is kept than their hashes.
    let mut hosts: Vec<HostHash> = due.iter().map(|entry| entry.host).collect();
    hosts.sort_unstable();
    let crowded = hosts.chunk_by(|one, next| one == next).filter(|sites| sites.len() > per_host);
    let mut seen: HashMap<HostHash, usize> = crowded.map(|sites| (sites[0], 0)).collect();
    if seen.is_empty() {
        return;
    }
    due.sort_by_cached_key(|entry| match seen.get_mut(&entry.host) {
        None => 0,
        Some(seen) => {
            *seen += 1;
            (*seen - 1) / per_host.max(1)
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::BatchCode;
    use crate::store::CxnLocator;

    fn entry(seq: u64, host: HostHash, due: UnixTime) -> DueEntry {
        let permille_late = 100 - u32::try_from(due).unwrap();
        DueEntry { locator: CxnLocator { batch_code: BatchCode::MIN, seq }, host, due, permille_late }
    }

    #[test]
    fn the_most_overdue_come_first_and_hosts_take_turns() {
        let mut due = [(1, 7, 10), (2, 7, 11), (3, 7, 12), (4, 8, 30), (5, 9, 5)].map(|(seq, h, d)| entry(seq, h, d));
        sort(&mut due, 2, None);
        assert_eq!(due.map(|entry| entry.locator.seq), [5, 1, 2, 4, 3]);
    }

    #[test]
    fn lateness_counts_relative_to_the_period() {
        // An hour of a day, and a minute of five.
        let [daily, often] = [(1, 0, 41), (2, 3540, 200)];
        let entry = |(seq, due, permille_late)| DueEntry { due, permille_late, ..entry(seq, seq, 0) };
        let mut due = [daily, often].map(entry);
        sort(&mut due, 4, None);
        assert_eq!(due.map(|entry| entry.locator.seq), [2, 1]);
    }

    #[test]
    fn equally_overdue_connections_keep_the_order_of_the_store() {
        let mut due = [3, 1, 2].map(|seq| entry(seq, seq, 0));
        sort(&mut due, 4, None);
        assert_eq!(due.map(|entry| entry.locator.seq), [1, 2, 3]);
    }

    #[test]
    fn new_connections_take_each_second_place() {
        let new = |seq| DueEntry { permille_late: NEW_PERMILLE_LATE, ..entry(seq, seq, 0) };
        let mut due = [entry(1, 1, 50), entry(2, 2, 40), new(3), new(4), new(5)];
        sort(&mut due, 4, None);
        assert_eq!(due.map(|entry| entry.locator.seq), [3, 2, 4, 1, 5]);
    }

    #[test]
    fn a_seed_gives_one_order_and_hosts_still_take_turns() {
        let due: Vec<_> = (0..100).map(|seq| entry(seq, u64::from(seq >= 50), 0)).collect();
        let shuffled = |seed| {
            let mut due = due.clone();
            sort(&mut due, 1, Some(seed));
            assert!(due.chunks(2).all(|round| round[0].host != round[1].host));
            due.iter().map(|entry| entry.locator.seq).collect::<Vec<_>>()
        };
        assert_eq!(shuffled(1), shuffled(1));
        assert_ne!(shuffled(1), shuffled(2));
    }
}

//! The sites of the demo: what they do, and how many do it.

use std::ops::Range;

use civisite::Behaviour;

/// A group of sites that do the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Group {
    pub(super) behaviour: Behaviour,
    /// What its sites do, for people: `answer`.
    pub(super) label: &'static str,
    /// The number of its first site.
    pub(super) first: u32,
    /// How many sites it has, at least 1.
    pub(super) count: u32,
}

impl Group {
    /// The numbers of its sites.
    pub(super) fn numbers(&self) -> Range<u32> {
        self.first..self.first + self.count
    }

    /// The behaviour of each of its sites.
    pub(super) fn behaviours(&self) -> impl Iterator<Item = Behaviour> {
        self.numbers().map(|_| self.behaviour)
    }
}

/// The number of sites that [`SHARES`] describes.
pub(super) const DEFAULT_SITES: u32 = 300;

/// What sites do, and how many of [`DEFAULT_SITES`] do it. The others answer.
const SHARES: [(Behaviour, &str, u32); 9] = [
    (Behaviour::Slow(400), "answer slowly", 12),
    (Behaviour::Every(3), "fail every third time", 8),
    (Behaviour::FailFirst(2), "fail twice, then recover", 6),
    (Behaviour::OkFirst(5), "break after five polls", 6),
    (Behaviour::ApiError, "return an API error", 3),
    (Behaviour::Garbled, "send a web page", 2),
    (Behaviour::Status(500), "send status 500", 2),
    (Behaviour::Hang, "hang", 2),
    (Behaviour::Close, "close the connection", 2),
];

/// Divides sites into groups, whose sites are numbered consecutively from 0.
///
/// The groups are in proportion, with at least one site each while there are enough.
pub(super) fn groups(sites: u32) -> Vec<Group> {
    let mut groups: Vec<Group> = Vec::new();
    let mut left = sites.saturating_sub(1);
    let mut first = 0;
    let failing = SHARES.map(|(behaviour, label, share)| {
        let proportion = u64::from(share) * u64::from(sites) / u64::from(DEFAULT_SITES);
        let count = u32::try_from(proportion).unwrap_or(u32::MAX).max(1).min(left);
        left -= count;
        (behaviour, label, count)
    });
    let answering = sites - failing.iter().map(|(_, _, count)| count).sum::<u32>();
    for (behaviour, label, count) in [(Behaviour::Ok, "answer", answering)].into_iter().chain(failing) {
        if count > 0 {
            groups.push(Group { behaviour, label, first, count });
            first += count;
        }
    }
    groups
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_site_is_in_one_group() {
        for sites in [1, 2, 5, 10, 11, 300, 10_000] {
            let groups = groups(sites);
            let ends: Vec<u32> = groups.iter().map(|group| group.first + group.count).collect();
            assert_eq!(groups[0].label, "answer");
            assert!(groups.iter().skip(1).map(|group| group.first).eq(ends[..ends.len() - 1].iter().copied()));
            assert_eq!(ends.last(), Some(&sites));
            assert_eq!(groups.len(), 10.min(sites as usize), "{sites}");
            assert!(groups.iter().all(|group| group.count > 0));
        }
    }

    #[test]
    fn groups_keep_their_proportions() {
        let counts = |sites| groups(sites).iter().map(|group| group.count).collect::<Vec<_>>();
        assert_eq!(counts(300), [257, 12, 8, 6, 6, 3, 2, 2, 2, 2]);
        assert_eq!(counts(600), [514, 24, 16, 12, 12, 6, 4, 4, 4, 4]);
        assert_eq!(counts(10), [1; 10]);
    }
}

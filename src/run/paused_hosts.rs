//! Hosts that are not called any longer in a run, because they asked to wait.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{PoisonError, RwLock};

/// Decides which hosts are paused: those of which two sites asked to wait.
#[derive(Debug, Default)]
pub(super) struct PauseRule {
    /// The sequence number of the first site of each address that asked; `None` once the host is paused.
    asked: HashMap<IpAddr, Option<u64>>,
}

impl PauseRule {
    /// Takes the request of a site to wait. Returns whether the host is to be paused now.
    pub(super) fn observe(&mut self, address: IpAddr, seq: u64) -> bool {
        let first = self.asked.entry(address).or_insert(Some(seq));
        let is_second = first.is_some_and(|first| first != seq);
        if is_second {
            *first = None;
        }
        is_second
    }
}

/// The addresses of hosts that are paused, for all workers.
#[derive(Debug, Default)]
pub(super) struct PausedHosts {
    /// Whether there is any. Usually there is none, and no name needs to be looked up.
    any: AtomicBool,
    addresses: RwLock<HashSet<IpAddr>>,
}

impl PausedHosts {
    /// Adds the address of a host.
    pub(super) fn add(&self, address: IpAddr) {
        self.addresses.write().unwrap_or_else(PoisonError::into_inner).insert(address);
        self.any.store(true, Ordering::Relaxed);
    }

    /// Whether a host is paused; `addresses` looks its addresses up.
    pub(super) fn contains(&self, addresses: impl FnOnce() -> Vec<IpAddr>) -> bool {
        if !self.any.load(Ordering::Relaxed) {
            return false;
        }
        let addresses = addresses();
        let paused = self.addresses.read().unwrap_or_else(PoisonError::into_inner);
        addresses.iter().any(|address| paused.contains(address))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_paused_once_two_of_its_sites_asked() {
        let mut rule = PauseRule::default();
        let [one, other]: [IpAddr; 2] = [[203, 0, 113, 1].into(), [203, 0, 113, 2].into()];
        let requests = [(one, 1), (other, 2), (one, 1), (one, 3), (one, 4), (other, 5)];
        let paused = requests.map(|(address, seq)| rule.observe(address, seq));
        assert_eq!(paused, [false, false, false, true, false, true]);
    }

    #[test]
    fn any_address_of_a_host_may_be_paused() {
        let [one, other]: [IpAddr; 2] = [[203, 0, 113, 1].into(), [203, 0, 113, 2].into()];
        let paused = PausedHosts::default();
        assert!(!paused.contains(|| unreachable!("no name is looked up")));
        paused.add(one);
        assert!(paused.contains(|| vec![other, one]) && !paused.contains(|| vec![other]));
    }
}

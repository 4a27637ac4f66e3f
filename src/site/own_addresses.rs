//! The addresses of this machine's network interfaces.

use std::collections::HashSet;
use std::io;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use if_addrs::{Interface, get_if_addrs};
use tracing::warn;

/// How long a list is used. Addresses may change during a run.
const MAX_AGE: Duration = Duration::from_secs(10);

/// The addresses of all interfaces, not older than [`MAX_AGE`].
#[derive(Debug, Default)]
pub(super) struct OwnAddresses(Mutex<Listed>);

#[derive(Debug, Default)]
struct Listed {
    addresses: HashSet<IpAddr>,
    /// When the system was last asked; `None` if it was not yet.
    at: Option<Instant>,
    has_failed: bool,
}

impl OwnAddresses {
    /// Whether an interface of this machine has an address.
    pub(super) fn contains(&self, address: IpAddr) -> bool {
        let mut listed = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        listed.refresh(Instant::now(), list);
        listed.addresses.contains(&address)
    }
}

impl Listed {
    /// Replaces a list that is too old.
    ///
    /// If that fails, the old list stays, and the first time there is a warning. Refusing every site instead would in the
    /// end give all of them up.
    fn refresh(&mut self, now: Instant, list: impl FnOnce() -> io::Result<HashSet<IpAddr>>) {
        if self.at.is_some_and(|at| now.duration_since(at) < MAX_AGE) {
            return;
        }
        self.at = Some(now);
        match list() {
            Ok(addresses) => self.addresses = addresses,
            Err(error) => {
                if !std::mem::replace(&mut self.has_failed, true) {
                    warn!("cannot list this machine's own addresses, so they may not be refused: {error}");
                }
            }
        }
    }
}

fn list() -> io::Result<HashSet<IpAddr>> {
    Ok(get_if_addrs()?.iter().map(Interface::ip).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    #[test]
    fn the_addresses_of_interfaces_are_own() {
        let own = OwnAddresses::default();
        assert!(own.contains(Ipv4Addr::LOCALHOST.into()));
        assert!(!own.contains(Ipv4Addr::new(1, 1, 1, 1).into()));
    }

    #[test]
    fn a_list_is_replaced_once_it_is_old_and_stays_if_there_is_no_other() {
        let [first, second] = [1, 2].map(|last| IpAddr::from([1, 1, 1, last]));
        let (mut listed, began) = (Listed::default(), Instant::now());
        let unexpected = || panic!("the list is not old");
        listed.refresh(began, || Ok(HashSet::from([first])));
        listed.refresh(began + MAX_AGE / 2, unexpected);
        assert_eq!(listed.addresses, HashSet::from([first]));
        listed.refresh(began + MAX_AGE, || Err(io::ErrorKind::OutOfMemory.into()));
        assert_eq!(listed.addresses, HashSet::from([first]));
        listed.refresh(began + MAX_AGE + MAX_AGE / 2, unexpected);
        listed.refresh(began + 2 * MAX_AGE, || Ok(HashSet::from([second])));
        assert_eq!(listed.addresses, HashSet::from([second]));
    }
}

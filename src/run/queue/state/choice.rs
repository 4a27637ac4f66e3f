//! Which sites are polled while permits are limited.
//!
//! Such polls show whether sites fail for our own fault. In the order of the queue, sites that fail for a fault of theirs may
//! all come first. So any host may be next, also one whose name is being looked up.

use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};

use super::State;
use crate::run::queue::host::Stage;
use crate::run::queue::room::HostNo;
use crate::run::queue::turns::Chosen;

impl State {
    /// Limits how many more tasks may be taken; `None` is no limit.
    pub(in crate::run::queue) fn set_permits(&mut self, permits: Option<usize>) {
        self.permits = permits;
        self.chosen = Chosen::default();
    }

    /// Removes any host from those that are ready, or chooses a name that has to be looked up first.
    ///
    /// A site that may take long is chosen only where there is no other.
    pub(super) fn choose_host(&mut self, permits: usize) -> Option<HostNo> {
        while permits > 0
            && let Some(no) = self.chosen.hosts.pop_front()
        {
            if self.hosts.get(&no).is_some_and(|host| host.stage == Stage::Ready) {
                self.turns.remove(no);
                return Some(no);
            }
        }
        while self.chosen.names.len() < permits {
            let awaited = |is_slow| -> Vec<_> {
                self.lookups.names(is_slow).filter(|name| !self.chosen.names.contains(name)).collect()
            };
            let is_slow = self.turns.count(false) == 0 && awaited(false).is_empty();
            let (ready, awaited) = (self.turns.count(is_slow), awaited(is_slow));
            // The same in each simulation of a run.
            let seed = (self.now, self.waiting, self.chosen.names.len());
            let random = BuildHasherDefault::<DefaultHasher>::default().hash_one(seed);
            #[expect(clippy::cast_possible_truncation, reason = "half of the bits are enough")]
            let index = (random as usize).checked_rem(ready + awaited.len())?;
            let Some(name) = index.checked_sub(ready).map(|index| awaited[index]) else {
                return self.turns.remove_at(is_slow, index);
            };
            self.chosen.names.insert(name);
            self.lookups.advance(name);
        }
        None
    }
}

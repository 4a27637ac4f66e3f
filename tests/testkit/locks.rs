//! Locks of the store, held as another process would hold them.

use std::fs::{File, TryLockError};
use std::thread;
use std::time::Duration;

use super::World;

/// The locks that every session of the store needs. They are released when this is dropped.
pub struct StoreLocks {
    turn: File,
    _session: File,
}

impl StoreLocks {
    /// Acquires both locks, and waits for a session that holds them.
    pub fn acquire(world: &World) -> Self {
        // In the order in which a session acquires them, so that neither waits for the other indefinitely.
        let [turn, session] = ["turn.lock", "store.lock"].map(|name| {
            let file = File::options().read(true).write(true).open(world.store().join(name)).unwrap();
            file.lock().unwrap();
            file
        });
        Self { turn, _session: session }
    }

    /// Whether another process waits for the session. It can get the turn, but no session, from the first call on.
    pub fn another_process_waits(&self) -> bool {
        // A process that waits for the session holds the turn.
        self.turn.unlock().unwrap();
        thread::sleep(Duration::from_millis(20));
        match self.turn.try_lock() {
            Ok(()) => false,
            Err(TryLockError::WouldBlock) => true,
            Err(error) => panic!("{error}"),
        }
    }
}

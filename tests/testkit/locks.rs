//! Locks of the store, held as another process would hold them.

use std::fs::File;

use super::World;

/// The locks that every session of the store needs. They are released when this is dropped.
pub struct StoreLocks {
    _files: [File; 2],
}

impl StoreLocks {
    /// Acquires both locks, and waits for a session that holds them.
    pub fn acquire(world: &World) -> Self {
        // In the order in which a session acquires them, so that neither waits for the other for ever.
        let files = ["turn.lock", "store.lock"].map(|name| {
            let file = File::options().read(true).write(true).open(world.store().join(name)).unwrap();
            file.lock().unwrap();
            file
        });
        Self { _files: files }
    }
}

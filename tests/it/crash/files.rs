//! How many files commands leave, however often they are killed.

use std::fs;
use std::path::Path;

use super::action::MAX_BACKUPS;
use crate::testkit::World;

/// The files of a database of sled: `db`, `conf`, `blobs`, and at most two snapshots.
const MAX_DATABASE_FILES: usize = 5;
/// The databases in `kept/`, beside the file of entries that a repair removed.
const MAX_KEPT: usize = 3;
/// The files in `runs/`: 16 that no run holds, that of the last run, and the directory's lock.
const MAX_RUN_FILES: usize = 18;
/// What is in a store: the database, `CURRENT`, the due hint, locks, and five directories.
const MAX_STORE_FILES: usize = 13;

/// Asserts the bounds of docs/design.md. The last command of each kind has ended by itself.
pub fn assert_bounded(world: &World) {
    let store = world.store();
    let (databases, _): (Vec<_>, Vec<_>) = names(&store).into_iter().partition(|name| name.starts_with("db-"));
    let mut too_many = Vec::new();
    for (dir, most) in [
        (store.clone(), MAX_STORE_FILES),
        (store.join(&databases[0]), MAX_DATABASE_FILES),
        (store.join("results"), MAX_DATABASE_FILES),
        (store.join("results/blobs"), 0),
        // One more is their lock.
        (store.join("backups"), MAX_BACKUPS + 1),
        // A database has the history beside it that was replaced with it.
        (store.join("kept"), 2 * MAX_KEPT + 1),
        (store.join("runs"), MAX_RUN_FILES),
        (world.path("exports"), 1),
        (world.path("metrics"), 1),
        (world.path("tmp"), 0),
    ] {
        let names = names(&dir);
        let is_temporary = |name: &String| {
            name.starts_with('.') || [".new", ".writing", ".generating"].iter().any(|end| name.ends_with(end))
        };
        if names.len() > most || names.iter().any(is_temporary) {
            too_many.push(format!("{} of {}: {names:?}", names.len(), dir.display()));
        }
    }
    assert!(too_many.is_empty() && databases.len() == 1, "too many files: {}", too_many.join("\n"));
}

/// Returns the names in a directory; none where it does not exist.
fn names(dir: &Path) -> Vec<String> {
    let entries = fs::read_dir(dir).into_iter().flatten();
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

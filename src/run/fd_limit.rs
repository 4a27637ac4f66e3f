//! The limit of open files: raised as far as the system allows, else fewer workers.

use std::fs;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tracing::warn;

use crate::model::MAX_WORKERS;
use crate::site::{MAX_LOOKUPS, MAX_SPARE_CONNECTIONS};
use crate::util::text::count;

/// Descriptors other than those of the workers, at least: standard streams, logs, locks, the database.
const OTHER_FILES: u64 = 64;
/// Descriptors that are kept free for files that are not always open: the database, backups, metrics.
const SPARE_FILES: u64 = 16;

/// Descriptors of a worker's connection.
///
/// An address that does not answer keeps one while the next address is tried. A third address waits where there is no other.
const FILES_PER_CONNECTION: u64 = 2;

/// How many workers may have a connection open at a time, and whether others may be kept open.
///
/// Those are for the polls to come. Each worker has `files_per_worker` other files open.
///
/// Raises the soft limit of open files as far as the hard limit allows. At least 1, at most `threads`. Warns if it is fewer
/// than `expected`.
pub(super) fn clamp_to_fd_limit(threads: usize, expected: usize, files_per_worker: u64) -> (usize, bool) {
    let others = other_files(open_files());
    let wanted = wanted_files(others, threads, files_per_worker) + MAX_SPARE_CONNECTIONS as u64;
    let limit = getrlimit(Resource::Nofile);
    if limit.current.is_some_and(|current| current < wanted) {
        let soft_limit = limit.maximum.map_or(wanted, |maximum| maximum.min(wanted));
        // A limit that cannot be raised is left as it is.
        let _ = setrlimit(Resource::Nofile, Rlimit { current: Some(soft_limit), ..limit });
    }
    let limit = getrlimit(Resource::Nofile).current;
    let workers = workers_within(limit, others, threads, files_per_worker);
    if workers < expected {
        warn!(
            "only {} at the same time, not {expected}: more open files are not allowed (ulimit -n)",
            count(workers as u64, "site")
        );
    }
    (workers, limit.is_none_or(|limit| limit >= wanted))
}

/// How many workers the hard limit of open files allows, at most [`MAX_WORKERS`].
#[must_use]
pub fn max_workers() -> usize {
    workers_within(getrlimit(Resource::Nofile).maximum, OTHER_FILES, MAX_WORKERS, 0)
}

/// How many descriptors are open, with those that were inherited; `None` if the system has no list.
fn open_files() -> Option<u64> {
    // One of them is that of the list.
    fs::read_dir("/dev/fd").ok().map(|files| files.count().saturating_sub(1) as u64)
}

/// How many descriptors are not for workers.
fn other_files(open: Option<u64>) -> u64 {
    open.map_or(0, |open| open + SPARE_FILES).max(OTHER_FILES)
}

fn wanted_files(others: u64, threads: usize, files_per_worker: u64) -> u64 {
    others + MAX_LOOKUPS as u64 + threads as u64 * (FILES_PER_CONNECTION + files_per_worker)
}

/// How many of `threads` workers fit into a limit of open files; `None` is no limit.
fn workers_within(limit: Option<u64>, others: u64, threads: usize, files_per_worker: u64) -> usize {
    match limit {
        // In addition to its connection, a worker may have left a name lookup that hangs.
        Some(limit) if limit < wanted_files(others, threads, files_per_worker) => {
            let workers = limit.saturating_sub(others) / (FILES_PER_CONNECTION + 1 + files_per_worker);
            usize::try_from(workers).unwrap_or(usize::MAX).clamp(1, threads)
        }
        _ => threads,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn workers_fit_into_the_limit() {
        for (limit, others, threads, files_per_worker, workers) in [
            (None, 64, 4096, 3, 4096),
            (Some(1_000_000), 64, 4096, 3, 4096),
            (Some(128), 64, 500, 0, 21),
            (Some(128), 64, 10, 0, 10),
            (Some(128), 64, 500, 3, 10),
            (Some(64), 64, 500, 0, 1),
            (Some(0), 64, 8, 3, 1),
            (Some(wanted_files(64, 7, 3)), 64, 7, 3, 7),
            (Some(100), 96, 64, 0, 1),
            (Some(100), 120, 64, 0, 1),
        ] {
            assert_eq!(workers_within(limit, others, threads, files_per_worker), workers, "{limit:?} {threads}");
        }
    }

    #[test]
    fn descriptors_that_are_open_are_not_for_workers() {
        assert_eq!((other_files(None), other_files(Some(12)), other_files(Some(80))), (64, 64, 96));
        let before = open_files().unwrap();
        let _files: Vec<_> = (0..200).map(|_| fs::File::open("/dev/null").unwrap()).collect();
        assert!(open_files().unwrap() >= before + 100, "other tests close files at the same time");
    }
}

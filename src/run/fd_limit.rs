//! The limit of open files: raised as far as the system allows, else fewer workers.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tracing::warn;

use crate::site::MAX_LOOKUPS;
use crate::util::text::count;

/// Descriptors other than those of the workers: standard streams, logs, locks, the database.
const OTHER_FILES: u64 = 64;

/// How many workers may have a connection open at a time.
///
/// Each has `files_per_worker` other files open.
///
/// Raises the soft limit of open files as far as the hard limit allows. At least 1, at most `threads`.
pub(super) fn clamp_to_fd_limit(threads: usize, files_per_worker: u64) -> usize {
    let wanted = wanted_files(threads, files_per_worker);
    let limit = getrlimit(Resource::Nofile);
    if limit.current.is_some_and(|current| current < wanted) {
        let soft_limit = limit.maximum.map_or(wanted, |maximum| maximum.min(wanted));
        // A limit that cannot be raised is left as it is.
        let _ = setrlimit(Resource::Nofile, Rlimit { current: Some(soft_limit), ..limit });
    }
    let workers = workers_within(getrlimit(Resource::Nofile).current, threads, files_per_worker);
    if workers < threads {
        warn!(
            "only {} at the same time, not {threads}: more open files are not allowed (ulimit -n)",
            count(workers as u64, "site")
        );
    }
    workers
}

fn wanted_files(threads: usize, files_per_worker: u64) -> u64 {
    OTHER_FILES + MAX_LOOKUPS as u64 + threads as u64 * (1 + files_per_worker)
}

/// How many of `threads` workers fit into a limit of open files; `None` is no limit.
fn workers_within(limit: Option<u64>, threads: usize, files_per_worker: u64) -> usize {
    match limit {
        // In addition to its connection, a worker may have left a name lookup that hangs.
        Some(limit) if limit < wanted_files(threads, files_per_worker) => {
            let workers = limit.saturating_sub(OTHER_FILES) / (2 + files_per_worker);
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
        for (limit, threads, files_per_worker, workers) in [
            (None, 4096, 3, 4096),
            (Some(1_000_000), 4096, 3, 4096),
            (Some(128), 500, 0, 32),
            (Some(128), 10, 0, 10),
            (Some(128), 500, 3, 12),
            (Some(64), 500, 0, 1),
            (Some(0), 8, 3, 1),
            (Some(wanted_files(7, 3)), 7, 3, 7),
        ] {
            assert_eq!(workers_within(limit, threads, files_per_worker), workers, "{limit:?} {threads}");
        }
    }
}

//! Insisting that what sled takes for stable is on the disk.
//!
//! On Linux sled 0.34.7 pushes each part of its log out with `sync_file_range`, takes it for stable from then on, and writes
//! so into the log. But that call promises nothing: after a power cut a hole may be left before a place that says that all
//! before it is stable, and sled then reports the whole database as damaged, or panics. Where the system doesn't know the
//! call, sled uses `fsync` instead; so a filter of system calls makes it unknown, for the threads that work on the database.
//! With it, 2,150 power cuts that were simulated (`tests/power`) lost nothing; without it, one in a few hundred did.
//!
//! A thread with such a filter, and what it starts, can't gain privileges: so one thread does all work on databases, and
//! nothing else. That it is always the same one also keeps memory small: with a thread for each session the allocator gave each
//! session another of its arenas, which all kept what they had once needed (171 MiB after thirty sessions instead of 31).
//! Where filters can't be had, sled works as it always does.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::LazyLock;
use std::thread;

use rayon::{ThreadPool, ThreadPoolBuildError, ThreadPoolBuilder};

/// The one thread.
static WORKER: LazyLock<Result<ThreadPool, ThreadPoolBuildError>> = LazyLock::new(|| {
    ThreadPoolBuilder::new()
        .num_threads(1)
        .thread_name(|_| "store".to_owned())
        .start_handler(|_| filter::apply())
        .build()
});

/// Does `work` in a thread in which sled uses `fsync`.
///
/// # Errors
/// What `work` panicked with, or that there can be no thread.
pub(super) fn insisting<T: Send>(work: impl FnOnce() -> T + Send) -> thread::Result<T> {
    match &*WORKER {
        Ok(worker) => catch_unwind(AssertUnwindSafe(|| worker.install(work))),
        Err(error) => Err(Box::new(format!("no thread can be started: {error}"))),
    }
}

#[cfg(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64", target_arch = "riscv64")))]
mod filter {
    use std::env::consts::ARCH;
    use std::sync::LazyLock;

    use seccompiler::{BpfProgram, SeccompAction, SeccompFilter};
    use tracing::debug;

    static FILTER: LazyLock<Option<BpfProgram>> = LazyLock::new(|| {
        let unknown = SeccompAction::Errno(libc::ENOSYS.cast_unsigned());
        // No conditions: every such call.
        let calls = [(libc::SYS_sync_file_range, Vec::new())].into();
        let filter = SeccompFilter::new(calls, SeccompAction::Allow, unknown, ARCH.try_into().ok()?).ok()?;
        filter.try_into().ok()
    });

    pub(super) fn apply() {
        let applied = FILTER.as_ref().map(|filter| seccompiler::apply_filter(filter));
        if !matches!(applied, Some(Ok(()))) {
            debug!(
                "the system allows no filter of calls: a power cut in the middle of a large session may harm the store"
            );
        }
    }
}

#[cfg(not(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64", target_arch = "riscv64"))))]
mod filter {
    pub(super) fn apply() {}
}

//! The one thread that works on databases. On it, sled syncs its log with `fsync`.
//!
//! On Linux sled writes its log out with `sync_file_range`, which promises nothing after a power cut. If the system
//! does not know that call, sled uses `fsync`. So a filter of system calls hides it from this thread and from the threads
//! that sled starts on it. A filtered thread cannot gain privileges, so it does nothing but work on databases. If the
//! system allows no filter, sled works as it always does.

use std::any::Any;
use std::fs;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{LazyLock, Mutex};
use std::thread;

use rayon::{ThreadPool, ThreadPoolBuilder};
use rustix::io::Errno;
use rustix::param::page_size;
use rustix::process::{Resource, getrlimit};
use tracing::Span;

use crate::store::error::{Error, Problem, Result};
use crate::util::text::panic_message;

/// The least room in a limited address space with which the threads are started, in bytes.
///
/// sled and its threads take nearly all of it, and more with the allocator of the packages. Where it does not suffice, a
/// failed allocation aborts the process.
const MIN_ROOM: u64 = if cfg!(target_env = "musl") { 64 } else { 56 } << 20;
/// How many threads sled starts for a database.
const SLED_THREADS: usize = 7;
/// The stack of a thread that only shows that it can be started.
const PROBE_STACK_BYTES: usize = 64 << 10;

/// One thread for all sessions: with a thread per session the allocator would give each its own arena.
static THREAD: LazyLock<io::Result<ThreadPool>> = LazyLock::new(|| {
    if address_space_left().is_some_and(|left| left < MIN_ROOM) {
        return Err(Errno::NOMEM.into());
    }
    let builder = ThreadPoolBuilder::new().num_threads(1).thread_name(|_| "store".to_owned());
    let pool = builder.start_handler(|_| filter::apply()).build().map_err(io::Error::other)?;
    probe_threads().map_err(io::Error::other)?;
    Ok(pool)
});

/// Starts as many threads as sled does, for a moment: with fewer it may wait for ever.
fn probe_threads() -> io::Result<()> {
    let until_all = Mutex::new(());
    thread::scope(|scope| {
        let _started = until_all.lock();
        let probe =
            |_| thread::Builder::new().stack_size(PROBE_STACK_BYTES).spawn_scoped(scope, || drop(until_all.lock()));
        (0..SLED_THREADS).try_for_each(|number| probe(number).map(drop))
    })
}

/// Returns the room that a limit of the address space leaves, in bytes; `None` without a limit.
pub(super) fn address_space_left() -> Option<u64> {
    let limit = getrlimit(Resource::As).current?;
    let statm = fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages = statm.split(' ').next().and_then(|pages| pages.parse::<u64>().ok());
    // Where the size is not known, the limit may well have been reached.
    Some(pages.map_or(0, |pages| limit.saturating_sub(pages * page_size() as u64)))
}

/// Runs `work` on the thread on which sled uses `fsync`, and catches its panics.
///
/// # Errors
/// [`Error::NoThread`] where the thread cannot be started, and ENOMEM where a limit of the address space leaves too
/// little room; [`Problem::Panicked`] where `work` panicked.
pub(super) fn run_on_store_thread<T: Send>(work: impl FnOnce() -> T + Send) -> Result<T> {
    let thread = THREAD.as_ref().map_err(|error| match error.raw_os_error() {
        Some(number) => Problem::System(number).into(),
        None => Error::NoThread(error.to_string()),
    })?;
    let run = Span::current();
    catch_unwind(AssertUnwindSafe(|| thread.install(|| run.in_scope(work)))).map_err(|panic| panic_error(&*panic))
}

/// The error of a panic.
pub(super) fn panic_error(panic: &(dyn Any + Send)) -> Error {
    Problem::Panicked(panic_message(panic)).into()
}

#[cfg(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64", target_arch = "riscv64")))]
mod filter {
    use std::env::consts::ARCH;
    use std::sync::LazyLock;

    use seccompiler::{BpfProgram, SeccompAction, SeccompFilter};
    use tracing::debug;

    /// Answers `sync_file_range` with ENOSYS, whatever its arguments; `None` if no filter can be built.
    pub(super) static FILTER: LazyLock<Option<BpfProgram>> = LazyLock::new(|| {
        let unknown = SeccompAction::Errno(libc::ENOSYS.cast_unsigned());
        let calls = [(libc::SYS_sync_file_range, Vec::new())].into();
        let filter = SeccompFilter::new(calls, SeccompAction::Allow, unknown, ARCH.try_into().ok()?).ok()?;
        filter.try_into().ok()
    });

    pub(super) fn apply() {
        let applied = FILTER.as_ref().map(|filter| seccompiler::apply_filter(filter));
        if !matches!(applied, Some(Ok(()))) {
            debug!(
                "the system allows no filter of system calls; a power cut during a large session may harm the store"
            );
        }
    }
}

#[cfg(not(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64", target_arch = "riscv64"))))]
mod filter {
    pub(super) fn apply() {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_on_the_thread_is_an_error_with_its_message() {
        let panicked = run_on_store_thread(|| panic!("sled gave up"));
        match panicked {
            Err(Error::Database { problem: Problem::Panicked(message), .. }) => assert_eq!(message, "sled gave up"),
            other => panic!("{other:?}"),
        }
        assert_eq!(run_on_store_thread(|| 7).unwrap(), 7);
    }

    #[cfg(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64", target_arch = "riscv64")))]
    mod on_linux {
        use super::*;
        use std::fs;

        fn seccomp_mode() -> String {
            let status = fs::read_to_string("/proc/thread-self/status").unwrap();
            status.lines().find_map(|line| line.strip_prefix("Seccomp:")).unwrap().trim().to_owned()
        }

        #[test]
        fn only_the_store_thread_and_its_children_have_a_filter() {
            let before = seccomp_mode();
            let (own, of_child) =
                run_on_store_thread(|| (seccomp_mode(), std::thread::spawn(seccomp_mode).join().unwrap())).unwrap();
            assert_eq!((own.as_str(), of_child.as_str()), ("2", "2"));
            assert_eq!(seccomp_mode(), before);
        }

        /// What the filter answers to a system call, as the kernel would evaluate it.
        fn answer(call: i64) -> u32 {
            const ARCH_OFFSET: u32 = 4;
            let program = filter::FILTER.as_ref().unwrap();
            // The program compares the architecture first, with the only value that it accepts.
            let own_arch = program.iter().find(|one| one.code & 7 == 5 && one.k > 0xffff).unwrap().k;
            let (mut accumulator, mut at) = (0, 0);
            loop {
                let one = &program[at];
                at += 1;
                match one.code & 7 {
                    0 if one.k == ARCH_OFFSET => accumulator = own_arch,
                    0 => accumulator = u32::try_from(call).unwrap(),
                    5 if one.code & 0xf0 == 0 => at += one.k as usize,
                    5 => {
                        let holds = match one.code & 0xf0 {
                            0x10 => accumulator == one.k,
                            0x20 => accumulator > one.k,
                            0x30 => accumulator >= one.k,
                            _ => accumulator & one.k != 0,
                        };
                        at += usize::from(if holds { one.jt } else { one.jf });
                    }
                    6 => return one.k,
                    _ => panic!("an instruction that filters do not have: {:#x}", one.code),
                }
            }
        }

        #[test]
        fn the_filter_hides_sync_file_range_and_nothing_else() {
            const ALLOW: u32 = 0x7fff_0000;
            const ERRNO: u32 = 0x0005_0000;
            assert_eq!(answer(libc::SYS_sync_file_range), ERRNO | libc::ENOSYS.cast_unsigned());
            for call in [libc::SYS_fsync, libc::SYS_fdatasync, libc::SYS_write, libc::SYS_clone3] {
                assert_eq!(answer(call), ALLOW, "{call}");
            }
        }
    }
}

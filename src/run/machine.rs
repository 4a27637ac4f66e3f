//! What the machine has left for more workers: processors and memory.
//!
//! Everything is read from `/proc`. Where a system has none, only the processor time of this process is known.

use std::fs;
use std::num::NonZero;
use std::path::Path;
use std::thread::available_parallelism;
use std::time::Duration;

use rustix::param::clock_ticks_per_second;
use rustix::process::{Resource, getrlimit};
use rustix::time::{ClockId, clock_gettime};

/// How many more workers start where the memory of this process is unknown.
const UNMEASURED_WORKERS: usize = 224;
/// The memory that workers and everything else take at most while workers are added, in bytes.
const MAX_MORE_BYTES: u64 = 72 << 20;
/// What of it is not taken by workers but by loaded tasks, outcomes and the store, in bytes.
const OTHER_BYTES: u64 = 8 << 20;
/// Workers are not the reason that this process takes more memory than this, in bytes.
const MAX_PROCESS_BYTES: u64 = 232 << 20;
/// What a worker takes at least, in bytes: its stack, and what is not yet known of its first poll.
const MIN_WORKER_BYTES: u64 = 64 << 10;
/// Below this share for this process, what others use of the processors does not count.
const SMALL_SHARE: f64 = 0.35;

/// How many processors this process may use, with the quota of its container.
pub(super) fn processors() -> u32 {
    available_parallelism().map_or(1, NonZero::get).try_into().unwrap_or(u32::MAX)
}

/// The processor time that was used up to some time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct CpuTime {
    /// The time since the run began.
    pub(super) at: Duration,
    /// What this process used.
    pub(super) process: Duration,
    /// How long all processors of the machine were idle, added up.
    ///
    /// `None` if this process may not use all of them.
    pub(super) idle: Option<Duration>,
}

impl CpuTime {
    /// Reads the processor time that was used up to now, which is `at`.
    pub(super) fn read(at: Duration, processors: u32) -> Self {
        let process = Duration::try_from(clock_gettime(ClockId::ProcessCPUTime)).unwrap_or_default();
        let idle = fs::read_to_string("/proc/stat").ok();
        Self { at, process, idle: idle.and_then(|stat| idle_time(&stat, processors, clock_ticks_per_second())) }
    }

    /// The share of the processors that was used since `earlier`, from 0 to 1.
    ///
    /// It is the share of this process or of everything on the machine, whichever is larger. But a process that uses little
    /// waits for its sites, whatever others do, so only its own share counts then. So it does in a container with a quota,
    /// since `/proc/stat` shows processors that this process may not use.
    pub(super) fn share_since(&self, earlier: &Self, processors: u32) -> f64 {
        let available = self.at.saturating_sub(earlier.at) * processors;
        if available.is_zero() {
            return 1.0;
        }
        let own = self.process.saturating_sub(earlier.process).div_duration_f64(available);
        let all = match (self.idle, earlier.idle) {
            _ if own < SMALL_SHARE => 0.0,
            (Some(idle), Some(before)) => 1.0 - idle.saturating_sub(before).div_duration_f64(available),
            _ => 0.0,
        };
        own.max(all).min(1.0)
    }
}

/// How long the processors in the text of `/proc/stat` were idle, added up.
///
/// `None` if they are others than those of this process. To wait for a disk is to be idle.
fn idle_time(stat: &str, processors: u32, ticks_per_second: u64) -> Option<Duration> {
    let mut lines = stat.lines().take_while(|line| line.starts_with("cpu"));
    let total = lines.next()?;
    let listed = u32::try_from(lines.count()).ok()?;
    let mut idle_and_waiting = total.split_ascii_whitespace().skip(4).take(2);
    let mut ticks = || idle_and_waiting.next()?.parse::<u64>().ok();
    let idle = ticks()? + ticks()?;
    (listed == processors).then(|| Duration::from_millis(idle.saturating_mul(1000) / ticks_per_second.max(1)))
}

/// The memory of this process, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct MemoryUse {
    /// The most that was resident so far.
    peak: u64,
    resident: u64,
    address_space: u64,
}

/// Limits the memory of the workers that are added.
#[derive(Debug)]
pub(super) struct MemoryLimit {
    /// Before the first worker started; `None` if it is unknown.
    start: Option<MemoryUse>,
    /// How much more may be resident, in bytes.
    more: u64,
}

impl MemoryLimit {
    /// Reads what this process uses before its first worker starts.
    pub(super) fn read() -> Self {
        let start = memory_use();
        let peak = start.map_or(0, |start| start.peak);
        let more = MAX_PROCESS_BYTES.saturating_sub(peak).min(MAX_MORE_BYTES).min(available().unwrap_or(u64::MAX) / 4);
        Self { start, more }
    }

    /// How many workers fit in addition to `workers`. Each takes so much of the address space.
    pub(super) fn room(&self, workers: usize, worker_bytes: usize) -> usize {
        match (self.start, memory_use()) {
            (Some(start), Some(now)) => {
                let address_space = getrlimit(Resource::As).current;
                room(start, now, self.more, workers as u64, address_space.map(|limit| (limit, worker_bytes as u64)))
            }
            _ => UNMEASURED_WORKERS.saturating_sub(workers),
        }
    }
}

/// How many workers fit into what is left of a limited address space. Each takes so much of it.
pub(super) fn room_in_address_space(worker_bytes: usize) -> usize {
    let limited = getrlimit(Resource::As).current.and_then(|limit| Some((limit, memory_use()?)));
    limited.map_or(usize::MAX, |(limit, now)| saturated(fitting(limit, now.address_space, worker_bytes as u64)))
}

/// How many times `each` bytes fit into a limited address space.
///
/// A quarter of it is left for polls and the store.
fn fitting(limit: u64, used: u64, each: u64) -> u64 {
    (limit - limit / 4).saturating_sub(used) / each.max(1)
}

fn saturated(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

/// How many workers fit in addition to `workers`, which have been started since `start`.
///
/// Each takes what those took on average, apart from [`OTHER_BYTES`].
fn room(
    start: MemoryUse,
    now: MemoryUse,
    more: u64,
    workers: u64,
    address_space_and_each: Option<(u64, u64)>,
) -> usize {
    let taken = now.resident.saturating_sub(start.resident);
    let each = (taken.saturating_sub(OTHER_BYTES) / workers.max(1)).max(MIN_WORKER_BYTES);
    let resident = more.saturating_sub(taken) / each;
    let fitting = address_space_and_each.map_or(u64::MAX, |(limit, each)| fitting(limit, now.address_space, each));
    saturated(resident.min(fitting))
}

fn memory_use() -> Option<MemoryUse> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let bytes = |name| kib(&status, name).map(|kib| kib << 10);
    Some(MemoryUse { peak: bytes("VmHWM:")?, resident: bytes("VmRSS:")?, address_space: bytes("VmSize:")? })
}

/// The memory that is left to this process, in bytes; `None` if it is unknown.
///
/// It is that of the machine, or of a control group of version 2.
#[must_use]
pub fn available() -> Option<u64> {
    let machine = fs::read_to_string("/proc/meminfo").ok().and_then(|text| kib(&text, "MemAvailable:"));
    machine.map(|kib| kib << 10).into_iter().chain(left_in_group()).min()
}

fn left_in_group() -> Option<u64> {
    let groups = fs::read_to_string("/proc/self/cgroup").ok()?;
    let group = groups.lines().find_map(|line| line.strip_prefix("0::/"))?;
    let directory = Path::new("/sys/fs/cgroup").join(group);
    let bytes = |file| fs::read_to_string(directory.join(file)).ok()?.trim().parse::<u64>().ok();
    Some(bytes("memory.max")?.saturating_sub(bytes("memory.current")?))
}

/// The number of KiB in the line of a file in `/proc` that begins with a name.
fn kib(text: &str, name: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix(name))?.trim().strip_suffix(" kB")?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    fn used(at_ms: u64, process_ms: u64, idle_ms: Option<u64>) -> CpuTime {
        let ms = Duration::from_millis;
        CpuTime { at: ms(at_ms), process: ms(process_ms), idle: idle_ms.map(ms) }
    }

    #[test]
    fn the_busier_of_process_and_machine_counts_unless_the_process_waits() {
        let begin = used(1000, 500, Some(9000));
        for (now, expected) in [
            (used(1100, 550, Some(9150)), 0.25),
            (used(1100, 580, Some(9060)), 0.7),
            (used(1100, 650, Some(9150)), 0.75),
            (used(1100, 580, None), 0.4),
            (used(1100, 500, Some(9300)), 0.0),
            (used(1100, 900, Some(9000)), 1.0),
            (used(1000, 500, Some(9000)), 1.0),
            (used(1100, 560, Some(9000)), 0.3),
        ] {
            assert!((now.share_since(&begin, 2) - expected).abs() < 1e-9, "{now:?}");
        }
    }

    #[test]
    fn the_machine_counts_only_if_this_process_may_use_all_of_it() {
        let stat =
            "cpu  100 1 50 700 30 0 5 0 0 0\ncpu0 50 0 25 350 15 0 3 0 0 0\ncpu1 50 1 25 350 15 0 2 0 0 0\nintr 9\n";
        assert_eq!(idle_time(stat, 2, 100), Some(Duration::from_millis(7300)));
        assert_eq!((idle_time(stat, 1, 100), idle_time("", 1, 100), idle_time("cpu\n", 0, 100)), (None, None, None));
    }

    #[test]
    fn workers_fit_that_take_what_the_others_took() {
        let start = MemoryUse { peak: 20 * MIB, resident: 16 * MIB, address_space: 100 * MIB };
        let room = |resident, address_space: u64, limit: Option<u64>| {
            let now = MemoryUse { resident: resident * MIB, address_space: address_space * MIB, ..start };
            room(start, now, 28 * MIB, 32, limit.map(|limit| (limit * MIB, 4 * MIB)))
        };
        // 32 workers took 4 of these 12 MiB, so 16 MiB are left for 128 more.
        assert_eq!(room(28, 230, None), 128);
        assert_eq!(room(16, 230, None), 448, "at first a worker takes 64 KiB");
        assert_eq!((room(44, 230, None), room(60, 230, None)), (0, 0));
        assert_eq!((room(28, 230, Some(400)), room(28, 230, Some(300))), (17, 0));
    }

    #[test]
    fn files_of_the_system_are_read() {
        let status = "Name:\tcxnpoll\nVmSize:\t  200000 kB\nVmHWM:\t   30000 kB\n";
        assert_eq!((kib(status, "VmHWM:"), kib(status, "VmRSS:")), (Some(30_000), None));
        if cfg!(target_os = "linux") {
            let now = memory_use().unwrap();
            assert!(now.peak >= now.resident && now.address_space > now.resident, "{now:?}");
            assert!(available().unwrap() > 0);
            assert!(CpuTime::read(Duration::ZERO, processors()).process > Duration::ZERO);
        }
    }
}

//! What polls cost: time, and processor time of this process.

use std::fmt;
use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};

use super::common::Result;

/// The cost of the bare loop and of a run, measured one after the other.
pub struct Round {
    pub bare: Cost,
    pub library: Cost,
}

impl Round {
    /// Measures both in an order that alternates, so that neither always profits from going second.
    ///
    /// Each returns how many of `polls` succeeded.
    pub fn of(
        round: usize,
        polls: u32,
        bare: impl FnOnce() -> Result<u64>,
        library: impl FnOnce() -> Result<u64>,
    ) -> Result<Self> {
        if round.is_multiple_of(2) {
            let bare = Cost::of(polls, bare)?;
            Ok(Self { bare, library: Cost::of(polls, library)? })
        } else {
            let library = Cost::of(polls, library)?;
            Ok(Self { bare: Cost::of(polls, bare)?, library })
        }
    }

    /// Returns the library's rate divided by that of the bare loop.
    pub fn ratio(&self) -> f64 {
        self.bare.wall.div_duration_f64(self.library.wall)
    }
}

/// What polls cost this process.
pub struct Cost {
    pub polls: u32,
    pub wall: Duration,
    pub cpu: Duration,
}

impl Cost {
    /// Measures `poll`, which returns how many of `polls` succeeded.
    ///
    /// Fails unless all did, since a failed poll does not cost the same.
    fn of(polls: u32, poll: impl FnOnce() -> Result<u64>) -> Result<Self> {
        let (start, cpu) = (Instant::now(), cpu_time()?);
        let succeeded = poll()?;
        let cost = Self { polls, wall: start.elapsed(), cpu: cpu_time()?.saturating_sub(cpu) };
        if succeeded == u64::from(polls) {
            Ok(cost)
        } else {
            Err(format!("{succeeded} of {polls} polls succeeded").into())
        }
    }
}

impl fmt::Display for Cost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let polls = f64::from(self.polls);
        write!(f, "{:.0}/s, {:.0} µs CPU", polls / self.wall.as_secs_f64(), self.cpu.as_secs_f64() * 1e6 / polls)
    }
}

/// Returns the user and system time of this process.
fn cpu_time() -> Result<Duration> {
    Ok(Duration::try_from(clock_gettime(ClockId::ProcessCPUTime))?)
}

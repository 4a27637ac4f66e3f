//! Random numbers that a seed reproduces.

use std::env;
use std::time::{Duration, UNIX_EPOCH};

/// Numbers that follow from a seed (`SplitMix64`).
pub struct Random(u64);

impl Random {
    /// Starts from a seed.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// Starts from `CXNPOLL_SEED`, or from the clock; prints the seed.
    pub fn from_env() -> Self {
        let seed = number_from_env("CXNPOLL_SEED").unwrap_or_else(clock_seed);
        println!("CXNPOLL_SEED={seed}");
        Self(seed)
    }

    /// Returns the next number.
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// Returns a number below a limit that is not zero.
    pub fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.next() % limit as u64).expect("it is below a usize")
    }

    /// Returns a duration below a limit.
    pub fn duration_below(&mut self, limit: Duration) -> Duration {
        limit * u32::try_from(self.next() >> 40).expect("24 bits") / (1 << 24)
    }
}

/// Reads a number from the environment; `None` if the variable is not set.
pub fn number_from_env(variable: &str) -> Option<u64> {
    env::var(variable).ok().map(|text| text.parse().expect("a number"))
}

fn clock_seed() -> u64 {
    u64::from(UNIX_EPOCH.elapsed().unwrap().subsec_nanos())
}

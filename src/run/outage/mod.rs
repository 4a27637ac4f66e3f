//! Decides whether failures are the fault of this machine, its network or its configuration.
//!
//! Everything here is pure: it has no clock and does no I/O. [`OutageDetector`] sees every poll of a run, and holds
//! failures back as long as they may be our own fault. It has two rules. By the first, sites cannot be reached
//! (`detector`). By the second, they all give the same answer (`answers`).

mod answers;
mod detector;
mod diagnosis;
mod fingerprint;
mod observation;
#[cfg(test)]
mod tests;
mod witness;

pub use detector::{Conclusion, OutageDetector, Suspicion};
pub use diagnosis::{Detail, Outage};
pub use observation::{Observation, Poll};
pub use witness::network_hash;

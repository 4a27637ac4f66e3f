//! Which fleets are simulated, and for how many runs.

use fastrand::Rng;

use super::figures::Figures;
use super::fleet::Fleet;
use super::scenario::{SCENARIOS, Scenario};

/// How many sites the fleets have.
pub const SIZES: [usize; 8] = [3, 5, 8, 12, 30, 60, 200, 1000];
/// How many workers the runs have.
const THREADS: [usize; 4] = [1, 4, 32, 64];
/// The fleets of a scenario of each size and number of workers where nothing is our fault.
const CALM_FLEETS: [u32; 8] = [60, 50, 40, 25, 20, 12, 4, 1];
/// The same where something is.
const FAULT_FLEETS: [u32; 8] = [3, 3, 5, 10, 10, 6, 3, 1];
/// How many runs a fleet has.
const RUNS: u32 = 40;
/// The same where nothing is measured. Then each scenario has one fleet of each small size and number of workers.
const FEW_RUNS: u32 = 5;
/// How many sites a small fleet has at most.
const SMALL: usize = 60;

/// The runs of one fleet.
#[derive(Debug, Clone, Copy)]
pub struct Job {
    /// The place of the scenario in [`SCENARIOS`].
    pub scenario: usize,
    /// The place of the size in [`SIZES`].
    size: usize,
    threads: usize,
    runs: u32,
    seed: u64,
}

/// Returns all jobs, with seeds that depend on `seed`.
pub fn jobs(seed: u64, is_measuring: bool) -> Vec<Job> {
    let mut seeds = Rng::with_seed(seed);
    let mut jobs = Vec::new();
    for (number, (_, scenario)) in SCENARIOS.iter().enumerate() {
        for size in 0..SIZES.len() {
            let fleets = match scenario {
                _ if !is_measuring => u32::from(SIZES[size] <= SMALL),
                Scenario::Theirs(_) => CALM_FLEETS[size],
                Scenario::Ours(..) => FAULT_FLEETS[size],
            };
            let runs = if is_measuring { RUNS } else { FEW_RUNS };
            for threads in THREADS {
                let job = |_| Job { scenario: number, size, threads, runs, seed: seeds.u64(..) };
                jobs.extend((0..fleets).map(job));
            }
        }
    }
    jobs
}

impl Job {
    /// Makes the runs. With `is_verbose` it prints those that went wrong.
    pub fn run(self, is_verbose: bool) -> Figures {
        let (name, scenario) = SCENARIOS[self.scenario];
        let (size, threads) = (SIZES[self.size], self.threads);
        let mut fleet = Fleet::new(scenario, size, threads, self.seed);
        let mut figures = Figures::default();
        for run in 1..=self.runs {
            let observed = fleet.next_run();
            let wrong = figures.add(self.size, &observed);
            if let Some(wrong) = wrong.filter(|_| is_verbose) {
                let (witnesses, charged) = (observed.witnesses, observed.charged);
                println!(
                    "{wrong}: {name}, {size} sites, {threads} threads, run {run} of seed {}: {witnesses} witnesses, \
                     {charged} charged; {:?}",
                    self.seed, observed.ran.record
                );
            }
        }
        figures
    }
}

//! What the runs of a scenario led to, and the tables of it.

use std::fmt::{self, Display};

use cxnpoll::model::Fault;

use super::fleet::Observed;
use super::plan::SIZES;

/// A false alarm may occur once in as many runs.
const RUNS_PER_ALARM: u64 = 10_000;
/// A missed outage may occur once in as many runs.
const RUNS_PER_MISS: u64 = 1_000;
/// An outage with witnesses on as many networks must be found.
const MIN_WITNESSES: usize = 10;
/// An outage with fewer can be found.
const FEW_WITNESSES: usize = 3;

/// The columns of false alarms, before those by number of sites.
const ALARMS: [&str; 4] = ["fleet", "runs  ", "network", "same answer"];
/// The columns of missed outages.
const MISSES: [&str; 7] =
    ["fault", "runs  ", "missed", "missed with few", "other cause", "charged if found", "charged if missed"];
/// The width of the first column.
const NAME_WIDTH: usize = 42;

/// The figures of a scenario.
#[derive(Debug, Clone, Default)]
pub struct Figures {
    /// Runs without a fault of ours, and those of them that found one, by number of sites.
    calm: [Share; SIZES.len()],
    /// False alarms by rule.
    network: u64,
    same_answer: u64,
    /// Runs in which a fault of ours had to be found, and those that missed it, by number of sites.
    faults: [Share; SIZES.len()],
    /// The same of runs with three to nine witnesses.
    few: Share,
    /// Runs that named another cause.
    other_cause: u64,
    /// Sites that had a failure counted in runs that found the fault, and in runs that missed it.
    charged_found: usize,
    charged_missed: usize,
}

/// How many of some runs went wrong.
#[derive(Debug, Clone, Copy, Default)]
struct Share {
    runs: u64,
    wrong: u64,
}

impl Share {
    fn add(&mut self, runs: u64, wrong: u64) {
        self.runs += runs;
        self.wrong += wrong;
    }

    fn sum(shares: impl IntoIterator<Item = Self>) -> Self {
        let mut sum = Self::default();
        shares.into_iter().for_each(|share| sum.add(share.runs, share.wrong));
        sum
    }

    /// Returns whether more went wrong than once in `runs`. One is always allowed.
    fn exceeds(self, runs: u64) -> bool {
        self.wrong > (self.runs / runs).max(1)
    }
}

impl Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = if self.runs == 0 { "–".to_owned() } else { self.wrong.to_string() };
        f.pad(&text)
    }
}

impl Figures {
    /// Adds a run of a fleet of a size, given by its place in [`SIZES`]. Returns what went wrong, if anything did.
    pub fn add(&mut self, size: usize, observed: &Observed) -> Option<&'static str> {
        let found = observed.ran.record.outage_cause;
        let Some(fault) = observed.fault else {
            self.calm[size].add(1, found.is_some().into());
            match found {
                Some(Fault::Network | Fault::NameServers | Fault::SameAddress) => self.network += 1,
                Some(_) => self.same_answer += 1,
                None => {}
            }
            return found.map(|_| "false alarm");
        };
        let is_missed = found.is_none();
        match observed.witnesses {
            MIN_WITNESSES.. => self.faults[size].add(1, is_missed.into()),
            FEW_WITNESSES.. => self.few.add(1, is_missed.into()),
            // No rule can find it.
            _ => return None,
        }
        if is_missed {
            self.charged_missed += observed.charged;
            return Some("missed");
        }
        self.charged_found += observed.charged;
        let names_other = found != Some(fault.cause());
        self.other_cause += u64::from(names_other);
        (names_other || observed.charged > 0).then_some("found too late, or another cause")
    }

    /// Adds the figures of others.
    pub fn merge(mut self, other: &Self) -> Self {
        for size in 0..SIZES.len() {
            self.calm[size] = Share::sum([self.calm[size], other.calm[size]]);
            self.faults[size] = Share::sum([self.faults[size], other.faults[size]]);
        }
        self.few = Share::sum([self.few, other.few]);
        self.network += other.network;
        self.same_answer += other.same_answer;
        self.other_cause += other.other_cause;
        self.charged_found += other.charged_found;
        self.charged_missed += other.charged_missed;
        self
    }

    /// Returns how many runs there were.
    pub fn runs(&self) -> u64 {
        Share::sum(self.calm.into_iter().chain(self.faults).chain([self.few])).runs
    }

    /// Prints the row of false alarms. Returns whether it is within its target.
    pub fn print_alarms(&self, name: &str) -> bool {
        let all = Share::sum(self.calm);
        let counts = [all.runs, self.network, self.same_answer].map(|count| count.to_string());
        print_row(&ALARMS, name, &counts, &self.calm);
        !all.exceeds(RUNS_PER_ALARM)
    }

    /// Prints the row of missed outages. Returns whether it is within its target.
    pub fn print_misses(&self, name: &str) -> bool {
        let all = Share::sum(self.faults);
        let few = format!("{} of {}", self.few.wrong, self.few.runs);
        let [runs, missed, other] = [all.runs, all.wrong, self.other_cause].map(|count| count.to_string());
        let [found_charged, missed_charged] = [self.charged_found, self.charged_missed].map(|count| count.to_string());
        print_row(&MISSES, name, &[runs, missed, few, other, found_charged, missed_charged], &self.faults);
        !all.exceeds(RUNS_PER_MISS)
    }
}

/// Prints the head of the table of false alarms.
pub fn print_alarms_head() {
    print_head(&ALARMS);
}

/// Prints the head of the table of missed outages.
pub fn print_misses_head() {
    print_head(&MISSES);
}

fn print_head(columns: &[&str]) {
    let first = format!("{:NAME_WIDTH$}", columns[0]);
    let others = columns[1..].iter().map(ToString::to_string).chain(SIZES.iter().map(|size| format!("{size:>4}")));
    let cells: Vec<String> = [first].into_iter().chain(others).collect();
    let lines: Vec<String> = cells.iter().map(|cell| "-".repeat(cell.len())).collect();
    println!("| {} |\n|-{}-|", cells.join(" | "), lines.join("-|-"));
}

fn print_row(columns: &[&str], name: &str, cells: &[String], sizes: &[Share]) {
    let first = format!("{name:NAME_WIDTH$}");
    let cells = columns[1..].iter().zip(cells).map(|(column, cell)| format!("{cell:>0$}", column.len()));
    let others = cells.chain(sizes.iter().map(|share| format!("{share:>4}")));
    println!("| {} |", [first].into_iter().chain(others).collect::<Vec<_>>().join(" | "));
}

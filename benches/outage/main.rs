//! How often runs find an outage of this machine where there is none, and miss one where there is.
//!
//! `cargo bench --bench outage`
//!
//! Simulated fleets are polled in virtual time, by the decisions of real runs. The statuses of each run are those that the
//! run before has recorded. The results are the same each time. `CXNPOLL_SEED` gives other fleets. With a part of the name
//! of some rows, as in `cargo bench --bench outage -- provider`, only these are simulated, and each run that went wrong is
//! printed. It fails where a row misses its target.

#[path = "../common/mod.rs"]
#[allow(dead_code, reason = "shared by all benches")]
mod common;
mod figures;
mod fleet;
mod member;
mod plan;
mod poll;
mod scenario;

use std::env;
use std::process::ExitCode;
use std::time::Instant;

use rayon::prelude::*;

use common::Result;
use figures::Figures;
use scenario::{SCENARIOS, Scenario};

fn main() -> Result<ExitCode> {
    let seed = env::var("CXNPOLL_SEED").map_or(Ok(1), |seed| seed.parse())?;
    let wanted = env::args().skip(1).find(|arg| !arg.starts_with('-'));
    let is_wanted = |name: &str| wanted.as_ref().is_none_or(|part| name.contains(part.as_str()));
    let began = Instant::now();
    let jobs = plan::jobs(seed, common::is_measuring());
    let jobs: Vec<_> = jobs.into_iter().filter(|job| is_wanted(SCENARIOS[job.scenario].0)).collect();
    let counted: Vec<_> = jobs.into_par_iter().map(|job| (job.scenario, job.run(wanted.is_some()))).collect();
    let figures_of = |wanted: &dyn Fn(usize) -> bool| {
        let counted = counted.iter().filter(|(scenario, _)| wanted(*scenario));
        counted.fold(Figures::default(), |sum, (_, figures)| sum.merge(figures))
    };
    let rows = || SCENARIOS.iter().enumerate().filter(|(_, (name, _))| is_wanted(name));
    let is_fault = |scenario: usize| matches!(SCENARIOS[scenario].1, Scenario::Ours(..));

    let mut missed = Vec::new();
    println!("False alarms, at most 1 in 10,000 runs; on the right by number of sites:\n");
    figures::print_alarms_head();
    for (number, (name, _)) in rows().filter(|(number, _)| !is_fault(*number)) {
        if !figures_of(&|scenario| scenario == number).print_alarms(name) {
            missed.push(*name);
        }
    }
    let name = "the runs before and after faults of ours";
    if !figures_of(&is_fault).print_alarms(name) {
        missed.push(name);
    }

    println!("\nMissed outages, at most 1 in 1,000 runs where ten witnesses are due:\n");
    figures::print_misses_head();
    for (number, (name, _)) in rows().filter(|(number, _)| is_fault(*number)) {
        if !figures_of(&|scenario| scenario == number).print_misses(name) {
            missed.push(name);
        }
    }

    println!("\n{} runs in {:.1} s", figures_of(&|_| true).runs(), began.elapsed().as_secs_f64());
    for name in &missed {
        println!("missed its target: {name}");
    }
    Ok(if missed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

//! `cxnpoll demo`: simulated sites, polled for real.

mod report;
mod sites;
mod store_dir;

use std::path::PathBuf;

use civisite::BlockingServer;
use clap::Args;

use crate::cli::context::Context;
use crate::cli::error::{Error, Result};
use crate::cli::simulation::{SERVER_THREADS, Simulation, TICK_S};
use crate::cli::ui::output;
use crate::cli::ui::progress::RunProgress;
use crate::cli::values;
use crate::exit;
use crate::model::AppId;
use crate::retry::Policy;
use crate::run::Signals;
use crate::store::Store;
use report::Report;
use sites::{DEFAULT_SITES, Group, groups};
use store_dir::StoreDir;

const APP: &str = "app:org.example.myapp";
const LATENCY_MS: u64 = 60;

/// Poll simulated sites, to see what cxnpoll does
///
/// Simulated sites are served by this process on 127.0.0.1, and connected to an app in a temporary store. They are polled
/// over the real protocol, as often as cron would start runs in the last hours: one run for every 20 minutes of a simulated
/// clock that ends now. Some sites fail, and a table at the end shows what became of them.
///
/// No network is needed. Neither your configuration nor your store is used, so the options of both have no effect. The
/// temporary store is removed at the end, also after Ctrl-C (exit code 130). A second Ctrl-C ends the demo at once, and the
/// store stays. With --keep it stays too, and the last lines name commands to look around in it.
///
/// With -q, only the directory that --keep leaves is printed.
#[derive(Args)]
#[command(
    after_help = "Examples:\n  cxnpoll demo\n  cxnpoll demo --keep\n  cxnpoll demo --sites 1000 --runs 3 --keep ~/demo"
)]
pub(in crate::cli) struct Demo {
    /// Keep the store: in DIR, which must be empty or new, or else in a new temporary directory
    #[arg(long, value_name = "DIR", value_parser = values::path(), num_args = 0..=1)]
    #[expect(clippy::option_option, reason = "clap reads an option with an optional value so")]
    keep: Option<Option<PathBuf>>,
    /// Number of sites
    #[arg(long, value_name = "N", default_value_t = DEFAULT_SITES, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    sites: u32,
    /// Number of runs
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..=1000))]
    runs: u32,
    /// Retry expression
    #[arg(long, value_name = "EXPR", default_value = "20 min (x2); 1 hour (x2)")]
    retry: Policy,
}

impl Demo {
    pub(in crate::cli) fn run(self, context: &Context) -> Result<u8> {
        let signals = Signals::listen().map_err(Error::Signals)?;
        let app_id: AppId = APP.parse().map_err(|error| Error::InvalidAppName { name: APP.to_owned(), error })?;
        let keeps = self.keep.is_some();
        let dir = match self.keep.flatten() {
            Some(path) => StoreDir::named(path)?,
            None => StoreDir::temporary()?,
        };
        let groups = groups(self.sites);
        let behaviours: Vec<_> = groups.iter().flat_map(Group::behaviours).collect();
        let server = BlockingServer::start(SERVER_THREADS).map_err(Error::DemoServer)?;
        let store = Store::create(dir.path(), context.global.store_wait).map_err(Error::DemoStore)?;
        let store = store.with_owner(context.name);
        let simulation = Simulation::new(server, store, app_id, &behaviours, LATENCY_MS)?;

        let report = Report { groups: &groups, simulation: &simulation, policy: &self.retry, now: context.started };
        let is_quiet = context.global.quiet;
        if !is_quiet {
            report.begin();
        }
        let (mut stop_code, mut code) = (signals.stop_code(), exit::OK);
        for runs_left in (0..self.runs).rev() {
            if stop_code.is_some() {
                break;
            }
            let now = context.started - i64::from(runs_left) * TICK_S;
            let mut progress = RunProgress::new(context.progress_display());
            let summary = simulation.run(&self.retry, now, &signals, &mut progress)?;
            if !is_quiet {
                report::run(&summary);
            }
            stop_code = summary.interrupted;
            code = summary.exit_code(false, false);
        }
        if !is_quiet && stop_code.is_none() {
            report.end(keeps)?;
        }
        if keeps {
            let (path, example) = (dir.keep(), report.example()?);
            if is_quiet { output::line(&path.display().to_string()) } else { report::kept(&path, example) }
        }
        Ok(stop_code.unwrap_or(code))
    }
}

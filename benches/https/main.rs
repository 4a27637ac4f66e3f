//! The overhead of runs over HTTPS.
//!
//! Whole runs of the library are compared with a bare loop on ureq, in alternating rounds.
//!
//! `cargo bench --bench https [-- new | resumed | reused]`
//!
//! The bare loop uses the same number of plain threads, which take sites from one shared index. It makes the same messages
//! and calls with an agent of ureq, and checks the replies. A run includes selecting, loading, recording and the summary. It
//! also reads the platform's certificates, as every run does.
//!
//! `new` makes a connection with a full handshake for each poll. `resumed` makes a connection for each poll as well, and the
//! server lets sessions be resumed. In `reused` the server keeps connections open. The sites are on a few hosts, since a
//! session or connection is used again for the same host only. The table shows the median of several rounds. The CPU time
//! is that of this process only: the sites are served by another process on the same machine.

#[path = "../common/mod.rs"]
mod common;
#[path = "../common/cost.rs"]
mod cost;
#[path = "../common/cxn.rs"]
mod cxn;
mod sites;

use std::env;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use civisite::Site;
use cxnpoll::batch::Batch;
use cxnpoll::config::Config;
use cxnpoll::listener::Listeners;
use cxnpoll::model::{AppMeta, JobName, Secret, Threads, Tls};
use cxnpoll::protocol;
use cxnpoll::run::{PollRun, Signals};
use cxnpoll::site::{Client, Options};
use cxnpoll::store::Store;
use cxnpoll::util::time::unix_now;
use serde_json::{Map, Value};
use tempfile::TempDir;
use ureq::Agent;
use ureq::tls::{Certificate, TlsConfig};

use common::{APP, HOUR, MIDNIGHT, Result};
use cost::Round;
use cxn::cxn_of;
use sites::{Mode, Sites};

const ROUNDS: usize = 5;
const SITES: u32 = 2000;
const THREADS: usize = 32;
/// What `cargo test` tries.
const TRIAL_SITES: u32 = 40;
const CALL_LIMIT: Duration = Duration::from_secs(60);

fn main() -> Result<()> {
    if sites::serve()? {
        return Ok(());
    }
    let args: Vec<String> = env::args().skip(1).filter(|arg| !arg.starts_with("--")).collect();
    let modes = match args.first().map(String::as_str) {
        None => &Mode::ALL[..],
        Some("new") => &[Mode::New],
        Some("resumed") => &[Mode::Resumed],
        Some("reused") => &[Mode::Reused],
        Some(_) => return Err("expected new, resumed or reused".into()),
    };
    let mut sites = Sites::start()?;
    println!("\n| connections | bare loop | handshakes | cxnpoll | handshakes | relative rate | relative CPU time |");
    println!("| --- | ---: | ---: | ---: | ---: | ---: | ---: |");
    let (count, rounds) = if common::is_measuring() { (SITES, ROUNDS) } else { (TRIAL_SITES, 1) };
    modes.iter().try_for_each(|mode| print_mode(&mut sites, *mode, count, rounds))
}

/// Measures a mode and prints its line: the median of the rounds after a first one that is not counted.
fn print_mode(sites: &mut Sites, mode: Mode, count: u32, rounds: usize) -> Result<()> {
    let bench = Bench::new(sites, mode, count)?;
    let mut measured = Vec::new();
    for round in 0..=rounds {
        let mut handshakes = [[0; 2]; 2];
        sites.handshakes()?;
        let sites = std::cell::RefCell::new(&mut *sites);
        let [of_bare, of_library] = &mut handshakes;
        let round = Round::of(
            round,
            count,
            || {
                let succeeded = bench.bare_loop()?;
                *of_bare = sites.borrow_mut().handshakes()?;
                Ok(succeeded)
            },
            || {
                let succeeded = bench.run(round)?;
                *of_library = sites.borrow_mut().handshakes()?;
                Ok(succeeded)
            },
        )?;
        measured.push((round, handshakes));
    }
    let mut measured = measured.split_off(1);
    measured.sort_by(|(a, _), (b, _)| a.ratio().total_cmp(&b.ratio()));
    let (Round { bare, library }, [of_bare, of_library]) = &measured[measured.len() / 2];
    let [(min, _), (median, _), (max, _)] = [0, measured.len() / 2, measured.len() - 1].map(|index| &measured[index]);
    println!(
        "| {mode:?} | {bare} | {} | {library} | {} | {:.3} ({:.3} to {:.3}) | {:.3} |",
        described(*of_bare),
        described(*of_library),
        median.ratio(),
        min.ratio(),
        max.ratio(),
        library.cpu.div_duration_f64(bare.cpu),
    );
    Ok(())
}

fn described([full, resumed]: [u64; 2]) -> String {
    format!("{full} full, {resumed} resumed")
}

/// A store with the sites of a mode, and the same sites in memory.
struct Bench {
    mode: Mode,
    app: AppMeta,
    sites: Vec<Site>,
    store: Store,
    authority: Vec<u8>,
    _dir: TempDir,
}

impl Bench {
    fn new(sites: &Sites, mode: Mode, count: u32) -> Result<Self> {
        let dir = tempfile::tempdir()?;
        let store = Store::create(&dir.path().join("store"), Duration::from_secs(30))?;
        let authority = sites.authority.clone();
        let sites: Vec<_> = (0..count).map(|number| sites.site(number, mode)).collect();
        common::import(&store, sites.iter().map(cxn_of))?;
        let app_cert = String::new();
        let app = AppMeta { app_id: APP.parse()?, app_cert, disabled: false, tls: Tls::Verify, metadata: Value::Null };
        Ok(Self { mode, app, sites, store, authority, _dir: dir })
    }

    /// Polls all sites in a run, `round` hours after midnight, and returns how many polls succeeded.
    fn run(&self, round: usize) -> Result<u64> {
        let allow_net = vec!["127.0.0.0/8".parse()?];
        let client =
            Client::new(Options { allow_net, authorities: vec![self.authority.clone()], ..Options::default() });
        let run = PollRun {
            app: self.app.clone(),
            job: JobName::default(),
            batch: Batch::default(),
            policy: "1 hour (x2)".parse()?,
            now: MIDNIGHT + i64::try_from(round)? * HOUR,
            threads: Threads::Fixed(THREADS),
            per_host: 4,
            max_runtime: None,
            limit: None,
            only: None,
            listeners: Listeners::default(),
        };
        let (config, signals) = (Config::default(), Signals::default());
        Ok(run.run(&self.store, &Arc::new(client), &config, &signals, &mut |_| ())?.run.ok)
    }

    /// Polls all sites in the bare loop and returns how many polls succeeded.
    fn bare_loop(&self) -> Result<u64> {
        let authority = Certificate::from_der(&self.authority).to_owned();
        let idle = if self.mode == Mode::Reused { THREADS } else { 0 };
        let agent = Agent::config_builder()
            .tls_config(TlsConfig::builder().root_certs([authority].into()).build())
            .max_idle_connections(idle)
            .max_idle_connections_per_host(idle)
            .timeout_global(Some(CALL_LIMIT))
            .build()
            .new_agent();
        let next = AtomicUsize::new(0);
        let work = || {
            let mut succeeded = 0;
            while let Some(site) = self.sites.get(next.fetch_add(1, Ordering::Relaxed)) {
                succeeded += u64::from(self.call(&agent, site).is_ok());
            }
            succeeded
        };
        thread::scope(|scope| {
            let workers: Vec<_> = (0..THREADS).map(|_| scope.spawn(work)).collect();
            workers.into_iter().map(|worker| worker.join().map_err(|_| "a worker panicked".into())).sum()
        })
    }

    /// Calls a site with an agent of ureq.
    fn call(&self, agent: &Agent, site: &Site) -> Result<()> {
        let (cxn_id, secret) = (site.cxn_id.parse()?, Secret::from_bytes(site.secret()));
        let mut iv = [0; 32];
        getrandom::fill(&mut iv)?;
        let plaintext = protocol::request("System", "get", Map::new(), &self.app.app_cert);
        let message = protocol::encode(&cxn_id, &secret, &plaintext, unix_now() + protocol::TTL_S, &iv);
        let request = agent.post(&site.site_url).content_type(protocol::CONTENT_TYPE);
        let reply = request.send(&message)?.body_mut().read_to_vec()?;
        protocol::decode(&reply, &cxn_id, &secret, unix_now())?;
        Ok(())
    }
}

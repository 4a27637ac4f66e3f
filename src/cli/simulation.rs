//! Simulated sites in a store, polled on a simulated clock.
//!
//! The demo uses it, and the example that draws `docs/timeline.svg`, for which it is public.

use std::fmt::Write;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use civisite::{Behaviour, BlockingServer, Site};
use ipnet::{IpNet, Ipv4Net};

use super::ui::progress::RunProgress;
use crate::batch::Batch;
use crate::config::Config;
use crate::listener::Listeners;
use crate::model::{AppId, AppMeta, CxnId, JobName, PollStatus, Threads, UnixTime};
use crate::retry::Policy;
use crate::run::{self, PollRun, Signals, Summary};
use crate::site::{Client, Options, Timeouts};
use crate::store::{self, CxnPatch, Store, TX_BATCH};
use crate::transfer;

/// The time between two runs, in seconds.
pub const TICK_S: i64 = 20 * 60;
/// The number of threads that the server needs.
///
/// That is one for each poll at a time, and some for polls that were given up.
pub const SERVER_THREADS: usize = POLLS_AT_A_TIME + 8;
const POLLS_AT_A_TIME: usize = 24;
const CALL_TIMEOUT: Duration = Duration::from_secs(2);
/// Simulated sites accept any certificate.
const APP_CERT: &str = "-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n";
const LOOPBACK: Ipv4Net = Ipv4Net::new_assert(Ipv4Addr::new(127, 0, 0, 0), 8);

/// A server of simulated sites, and a store with their connections.
pub struct Simulation {
    server: BlockingServer,
    store: Store,
    app_id: AppId,
    cxn_ids: Vec<CxnId>,
}

impl Simulation {
    /// Connects a site of each behaviour to an app. Sites reply after `latency_ms`, and are numbered from 0.
    ///
    /// # Errors
    /// The store cannot be written.
    pub fn new(
        server: BlockingServer,
        store: Store,
        app_id: AppId,
        behaviours: &[Behaviour],
        latency_ms: u64,
    ) -> transfer::Result<Self> {
        let mut patches: Vec<CxnPatch> = Vec::with_capacity(behaviours.len());
        for (number, behaviour) in (0..).zip(behaviours) {
            let mut site = Site { app_id: app_id.to_string(), ..server.site_doing(number, *behaviour) };
            // A String takes everything.
            let _ = write!(site.site_url, "?ms={latency_ms}");
            let invalid = |problem| transfer::Error::InvalidRecord { number: patches.len() + 1, problem };
            patches.push(transfer::parse(&site.jsonl()).map_err(invalid)?);
        }
        for batch in patches.chunks(TX_BATCH) {
            store.write(|session| session.upsert(batch, false))?;
        }
        Ok(Self { server, store, app_id, cxn_ids: patches.into_iter().map(|patch| patch.cxn_id).collect() })
    }

    /// Polls what is due at `now`, with its own client, as a process started by cron does.
    ///
    /// # Errors
    /// Those of [`PollRun::run`].
    pub fn run(
        &self,
        policy: &Policy,
        now: UnixTime,
        signals: &Signals,
        progress: &mut RunProgress,
    ) -> Result<Summary, run::Error> {
        let plan = PollRun {
            app: AppMeta { app_cert: APP_CERT.to_owned(), ..AppMeta::bare(self.app_id.clone()) },
            job: JobName::default(),
            batch: Batch::default(),
            policy: policy.clone(),
            now,
            threads: Threads::Fixed(POLLS_AT_A_TIME),
            // All simulated sites are on the same host, so its limit is that of the run.
            per_host: POLLS_AT_A_TIME,
            max_runtime: None,
            limit: None,
            only: None,
            listeners: Listeners::default(),
        };
        let client = Arc::new(Client::new(Options {
            allow_net: vec![IpNet::V4(LOOPBACK)],
            timeouts: Timeouts { call: CALL_TIMEOUT, ..Timeouts::default() },
            ..Options::default()
        }));
        plan.run(&self.store, &client, &Config::default(), signals, &mut |update| progress.update(update))
    }

    /// Returns the server.
    #[must_use]
    pub fn server(&self) -> &BlockingServer {
        &self.server
    }

    /// Returns the id of a site's connection; `None` if there is no such site.
    #[must_use]
    pub fn cxn_id(&self, number: u32) -> Option<&CxnId> {
        self.cxn_ids.get(usize::try_from(number).ok()?)
    }

    /// Returns the poll status of a site; that of a new site if it was never polled.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn status(&self, number: u32) -> store::Result<PollStatus> {
        let Some(cxn_id) = self.cxn_id(number) else { return Ok(PollStatus::default()) };
        let status = self.store.read(|session| {
            let Some(key) = session.find(cxn_id)? else { return Ok(None) };
            let Some(job) = session.job(key.app, &JobName::default())? else { return Ok(None) };
            session.status(job.no, key.locator)
        })?;
        Ok(status.unwrap_or_default())
    }
}

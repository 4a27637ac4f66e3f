//! `cxnpoll results`: what listeners kept of their polls.

use std::io::{self, IsTerminal, Write};

use clap::Args;

use super::{Context, output};
use crate::error::{Error, Kind, Result};
use crate::exit;
use crate::model::{AppId, CxnId, JobName, UnixTime};
use crate::store::{Kept, Store};

/// Show what listeners kept of their polls
///
/// Without a connection: the newest of each connection and job. With one: all of its results.
#[derive(Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag")]
#[command(
    after_help = "Examples:\n  cxnpoll results cxn:0123… --latest\n  cxnpoll results --latest --json > latest.jsonl\n  cxnpoll results --remove cxn:0123…"
)]
pub(super) struct Results {
    /// The connection
    #[arg(value_name = "CXN")]
    cxn: Option<String>,
    /// Those of this app alone
    #[arg(long, value_name = "APP", value_parser = super::app, conflicts_with = "remove")]
    app: Option<AppId>,
    /// Those of this job alone
    #[arg(long, value_name = "J", value_parser = super::job)]
    name: Option<JobName>,
    /// The newest of each connection and job; of one connection, the whole of it
    #[arg(long)]
    latest: bool,
    /// The one of this moment, whole: RFC 3339, or seconds since 1970
    #[arg(long, value_name = "T", value_parser = super::moment, requires = "cxn", conflicts_with = "latest")]
    at: Option<UnixTime>,
    /// Print JSON lines
    #[arg(long)]
    json: bool,
    /// Remove them
    #[arg(long, conflicts_with_all = ["latest", "at", "json"])]
    remove: bool,
    /// With --remove: those of all connections
    #[arg(long, requires = "remove", conflicts_with = "cxn")]
    all: bool,
    /// Don't ask
    #[arg(long, requires = "remove")]
    yes: bool,
}

impl Results {
    pub(super) fn run(self, context: &Context) -> Result<u8> {
        let store = context.store()?;
        let cxn_id = match &self.cxn {
            Some(text) => Some(of_store(&store, text)?),
            None => None,
        };
        let job = self.name.as_ref();
        if self.remove {
            self.confirm(cxn_id.as_ref())?;
            let removed = store.forget(cxn_id.as_ref(), job)?;
            if io::stderr().is_terminal() || context.global.verbose > 0 {
                let _ = writeln!(io::stderr(), "{removed} results removed");
            }
            return Ok(exit::OK);
        }
        let whole = cxn_id.is_some() && (self.latest || self.at.is_some());
        let latest = self.latest || (cxn_id.is_none() && !self.json);
        let mut table = output::table(&["CXN", "JOB", "AT", "OUTCOME", "BYTES"]);
        let mut found = 0;
        store.each_kept(cxn_id.as_ref(), job, latest, |kept: Kept| {
            let is_meant =
                self.at.is_none_or(|at| at == kept.at) && self.app.as_ref().is_none_or(|app| *app == kept.app_id);
            if !is_meant {
                return Ok(());
            }
            found += 1;
            if self.json {
                return output::line(&kept.to_json().to_string());
            }
            if whole {
                return output::json(&kept.to_json());
            }
            let (at, bytes) = (output::time(kept.at), kept.bytes.to_string());
            table.add_row([kept.cxn_id.as_str(), kept.job.as_str(), &at, kept.class(), &bytes]);
            Ok(())
        })?;
        if found == 0
            && let Some(text) = &self.cxn
        {
            return Err(Error::new(Kind::NotFound, format!("nothing is kept of {text}"))
                .hint("a listener with `keep = true`, or a program, keeps replies"));
        }
        if !self.json && !whole {
            output::print_table(&mut table)?;
        }
        Ok(exit::OK)
    }

    /// Makes sure that what is removed is meant.
    fn confirm(&self, cxn_id: Option<&CxnId>) -> Result<()> {
        if cxn_id.is_some() || (self.all && self.yes) {
            return Ok(());
        }
        let refused = |why: &str, hint: &str| Err(Error::new(Kind::Usage, why).hint(hint));
        if !self.all {
            return refused("whose results?", "name a connection, or --all");
        }
        if !io::stdin().is_terminal() || !io::stderr().is_terminal() {
            return refused("the results of all connections are removed only with --yes", "add --yes");
        }
        let _ = write!(io::stderr(), "Remove the results of all connections? [y/N] ");
        let mut answer = String::new();
        match io::stdin().read_line(&mut answer) {
            Ok(_) if matches!(answer.trim(), "y" | "Y" | "yes") => Ok(()),
            _ => refused("nothing is removed", "answer y, or add --yes"),
        }
    }
}

/// The connection of an id as a person types it; one that is gone may have left results behind.
fn of_store(store: &Store, text: &str) -> Result<CxnId> {
    let found = store.session(|session| match Context::find(session, text) {
        Ok(key) => session.cxn(key),
        Err(error) if error.kind == Kind::NotFound => Ok(None),
        Err(error) => Err(error),
    })?;
    let gone = || text.parse().map_err(|_| Error::new(Kind::Usage, format!("'{text}' is no cxnId")));
    found.map_or_else(gone, |cxn| Ok(cxn.cxn_id))
}

//! `cxnpoll get`: list connections.

use clap::Args;
use serde_json::{Value, json};

use crate::cli::context::Context;
use crate::cli::cxn_arg::CxnArg;
use crate::cli::error::Result;
use crate::cli::selection::{Filter, Match};
use crate::cli::ui::output;
use crate::cli::ui::table::Table;
use crate::exit;
use crate::model::{Cxn, SiteUrl};
use crate::util::text::sanitize;

/// List connections
///
/// Lists all connections, the named ones, or those that match the filters. Secrets are not shown.
#[derive(Args)]
#[command(
    after_help = "Examples:\n  cxnpoll get --state given-up --app org.civicrm.myapp\n  cxnpoll get --failure tls,dns --json"
)]
pub(in crate::cli) struct Get {
    /// List only these connections
    #[arg(value_name = "CXN")]
    cxns: Vec<CxnArg>,
    #[command(flatten)]
    filter: Filter,
    /// Print one JSON object per line, without secrets
    #[arg(long)]
    json: bool,
}

impl Get {
    pub(in crate::cli) fn run(self, context: &Context) -> Result<u8> {
        let store = context.store()?;
        let mut table = Table::new(["CXN", "APP", "SITE", "BATCH CODE", "STATE"]);
        self.filter.each(context, &store, &self.cxns, |found, _| {
            if self.json {
                output::json_line(&without_secret(&found));
                return output::check();
            }
            let states = found.states();
            let Match { cxn, .. } = found;
            let via = cxn.via_port.as_ref().map(|via_port| format!(" via {via_port}"));
            let site = sanitize(&cxn.site_url.to_string()) + &via.unwrap_or_default();
            let batch_code = cxn.batch_code.get().to_string();
            table.add(&[&cxn.cxn_id.to_string(), cxn.app_id.short(), &site, &batch_code, &states]);
            Ok(())
        })?;
        if !self.json {
            table.print()?;
        }
        Ok(exit::OK)
    }
}

fn without_secret(found: &Match) -> Value {
    let Cxn { cxn_id, app_id, app_url, site_url, perm, via_port, batch_code, disabled, secret: _ } = &found.cxn;
    json!({
        "cxnId": cxn_id,
        "appId": app_id,
        "appUrl": SiteUrl::from(app_url.as_ref()),
        "siteUrl": site_url,
        "perm": perm.as_ref(),
        "viaPort": via_port,
        "batchCode": batch_code,
        "disabled": disabled,
        "states": found.jobs.iter().map(|(job, state)| (job.name.as_str().to_owned(), json!(state))).collect::<Value>(),
    })
}

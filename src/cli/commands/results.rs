//! `cxnpoll results`: the results that listeners kept.

use clap::Args;

use crate::cli::context::Context;
use crate::cli::cxn_arg::CxnArg;
use crate::cli::error::{Error, Result};
use crate::cli::ui::prompt::{Change, Confirmation, Preview};
use crate::cli::ui::table::Table;
use crate::cli::ui::{output, time};
use crate::cli::values;
use crate::exit;
use crate::model::{AppId, CxnId, JobName, UnixTime};
use crate::store::{Store, StoredResult};
use crate::util::text::count;

/// Show or remove the results that listeners kept
///
/// Without a connection, lists the newest result of each connection and job. With a connection, lists all of its results.
#[derive(Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag")]
#[command(
    mut_arg("yes", |arg| arg.requires("remove")),
    after_help = "Examples:\n  cxnpoll results cxn:0123… --latest\n  cxnpoll results --latest --json > latest.jsonl\n  cxnpoll results --remove cxn:0123…"
)]
pub(in crate::cli) struct Results {
    /// Connection
    #[arg(value_name = "CXN")]
    cxn: Option<CxnArg>,
    /// Select only results of this app
    #[arg(long, value_name = "APP", value_parser = values::app, conflicts_with = "remove")]
    app: Option<AppId>,
    /// Select only results of this job
    #[arg(long, value_name = "J", value_parser = values::job)]
    name: Option<JobName>,
    /// Select the newest result of each connection and job; for one connection, print it in full
    #[arg(long)]
    latest: bool,
    /// Print the result of this time in full: RFC 3339, or seconds since 1970
    #[arg(long, value_name = "T", value_parser = values::time, requires = "cxn", conflicts_with = "latest")]
    at: Option<UnixTime>,
    /// Print one JSON object per line
    #[arg(long)]
    json: bool,
    /// Remove the results
    #[arg(long, conflicts_with_all = ["latest", "at", "json"])]
    remove: bool,
    /// With --remove: remove the results of all connections
    #[arg(long, requires = "remove", conflicts_with = "cxn")]
    all: bool,
    #[command(flatten)]
    confirmation: Confirmation,
}

impl Results {
    pub(in crate::cli) fn run(self, context: &Context) -> Result<u8> {
        let store = context.store_for(self.remove)?;
        let cxn_id = match &self.cxn {
            Some(name) => Some(cxn_id(&store, name)?),
            None => None,
        };
        if self.remove { self.remove(context, &store, cxn_id.as_ref()) } else { self.show(&store, cxn_id.as_ref()) }
    }

    fn remove(&self, context: &Context, store: &Store, cxn_id: Option<&CxnId>) -> Result<u8> {
        if cxn_id.is_none() && !self.all {
            return Err(Error::NoResultsSelected);
        }
        if context.confirm(self.change(), &Preview::default())? {
            let removed = store.remove_results(cxn_id, self.name.as_ref())?;
            context.notify(&format!("{} removed", count(removed, "result")));
        }
        Ok(exit::OK)
    }

    /// The removal for the prompt. The results of a named connection are removed without a question.
    fn change(&self) -> Change {
        Change {
            action: "remove the results of all connections".to_owned(),
            count: None,
            is_confirmed: self.cxn.is_some() || self.confirmation.yes,
            asks_about_one: true,
            hint: "confirm with --all and --yes",
        }
    }

    fn show(&self, store: &Store, cxn_id: Option<&CxnId>) -> Result<u8> {
        let in_full = cxn_id.is_some() && (self.latest || self.at.is_some());
        let latest = self.latest || (cxn_id.is_none() && !self.json);
        let mut table = Table::new(["CXN", "JOB", "AT", "OUTCOME", "BYTES"]);
        let mut is_empty = true;
        store.for_each_result(cxn_id, self.name.as_ref(), latest, |result: StoredResult| -> Result<()> {
            let is_selected =
                self.at.is_none_or(|at| at == result.at) && self.app.as_ref().is_none_or(|app| *app == result.app_id);
            if !is_selected {
                return Ok(());
            }
            is_empty = false;
            if self.json {
                output::json_line(&result.to_json());
                return output::check();
            }
            if in_full {
                output::json(&result.to_json());
                return output::check();
            }
            let (at, bytes) = (time::utc(result.at), result.bytes.to_string());
            table.add(&[result.cxn_id.to_string().as_str(), &result.job.to_string(), &at, result.class(), &bytes]);
            Ok(())
        })?;
        if let (true, Some(name)) = (is_empty && store.skipped().is_empty(), &self.cxn) {
            return Err(Error::NothingKept(name.as_given().to_string()));
        }
        if !self.json && !in_full {
            table.print()?;
        }
        Ok(exit::OK)
    }
}

/// The id of a connection; one that was removed may have left results, and is taken by its full id.
fn cxn_id(store: &Store, name: &CxnArg) -> Result<CxnId> {
    let found = store.read(|session| name.find(session))?;
    Ok(found.map_or_else(|| name.as_given().clone(), |(cxn_id, _)| cxn_id))
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Arguments {
        #[command(flatten)]
        results: Results,
    }

    #[test]
    fn confirmation_needs_a_removal() {
        assert!(Arguments::try_parse_from(["test", "-y"]).is_err());
    }

    #[test]
    fn only_the_removal_of_all_results_needs_a_confirmation() {
        for (arguments, is_confirmed) in [
            (&["--remove", "cxn:1"][..], true),
            (&["--remove", "--all"], false),
            (&["--remove", "--all", "--yes"], true),
            (&["--remove", "--all", "-y"], true),
        ] {
            let results = Arguments::parse_from([&["test"], arguments].concat()).results;
            assert_eq!(results.change().is_confirmed, is_confirmed, "{arguments:?}");
        }
    }
}

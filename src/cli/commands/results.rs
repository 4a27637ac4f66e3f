//! `cxnpoll results`: the results that listeners kept.

mod condition;
mod field;
mod inventory;

use clap::Args;

use crate::cli::context::Context;
use crate::cli::cxn_arg::CxnArg;
use crate::cli::error::{Error, Result, ResultsProblem};
use crate::cli::ui::prompt::{Change, Confirmation, Preview};
use crate::cli::ui::table::Table;
use crate::cli::ui::{output, time};
use crate::cli::values;
use crate::exit;
use crate::model::{AppId, CxnId, JobName, UnixTime};
use crate::store::{Store, StoredResult, WhichResults};
use crate::util::text::count;
use inventory::{Inventory, Selection};

/// Show or remove the results that listeners kept
///
/// Without a connection, lists the newest result of each connection and job. With a connection, lists all of its results.
///
/// --table is for questions about all sites: each connection and job is a row, and fields of its newest result whose poll
/// succeeded are columns. A field is a path such as `php.tz`, with numbers for the elements of lists. The name of the call and
/// the only element of its reply may be left out: `version` is `System.get.values.0.version`. Of an object that has a
/// `version`, this is shown: `php` is `php.version`. A value that is missing is empty.
///
/// --where compares with `=`, `!=`, `<`, `<=`, `>` or `>=`. It compares as many parts of a version as it gives:
/// 'version<=5.50' is true for 5.50.3. `version=` selects what has no version.
#[derive(Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag")]
#[command(
    mut_arg("yes", |arg| arg.requires("remove")),
    after_help = "Examples:\n  cxnpoll results cxn:0123… --latest\n  cxnpoll results --latest --json > latest.jsonl\n  cxnpoll results --table version,php --where 'version<=5.50' --sort version\n  cxnpoll results --table version --count\n  cxnpoll results --table version,uf --csv > versions.csv\n  cxnpoll results --remove cxn:0123…"
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
    #[command(flatten)]
    inventory: Inventory,
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
        if self.remove {
            return self.remove(context, &store, cxn_id.as_ref());
        }
        if self.inventory.is_wanted() {
            let of = Selection { cxn_id: cxn_id.as_ref(), app_id: self.app.as_ref(), job: self.name.as_ref() };
            self.inventory.print(&store, &of, self.json)?;
            return Ok(exit::OK);
        }
        self.show(&store, cxn_id.as_ref())
    }

    fn remove(&self, context: &Context, store: &Store, cxn_id: Option<&CxnId>) -> Result<u8> {
        if cxn_id.is_none() && !self.all {
            return Err(Error::Results(ResultsProblem::NoneSelected));
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
        let is_latest = self.latest || (cxn_id.is_none() && !self.json);
        let which = if is_latest { WhichResults::Newest } else { WhichResults::All };
        let mut table = Table::new(["CXN", "JOB", "AT", "OUTCOME", "BYTES"]);
        let mut is_empty = true;
        store.for_each_result(cxn_id, self.name.as_ref(), which, |result: StoredResult| -> Result<()> {
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
            return Err(Error::Results(ResultsProblem::NothingKept(Some(name.as_given().to_string()))));
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

//! `cxnpoll revive`, `disable`, `enable` and `remove`: changes to selected connections.

use clap::Args;
use serde_json::json;

use crate::cli::commands::users;
use crate::cli::context::Context;
use crate::cli::cxn_arg::CxnArg;
use crate::cli::error::{Error, Result};
use crate::cli::selection::{Filter, Match, describe};
use crate::cli::ui::output;
use crate::cli::ui::prompt::{Change, Confirmation, Preview};
use crate::exit;
use crate::store::{AdminAction, AdminTarget};
use crate::util::text::count;

/// What is listed of a connection that cannot be read.
const UNREADABLE: &str = "cannot be read";

/// The options of the commands that change connections.
#[derive(Args)]
pub(in crate::cli) struct AdminArgs {
    /// Connections
    #[arg(value_name = "CXN")]
    cxns: Vec<CxnArg>,
    #[command(flatten)]
    filter: Filter,
    /// Apply to all connections that match the filter; without a filter, to all connections
    #[arg(long)]
    all: bool,
    #[command(flatten)]
    confirmation: Confirmation,
    /// Show the connections that would be changed, and change nothing
    #[arg(long)]
    dry_run: bool,
    /// Print the counts as JSON
    #[arg(long)]
    json: bool,
}

impl AdminArgs {
    pub(in crate::cli) fn run(self, context: &Context, action: AdminAction) -> Result<u8> {
        let verbs = Verbs::of(action);
        if self.cxns.is_empty() && self.filter.is_empty() && !self.all {
            return Err(Error::NoCxnSelected { verb: verbs.imperative });
        }
        let store = context.store_for(!self.dry_run)?;
        let mut targets: Vec<AdminTarget> = Vec::new();
        let mut preview = Preview::default();
        let unreadable = self.filter.each(context, &store, &self.cxns, |found, _| {
            let states = found.states();
            let Match { key, cxn, jobs } = found;
            if self.dry_run && self.json {
                let line = json!({"cxnId": cxn.cxn_id, "appId": cxn.app_id, "siteUrl": cxn.site_url});
                output::json_line(&line);
            } else if self.dry_run {
                output::line(&format!("{}  {states}", describe(&cxn)));
            } else {
                preview.add(|| format!("{}  {states}", describe(&cxn)));
            }
            targets.push((key, jobs.into_iter().map(|job| job.no).collect()));
            if self.dry_run { output::check() } else { Ok(()) }
        })?;
        // What cannot be read can still be removed.
        for (cxn_id, key) in unreadable.into_iter().filter(|_| action == AdminAction::Remove) {
            if self.dry_run {
                if self.json {
                    output::json_line(&json!({"cxnId": cxn_id}));
                } else {
                    output::line(&format!("{cxn_id}  {UNREADABLE}"));
                }
            } else {
                preview.add(|| format!("{cxn_id}  {UNREADABLE}"));
            }
            targets.push((key, Vec::new()));
        }
        if self.dry_run || !context.confirm(self.change(action, targets.len(), context.can_ask()), &preview)? {
            return Ok(exit::OK);
        }
        let changed = store.admin(&targets, action, &users::audit(""), self.filter.now(context))?;
        let matched = count(targets.len() as u64, "connection");
        context.notify(&format!("{changed} of {matched} {}", verbs.participle));
        if self.json {
            output::json(&json!({"matched": targets.len(), "changed": changed}));
        }
        Ok(exit::OK)
    }

    /// The change for the prompt. `--yes` counts with `--all`, or where a person could be asked instead.
    fn change(&self, action: AdminAction, number: usize, can_ask: bool) -> Change {
        Change {
            action: format!("{} {}", Verbs::of(action).imperative, count(number as u64, "connection")),
            count: Some(number),
            is_confirmed: self.confirmation.yes && (self.all || can_ask),
            asks_about_one: action == AdminAction::Remove,
            hint: "confirm with --all and --yes, or list the connections with --dry-run",
        }
    }
}

/// The name of an action in sentences.
struct Verbs {
    imperative: &'static str,
    participle: &'static str,
}

impl Verbs {
    fn of(action: AdminAction) -> Self {
        let (imperative, participle) = match action {
            AdminAction::Revive => ("revive", "revived"),
            AdminAction::Disable => ("disable", "disabled"),
            AdminAction::Enable => ("enable", "enabled"),
            AdminAction::Remove => ("remove", "removed"),
        };
        Self { imperative, participle }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Arguments {
        #[command(flatten)]
        admin: AdminArgs,
    }

    fn change(flags: &[&str], action: AdminAction, number: usize, can_ask: bool) -> Change {
        Arguments::parse_from([&["test"], flags].concat()).admin.change(action, number, can_ask)
    }

    #[test]
    fn yes_needs_all_without_a_terminal() {
        for (flags, can_ask, is_confirmed) in [
            (&[][..], true, false),
            (&["--all"], true, false),
            (&["-y"], true, true),
            (&["-y"], false, false),
            (&["--all", "-y"], false, true),
        ] {
            assert_eq!(
                change(flags, AdminAction::Disable, 2, can_ask).is_confirmed,
                is_confirmed,
                "{flags:?} {can_ask}"
            );
        }
    }

    #[test]
    fn a_change_names_its_action_and_number() {
        assert_eq!(change(&[], AdminAction::Remove, 1, true).action, "remove 1 connection");
        assert_eq!(change(&[], AdminAction::Revive, 13, true).action, "revive 13 connections");
        assert!(change(&[], AdminAction::Remove, 1, true).asks_about_one);
        assert!(!change(&[], AdminAction::Enable, 1, true).asks_about_one);
    }
}

//! `cxnpoll revive`, `disable`, `enable`, `remove`: what is done to connections.

use std::io::{self, BufRead, IsTerminal, Write};

use clap::Args;
use serde_json::json;
use tracing::info;

use super::filter::{Filter, Match};
use super::{Context, logging, output};
use crate::error::{Error, Kind, Result};
use crate::exit;
use crate::model::{Cxn, safe_text};
use crate::store::{Alteration, Target};

/// The connections, and how sure one is.
#[derive(Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag")]
pub(super) struct Act {
    /// The connections
    #[arg(value_name = "CXN")]
    cxns: Vec<String>,
    #[command(flatten)]
    filter: Filter,
    /// Do it to all that the conditions hold for; without any, to all connections
    #[arg(long)]
    all: bool,
    /// Don't ask
    #[arg(long, short = 'y')]
    yes: bool,
    /// Show what would be touched, and touch nothing
    #[arg(long)]
    dry_run: bool,
    /// Print the numbers as JSON
    #[arg(long)]
    json: bool,
}

/// How many connections are shown before one is asked.
pub(super) const SHOWN: usize = 10;

impl Act {
    pub(super) fn run(self, context: &Context, how: Alteration) -> Result<u8> {
        let words = words(how);
        if self.cxns.is_empty() && self.filter.is_empty() && !self.all {
            return Err(Error::new(Kind::Usage, format!("which connections shall be {}?", words.done))
                .hint("name them, or say what they are like (--state, --app, --url…), or --all"));
        }
        let store = context.store()?;
        let mut targets: Vec<Target> = Vec::new();
        let mut shown = Vec::new();
        self.filter.each(context, &store, &self.cxns, |found, _| {
            let states = found.states();
            let Match { key, cxn, jobs } = found;
            if self.dry_run && self.json {
                let line = json!({"cxnId": cxn.cxn_id, "appId": cxn.app_id, "siteUrl": cxn.site_url});
                output::line(&line.to_string())?;
            } else if self.dry_run {
                output::line(&format!("{}  {states}", about(&cxn)))?;
            } else if shown.len() < SHOWN {
                shown.push(format!("{}  {states}", about(&cxn)));
            }
            targets.push((key, jobs.into_iter().map(|(job, _)| job.no).collect()));
            Ok(())
        })?;
        if self.dry_run {
            return Ok(exit::OK);
        }
        if !self.is_sure(context, how, targets.len(), &shown)? {
            return Ok(exit::OK);
        }
        let changed = store.alter(&targets, how)?;
        let text = format!("{changed} of {} {}", connections(targets.len()), words.done);
        info!(target: logging::FILE_ONLY, "{text}");
        if self.json {
            output::json(&json!({"matched": targets.len(), "changed": changed}))?;
        } else if !context.global.quiet && (context.global.verbose > 0 || io::stderr().is_terminal()) {
            let _ = writeln!(io::stderr(), "{text}");
        }
        Ok(exit::OK)
    }

    /// Whether it shall be done: more than one connection, or one that would be gone, is shown and asked about at a
    /// terminal; without one, more than one needs `--all` and `--yes`.
    fn is_sure(&self, context: &Context, how: Alteration, count: usize, shown: &[String]) -> Result<bool> {
        let words = words(how);
        if self.yes && (self.all || context.is_interactive()) || count == 0 {
            return Ok(true);
        }
        if !context.is_interactive() {
            if count == 1 {
                return Ok(true);
            }
            let message = format!("{} would be {}", connections(count), words.done);
            return Err(Error::new(Kind::Usage, message)
                .hint("without a terminal that needs --all and --yes; --dry-run lists them"));
        }
        if count == 1 && how != Alteration::Remove {
            return Ok(true);
        }
        show(shown, count);
        Context::ask(&format!("{} {}?", words.verb, connections(count)))
    }
}

/// A connection in a line, for who is asked about it.
pub(super) fn about(cxn: &Cxn) -> String {
    format!("{}  {}  {}", cxn.cxn_id, cxn.app_id.short(), safe_text(&cxn.site_url))
}

/// Shows the first of `count` connections.
pub(super) fn show(shown: &[String], count: usize) {
    let mut stderr = io::stderr();
    for line in shown {
        let _ = writeln!(stderr, "{line}");
    }
    if count > shown.len() {
        let _ = writeln!(stderr, "… and {} more", count - shown.len());
    }
}

impl Context {
    /// Whether somebody sits at a terminal who can be asked.
    pub(super) fn is_interactive(&self) -> bool {
        io::stdin().is_terminal() && io::stderr().is_terminal() && !self.global.no_interaction
    }

    /// Asks whoever sits at the terminal; anything but a yes is a no.
    pub(super) fn ask(question: &str) -> Result<bool> {
        let failed = |error: io::Error| Error::new(Kind::Internal, format!("can't ask: {error}"));
        let mut stderr = io::stderr();
        write!(stderr, "{question} [y/N] ").and_then(|()| stderr.flush()).map_err(failed)?;
        let mut answer = String::new();
        io::stdin().lock().read_line(&mut answer).map_err(failed)?;
        let yes = matches!(answer.trim().to_lowercase().as_str(), "y" | "yes");
        if !yes {
            let _ = writeln!(stderr, "Nothing was changed.");
        }
        Ok(yes)
    }
}

struct Words {
    verb: &'static str,
    done: &'static str,
}

fn words(how: Alteration) -> Words {
    match how {
        Alteration::Revive => Words { verb: "Revive", done: "revived" },
        Alteration::Disable => Words { verb: "Disable", done: "disabled" },
        Alteration::Enable => Words { verb: "Enable", done: "enabled" },
        Alteration::Remove => Words { verb: "Remove", done: "removed" },
    }
}

/// `1 connection`, `7 connections`.
pub(super) fn connections(count: usize) -> String {
    if count == 1 { "1 connection".to_owned() } else { format!("{count} connections") }
}

//! The command: its options, its steps and its summary.

use std::fs::File;
use std::io::{self, BufRead, Read};
use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::json;

use super::apply::{Counts, apply, compare};
use super::findings::Findings;
use super::prune;
use super::spool::Spool;
use crate::cli::context::Context;
use crate::cli::error::{Error, RejectedLines, Rest, Result};
use crate::cli::selection::describe;
use crate::cli::ui::output;
use crate::cli::ui::progress::Progress;
use crate::cli::ui::prompt::{Change, Preview};
use crate::exit;
use crate::store::{AdminAction, AdminTarget, Store};
use crate::transfer::{Format, detect};
use crate::util::text::count;

/// Add and update connections
///
/// Reads JSON lines, one connection per line: {"cxnId","secret","appId","appUrl","siteUrl","perm","viaPort","batchCode",
/// "disabled","pollStatus"}. Only the first five keys are required; a missing key keeps the stored value. The whole input is
/// checked before anything is changed. An interrupted import can be run again. Creates the store if there is none.
#[derive(Args)]
#[command(
    after_help = "Examples:\n  cxnpoll import connections.jsonl\n  ssh old-server cxnpoll export | cxnpoll import\n  \
    mysql -B cxnapp -e 'SELECT * FROM Cxn' | cxnpoll import --prune --yes"
)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag")]
pub(in crate::cli) struct Import {
    /// Input file; standard input if it is missing or -
    #[arg(value_name = "FILE")]
    file: Option<PathBuf>,
    /// Input format (default: detected)
    #[arg(long, value_name = "FORMAT")]
    format: Option<Format>,
    /// What to do if there are bad lines
    #[arg(long, value_name = "WHAT", default_value = "abort")]
    on_error: OnError,
    /// Remove connections that are not in the input, of the apps that are
    #[arg(long)]
    prune: bool,
    /// Do not ask; lets --prune remove more than one connection without a terminal
    #[arg(long, short = 'y')]
    yes: bool,
    /// Print what would change, and change nothing
    #[arg(long)]
    dry_run: bool,
    /// Import every poll status, even if the stored one is newer
    #[arg(long)]
    force: bool,
    /// Accept cxnIds, job names and URLs that only former versions accepted
    #[arg(long)]
    lenient: bool,
    /// Print the summary as JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum OnError {
    /// Change nothing
    Abort,
    /// Import the other lines
    Skip,
}

impl Import {
    pub(in crate::cli) fn run(self, context: &Context) -> Result<u8> {
        let path = context.store_path()?;
        let (format, input) = self.input()?;
        let known = context.existing_store()?;
        let checking = Progress::begin_of(0, "checked", context.shows_progress());
        let (findings, spool) = Findings::of(input, format, self.lenient, known.as_ref(), &checking)?;
        drop(checking);
        if !findings.rejected.is_empty() && self.on_error == OnError::Abort {
            return Err(self.rejected(findings, Rest::Aborted));
        }
        if self.prune && findings.input.is_empty() {
            return Err(Error::EmptyPrune);
        }
        let pruned = match &known {
            Some(store) if self.prune => self.confirm_prune(context, store, &findings)?,
            _ => Some(Vec::new()),
        };
        let Some(pruned) = pruned else { return Ok(exit::OK) };
        let mut counts = self.import(context, &path, known.as_ref(), spool, &findings, &pruned)?;
        counts.removed = pruned.len() as u64;
        self.report(context, &counts, &findings);
        if findings.rejected.is_empty() {
            return Ok(exit::OK);
        }
        Err(self.rejected(findings, if self.dry_run { Rest::DryRun } else { Rest::Imported }))
    }

    /// Applies the good records and removes what is pruned, or with `--dry-run` only counts the changes.
    fn import(
        &self,
        context: &Context,
        path: &Path,
        known: Option<&Store>,
        spool: Spool,
        findings: &Findings,
        pruned: &[AdminTarget],
    ) -> Result<Counts> {
        let records = spool.into_records(&findings.rejected)?;
        let progress = Progress::begin_of(findings.records, "imported", context.shows_progress());
        match (self.dry_run, known) {
            (true, None) => Ok(Counts { added: findings.cxns, updated: findings.statuses, ..Counts::default() }),
            (true, Some(store)) => compare(store, records, self.force, &progress),
            (false, _) => {
                let store = Store::create(path, context.global.store_wait)?
                    .with_owner(context.name)
                    .with_skipped(context.skipped.clone());
                let counts = store.lock_shared(|| apply(&store, records, self.force, &progress))?;
                store.admin(pruned, AdminAction::Remove)?;
                Ok(counts)
            }
        }
    }

    fn rejected(&self, findings: Findings, rest: Rest) -> Error {
        let (count, reported) = findings.into_rejected();
        Error::RejectedLines(RejectedLines { count, reported, rest, prune: self.prune })
    }

    /// Opens the input and detects its format, unless the options name it.
    fn input(&self) -> Result<(Format, impl BufRead + use<>)> {
        let path = self.file.as_deref().filter(|path| *path != Path::new("-"));
        let open = || -> io::Result<_> {
            let input: Box<dyn Read> = match path {
                Some(path) => Box::new(File::open(path)?),
                None => Box::new(io::stdin()),
            };
            detect(path, input)
        };
        let (detected, input) = open().map_err(|error| match path {
            Some(path) => Error::InputFile { path: path.to_owned(), error },
            None => Error::Stdin(error),
        })?;
        Ok((self.format.unwrap_or(detected), input))
    }

    /// Lists what `--prune` removes and asks where needed; `None` if the answer is no.
    fn confirm_prune(&self, context: &Context, store: &Store, findings: &Findings) -> Result<Option<Vec<AdminTarget>>> {
        let mut preview = Preview::default();
        let targets = prune::targets(store, findings, |cxn| {
            if self.dry_run && !self.json {
                output::line(&format!("remove  {}", describe(cxn)));
            } else {
                preview.add(|| describe(cxn));
            }
            Ok(())
        })?;
        let change = Change {
            action: format!("remove {} not in the input", count(targets.len() as u64, "connection")),
            count: Some(targets.len()),
            is_confirmed: self.yes || self.dry_run,
            asks_about_one: true,
            hint: "confirm with --yes, or list the changes with --dry-run",
        };
        Ok(context.confirm(change, &preview)?.then_some(targets))
    }

    fn report(&self, context: &Context, counts: &Counts, findings: &Findings) {
        let Counts { added, updated, unchanged, removed } = counts;
        let pruned = if self.prune { format!(", {removed} removed") } else { String::new() };
        let would = if self.dry_run { "would be: " } else { "" };
        let text = format!("{would}{added} added, {updated} updated, {unchanged} unchanged{pruned}");
        if !self.dry_run {
            context.notify(&text);
        }
        if self.json {
            let skipped = findings.rejected.len();
            let mut object = json!({"added": added, "updated": updated, "unchanged": unchanged, "skipped": skipped});
            if self.prune {
                object["removed"] = json!(removed);
            }
            output::json(&object);
        } else if self.dry_run {
            output::line(&text);
        }
    }
}

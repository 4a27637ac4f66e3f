//! The command: its options, its steps and its summary.

use std::fs::File;
use std::io::{self, BufRead, Read};
use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::json;

use super::apply::{Counts, apply, compare};
use super::findings::Findings;
use super::prune::{Limit, Pruning};
use super::spool::Spool;
use crate::cli::commands::users;
use crate::cli::context::Context;
use crate::cli::error::{Error, RejectedLines, Rest, Result, Spared};
use crate::cli::selection::describe;
use crate::cli::ui::output;
use crate::cli::ui::progress::Progress;
use crate::cli::ui::prompt::{Change, Confirmation, Preview};
use crate::cli::values;
use crate::exit;
use crate::model::AppId;
use crate::store::{AdminAction, AdminTarget, Audit, Store};
use crate::transfer::{Error as TransferError, Format, detect};
use crate::util::text::count;

/// Add and update connections
///
/// Reads JSON lines, one connection per line:
/// {"cxnId","secret","appId","appUrl","siteUrl","perm","viaPort","batchCode", "disabled","pollStatus"}. Only the first
/// five keys are required; a missing key keeps the stored value, and null or an empty field clears perm, viaPort and
/// disabled. The whole input is checked before anything is changed. An interrupted import can be run again. Creates the
/// store if there is none.
#[derive(Args)]
#[command(
    after_help = "Examples:\n  cxnpoll import connections.jsonl\n  ssh old-server cxnpoll export | cxnpoll import\n  \
    mysql -B cxnapp -e 'SELECT * FROM Cxn' | cxnpoll import --prune --yes"
)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag")]
pub(in crate::cli) struct Import {
    /// Input file; standard input if it is missing or -
    #[arg(value_name = "FILE", value_parser = values::path())]
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
    /// With --prune: remove only connections of this app, which the input may lack (repeatable)
    #[arg(long, value_name = "APP", value_parser = values::app, requires = "prune")]
    app: Vec<AppId>,
    /// With --prune: refuse to remove more than N, or N%, of an app's stored connections [default: 10, or 25% if that is
    /// more]
    #[arg(long, value_name = "N|N%", value_parser = Limit::from_argument, requires = "prune")]
    prune_at_most: Option<Limit>,
    #[command(flatten)]
    confirmation: Confirmation,
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

/// An opened input.
struct Input {
    format: Format,
    /// Whether it is a file, and not standard input or a pipe with a name.
    is_file: bool,
    reader: Box<dyn BufRead>,
}

impl Import {
    pub(in crate::cli) fn run(self, context: &Context) -> Result<u8> {
        let path = context.store_path()?;
        let Input { format, is_file, reader } = self.input().map_err(|error| self.naming_input(error.into()))?;
        let known = context.existing_store(!self.dry_run)?;
        let checking = Progress::begin_of(0, "checked", context.progress_display());
        // A spreadsheet leaves out the last line end of its file. Whatever prunes or comes from a program must have it.
        let needs_line_end = self.prune || !is_file;
        let found = Findings::of(reader, format, needs_line_end, self.lenient, known.as_ref(), &checking);
        let (findings, spool) = found.map_err(|error| self.naming_input(error))?;
        drop(checking);
        if findings.records == 0 {
            return Err(Error::EmptyInput(self.path().map(Path::to_owned)));
        }
        if !findings.rejected.is_empty() && self.on_error == OnError::Abort {
            return Err(rejected(findings, Rest::Aborted, Spared::default()));
        }
        if findings.cxns + findings.statuses == 0 {
            let spared = if self.prune { Spared::All } else { Spared::default() };
            return Err(rejected(findings, Rest::None, spared));
        }
        if self.prune && findings.input.is_empty() && findings.rejected.is_empty() {
            return Err(Error::EmptyPrune);
        }
        let Some(Pruning { targets, spared }) = self.confirm_prune(context, known.as_ref(), &findings)? else {
            return Ok(exit::OK);
        };
        let mut counts = self.import(context, &path, known.as_ref(), (format, spool), &findings, &targets)?;
        counts.removed = targets.len() as u64;
        self.report(context, &counts, &findings);
        if findings.rejected.is_empty() {
            return Ok(exit::OK);
        }
        Err(rejected(findings, if self.dry_run { Rest::None } else { Rest::Imported }, spared))
    }

    /// Applies the good records and removes what is pruned, or with `--dry-run` only counts the changes.
    fn import(
        &self,
        context: &Context,
        path: &Path,
        known: Option<&Store>,
        (format, spool): (Format, Spool),
        findings: &Findings,
        pruned: &[AdminTarget],
    ) -> Result<Counts> {
        let records = spool.into_records(&findings.rejected)?;
        let progress = Progress::begin_of(findings.records, "imported", context.progress_display());
        match (self.dry_run, known) {
            (true, None) => Ok(Counts { added: findings.cxns, updated: findings.statuses, ..Counts::default() }),
            (true, Some(store)) => compare(store, records, self.force, &progress),
            (false, _) => {
                let store = Store::create(path, context.global.store_wait)?
                    .with_owner(context.name)
                    .with_skipped(context.skipped.clone());
                let audit = users::audit(format.name());
                let counts = store.lock_shared(|| apply(&store, records, self.force, &audit, &progress))?;
                let audit = Audit { detail: format!("pruned, {}", audit.detail), ..audit };
                store.admin(pruned, AdminAction::Remove, &audit, context.started)?;
                Ok(counts)
            }
        }
    }

    /// The input file; `None` is standard input.
    fn path(&self) -> Option<&Path> {
        self.file.as_deref().filter(|path| *path != Path::new("-"))
    }

    /// Opens the input and detects its format, unless the options name it.
    fn input(&self) -> Result<Input, TransferError> {
        let path = self.path();
        let (input, is_file): (Box<dyn Read>, bool) = match path {
            Some(path) => {
                let file = File::open(path).map_err(TransferError::ReadInput)?;
                let is_file = file.metadata().map_err(TransferError::ReadInput)?.is_file();
                (Box::new(file), is_file)
            }
            None => (Box::new(io::stdin()), false),
        };
        let (detected, reader) = detect(path, input)?;
        Ok(Input { format: self.format.unwrap_or(detected), is_file, reader })
    }

    /// Adds the name of the input to an error of the system about reading it.
    fn naming_input(&self, error: Error) -> Error {
        match error {
            Error::Transfer(TransferError::ReadInput(error)) if error.raw_os_error().is_some() => match self.path() {
                Some(path) => Error::InputFile { path: path.to_owned(), error },
                None => Error::Stdin(error),
            },
            error => error,
        }
    }

    /// Lists what `--prune` removes and asks where needed; `None` if the answer is no.
    fn confirm_prune(&self, context: &Context, store: Option<&Store>, findings: &Findings) -> Result<Option<Pruning>> {
        if !self.prune {
            return Ok(Some(Pruning::default()));
        }
        for app_id in self.app.iter().filter(|app_id| !findings.input.has_app(app_id)) {
            context.check_app(store, app_id)?;
        }
        let apps = self.app.iter().cloned().collect();
        let limit = self.prune_at_most.unwrap_or_default();
        let mut preview = Preview::default();
        let pruning = Pruning::of(store, findings, &apps, limit, |cxn| {
            if self.dry_run && !self.json {
                output::line(&format!("remove  {}", describe(cxn)));
            } else {
                preview.add(|| describe(cxn));
            }
            Ok(())
        })?;
        let number = pruning.targets.len();
        let change = Change {
            action: format!("remove {} not in the input", count(number as u64, "connection")),
            count: Some(number),
            is_confirmed: self.confirmation.yes || self.dry_run,
            asks_about_one: true,
            hint: "confirm with --yes, or list the changes with --dry-run",
        };
        Ok(context.confirm(change, &preview)?.then_some(pruning))
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

fn rejected(findings: Findings, rest: Rest, spared: Spared) -> Error {
    let (count, reported) = findings.into_rejected();
    Error::RejectedLines(RejectedLines { count, reported, rest, spared })
}

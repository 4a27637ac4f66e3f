//! `cxnpoll export`: write connections or their history to a file.

mod history;

use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use clap::Args;

use crate::batch::Batch;
use crate::cli::context::Context;
use crate::cli::cxn_arg::CxnArg;
use crate::cli::error::{Error, Named, Result};
use crate::cli::output_file::{self, cannot_write};
use crate::cli::selection::Filter;
use crate::cli::ui::output::Output;
use crate::cli::ui::progress::{Display, Progress};
use crate::cli::ui::terminal;
use crate::cli::values;
use crate::exit;
use crate::model::AppId;
use crate::store::{ReadSession, Store};
use crate::transfer::{Format, Writer};

/// Write connections with their secrets and poll statuses
///
/// Unless secrets are left out, `import` reads the output. Secrets are not printed to a terminal unless --with-secrets is given. A
/// file that exists is replaced only with --force.
#[derive(Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is an option of its own")]
#[command(
    after_help = "Examples:\n  cxnpoll export connections.jsonl\n  cxnpoll export --batch 0/2 first-half.jsonl\n  \
    cxnpoll export --redact --state given-up --format csv\n  cxnpoll export --history history.jsonl\n  cxnpoll export --force /backup/connections.jsonl  # daily"
)]
pub(in crate::cli) struct Export {
    /// Output file, readable only by its owner; standard output if it is missing or -
    #[arg(value_name = "FILE", value_parser = values::path())]
    file: Option<PathBuf>,
    /// Replace the output file if it exists
    #[arg(long)]
    force: bool,
    /// Output format (default: by the name of the file, or else jsonl)
    #[arg(long, value_name = "FORMAT")]
    format: Option<Format>,
    /// Only one of N equal parts; I counts from 0
    #[arg(long, value_name = "I/N", default_value = "0/1")]
    batch: Batch,
    /// Leave out secrets; the output cannot be imported
    #[arg(long)]
    redact: bool,
    /// Write secrets even to a terminal
    #[arg(long)]
    with_secrets: bool,
    /// Write the history of all connections, without secrets, as JSON lines
    #[arg(long, conflicts_with_all = [
        "format", "batch", "redact", "with_secrets", "cxn", "app", "name", "state", "failure", "host", "url", "older_than",
        "retry", "now",
    ])]
    history: bool,
    /// Select this connection (repeatable)
    #[arg(long, value_name = "ID", help_heading = "Which connections")]
    cxn: Vec<CxnArg>,
    #[command(flatten)]
    filter: Filter,
}

impl Export {
    pub(in crate::cli) fn run(self, context: &Context) -> Result<u8> {
        let file = self.file.as_deref().filter(|path| *path != Path::new("-"));
        self.check_prefix()?;
        if let Some(path) = file.filter(|path| path.extension().is_some_and(|end| end.eq_ignore_ascii_case("gz"))) {
            return Err(Error::NotCompressed(path.to_owned()));
        }
        let store = context.store()?;
        if let Some(path) = file {
            self.check_name(context, &store)?;
            let check = |is_terminal| self.check_terminal(is_terminal);
            let write = |out: &mut dyn Write, path: &Path| self.write(context, &store, out, Some(path));
            output_file::write(path, self.force, check, write)?;
        } else {
            self.check_terminal(terminal::has_stdout())?;
            self.write(context, &store, Output, None)?;
        }
        Ok(exit::OK)
    }

    /// Refuses a file whose name begins like that of a connection or an app.
    fn check_prefix(&self) -> Result<()> {
        let text = self.file.as_deref().and_then(Path::to_str).unwrap_or_default();
        let begins = |prefix: &str| text.get(..prefix.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(prefix));
        match [("cxn:", Named::Cxn), ("app:", Named::App)].into_iter().find(|(prefix, _)| begins(prefix)) {
            Some((_, named)) => Err(Error::NotAFile { text: text.to_owned(), named }),
            None => Ok(()),
        }
    }

    /// Refuses a file that has the name of a connection or an app, without its prefix.
    fn check_name(&self, context: &Context, store: &Store) -> Result<()> {
        let text = self.file.as_deref().and_then(Path::to_str).filter(|text| !text.contains('/'));
        let Some(text) = text else { return Ok(()) };
        let refused = |named| Err(Error::NotAFile { text: text.to_owned(), named });
        if let Ok(cxn) = text.parse::<CxnArg>()
            && store.read(|session| cxn.find(session))?.is_some()
        {
            return refused(Named::Cxn);
        }
        match AppId::from_argument(text) {
            Ok(app_id) if context.check_app(Some(store), &app_id).is_ok() => refused(Named::App),
            _ => Ok(()),
        }
    }

    /// Refuses to write secrets to a terminal unless an option allows it.
    fn check_terminal(&self, is_terminal: bool) -> Result<()> {
        if is_terminal && !self.with_secrets && !self.redact && !self.history {
            return Err(Error::SecretsAtTerminal);
        }
        Ok(())
    }

    fn write(&self, context: &Context, store: &Store, out: impl Write, path: Option<&Path>) -> Result<()> {
        let failed = |error: io::Error| match path {
            Some(path) => cannot_write(path, &error),
            None => Error::Stdout(error),
        };
        if self.history {
            return history::write(store, BufWriter::with_capacity(1 << 16, out), failed);
        }
        let range = self.batch.range();
        let display = if path.is_some() { context.progress_display() } else { Display::Hidden };
        let about = store.read(ReadSession::cxn_count_upper_bound)?;
        let progress = Progress::begin_of(usize::try_from(about).unwrap_or(0), "exported", display);
        let mut writer = Writer::new(self.format_for(path), self.redact, BufWriter::with_capacity(1 << 16, out));
        self.filter.each(context, store, &self.cxn, |found, statuses| {
            progress.advance(1);
            if range.contains(&found.cxn.batch_code) {
                writer.write(&found.cxn, statuses).map_err(failed)
            } else {
                Ok(())
            }
        })?;
        writer.finish().map(drop).map_err(failed)
    }

    /// The requested format, or else that of the file's extension, or else JSON lines.
    fn format_for(&self, path: Option<&Path>) -> Format {
        let extension = path.and_then(Path::extension).and_then(|extension| extension.to_str());
        self.format.or_else(|| extension.and_then(Format::from_extension)).unwrap_or(Format::Jsonl)
    }
}

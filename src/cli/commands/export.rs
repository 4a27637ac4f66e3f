//! `cxnpoll export`: write connections or their history to a file.

mod history;

use std::fs::{self, File, Permissions};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use clap::Args;

use crate::batch::Batch;
use crate::cli::context::Context;
use crate::cli::cxn_arg::CxnArg;
use crate::cli::error::{Error, Named, Result};
use crate::cli::selection::Filter;
use crate::cli::ui::deferred::DeferredWriter;
use crate::cli::ui::output::Output;
use crate::cli::ui::progress::{Display, Progress};
use crate::cli::ui::terminal;
use crate::cli::values;
use crate::exit;
use crate::model::AppId;
use crate::store::failpoint::{self, Failpoint};
use crate::store::{ReadSession, Store};
use crate::transfer::{Format, Writer};
use crate::util::fs_atomic::{AtomicFile, Durability};
use crate::util::open::{open_in_place, target_of};

/// Write connections with their secrets and poll statuses
///
/// Unless secrets are left out, `import` reads the output. Secrets are not printed to a terminal unless --with-secrets is given. A
/// file that exists is replaced only with --force.
#[derive(Args)]
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
            self.to_path(context, &store, path)?;
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

    /// Writes a file as a whole. A descriptor of this process, a pipe and the like are written to in place.
    fn to_path(&self, context: &Context, store: &Store, path: &Path) -> Result<()> {
        let Some(file) = open_in_place(path).map_err(|error| cannot_write(path, &error))? else {
            return write_whole(path, self.force, |file, path| self.write(context, store, file, Some(path)));
        };
        self.check_terminal(terminal::is_terminal(&file))?;
        let mut out = DeferredWriter::new(file);
        let written = self.write(context, store, &mut out, Some(path));
        match written.and_then(|()| out.finish().map_err(|error| cannot_write(path, &error))) {
            // The reader of a pipe has seen enough.
            Err(Error::OutputFile { kind: io::ErrorKind::BrokenPipe, .. }) => Ok(()),
            written => written,
        }
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

/// Writes a file, mode 0600, as a whole. If that fails, an old file stays.
///
/// With `force` an old file is replaced. If `path` is a symbolic link, the file that it leads to is written, and the link
/// stays. `write` gets the path of the file that is written.
fn write_whole(path: &Path, force: bool, write: impl FnOnce(&mut File, &Path) -> Result<()>) -> Result<()> {
    let path = target_of(path).map_err(|error| cannot_write(path, &error))?;
    if !force && fs::symlink_metadata(&path).is_ok() {
        return Err(Error::OutputExists(path));
    }
    let failed = |error: io::Error| cannot_write(&path, &error);
    let mut file = AtomicFile::beside(&path, &Permissions::from_mode(0o600)).map_err(failed)?;
    write(file.file(), &path)?;
    let written = || failpoint::hit(Failpoint::ExportWritten);
    if force {
        return file.commit(Durability::Durable, written).map_err(failed);
    }
    // Another process may have written the file meanwhile.
    file.commit_new(written).map_err(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => Error::OutputExists(path.clone()),
        _ => failed(error),
    })
}

/// Only the kind of the error is shown, because its text names the temporary file.
fn cannot_write(path: &Path, error: &io::Error) -> Error {
    Error::OutputFile { path: path.to_owned(), kind: error.kind() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    fn write(path: &Path, force: bool, text: &str) -> Result<()> {
        write_whole(path, force, |file, path| {
            file.write_all(text.as_bytes()).map_err(|error| cannot_write(path, &error))
        })
    }

    #[test]
    fn a_link_stays_and_the_file_that_it_leads_to_is_written() {
        let dir = tempfile::tempdir().unwrap();
        let (target, link) = (dir.path().join("data/target.csv"), dir.path().join("link"));
        fs::create_dir(dir.path().join("data")).unwrap();
        symlink("data/target.csv", &link).unwrap();
        for (force, text) in [(false, "new"), (true, "newer")] {
            let mut extension = None;
            write_whole(&link, force, |file, path| {
                extension = path.extension().map(ToOwned::to_owned);
                file.write_all(text.as_bytes()).map_err(|error| cannot_write(path, &error))
            })
            .unwrap();
            assert_eq!(extension.as_deref(), Some("csv".as_ref()));
            assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
            assert_eq!(fs::read_to_string(&target).unwrap(), text);
            assert_eq!(fs::metadata(&target).unwrap().permissions().mode() & 0o777, 0o600);
        }
        let refused = write(&link, false, "newest").unwrap_err();
        assert!(matches!(&refused, Error::OutputExists(path) if *path == target), "{refused:?}");
    }

    #[test]
    fn a_file_that_appears_meanwhile_is_not_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        let refused = write_whole(&path, false, |_, path| {
            fs::write(path, "of another process").unwrap();
            Ok(())
        });
        assert!(matches!(refused, Err(Error::OutputExists(_))), "{refused:?}");
        assert_eq!(fs::read_to_string(&path).unwrap(), "of another process");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_failed_export_leaves_the_old_file_and_no_other() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        write(&path, false, "old").unwrap();
        let failed = write_whole(&path, true, |file, path| {
            file.write_all(b"half").unwrap();
            Err(cannot_write(path, &io::ErrorKind::StorageFull.into()))
        });
        assert!(failed.is_err());
        assert_eq!(fs::read_to_string(&path).unwrap(), "old");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
        let missing = write(&dir.path().join("missing/file"), false, "").unwrap_err();
        assert!(matches!(missing, Error::OutputFile { kind: io::ErrorKind::NotFound, .. }), "{missing:?}");
    }
}

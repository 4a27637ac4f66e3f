//! `cxnpoll export`: write connections to a file.

use std::fs::{self, File, Permissions};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use clap::Args;

use crate::batch::Batch;
use crate::cli::context::Context;
use crate::cli::error::{Error, Result};
use crate::cli::selection::Filter;
use crate::cli::ui::deferred::DeferredWriter;
use crate::cli::ui::output::Output;
use crate::cli::ui::progress::Progress;
use crate::cli::ui::terminal;
use crate::exit;
use crate::store::failpoint::{self, Failpoint};
use crate::store::{ReadSession, Store};
use crate::transfer::{Format, Writer};
use crate::util::fs_atomic::{AtomicFile, Durability};

/// Write connections with their secrets and poll statuses
///
/// Unless secrets are left out, `import` reads the output.
#[derive(Args)]
#[command(
    after_help = "Examples:\n  cxnpoll export connections.jsonl\n  cxnpoll export --batch 0/2 first-half.jsonl\n  \
    cxnpoll export --redact --state given-up --format csv"
)]
pub(in crate::cli) struct Export {
    /// Output file, readable only by its owner; standard output if it is missing or -
    #[arg(value_name = "FILE")]
    file: Option<PathBuf>,
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
    #[command(flatten)]
    filter: Filter,
}

impl Export {
    pub(in crate::cli) fn run(self, context: &Context) -> Result<u8> {
        let store = context.store()?;
        if let Some(path) = self.file.as_deref().filter(|path| *path != Path::new("-")) {
            self.to_path(context, &store, path)?;
        } else {
            self.check_terminal(terminal::has_stdout())?;
            self.write(context, &store, Output, None)?;
        }
        Ok(exit::OK)
    }

    /// Refuses to write secrets to a terminal unless an option allows it.
    fn check_terminal(&self, is_terminal: bool) -> Result<()> {
        if is_terminal && !self.with_secrets && !self.redact {
            return Err(Error::SecretsAtTerminal);
        }
        Ok(())
    }

    /// Replaces a file as a whole. What is not a regular file, such as a pipe, is written to in place.
    fn to_path(&self, context: &Context, store: &Store, path: &Path) -> Result<()> {
        if fs::metadata(path).is_ok_and(|metadata| !metadata.is_file()) {
            let pipe = File::options().write(true).open(path).map_err(|error| cannot_write(path, &error))?;
            self.check_terminal(terminal::is_terminal(&pipe))?;
            let mut out = DeferredWriter::new(pipe);
            let written = self.write(context, store, &mut out, Some(path));
            return match written.and_then(|()| out.finish().map_err(|error| cannot_write(path, &error))) {
                // The reader of a pipe has seen enough.
                Err(Error::OutputFile { kind: io::ErrorKind::BrokenPipe, .. }) => Ok(()),
                written => written,
            };
        }
        replace(path, |file, path| self.write(context, store, file, Some(path)))
    }

    fn write(&self, context: &Context, store: &Store, out: impl Write, path: Option<&Path>) -> Result<()> {
        let failed = |error: io::Error| match path {
            Some(path) => cannot_write(path, &error),
            None => Error::Stdout(error),
        };
        let range = self.batch.range();
        let shows_progress = path.is_some() && context.shows_progress();
        let about = store.read(ReadSession::cxn_count_upper_bound)?;
        let progress = Progress::begin_of(usize::try_from(about).unwrap_or(0), "exported", shows_progress);
        let mut writer = Writer::new(self.format_for(path), self.redact, BufWriter::with_capacity(1 << 16, out));
        self.filter.each(context, store, &[], |found, statuses| {
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

/// Replaces a file, mode 0600, by what `write` writes. If that fails, the old file stays.
///
/// If `path` is a symbolic link, the file that it leads to is replaced, and the link stays. `write` gets the path of the
/// file that is replaced.
fn replace(path: &Path, write: impl FnOnce(&mut File, &Path) -> Result<()>) -> Result<()> {
    let path = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let failed = |error: io::Error| cannot_write(&path, &error);
    let mut file = AtomicFile::beside(&path, &Permissions::from_mode(0o600)).map_err(failed)?;
    write(file.file(), &path)?;
    let written = || failpoint::hit(Failpoint::ExportWritten);
    file.commit(Durability::Durable, written).map_err(failed)
}

/// Only the kind of the error is shown, because its text names the temporary file.
fn cannot_write(path: &Path, error: &io::Error) -> Error {
    Error::OutputFile { path: path.to_owned(), kind: error.kind() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    fn write(path: &Path, text: &str) -> Result<()> {
        replace(path, |file, path| file.write_all(text.as_bytes()).map_err(|error| cannot_write(path, &error)))
    }

    #[test]
    fn the_target_of_a_link_is_replaced_and_the_link_stays() {
        let dir = tempfile::tempdir().unwrap();
        let (target, link) = (dir.path().join("data/target.csv"), dir.path().join("link"));
        fs::create_dir(dir.path().join("data")).unwrap();
        fs::write(&target, "old").unwrap();
        symlink("data/target.csv", &link).unwrap();
        let mut extension = None;
        replace(&link, |file, path| {
            extension = path.extension().map(ToOwned::to_owned);
            file.write_all(b"new").map_err(|error| cannot_write(path, &error))
        })
        .unwrap();
        assert_eq!(extension.as_deref(), Some("csv".as_ref()));
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(fs::read_to_string(&target).unwrap(), "new");
        assert_eq!(fs::metadata(&target).unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn a_failed_export_leaves_the_old_file_and_no_other() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        write(&path, "old").unwrap();
        let failed = replace(&path, |file, path| {
            file.write_all(b"half").unwrap();
            Err(cannot_write(path, &io::ErrorKind::StorageFull.into()))
        });
        assert!(failed.is_err());
        assert_eq!(fs::read_to_string(&path).unwrap(), "old");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
        let missing = write(&dir.path().join("missing/file"), "").unwrap_err();
        assert!(matches!(missing, Error::OutputFile { kind: io::ErrorKind::NotFound, .. }), "{missing:?}");
    }
}

//! `cxnpoll export`: write out connections.

use std::fs::{self, File};
use std::io::{self, BufWriter, IsTerminal, Write};
use std::path::{Path, PathBuf};

use clap::Args;

use super::Context;
use super::filter::Filter;
use crate::batch::Batch;
use crate::error::{Error, Kind, Result};
use crate::exit;
use crate::runner::Progress;
use crate::store::{Session, Store};
use crate::transfer::{Format, Writer};

/// Write out connections with their secrets and poll statuses, in a form that `import` reads
#[derive(Args)]
#[command(
    after_help = "Examples:\n  cxnpoll export connections.jsonl\n  cxnpoll export --batch 0/2 first-half.jsonl\n  \
    cxnpoll export --redact --state given-up --format csv"
)]
pub(super) struct Export {
    /// The file, readable by nobody else; standard output if it is missing or -
    #[arg(value_name = "FILE")]
    file: Option<PathBuf>,
    /// The form, where the file's name doesn't tell it [default: jsonl]
    #[arg(long, value_name = "FORM")]
    format: Option<Format>,
    /// One of several equal parts alone: I counts from 0
    #[arg(long, value_name = "I/N", default_value = "0/1")]
    batch: Batch,
    /// Leave secrets out: for people, and no import
    #[arg(long)]
    redact: bool,
    /// Show secrets also on a terminal
    #[arg(long)]
    with_secrets: bool,
    #[command(flatten)]
    filter: Filter,
}

impl Export {
    pub(super) fn run(self, context: &Context) -> Result<u8> {
        let store = context.store()?;
        let file = self.file.as_deref().filter(|path| *path != Path::new("-"));
        self.may_show(file.is_none() && io::stdout().is_terminal())?;
        match file {
            Some(path) => self.to_file(context, &store, path)?,
            None => self.write(context, &store, io::stdout().lock(), None)?,
        }
        Ok(exit::OK)
    }

    /// Refuses to show secrets on a terminal, unless that is wanted.
    fn may_show(&self, at_terminal: bool) -> Result<()> {
        if at_terminal && !self.with_secrets && !self.redact {
            return Err(Error::new(Kind::Usage, "an export holds secrets, which a terminal should not show")
                .hint("name a file, or say --redact or --with-secrets"));
        }
        Ok(())
    }

    /// Writes aside (mode 0600), syncs and renames, so that the file is whole or not there. What is no regular file, such as
    /// a pipe, is written to as it is.
    fn to_file(&self, context: &Context, store: &Store, path: &Path) -> Result<()> {
        let failed = |error: io::Error| {
            let kind = if error.kind() == io::ErrorKind::NotFound { Kind::NotFound } else { Kind::Internal };
            // The kind alone: the error itself names the file that is written aside.
            Error::new(kind, format!("can't write {}: {}", path.display(), error.kind()))
        };
        if fs::metadata(path).is_ok_and(|metadata| !metadata.is_file()) {
            let pipe = File::options().write(true).open(path).map_err(failed)?;
            self.may_show(pipe.is_terminal())?;
            return self.write(context, store, pipe, Some(path));
        }
        // The file that a link leads to is replaced, not the link.
        let path = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let mut aside = tempfile::NamedTempFile::new_in(folder).map_err(failed)?;
        self.write(context, store, &mut aside, Some(&path))?;
        aside.as_file().sync_all().map_err(failed)?;
        aside.persist(&path).map_err(|error| failed(error.error))?;
        Ok(())
    }

    fn write(&self, context: &Context, store: &Store, out: impl Write, path: Option<&Path>) -> Result<()> {
        // A reader who has seen enough and closes the pipe is no error: the process ends well.
        let failed = |error: io::Error| match (error.kind(), path) {
            (io::ErrorKind::BrokenPipe, None) => std::process::exit(exit::OK.into()),
            (kind, Some(path)) => Error::new(Kind::Internal, format!("can't write {}: {kind}", path.display())),
            (kind, None) => Error::new(Kind::Internal, format!("can't write to stdout: {kind}")),
        };
        let extension = path.and_then(Path::extension).and_then(|extension| extension.to_str());
        let named = extension.and_then(|name| <Format as clap::ValueEnum>::from_str(name, true).ok());
        let format = self.format.or(named).unwrap_or(Format::Jsonl);
        let range = self.batch.range();
        let shown = path.is_some() && !context.global.quiet && io::stderr().is_terminal();
        let about = store.session(Session::about_how_many)?;
        let progress = Progress::begin_of(usize::try_from(about).unwrap_or(0), "exported", shown);
        let mut writer = Writer::new(format, self.redact, BufWriter::with_capacity(1 << 16, out));
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
}

//! `cxnpoll export`: write out all connections.

use std::fs::{self, File};
use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};

use clap::Args;

use super::{Context, output};
use crate::error::{Error, Kind, Result};
use crate::exit;
use crate::store::Store;
use crate::transfer;

/// Write out all connections with their secrets and poll statuses, as JSON lines that `import` reads
#[derive(Args)]
#[command(after_help = "Example:\n  cxnpoll export connections.jsonl")]
pub(super) struct Export {
    /// The file, readable by nobody else; standard output if it is missing or -
    #[arg(value_name = "FILE")]
    file: Option<PathBuf>,
    /// Show secrets also on a terminal
    #[arg(long)]
    with_secrets: bool,
}

impl Export {
    pub(super) fn run(self, context: &Context) -> Result<u8> {
        let store = context.store()?;
        match self.file.as_deref().filter(|path| *path != Path::new("-")) {
            Some(path) => to_file(&store, path)?,
            None if io::stdout().is_terminal() && !self.with_secrets => {
                return Err(Error::new(Kind::Usage, "an export holds secrets, which a terminal should not show")
                    .hint("name a file, or say --with-secrets"));
            }
            None => all_lines(&store, |line| output::line(&line))?,
        }
        Ok(exit::OK)
    }
}

/// Writes aside (mode 0600), syncs and renames, so that the file is whole or not there. What is no regular file, such as a
/// pipe, is written to as it is.
fn to_file(store: &Store, path: &Path) -> Result<()> {
    let failed = |error: io::Error| {
        let kind = if error.kind() == io::ErrorKind::NotFound { Kind::NotFound } else { Kind::Internal };
        // The kind alone: the error itself names the file that is written aside.
        Error::new(kind, format!("can't write {}: {}", path.display(), error.kind()))
    };
    if fs::metadata(path).is_ok_and(|metadata| !metadata.is_file()) {
        let mut pipe = io::BufWriter::new(File::options().write(true).open(path).map_err(failed)?);
        all_lines(store, |line| writeln!(pipe, "{line}").map_err(failed))?;
        return pipe.flush().map_err(failed);
    }
    // The file that a link leads to is replaced, not the link.
    let path = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut aside = tempfile::NamedTempFile::new_in(folder).map_err(failed)?;
    let mut writer = io::BufWriter::new(&mut aside);
    all_lines(store, |line| writeln!(writer, "{line}").map_err(failed))?;
    writer.flush().map_err(failed)?;
    drop(writer);
    aside.as_file().sync_all().map_err(failed)?;
    aside.persist(&path).map_err(|error| failed(error.error))?;
    Ok(())
}

fn all_lines(store: &Store, mut emit: impl FnMut(String) -> Result<()>) -> Result<()> {
    store.connections(|_, cxn, statuses| emit(transfer::line(&cxn, statuses)))
}

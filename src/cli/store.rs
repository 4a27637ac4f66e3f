//! `cxnpoll store backup`, `restore` and `compact`.

use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::json;
use tracing::info;

use super::{Context, logging, output};
use crate::error::{Error, Kind, Result};
use crate::exit;
use crate::runner::Signals;
use crate::store::Store;
use crate::transfer::backup::{self, Backup};

/// Write a complete backup into the store's folder `backups`
///
/// A run takes one by itself when the newest is older than a day; see `[backups]` in the configuration. The file is gzip of
/// JSON lines with a checksum at its end. It holds the secrets of all connections, and is readable by nobody else.
#[derive(Args)]
#[command(after_help = "Example:\n  cxnpoll store backup")]
pub(super) struct BackUp {
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Put a backup into the place of what the store holds
///
/// The backup is checked first, and what was there is kept in the store's folder `kept`. Creates the store if there is none.
/// Declines while a run or another command is at work.
#[derive(Args)]
#[command(
    after_help = "Example:\n  cxnpoll store restore\n  cxnpoll store restore /var/lib/cxnpoll/backups/20260131T120000Z.jsonl.gz"
)]
pub(super) struct Restore {
    /// The backup; the newest of the store if it is missing
    #[arg(value_name = "FILE")]
    file: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Write the store anew, as small as it can be
///
/// Takes a backup and restores it into a fresh database. Declines while a run or another command is at work.
#[derive(Args)]
#[command(after_help = "Example:\n  cxnpoll store compact")]
pub(super) struct Compact {
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl BackUp {
    pub(super) fn run(self, context: &Context) -> Result<u8> {
        let store = context.store()?;
        let signals = Signals::listen()
            .map_err(|error| Error::new(Kind::Internal, format!("can't listen to signals: {error}")))?;
        match backup::back_up(&store, context.config.backups.keep.get(), || signals.asked().is_some())? {
            Some(backup) => {
                tell(context, &format!("{}: {}", backup.path.display(), size(&backup)));
                if self.json {
                    output::json(&describe(&backup))?;
                }
                Ok(exit::OK)
            }
            None => signals
                .asked()
                .ok_or_else(|| Error::new(Kind::Declined, "another command is writing a backup of this store")),
        }
    }
}

impl Restore {
    pub(super) fn run(self, context: &Context) -> Result<u8> {
        let path = context.config.store_path(context.global.store.as_deref())?;
        let file = match self.file {
            Some(file) => file,
            None => newest(&context.store()?)?,
        };
        let (backup, kept) = Store::take_over(&path, context.global.store_wait, "store restore", |store| {
            backup::restore(store, &file, true)
        })?;
        tell(context, &format!("restored {}: {}", file.display(), size(&backup)));
        for kept in &kept {
            tell(context, &format!("what was there is kept as {}: remove it when all is well", kept.display()));
        }
        if self.json {
            let mut object = describe(&backup);
            object["kept"] = json!(kept);
            output::json(&object)?;
        }
        Ok(exit::OK)
    }
}

impl Compact {
    pub(super) fn run(self, context: &Context) -> Result<u8> {
        let path = context.store()?.path().to_owned();
        let keep = context.config.backups.keep.get();
        let (before, after, backup) = Store::take_over(&path, context.global.store_wait, "store compact", |alone| {
            let before = alone.store().file_size()?;
            let backup = backup::back_up(alone.store(), keep, || false)?
                .ok_or_else(|| Error::new(Kind::Declined, "another command is writing a backup of this store"))?;
            backup::restore(alone, &backup.path, false)?;
            Ok((before, alone.store().file_size()?, backup))
        })?;
        let bytes = |bytes| indicatif::HumanBytes(bytes).to_string();
        tell(context, &format!("{} before, {} now, {} connections", bytes(before), bytes(after), backup.cxns));
        if self.json {
            output::json(&json!({"bytesBefore": before, "bytesAfter": after, "backup": describe(&backup)}))?;
        }
        Ok(exit::OK)
    }
}

/// The newest backup of a store.
fn newest(store: &Store) -> Result<PathBuf> {
    store.backups()?.into_iter().next().ok_or_else(|| {
        Error::new(Kind::NotFound, format!("there is no backup in {}", store.backup_folder().display()))
            .hint("name the file of one")
    })
}

fn size(backup: &Backup) -> String {
    format!("{} connections, {}", backup.cxns, indicatif::HumanBytes(backup.bytes))
}

fn describe(backup: &Backup) -> serde_json::Value {
    json!({"path": Path::display(&backup.path).to_string(), "cxns": backup.cxns, "bytes": backup.bytes})
}

/// Says what was done: to the log, and to who watches.
fn tell(context: &Context, text: &str) {
    info!(target: logging::FILE_ONLY, "{text}");
    if !context.global.quiet && (context.global.verbose > 0 || io::stderr().is_terminal()) {
        let _ = writeln!(io::stderr(), "{text}");
    }
}

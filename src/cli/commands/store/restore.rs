//! `cxnpoll store restore`: replace the content of the store with a backup.

use std::path::PathBuf;

use chrono::Utc;
use clap::Args;
use serde_json::json;
use tracing::warn;

use super::backup_text;
use crate::cli::context::Context;
use crate::cli::error::{Error, Result};
use crate::cli::ui::output;
use crate::exit;
use crate::store::{Backups, ExclusiveStore, Store};
use crate::transfer::Error as TransferError;
use crate::transfer::backup::{self, Backup};
use crate::util::text::count;

/// Replace the content of the store with a backup
///
/// The backup is checked first, and the replaced content is kept in the directory `kept` of the store. Creates the store if
/// there is none. Waits until no run or other command uses the store.
#[derive(Args)]
#[command(
    after_help = "Examples:\n  cxnpoll store restore\n  cxnpoll store restore /var/lib/cxnpoll/backups/20260131T120000Z.jsonl.gz"
)]
pub(in crate::cli) struct Restore {
    /// Backup file [default: the newest backup of the store]
    #[arg(value_name = "FILE")]
    file: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl Restore {
    pub(in crate::cli) fn run(self, context: &Context) -> Result<u8> {
        let path = context.store_path()?;
        if self.file.is_none() {
            // A missing store is reported, and not created.
            context.store()?;
        }
        let (backup, kept) =
            Store::lock_exclusively(&path, context.global.store_wait, "store restore", |store| match &self.file {
                Some(file) => Ok(backup::restore(store, file, true)?),
                None => restore_newest(store),
            })?;
        context.notify(&format!("restored {}: {}", backup.path.display(), backup_text::size(&backup)));
        if backup.lacks > 0 {
            warn!("the backup lacks {} that could not be read", count(backup.lacks, "record"));
        }
        for kept in &kept {
            context.notify(&format!("the replaced content is kept as {}: remove it when all is well", kept.display()));
        }
        if self.json {
            let mut object = backup_text::json(&backup);
            object["kept"] = json!(kept);
            output::json(&object);
        }
        Ok(exit::OK)
    }
}

/// Restores the newest backup of a store, and never silently an older one.
fn restore_newest(store: &ExclusiveStore) -> Result<(Backup, Vec<PathBuf>)> {
    let now = Utc::now();
    backup::warn_of_future(store.store(), now)?;
    let Backups { past, future, .. } = store.store().backups(now.timestamp())?;
    let mut past = past.into_iter();
    let no_backup = || Error::NoBackup { dir: store.store().backup_dir(), future: future.len() };
    let newest = past.next().ok_or_else(no_backup)?;
    backup::restore(store, &newest, true).map_err(|error| match error {
        TransferError::InvalidBackup { path, problem, .. } => {
            TransferError::InvalidBackup { path, problem, older: past.next() }.into()
        }
        error => error.into(),
    })
}

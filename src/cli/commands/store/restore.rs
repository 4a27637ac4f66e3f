//! `cxnpoll store restore`: replace the content of the store with a backup.

use std::path::PathBuf;

use clap::Args;
use serde_json::json;
use tracing::warn;

use super::backup_text;
use crate::cli::context::Context;
use crate::cli::error::{Error, Result};
use crate::cli::ui::output;
use crate::exit;
use crate::store::Store;
use crate::transfer::backup;
use crate::util::text::count;

/// Replace the content of the store with a backup
///
/// The backup is checked first, and the replaced content is kept in the directory `kept` of the store. Creates the store if
/// there is none. Declines while a run or another command uses the store.
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
        let file = match self.file {
            Some(file) => file,
            None => newest(&context.store()?)?,
        };
        let (backup, kept) = Store::lock_exclusively(&path, context.global.store_wait, "store restore", |store| {
            backup::restore(store, &file, true)
        })?;
        context.notify(&format!("restored {}: {}", file.display(), backup_text::size(&backup)));
        if backup.lacks > 0 {
            warn!("the backup lacks {} that could not be read", count(backup.lacks, "record"));
        }
        for kept in &kept {
            context.notify(&format!("the replaced content is kept as {}: remove it when all is well", kept.display()));
        }
        if self.json {
            let mut object = backup_text::json(&backup);
            object["kept"] = json!(kept);
            output::json(&object)?;
        }
        Ok(exit::OK)
    }
}

/// The newest backup of a store.
fn newest(store: &Store) -> Result<PathBuf> {
    store.backups()?.into_iter().next().ok_or_else(|| Error::NoBackup(store.backup_dir()))
}

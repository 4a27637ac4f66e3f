//! `cxnpoll store compact`: rewrite the store at its smallest size.

use chrono::Utc;
use clap::Args;
use indicatif::HumanBytes;
use serde_json::json;

use super::backup_text;
use crate::cli::commands::users;
use crate::cli::context::Context;
use crate::cli::error::{Error, Result};
use crate::cli::ui::output;
use crate::exit;
use crate::store::Store;
use crate::transfer::backup;
use crate::util::text::count;

/// Rewrite the store at its smallest size
///
/// Writes a backup and restores it to a new database. Waits until no run or other command uses the store.
#[derive(Args)]
#[command(after_help = "Example:\n  cxnpoll store compact")]
pub(in crate::cli) struct Compact {
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl Compact {
    pub(in crate::cli) fn run(self, context: &Context) -> Result<u8> {
        let path = context.writable_store()?.path().to_owned();
        let keep = context.config.backups.keep.get();
        let (before, after, backup) =
            Store::lock_exclusively(&path, context.global.store_wait, "store compact", |exclusive| -> Result<_> {
                let now = Utc::now();
                backup::warn_of_future(exclusive.store(), now)?;
                let before = exclusive.store().file_size()?;
                let store = exclusive.store().clone().with_skipped(context.skipped.clone());
                let backup = backup::back_up(&store, now, keep, || false)?.ok_or(Error::BackupInProgress)?;
                if backup.lacks > 0 {
                    // A compaction removes the database, and with it what cannot be read.
                    return Err(Error::NotCompacted);
                }
                backup::compact(exclusive, &backup.path)?;
                store.write(|session| store.history().audit_store(session, &users::audit(""), "compact"))?;
                Ok((before, exclusive.store().file_size()?, backup))
            })?;
        let connections = count(backup.cxns, "connection");
        context.notify(&format!("{} before, {} now, {connections}", HumanBytes(before), HumanBytes(after)));
        if self.json {
            let backup = backup_text::json(&backup);
            output::json(&json!({"bytesBefore": before, "bytesAfter": after, "backup": backup}));
        }
        Ok(exit::OK)
    }
}

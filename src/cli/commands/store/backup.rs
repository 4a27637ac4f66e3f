//! `cxnpoll store backup`: write a backup.

use chrono::Utc;
use clap::Args;

use super::backup_text;
use crate::cli::context::Context;
use crate::cli::error::{Error, Result, bad_backup};
use crate::cli::ui::output;
use crate::exit;
use crate::run::Signals;
use crate::transfer::backup::{back_up, rehearse, warn_of_future};

/// Write a backup to the directory `backups` of the store
///
/// A run writes one by itself when the newest is older than a day; see `[backups]` in the configuration. The file is gzip of
/// JSON lines with a checksum at its end. It holds the secrets of all connections, and only the store's owner can read it.
#[derive(Args)]
#[command(after_help = "Example:\n  cxnpoll store backup --verify")]
pub(in crate::cli) struct Backup {
    /// Check the backup: restore it to a temporary store, and compare that with the backup
    #[arg(long)]
    verify: bool,
    /// Encrypt the backup to this public key of age, in place of those of the configuration (repeatable)
    #[arg(long, value_name = "KEY")]
    recipient: Vec<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl Backup {
    pub(in crate::cli) fn run(self, context: &Context) -> Result<u8> {
        let store = context.writable_store()?;
        let signals = Signals::listen().map_err(Error::Signals)?;
        let now = Utc::now();
        warn_of_future(&store, now)?;
        let stop = || signals.stop_code().is_some();
        let recipients = context.config.backup_recipients(&self.recipient)?;
        let Some((backup, key)) = back_up(&store, now, context.config.backups.keep.get(), &recipients, stop)? else {
            return signals.stop_code().ok_or(Error::BackupInProgress);
        };
        context.notify(&format!("{}: {}", backup.path.display(), backup_text::size(&backup)));
        if self.verify {
            if rehearse(Some(&store), &backup.path, &key, stop)
                .map_err(|error| Error::Reported(bad_backup(error)))?
                .is_none()
            {
                return Ok(signals.stop_code().unwrap_or(exit::OK));
            }
            context.notify("the backup was restored to check it");
        }
        if self.json {
            output::json(&backup_text::json(&backup, self.verify));
        }
        Ok(exit::OK)
    }
}

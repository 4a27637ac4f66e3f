//! `cxnpoll store backup`: write a backup.

use chrono::Utc;
use clap::Args;

use super::backup_text;
use crate::cli::context::Context;
use crate::cli::error::{Error, Result};
use crate::cli::ui::output;
use crate::exit;
use crate::run::Signals;
use crate::transfer::backup::{back_up, warn_of_future};

/// Write a backup to the directory `backups` of the store
///
/// A run writes one by itself when the newest is older than a day; see `[backups]` in the configuration. The file is gzip of
/// JSON lines with a checksum at its end. It holds the secrets of all connections, and only the store's owner can read it.
#[derive(Args)]
#[command(after_help = "Example:\n  cxnpoll store backup")]
pub(in crate::cli) struct Backup {
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
        match back_up(&store, now, context.config.backups.keep.get(), || signals.stop_code().is_some())? {
            Some(backup) => {
                context.notify(&format!("{}: {}", backup.path.display(), backup_text::size(&backup)));
                if self.json {
                    output::json(&backup_text::json(&backup));
                }
                Ok(exit::OK)
            }
            None => signals.stop_code().ok_or(Error::BackupInProgress),
        }
    }
}

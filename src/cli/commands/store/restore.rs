//! `cxnpoll store restore`: replace the content of the store with a backup.

use std::path::PathBuf;

use chrono::Utc;
use clap::Args;
use serde_json::json;
use tracing::warn;

use super::backup_text;
use crate::cli::commands::users;
use crate::cli::context::Context;
use crate::cli::error::{Error, Result};
use crate::cli::ui::prompt::{Change, Confirmation, Preview};
use crate::cli::ui::{output, time};
use crate::cli::values;
use crate::exit;
use crate::store::{Backups, Error as StoreError, Store};
use crate::transfer::Error as TransferError;
use crate::transfer::backup::{self, Backup};
use crate::util::text::{count, sanitize};

/// Replace the content of the store with a backup
///
/// The backup is checked first, and the replaced content is kept in the directory `kept` of the store. Asks first if the store
/// has connections; without a terminal that needs --yes. Creates the store if there is none. Waits until no run or other
/// command uses the store.
#[derive(Args)]
#[command(
    after_help = "Examples:\n  cxnpoll store restore\n  cxnpoll store restore /var/lib/cxnpoll/backups/20260131T120000Z.jsonl.gz"
)]
pub(in crate::cli) struct Restore {
    /// Backup file [default: the newest backup of the store]
    #[arg(value_name = "FILE", value_parser = values::path())]
    file: Option<PathBuf>,
    #[command(flatten)]
    confirmation: Confirmation,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl Restore {
    pub(in crate::cli) fn run(self, context: &Context) -> Result<u8> {
        let path = context.store_path()?;
        let existing = match &self.file {
            Some(_) => context.existing_store(true)?,
            // A missing store is reported, and not created.
            None => Some(context.writable_store()?),
        };
        let mut selected = self.file.clone().map(|path| Selected { path, older: None });
        if !self.confirmation.yes
            && let Some(store) = &existing
            && let Some(replaced) = replaced(store)?
        {
            // No lock is held during the question. The backup that it names is the one that is restored.
            let selected = match &mut selected {
                Some(selected) => selected,
                none => none.insert(Selected::newest(store)?),
            };
            let backup = selected.naming_older(backup::verify(&selected.path))?;
            if !context.confirm(change(&replaced, &backup), &Preview::default())? {
                return Ok(exit::OK);
            }
        }
        let (backup, kept) = Store::lock_exclusively(&path, context.global.store_wait, "store restore", |store| {
            let selected = selected.map_or_else(|| Selected::newest(store.store()), Ok)?;
            let restored = selected.naming_older(backup::restore(store, &selected.path, true))?;
            let name = selected.path.file_name().unwrap_or_default().to_string_lossy();
            let (store, audit) = (store.store(), users::audit(sanitize(&name)));
            store.write(|session| store.history().audit_store(session, &audit, "restore"))?;
            Ok::<_, Error>(restored)
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

/// Describes what a restore replaces; `None` if there is no connection.
///
/// A store that cannot be read may have connections.
fn replaced(store: &Store) -> Result<Option<String>> {
    match store.cxn_count(None) {
        Ok(0) | Err(StoreError::NoStore { .. }) => Ok(None),
        Ok(cxns) => Ok(Some(count(cxns, "connection"))),
        Err(error @ (StoreError::Busy { .. } | StoreError::Cancelled)) => Err(error.into()),
        Err(_) => Ok(Some("a store that cannot be read".to_owned())),
    }
}

fn change(replaced: &str, backup: &Backup) -> Change {
    Change {
        action: format!(
            "replace {replaced} with the backup of {} ({})",
            time::utc(backup.at),
            count(backup.cxns, "connection")
        ),
        count: None,
        is_confirmed: false,
        asks_about_one: true,
        hint: "confirm with --yes",
    }
}

/// The backup that is restored.
struct Selected {
    path: PathBuf,
    /// The backup before it, if it was selected as the newest and there is another.
    older: Option<PathBuf>,
}

impl Selected {
    /// Selects the newest backup of a store, even if it is damaged.
    fn newest(store: &Store) -> Result<Self> {
        let now = Utc::now();
        backup::warn_of_future(store, now)?;
        let Backups { past, future, .. } = store.backups(now.timestamp())?;
        let mut past = past.into_iter();
        let no_backup = || Error::NoBackup { dir: store.backup_dir(), future: future.len() };
        Ok(Self { path: past.next().ok_or_else(no_backup)?, older: past.next() })
    }

    /// Adds the backup before this one to the error of a damaged one.
    fn naming_older<T>(&self, result: Result<T, TransferError>) -> Result<T> {
        result.map_err(|error| match error {
            TransferError::InvalidBackup { path, problem, older: None } => {
                TransferError::InvalidBackup { path, problem, older: self.older.clone() }.into()
            }
            error => error.into(),
        })
    }
}

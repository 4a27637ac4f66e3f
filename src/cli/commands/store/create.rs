//! `cxnpoll store create`: create an empty store.

use clap::Args;
use serde_json::json;

use crate::cli::context::Context;
use crate::cli::error::Result;
use crate::cli::ui::output;
use crate::exit;
use crate::store::Store;

/// Create an empty store
///
/// An import and a restore create the store too, and other commands do not. A store that exists is left as it is.
#[derive(Args)]
#[command(after_help = "Example:\n  cxnpoll store create")]
pub(in crate::cli) struct Create {
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl Create {
    pub(in crate::cli) fn run(self, context: &Context) -> Result<u8> {
        let is_new = context.existing_store(true)?.is_none();
        let path = context.store_path()?;
        if is_new {
            Store::create(&path, context.global.store_wait)?;
        }
        let path = path.display().to_string();
        context.notify(&if is_new {
            format!("created the store {path}")
        } else {
            format!("the store {path} exists already")
        });
        if self.json {
            output::json(&json!({"path": path, "created": is_new}));
        }
        Ok(exit::OK)
    }
}

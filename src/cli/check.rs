//! `cxnpoll store check`: whether everything in the store agrees.

use std::path::PathBuf;

use clap::Args;
use indicatif::HumanBytes;
use serde_json::json;

use super::{Context, output};
use crate::error::Result;
use crate::exit;
use crate::model::safe_text;
use crate::store;

/// Check that every connection, poll status and entry of the index can be read and agrees with the others
#[derive(Args)]
#[command(after_help = "Example:\n  cxnpoll store check --repair")]
pub(super) struct Check {
    /// Mend what can be derived from the rest, and say what was done
    #[arg(long)]
    repair: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl Check {
    pub(super) fn run(self, context: &Context) -> Result<u8> {
        let store = context.store()?;
        let check = store.check(self.repair)?;
        let kept = store.kept()?;
        if self.json {
            output::json(&json!({
                "counts": check.counts,
                "faults": check.faults,
                "mended": check.mended,
                "firstFaults": check.first_faults,
                "fileBytes": check.file_bytes,
                "compactingPays": check.compacting_pays(),
                "kept": kept,
            }))?;
        } else {
            self.tell(&check, &kept)?;
        }
        Ok(if check.faults == check.mended { exit::OK } else { exit::STORE })
    }

    fn tell(&self, check: &store::Check, kept: &[PathBuf]) -> Result<()> {
        let counts = check.counts;
        output::line(&format!(
            "{} connections, {} poll statuses, {} entries in the index of what is due; {}",
            counts.cxns,
            counts.statuses,
            counts.due,
            HumanBytes(check.file_bytes)
        ))?;
        for fault in &check.first_faults {
            output::line(&format!("fault: {}", safe_text(fault)))?;
        }
        output::line(&match (check.faults, check.mended) {
            (0, _) => "No faults.".to_owned(),
            (faults, mended) if self.repair => format!("{faults} faults, {mended} of them mended."),
            (faults, _) => format!("{faults} faults. `--repair` mends what can be derived."),
        })?;
        if check.compacting_pays() {
            output::line("`cxnpoll store compact` would make the store half as large or less.")?;
        }
        for kept in kept {
            output::line(&format!("{} was replaced and is kept: remove it when all is well.", kept.display()))?;
        }
        Ok(())
    }
}

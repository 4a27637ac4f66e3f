//! `cxnpoll store check`: whether everything in the store agrees.

use clap::Args;
use serde_json::json;

use super::{Context, output};
use crate::error::Result;
use crate::exit;

/// Check that every connection, poll status and entry of the index can be read and agrees with the others
#[derive(Args)]
pub(super) struct Check {
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl Check {
    pub(super) fn run(self, context: &Context) -> Result<u8> {
        let check = context.store()?.check()?;
        if self.json {
            output::json(&json!({"counts": check.counts, "faults": check.faults, "firstFaults": check.first_faults}))?;
        } else {
            let counts = check.counts;
            output::line(&format!(
                "{} connections, {} poll statuses, {} entries in the index of what is due",
                counts.cxns, counts.statuses, counts.due
            ))?;
            for fault in &check.first_faults {
                output::line(&format!("fault: {fault}"))?;
            }
            output::line(&match check.faults {
                0 => "No faults.".to_owned(),
                faults => format!("{faults} faults."),
            })?;
        }
        Ok(if check.faults == 0 { exit::OK } else { exit::STORE })
    }
}

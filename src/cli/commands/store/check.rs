//! `cxnpoll store check`: the consistency of the store.

use std::path::PathBuf;

use clap::Args;
use indicatif::HumanBytes;
use serde_json::json;

use crate::cli::commands::users;
use crate::cli::context::Context;
use crate::cli::error::Result;
use crate::cli::ui::output;
use crate::exit;
use crate::store;
use crate::util::text::{count, sanitize};

/// Check the consistency of the store
///
/// Every connection, poll status and entry of the due index must be readable and agree with the others.
#[derive(Args)]
#[command(after_help = "Example:\n  cxnpoll store check --repair")]
pub(in crate::cli) struct Check {
    /// Repair what can be derived from other data, and report it
    #[arg(long)]
    repair: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl Check {
    pub(in crate::cli) fn run(self, context: &Context) -> Result<u8> {
        let store = context.store_for(self.repair)?;
        let check = store.check(self.repair)?;
        if check.repaired > 0 {
            let repaired = users::audit(count(check.repaired, "fault"));
            store.write(|session| store.history().audit_store(session, &repaired, "repair"))?;
        }
        let kept = store.kept()?;
        if self.json {
            output::json(&json!({
                "counts": check.counts,
                "faults": check.faults,
                "mended": check.repaired,
                "firstFaults": check.first_faults,
                "orphanedResults": check.orphaned_results,
                "fileBytes": check.file_bytes,
                "compactingPays": check.compacting_pays(),
                "kept": kept,
            }));
        } else {
            self.report(&check, &kept).iter().for_each(|line| output::line(line));
        }
        Ok(if check.faults == check.repaired { exit::OK } else { exit::STORE })
    }

    /// The lines for a person.
    fn report(&self, check: &store::Check, kept: &[PathBuf]) -> Vec<String> {
        let counts = check.counts;
        let mut lines = vec![format!(
            "{}, {}, {}; {}",
            count(counts.cxns, "connection"),
            count(counts.statuses, "poll status record"),
            count(counts.due, "due index record"),
            HumanBytes(check.file_bytes)
        )];
        lines.extend(check.first_faults.iter().map(|fault| format!("fault: {}", sanitize(fault))));
        lines.push(match (check.faults, check.repaired) {
            (0, _) => "No faults.".to_owned(),
            (faults, repaired) if self.repair => format!("{}, {repaired} repaired.", count(faults, "fault")),
            (faults, _) => format!("{}. Repair what can be derived with `--repair`.", count(faults, "fault")),
        });
        if check.orphaned_results > 0 {
            let results = count(check.orphaned_results, "kept result");
            lines.push(if self.repair {
                format!("Removed {results} whose connection no longer exists.")
            } else {
                format!("Found {results} whose connection no longer exists. Remove with `--repair`.")
            });
        }
        if check.compacting_pays() {
            lines.push("`cxnpoll store compact` would at least halve the size of the store.".to_owned());
        }
        let kept =
            kept.iter().map(|path| format!("{} is a replaced database: remove it when all is well.", path.display()));
        lines.extend(kept);
        lines
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Counts;

    fn last_line(repair: bool, faults: u64, mended: u64) -> String {
        let counts = Counts { ids: 1, cxns: 1, statuses: 2, due: 2 };
        let check = store::Check { counts, faults, repaired: mended, ..store::Check::default() };
        let lines = Check { repair, json: false }.report(&check, &[]);
        assert_eq!(lines[0], "1 connection, 2 poll status records, 2 due index records; 0 B");
        lines.last().unwrap().clone()
    }

    #[test]
    fn faults_are_counted_in_plain_words() {
        assert_eq!(last_line(false, 0, 0), "No faults.");
        assert_eq!(last_line(false, 1, 0), "1 fault. Repair what can be derived with `--repair`.");
        assert_eq!(last_line(true, 2, 1), "2 faults, 1 repaired.");
    }

    #[test]
    fn one_result_without_a_connection_is_singular() {
        let check = store::Check { orphaned_results: 1, ..store::Check::default() };
        let line = |repair| Check { repair, json: false }.report(&check, &[]).pop();
        let text = "1 kept result whose connection no longer exists.";
        assert_eq!(line(true), Some(format!("Removed {text}")));
        assert_eq!(line(false), Some(format!("Found {text} Remove with `--repair`.")));
    }
}

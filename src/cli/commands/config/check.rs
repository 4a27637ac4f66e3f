//! `cxnpoll config check`: whether the configuration is valid, and the machine has what runs need.

use clap::Args;
use serde_json::json;
use tracing::{error, warn};

use super::apps::file;
use super::findings::find;
use super::jobs;
use crate::cli::commands::findings::Findings;
use crate::cli::context::Context;
use crate::cli::error::{Error, Result};
use crate::cli::ui::output;
use crate::exit;
use crate::util::text::count;

/// Check the configuration, certificates, listeners, notifications and name servers
///
/// Every listener program must be there and executable. Templates and programs of notifications are checked, and nothing is
/// sent. A warning names jobs that last ran with another retry expression than that of the configuration, and tables of jobs
/// that never ran. Of apps with a private key or links, and of all if there is a table `[registration]`, it checks what sites need
/// to register. The exit code is 78 if there is a problem; a warning does not change it.
#[derive(Args)]
#[command(after_help = "Example:\n  cxnpoll config check --config /etc/cxnpoll/cxnpoll.toml")]
pub(in crate::cli) struct Check {
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl Check {
    pub(in crate::cli) fn run(self, context: &Context) -> Result<u8> {
        let config = &context.config;
        let names = config.app_names();
        let mut findings = Findings::default();
        find(context, &names, &mut findings);
        jobs::find(context, &mut findings);
        let problems: Vec<_> = findings.found.into_iter().map(|finding| finding.message).collect();
        let warnings: Vec<_> = findings.notes.into_iter().map(|(_, note)| note).collect();
        if self.json {
            let line = json!({"file": config.file, "apps": names.len(), "problems": problems, "warnings": warnings});
            output::json(&line);
        } else {
            for problem in &problems {
                error!("{problem}");
            }
            for warning in &warnings {
                warn!("{warning}");
            }
        }
        let file = file(config);
        if !problems.is_empty() {
            return Err(Error::ConfigProblems { count: problems.len(), file });
        }
        if !self.json {
            context.notify(&format!("{file} is valid: {}", count(names.len() as u64, "app")));
        }
        Ok(exit::OK)
    }
}

//! `cxnpoll config check`: whether the configuration is valid.

use clap::Args;
use serde_json::json;
use tracing::{error, warn};

use super::apps::{app, file};
use crate::cli::context::Context;
use crate::cli::error::{Error, Report, Result};
use crate::cli::ui::output;
use crate::config::certificate_problems;
use crate::exit;
use crate::util::text::count;

/// Check the configuration, its apps and their certificates
#[derive(Args)]
#[command(after_help = "Example:\n  cxnpoll config check --config /etc/cxnpoll/cxnpoll.toml")]
pub(in crate::cli) struct Check {
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// What a check finds.
#[derive(Default)]
struct Findings {
    problems: Vec<String>,
    warnings: Vec<String>,
}

impl Check {
    pub(in crate::cli) fn run(self, context: &Context) -> Result<u8> {
        let config = &context.config;
        let names = config.app_names();
        let Findings { problems, warnings } = findings(context, &names);
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

fn findings(context: &Context, names: &[String]) -> Findings {
    let config = &context.config;
    let mut findings = Findings::default();
    if let Some(directory) = config.apps_dir.as_ref().filter(|directory| !directory.is_dir()) {
        findings.problems.push(format!("apps-dir: there is no directory {}", directory.display()));
    }
    let message = |error: Error| Report::from(error).message;
    findings.problems.extend(config.authorities().err().map(|error| message(error.into())));
    findings.problems.extend(config.heartbeat(None).err().map(|error| message(error.into())));
    for name in names {
        match app(config, name) {
            Ok(app) => {
                let problems = certificate_problems(&app, context.started);
                findings.problems.extend(problems.iter().map(ToString::to_string));
                findings.warnings.extend(app.tls_warning());
            }
            Err(error) => findings.problems.push(message(error)),
        }
    }
    findings.problems.extend(context.store_path().err().map(message));
    findings
}

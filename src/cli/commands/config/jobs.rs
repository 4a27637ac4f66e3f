//! How the tables of jobs differ from what jobs last ran with.

use super::apps::job_table;
use crate::cli::commands::findings::{Check, Findings};
use crate::cli::context::Context;
use crate::cli::error::Report;
use crate::cli::values;
use crate::config::{JobTable, Origin};
use crate::model::{AppId, JobName};
use crate::store::ReadSession;

/// Notes other retry expressions than those of the last runs, and tables of jobs that never ran.
pub(super) fn find(context: &Context, findings: &mut Findings) {
    let config = &context.config;
    let jobs = match jobs_that_ran(context) {
        Ok(Some(jobs)) => jobs,
        Ok(None) => return,
        Err(error) => {
            let text = format!("cannot read which retry expressions jobs last ran with: {}", error.message);
            return findings.note(Check::Jobs, text);
        }
    };
    for ((app, name), last) in &jobs {
        let retry = config.job_values(app, name, &JobTable::default()).retry;
        if *last == retry.value.to_string() {
            continue;
        }
        let app = app.short();
        let ran = format!("the job {name} of {app} last ran with the retry expression '{last}'");
        let text = if retry.origin == Origin::Job {
            format!("{ran}, and [jobs.\"{app}\".{name}] has '{}': does its crontab have --retry?", retry.value)
        } else {
            format!("{ran}, and a run without --retry has '{}': [jobs.\"{app}\".{name}] could set it", retry.value)
        };
        findings.note(Check::Jobs, text);
    }
    let apps = config.app_names();
    let is_known =
        |app: &AppId| apps.iter().any(|name| name == app.short()) || jobs.iter().any(|((of, _), _)| of == app);
    for (app, name) in config.jobs.keys().filter(|job| is_known(&job.0) && jobs.iter().all(|(ran, _)| ran != *job)) {
        let names = jobs.iter().filter(|((of, _), _)| of == app).map(|((_, name), _)| name.to_string());
        let names: Vec<_> = names.collect();
        let similar = values::closest(name.as_str(), &names);
        let similar = similar.map_or_else(String::new, |name| format!("; did you mean {name}?"));
        findings.note(Check::Jobs, format!("{}: this job never ran{similar}", job_table(config, app, name)));
    }
}

/// A job, and the retry expression of its last run.
type LastRetry = ((AppId, JobName), String);

/// The jobs that ran; `None` if there is no store.
fn jobs_that_ran(context: &Context) -> Result<Option<Vec<LastRetry>>, Report> {
    let Some(store) = context.existing_store(false)? else { return Ok(None) };
    let jobs = store.read(ReadSession::jobs_with_apps)?.into_iter();
    Ok(Some(jobs.filter_map(|(app, job)| Some(((app, job.name), job.retry?))).collect()))
}

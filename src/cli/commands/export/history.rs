//! What `export --history` writes: one JSON object per line.

use std::collections::HashMap;
use std::io::{self, Write};

use serde_json::{Map, Value, json};

use crate::cli::error::{Error, Result};
use crate::model::{AppId, Condition, CxnId, FailureClass, Fault, JobName, Transition};
use crate::run::run_json;
use crate::store::{AdminEntry, CxnHash, Entry, Frame, ReadSession, RunEntry, RunProblems, SiteTransition, Store};

/// Writes what changed, by month and in the order of writing, and then the last runs of each job.
///
/// # Errors
/// Fails if the store or its history cannot be read; those of `failed` where the output cannot be written.
pub(super) fn write(store: &Store, mut out: impl Write, failed: impl Fn(io::Error) -> Error) -> Result<()> {
    let mut known = HashMap::new();
    store.for_each_cxn(|_, cxn, _| {
        known.insert(CxnHash::from(&cxn.cxn_id), cxn.cxn_id);
        Ok::<_, Error>(())
    })?;
    let history = store.history();
    history.scan(i64::MIN, |Frame { at, job, entries }| {
        for entry in &entries {
            let (kind, figures) = match entry {
                Entry::Transition(transition) => ("transition", transition_json(transition, &known)),
                Entry::RunProblems(problems) => ("problems", problems_json(at, problems)),
                Entry::Admin(action) => ("admin", admin_json(action)),
            };
            writeln!(out, "{}", line(kind, job.as_ref(), figures)).map_err(&failed)?;
        }
        Ok::<_, Error>(())
    })?;
    for (app_id, job) in store.read(ReadSession::jobs_with_apps)? {
        let job = (app_id, job.name);
        for RunEntry { run, exit_code } in history.runs(&job.0, &job.1)? {
            let mut run_figures = run_json(&run);
            // History does not have them.
            run_figures.shift_remove("skippedHosts");
            let figures = json!({"at": run.now, "exitCode": exit_code, "run": run_figures});
            writeln!(out, "{}", line("run", Some(&job), figures)).map_err(&failed)?;
        }
    }
    out.flush().map_err(failed)
}

/// A line: its kind, the job that it belongs to, and the rest.
fn line(kind: &str, job: Option<&(AppId, JobName)>, figures: Value) -> Value {
    let mut line = Map::from_iter([("kind".to_owned(), json!(kind))]);
    if let Some((app_id, job)) = job {
        line.extend([("appId".to_owned(), json!(app_id)), ("jobName".to_owned(), json!(job))]);
    }
    if let Value::Object(figures) = figures {
        line.extend(figures);
    }
    line.into()
}

fn transition_json(
    SiteTransition { cxn, host, transition }: &SiteTransition,
    known: &HashMap<CxnHash, CxnId>,
) -> Value {
    let Transition { at, from, to, class, unknown_from } = transition;
    json!({
        "at": at,
        "cxnId": known.get(cxn),
        "cxnHash": format!("{:016x}", cxn.0),
        "from": Condition::name(*from),
        "to": Condition::name(*to),
        "class": class.map(FailureClass::name),
        "host": host,
        "unknownFrom": unknown_from,
    })
}

fn problems_json(at: i64, RunProblems { fault, behind_since, down }: &RunProblems) -> Value {
    let down = down.iter().map(|(host, sites)| json!({"host": host, "sites": sites}));
    json!({
        "at": at,
        "fault": fault.map(Fault::name),
        "behindSince": behind_since,
        "down": down.collect::<Value>(),
    })
}

fn admin_json(AdminEntry { at, user, action, cxns, detail }: &AdminEntry) -> Value {
    json!({"at": at, "user": user, "action": action, "cxns": cxns, "detail": detail})
}

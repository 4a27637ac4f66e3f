//! Availability and incidents, as commands collect them and as they are in JSON.

use std::collections::HashMap;

use serde_json::{Map, Value, json};

use super::context::Context;
use super::cxn_arg::CxnArg;
use super::error::{Error, Result};
use super::selection::{Filter, Match, status_of};
use crate::model::{PollStatus, UnixTime};
use crate::report::{Collector, Incident, SiteReport, Times};
use crate::store::{ReadSession, Statuses, Store};

/// Begins a report about the connections of a filter since `from`.
///
/// If some are `named`, it is only about those.
///
/// # Errors
/// Those of [`Filter::each`]; history cannot be read.
pub(super) fn collector(
    context: &Context,
    store: &Store,
    filter: &Filter,
    named: &[CxnArg],
    from: UnixTime,
) -> Result<Collector> {
    let is_selection = !named.is_empty() || filter.selects_among_connections();
    let mut collector = Collector::new(&store.history(), from, filter.now(context), is_selection)?;
    let jobs = filter.jobs_with_apps(context, store)?.into_iter();
    let jobs: HashMap<_, _> =
        jobs.map(|(app_id, job, policy)| (job.no, collector.add_job(app_id, &job, policy))).collect();
    if !is_selection {
        let about = store.read(ReadSession::cxn_count_upper_bound)?;
        collector.reserve(usize::try_from(about).unwrap_or(0));
    }
    let never_polled = PollStatus::default();
    let mut add = |found: &Match, statuses: &Statuses| {
        let status = |job| status_of(statuses, job).unwrap_or(&never_polled);
        let of = found.jobs.iter().filter_map(|job| Some((*jobs.get(&job.no)?, status(&job.name))));
        collector.add(&found.cxn, of);
    };
    if named.is_empty() {
        filter.count(context, store, add)?;
    } else {
        filter.each(context, store, named, |found, statuses| {
            add(&found, &statuses);
            Ok::<_, Error>(())
        })?;
    }
    Ok(collector)
}

/// The times as they are in JSON.
pub(super) fn times_json(times: &Times) -> Map<String, Value> {
    let values = [
        ("availability", json!(times.availability())),
        ("upS", json!(times.up_s)),
        ("downS", json!(times.down_s)),
        ("unknownS", json!(times.unknown_s)),
    ];
    values.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
}

/// The value of `last30Days`: the times, and the incidents if they are given.
///
/// Null if nothing is known.
pub(super) fn last_30_days_json(times: &Times, incidents: Option<Value>) -> Value {
    if times.availability().is_none() {
        return Value::Null;
    }
    let mut json = times_json(times);
    json.extend(incidents.map(|incidents| ("incidents".to_owned(), incidents)));
    Value::Object(json)
}

/// Since when a site fails; `None` if it does not.
pub(super) fn failing_since(site: &SiteReport) -> Option<UnixTime> {
    site.incidents.last().filter(|incident| incident.to.is_none()).map(|incident| incident.from)
}

/// The incidents as they are in JSON.
pub(super) fn incidents_json(incidents: &[Incident]) -> Value {
    incidents
        .iter()
        .map(|incident| json!({"from": incident.from, "to": incident.to, "class": incident.class}))
        .collect()
}

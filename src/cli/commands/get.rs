//! `cxnpoll get`: list connections.

mod columns;
mod past;

use std::collections::BTreeMap;

use clap::Args;
use serde_json::{Map, Value, json};

use crate::cli::availability::last_30_days_json;
use crate::cli::context::Context;
use crate::cli::cxn_arg::CxnArg;
use crate::cli::error::{Error, Result};
use crate::cli::selection::{Filter, Match, last_outcome, status_of};
use crate::cli::ui::output;
use crate::cli::ui::table::Table;
use crate::cli::values;
use crate::exit;
use crate::model::{Cxn, PollStatus, SiteUrl};
use crate::store::{self, Statuses};
use columns::{Column, Row, SortKey};
use past::Pasts;

/// List connections
///
/// Lists all connections, the named ones, or those that match the filters. Secrets are not shown.
///
/// There is one line per connection. If its app has several jobs, the line is about the job in which its state is worst,
/// and the state begins with the name of that job unless it is `default`. With --name the line is about that job. `-` stands
/// for no value. JSON has all jobs, and times in seconds since 1970.
///
/// The columns failing-since and availability read history, so the list takes longer.
///
/// The order is that of the store, which stays the same from call to call.
#[derive(Args)]
#[command(
    after_help = "Examples:\n  cxnpoll get --state given-up --app org.civicrm.myapp\n  cxnpoll get --failure tls,dns --json\n  cxnpoll get --sort next-due --limit 20\n  cxnpoll get --sort availability --limit 20 --columns site,availability,failing-since,last-outcome\n  cxnpoll get --state retrying --columns site,last-outcome,message,cxn --sort last-outcome"
)]
pub(in crate::cli) struct Get {
    /// List only these connections
    #[arg(value_name = "CXN")]
    cxns: Vec<CxnArg>,
    #[command(flatten)]
    filter: Filter,
    /// Columns of the table, in this order [default: site,state,last-outcome,next-due,cxn]
    #[arg(long, value_name = "COLUMN", value_delimiter = ',', conflicts_with = "json")]
    columns: Vec<Column>,
    /// Sort by one of these columns, whether or not it is shown. Connections without a value come last
    #[arg(long, value_name = "COLUMN", hide_possible_values = true)]
    sort: Option<Column>,
    /// With --sort: the greatest values first
    #[arg(long, requires = "sort")]
    reverse: bool,
    /// List at most this many connections
    #[arg(long, value_name = "N", value_parser = values::positive)]
    limit: Option<u64>,
    /// With --json: also print since when each connection fails, and its availability in the last 30 days
    #[arg(long, requires = "json")]
    history: bool,
    /// Print one JSON object per line, without secrets
    #[arg(long)]
    json: bool,
}

/// Why no more connections are read.
enum End {
    /// As many as wanted are listed.
    Limit,
    Failed(Error),
}

impl From<Error> for End {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

impl From<store::Error> for End {
    fn from(error: store::Error) -> Self {
        Self::Failed(error.into())
    }
}

/// What is listed of a connection.
enum Line {
    Json(Value),
    Cells(Vec<String>),
}

impl Get {
    pub(in crate::cli) fn run(self, context: &Context) -> Result<u8> {
        let store = context.store()?;
        let now = self.filter.now(context);
        let columns = if self.columns.is_empty() { &Column::DEFAULT[..] } else { &self.columns };
        let header: Vec<_> = columns.iter().map(|column| column.header()).collect();
        let shortened = (0..).zip(columns).filter(|(_, column)| column.is_shortened()).map(|(number, _)| number);
        let mut table = Table::new(header).shortening(shortened.collect());
        let mut print = |line| match line {
            Line::Cells(cells) => {
                table.add(&cells);
                Ok(())
            }
            Line::Json(value) => {
                output::json_line(&value);
                output::check()
            }
        };
        let limit = self.limit.unwrap_or(u64::MAX);
        let never_polled = PollStatus::default();
        let wanted: Vec<_> = columns.iter().copied().filter(|_| !self.json).chain(self.sort).collect();
        let pasts = if self.history || wanted.iter().any(|column| column.is_of_history()) {
            let all = self.history || wanted.contains(&Column::FailingSince);
            Some(Pasts::read(context, &store, &self.filter, &self.cxns, all)?)
        } else {
            None
        };
        let mut sorted: BTreeMap<SortKey, Line> = BTreeMap::new();
        let mut number = 0;
        let read = self.filter.each(context, &store, &self.cxns, |found, statuses| {
            number += 1;
            let row = Row::new(&found, &statuses, &never_polled, pasts.as_ref());
            let line = || {
                if self.json {
                    Line::Json(to_json(&found, &statuses, pasts.as_ref().filter(|_| self.history)))
                } else {
                    Line::Cells(columns.iter().map(|column| row.cell(*column, now)).collect())
                }
            };
            if let Some(column) = self.sort {
                let key = SortKey { value: row.sort_value(column), reverse: self.reverse, number };
                let is_full = sorted.len() as u64 >= limit;
                if !is_full || sorted.last_key_value().is_some_and(|(last, _)| key < *last) {
                    sorted.insert(key, line());
                }
                if sorted.len() as u64 > limit {
                    sorted.pop_last();
                }
                return Ok(());
            }
            print(line())?;
            if number < limit { Ok(()) } else { Err(End::Limit) }
        });
        match read {
            Ok(_) | Err(End::Limit) => {}
            Err(End::Failed(error)) => return Err(error),
        }
        sorted.into_values().try_for_each(print)?;
        if !self.json {
            table.print()?;
        }
        Ok(exit::OK)
    }
}

/// A connection as JSON, without its secret. Its jobs have `failingSince` and `last30Days` if there are `pasts`.
fn to_json(found: &Match, statuses: &Statuses, pasts: Option<&Pasts>) -> Value {
    let Cxn { cxn_id, app_id, app_url, site_url, perm, via_port, batch_code, disabled, secret: _ } = &found.cxn;
    let never_polled = PollStatus::default();
    let jobs = found.jobs.iter().map(|job| {
        let status = status_of(statuses, &job.name).unwrap_or(&never_polled);
        let mut job_json = json!({
            "state": job.state,
            "pollLevel": status.level,
            "pollCount": status.count,
            "lastRun": status.last_run,
            "nextDue": job.next_due,
            "lastOutcome": last_outcome(status),
            "lastSuccess": status.last_success,
        });
        if let Some(pasts) = pasts {
            let past = pasts.of(cxn_id, &job.name);
            job_json["failingSince"] = json!(past.and_then(|past| past.failing_since));
            job_json["last30Days"] = json!(past.map(|past| last_30_days_json(&past.times, None)));
        }
        (job.name.as_str().to_owned(), job_json)
    });
    json!({
        "cxnId": cxn_id,
        "appId": app_id,
        "appUrl": SiteUrl::from(app_url.as_ref()),
        "siteUrl": site_url,
        "perm": perm.as_ref(),
        "viaPort": via_port,
        "batchCode": batch_code,
        "disabled": disabled,
        "states": found.jobs.iter().map(|job| (job.name.as_str().to_owned(), json!(job.state))).collect::<Value>(),
        "jobs": jobs.collect::<Map<_, _>>(),
    })
}

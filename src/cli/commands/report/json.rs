//! The report as JSON.

use std::io::{self, Write};

use serde_json::{Map, Value, json};

use crate::cli::availability::{incidents_json, times_json};
use crate::model::Fault;
use crate::report::{HostReport, JobReport, Ledger, Report, RunHealth, SiteReport};
use crate::util::text::escape;

/// How many of the worst hosts are listed.
const MAX_HOSTS: usize = 100;

/// Writes one object, with a line for each site. What is not printable is escaped.
pub(super) fn write(ledger: &Ledger, out: &mut impl Write) -> io::Result<()> {
    let Report { from, to, began, jobs, worst_hosts, gone, .. } = ledger.report(MAX_HOSTS);
    write!(out, "{{\"from\":{from},\"to\":{to},\"sites\":[")?;
    for (number, report) in ledger.sites().enumerate() {
        let separator = if number == 0 { "" } else { "," };
        write!(out, "{separator}\n{}", escape(&site(&report).to_string()))?;
    }
    let sum = |of: fn(&RunHealth) -> u64| jobs.iter().map(|job| of(&job.runs)).sum::<u64>();
    let runs = json!({
        "total": sum(|runs| runs.total),
        "late": sum(|runs| runs.late),
        "ownOutages": sum(|runs| runs.own_outages),
    });
    let jobs: Value = jobs.iter().map(job).collect();
    let hosts: Value = worst_hosts.iter().map(host).collect();
    let gone = json!(gone.map(|gone| json!({"sites": gone.sites, "incidents": gone.incidents})));
    let began = json!(began);
    let hosts = escape(&hosts.to_string()).into_owned();
    writeln!(out, "\n],\"runs\":{runs},\"jobs\":{jobs},\"hosts\":{hosts},\"gone\":{gone},\"historyBegan\":{began}}}")
}

/// A site with its incidents.
fn site(site: &SiteReport) -> Value {
    let mut object = Map::new();
    object.insert("cxnId".to_owned(), json!(site.cxn_id));
    object.insert("siteUrl".to_owned(), json!(site.site_url));
    object.insert("appId".to_owned(), json!(site.app_id));
    object.insert("jobName".to_owned(), json!(site.job));
    object.extend(times_json(&site.times));
    object.insert("incidents".to_owned(), incidents_json(&site.incidents));
    Value::Object(object)
}

/// The sums of a job and what its runs did.
fn job(job: &JobReport) -> Value {
    let RunHealth { total, late, own_outages, outages, failed, elapsed_ms, lateness_s } = &job.runs;
    let classes = job.classes.iter().map(|(class, count)| (class.to_string(), json!(count)));
    let outages = outages.iter().map(|(at, fault)| json!({"at": at, "cause": fault.map(Fault::name)}));
    let elapsed = elapsed_ms.map(|(p50, p95, max)| json!({"p50": p50, "p95": p95, "max": max}));
    let mut object = Map::new();
    object.insert("appId".to_owned(), json!(job.app_id));
    object.insert("jobName".to_owned(), json!(job.job));
    object.insert("sites".to_owned(), json!(job.sites));
    object.insert("down".to_owned(), json!(job.down));
    object.extend(times_json(&job.times));
    object.insert("incidents".to_owned(), json!(job.incidents));
    object.insert("failures".to_owned(), classes.collect());
    object.insert(
        "runs".to_owned(),
        json!({
            "total": total,
            "late": late,
            "ownOutages": own_outages,
            "lastOutages": outages.collect::<Value>(),
            "failed": failed,
            "elapsedMs": elapsed,
            "latenessS": lateness_s,
        }),
    );
    Value::Object(object)
}

fn host(host: &HostReport) -> Value {
    json!({"host": host.host.to_string(), "sites": host.sites, "incidents": host.incidents, "downS": host.down_s})
}

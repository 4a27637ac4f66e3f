//! Fields of kept results as a table: `results --table version,php`.

use std::cmp::{Ordering, Reverse};
use std::collections::{BTreeMap, BTreeSet};
use std::mem;

use clap::Args;
use serde_json::{Map, Value, json};

use super::condition::{Condition, SortKey, condition};
use super::field::{Ambiguous, Field, add_names, field, text};
use crate::cli::error::{Error, Result, ResultsProblem};
use crate::cli::ui::table::Table;
use crate::cli::ui::{output, time};
use crate::model::{AppId, CxnId, JobName, SiteUrl, UnixTime};
use crate::store::{self, Store, StoredResult, WhichResults};
use crate::transfer::csv_cell;
use crate::util::text::sanitize;
use crate::util::time::rfc3339;

/// How many connections are looked up at a time.
const LOOKUPS: usize = 16_384;

/// Which fields are shown, and how.
#[derive(Args)]
pub(super) struct Inventory {
    /// Show these fields of the newest results as columns: version,php
    #[arg(long = "table", value_name = "FIELD", value_delimiter = ',', value_parser = field, conflicts_with_all = ["latest", "at", "remove"])]
    fields: Vec<Field>,
    /// With --table: select by a field, as 'version<5.51'. If there are several, all must hold
    #[arg(long = "where", value_name = "CONDITION", value_parser = condition, requires = "fields")]
    conditions: Vec<Condition>,
    /// With --table: sort by this field, whether or not it is shown. Connections without a value come last
    #[arg(long, value_name = "FIELD", value_parser = field, requires = "fields")]
    sort: Option<Field>,
    /// With --sort: the greatest values first
    #[arg(long, requires = "sort")]
    reverse: bool,
    /// With --table: show how many connections have the same values, the most frequent first
    #[arg(long, requires = "fields", conflicts_with = "sort")]
    count: bool,
    /// With --table: print CSV
    #[arg(long, requires = "fields", conflicts_with = "json")]
    csv: bool,
}

/// Whose results are shown; `None` is any.
pub(super) struct Selection<'a> {
    pub(super) cxn_id: Option<&'a CxnId>,
    pub(super) app_id: Option<&'a AppId>,
    pub(super) job: Option<&'a JobName>,
}

/// The fields of a connection for a job.
struct Row {
    cxn_id: CxnId,
    app_id: AppId,
    job: JobName,
    at: UnixTime,
    values: Vec<Value>,
    sort_key: Option<SortKey>,
}

/// The fields that no result had so far, and what results have instead.
struct Search<'a> {
    unseen: Vec<&'a Field>,
    names: BTreeSet<String>,
    is_empty: bool,
}

impl Inventory {
    /// Whether fields are to be shown.
    pub(super) fn is_wanted(&self) -> bool {
        !self.fields.is_empty()
    }

    /// Prints the fields of the newest result of each connection and job whose poll succeeded.
    ///
    /// # Errors
    /// [`Error::Results`]: no result has one of the fields, or more than one call has it; the store cannot be read.
    pub(super) fn print(&self, store: &Store, of: &Selection, is_json: bool) -> Result<()> {
        let of_conditions = self.conditions.iter().map(|condition| &condition.field);
        let unseen = self.fields.iter().chain(of_conditions).chain(&self.sort).collect();
        let mut search = Search { unseen, names: BTreeSet::new(), is_empty: true };
        let mut out = Out::new(self, is_json);
        let mut rows = Vec::new();
        store.for_each_result(of.cxn_id, of.job, WhichResults::NewestSuccess, |result| -> Result<()> {
            if of.app_id.is_some_and(|app_id| *app_id != result.app_id) {
                return Ok(());
            }
            search.is_empty = false;
            search.look(&result.value)?;
            rows.extend(self.row(result)?);
            // The output begins when it is certain that all fields exist.
            if rows.len() >= LOOKUPS && self.sort.is_none() && search.unseen.is_empty() {
                out.add(store, mem::take(&mut rows))?;
            }
            Ok(())
        })?;
        if search.is_empty && store.skipped().is_empty() {
            return Err(Error::Results(ResultsProblem::NothingKept(of.cxn_id.map(ToString::to_string))));
        }
        if let (false, Some(field)) = (search.is_empty, search.unseen.first()) {
            let fields = search.names.into_iter().collect();
            return Err(Error::Results(ResultsProblem::NoField { name: field.name().to_owned(), fields }));
        }
        if self.sort.is_some() {
            rows.sort_by(|a, b| match (&a.sort_key, &b.sort_key) {
                (Some(a), Some(b)) if self.reverse => b.partial_cmp(a).unwrap_or(Ordering::Equal),
                (Some(a), Some(b)) => a.partial_cmp(b).unwrap_or(Ordering::Equal),
                (a, b) => a.is_none().cmp(&b.is_none()),
            });
        }
        while !rows.is_empty() {
            let rest = rows.split_off(rows.len().min(LOOKUPS));
            out.add(store, mem::replace(&mut rows, rest))?;
        }
        out.finish()
    }

    /// The row of a result; `None` if that does not meet the conditions.
    fn row(&self, result: StoredResult) -> Result<Option<Row>> {
        let value = |field: &Field| Ok::<_, Error>(find(field, &result.value)?.cloned().unwrap_or_default());
        for condition in &self.conditions {
            if !condition.holds(&value(&condition.field)?) {
                return Ok(None);
            }
        }
        let values = self.fields.iter().map(value).collect::<Result<_>>()?;
        let sort_value = self.sort.as_ref().map(value).transpose()?;
        let sort_key = sort_value.as_ref().and_then(SortKey::of);
        let StoredResult { cxn_id, app_id, job, at, .. } = result;
        Ok(Some(Row { cxn_id, app_id, job, at, values, sort_key }))
    }
}

fn find<'a>(field: &Field, kept: &'a Value) -> Result<Option<&'a Value>> {
    field.find(kept).map_err(|Ambiguous(full)| {
        Error::Results(ResultsProblem::AmbiguousField { name: field.name().to_owned(), full })
    })
}

impl Search<'_> {
    /// Looks for the fields in a result.
    fn look(&mut self, kept: &Value) -> Result<()> {
        if self.unseen.is_empty() {
            return Ok(());
        }
        let mut unseen = Vec::new();
        for field in mem::take(&mut self.unseen) {
            if find(field, kept)?.is_none() {
                unseen.push(field);
            }
        }
        if !unseen.is_empty() {
            add_names(kept, &mut self.names);
        }
        self.unseen = unseen;
        Ok(())
    }
}

/// The output, which begins with the first rows.
struct Out<'a> {
    inventory: &'a Inventory,
    format: Format,
    has_begun: bool,
    /// The number of rows by the texts of their values; only for `--count`.
    counts: BTreeMap<Vec<String>, (Vec<Value>, u64)>,
}

enum Format {
    Text(Table),
    Csv(Box<csv::Writer<output::Output>>),
    Json,
}

impl<'a> Out<'a> {
    fn new(inventory: &'a Inventory, is_json: bool) -> Self {
        let format = match inventory.csv {
            true => Format::Csv(Box::new(csv::Writer::from_writer(output::Output))),
            false if is_json => Format::Json,
            false => {
                let names = inventory.fields.iter().map(|field| sanitize(&field.name().to_uppercase()));
                let (before, behind) = if inventory.count {
                    (&[][..], &["COUNT"][..])
                } else {
                    (&["SITE"][..], &["JOB", "AT", "CXN"][..])
                };
                let fixed = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
                let header: Vec<_> = fixed(before).into_iter().chain(names).chain(fixed(behind)).collect();
                let shortened = (0..header.len() - behind.len()).collect();
                Format::Text(Table::new(header).shortening(shortened))
            }
        };
        Self { inventory, format, has_begun: false, counts: BTreeMap::new() }
    }

    /// Adds the rows of the connections that still exist.
    fn add(&mut self, store: &Store, rows: Vec<Row>) -> Result<()> {
        let sites = store.read(|session| {
            let site = |row: &Row| {
                let cxn = session.find(&row.cxn_id)?.map(|key| session.cxn(key)).transpose()?;
                Ok(cxn.flatten().map(|cxn| cxn.site_url))
            };
            rows.iter().map(site).collect::<store::Result<Vec<_>>>()
        })?;
        self.begin();
        for (row, site) in rows.into_iter().zip(sites) {
            match site {
                Some(_) if self.inventory.count => {
                    let texts = row.values.iter().map(text).collect();
                    self.counts.entry(texts).or_insert((row.values, 0)).1 += 1;
                }
                Some(site_url) => self.print(&row, &site_url)?,
                None => {}
            }
        }
        Ok(())
    }

    fn print(&mut self, row: &Row, site_url: &SiteUrl) -> Result<()> {
        let Row { cxn_id, app_id, job, at, values, .. } = row;
        let (cxn, site) = (cxn_id.to_string(), site_url.to_string());
        match &mut self.format {
            Format::Text(table) => {
                let cells = values.iter().map(|value| sanitize(&text(value)));
                let behind = [job.to_string(), time::utc(*at), cxn];
                table.add(&[sanitize(&site)].into_iter().chain(cells).chain(behind).collect::<Vec<_>>());
                Ok(())
            }
            Format::Csv(writer) => {
                let before = [cxn, site, app_id.to_string(), job.to_string(), rfc3339(*at)];
                let _ =
                    writer.write_record(before.iter().map(|cell| csv_cell(cell)).chain(values.iter().map(csv_value)));
                output::check()
            }
            Format::Json => {
                output::json_line(&json!({
                    "cxnId": cxn_id,
                    "siteUrl": site_url,
                    "appId": app_id,
                    "jobName": job,
                    "at": at,
                    "fields": self.object(values),
                }));
                output::check()
            }
        }
    }

    /// Prints the counts, and what waits.
    fn finish(mut self) -> Result<()> {
        self.begin();
        let mut counts: Vec<_> = mem::take(&mut self.counts).into_values().collect();
        counts.sort_by_key(|(_, count)| Reverse(*count));
        for (values, count) in counts {
            match &mut self.format {
                Format::Text(table) => {
                    let cells = values.iter().map(|value| sanitize(&text(value)));
                    table.add(&cells.chain([count.to_string()]).collect::<Vec<_>>());
                }
                Format::Csv(writer) => {
                    let _ = writer.write_record(values.iter().map(csv_value).chain([count.to_string()]));
                }
                Format::Json => output::json_line(&json!({"fields": self.object(&values), "count": count})),
            }
        }
        match self.format {
            Format::Text(table) => return table.print(),
            Format::Csv(mut writer) => drop(writer.flush()),
            Format::Json => {}
        }
        output::check()
    }

    /// Prints the names of the columns of CSV, once.
    fn begin(&mut self) {
        let Format::Csv(writer) = &mut self.format else { return };
        if !mem::replace(&mut self.has_begun, true) {
            let Inventory { fields, count, .. } = self.inventory;
            let (before, behind): (&[_], _) =
                if *count { (&[], Some("count")) } else { (&["cxnId", "siteUrl", "appId", "jobName", "at"], None) };
            let names = before.iter().copied().chain(fields.iter().map(Field::name)).chain(behind);
            // A failure is remembered.
            let _ = writer.write_record(names.map(csv_cell));
        }
    }

    fn object(&self, values: &[Value]) -> Map<String, Value> {
        self.inventory.fields.iter().map(|field| field.name().to_owned()).zip(values.iter().cloned()).collect()
    }
}

/// A cell of CSV. A number is no formula, even if it is negative.
fn csv_value(value: &Value) -> String {
    if value.is_number() { text(value) } else { csv_cell(&text(value)) }
}

//! An input that is cut changes nothing that the whole input would not change.
//!
//! Where a table or JSON lines are cut exactly between two lines, what is left is a whole input of fewer connections. Only
//! there may `--prune` remove more than with the whole input, up to its limit.

use std::collections::{BTreeMap, BTreeSet};
use std::env;
use std::time::Duration;

use serde_json::{Value, json};

use super::findings::Findings;
use super::prune::{Limit, Pruning};
use crate::cli::ui::progress::{Display, Progress};
use crate::model::{Cxn, CxnId, Secret};
use crate::store::{Statuses, Store};
use crate::transfer::{Format, Record, Writer, parse};

/// How many connections are stored that the input lacks.
const GONE: usize = 3;

/// What an import would do.
struct Effect {
    applied: BTreeMap<CxnId, Record>,
    removed: BTreeSet<CxnId>,
    is_aborted: bool,
}

/// Returns what `import --prune --on-error skip` would do, and whether it aborts without `skip`.
fn effect(store: &Store, format: Format, input: &[u8]) -> Effect {
    let progress = Progress::begin_of(0, "checked", Display::Hidden);
    let mut removed = BTreeSet::new();
    // An error ends the import before it changes anything.
    let Ok((findings, spool)) = Findings::of(input, format, true, false, Some(store), &progress) else {
        return Effect { applied: BTreeMap::new(), removed, is_aborted: true };
    };
    let plan = Pruning::of(Some(store), &findings, &BTreeSet::new(), Limit::Default, |cxn| {
        removed.insert(cxn.cxn_id.clone());
        Ok(())
    });
    let records = spool.into_records(&findings.rejected).unwrap().map(Result::unwrap);
    let by_id = records.map(|record| match &record {
        Record::Cxn(patch) => (patch.cxn_id.clone(), record),
        Record::Status(patch) => (patch.cxn_id.clone(), record),
    });
    let applied = if plan.is_ok() { by_id.collect() } else { BTreeMap::new() };
    let removed = if plan.is_ok() { removed } else { BTreeSet::new() };
    Effect { applied, removed, is_aborted: plan.is_err() || findings.records == 0 || !findings.rejected.is_empty() }
}

fn text_of(number: usize) -> String {
    let url = "https://example.org/café";
    let status = json!({"pollLevel": 1, "pollCount": 12, "lastRun": 1_767_225_600});
    json!({
        "cxnId": format!("cxn:{number:04}"), "secret": Secret::from_bytes([7; 32]).to_base64(),
        "appId": format!("app:org.example.{}", number % 2), "appUrl": url, "siteUrl": format!("{url}/{number}"),
        "perm": {"desc": "x, \"y\"\n", "api": [number]}, "batchCode": number, "disabled": number.is_multiple_of(3),
        "pollStatus": {"default": status},
    })
    .to_string()
}

/// Returns the inputs of all formats, as different programs write them.
fn inputs(cxns: &[(Cxn, Statuses)]) -> Vec<(&'static str, Format, Vec<u8>)> {
    let written = |format| {
        let mut writer = Writer::new(format, false, Vec::new());
        for (cxn, statuses) in cxns {
            writer.write(cxn, statuses.clone()).unwrap();
        }
        writer.finish().unwrap()
    };
    let mut quoted = csv::WriterBuilder::new().quote_style(csv::QuoteStyle::Always).from_writer(Vec::new());
    let csv_text = written(Format::Csv);
    for row in csv::ReaderBuilder::new().has_headers(false).from_reader(&csv_text[..]).records() {
        // A line end between two values of JSON.
        quoted.write_record(row.unwrap().iter().map(|field| field.replace(",\"api\"", ",\n\"api\""))).unwrap();
    }
    let json_text = written(Format::Json);
    let pretty = serde_json::to_vec_pretty(&serde_json::from_slice::<Value>(&json_text).unwrap()).unwrap();
    let crlf = String::from_utf8(csv_text.clone()).unwrap().replace('\n', "\r\n").into_bytes();
    vec![
        ("jsonl", Format::Jsonl, written(Format::Jsonl)),
        ("json", Format::Json, json_text),
        ("pretty json", Format::Json, pretty),
        ("csv", Format::Csv, csv_text),
        ("csv with CR LF", Format::Csv, crlf),
        ("quoted csv", Format::Csv, quoted.into_inner().unwrap()),
        ("tsv", Format::Tsv, written(Format::Tsv)),
    ]
}

/// Numbers that look random, the same in each run.
fn random_offsets(below: usize, count: usize) -> impl Iterator<Item = usize> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    std::iter::repeat_with(move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        usize::try_from(state % below as u64).unwrap()
    })
    .take(count)
}

/// Cuts the input with this name at many places.
fn cut_everywhere(name: &str) {
    let is_long = env::var_os("CXNPOLL_EVERY_CUT").is_some();
    let (cxns, step, random) = if is_long { (1000, 1, 500) } else { (40, 17, 20) };
    let dir = tempfile::tempdir().unwrap();
    let store = Store::create(&dir.path().join("store"), Duration::from_secs(10)).unwrap();
    let patches: Vec<_> = (0..cxns + GONE).map(|number| parse(&text_of(number)).unwrap()).collect();
    store.write(|session| session.upsert(&patches, false)).unwrap();
    let mut stored = Vec::new();
    store
        .for_each_cxn(|_, cxn, statuses| {
            stored.push((cxn, statuses));
            Ok::<_, crate::store::Error>(())
        })
        .unwrap();
    stored.sort_by(|(one, _), (other, _)| one.cxn_id.cmp(&other.cxn_id));
    stored.truncate(cxns);

    let (_, format, input) = inputs(&stored).into_iter().find(|(known, ..)| *known == name).unwrap();
    let whole = effect(&store, format, &input);
    assert_eq!((whole.applied.len(), whole.removed.len(), whole.is_aborted), (cxns, GONE, false));
    let last = stored[cxns - 3].0.cxn_id.as_str();
    let last_lines = input.windows(last.len()).position(|bytes| bytes == last.as_bytes()).unwrap() - 10;
    let offsets = (last_lines..input.len()).step_by(step).chain(random_offsets(input.len(), random));
    let (mut cuts, mut between_lines, mut removed_more) = (0, 0, 0);
    for cut in offsets {
        let (before, after) = input.split_at(cut);
        let cut_off = effect(&store, format, before);
        cuts += 1;
        for (cxn_id, record) in &cut_off.applied {
            assert_eq!(whole.applied.get(cxn_id), Some(record), "cut at {cut}");
        }
        let is_ended = before.ends_with(b"\n") || before.ends_with(b"\r");
        let is_whole_line = format != Format::Json && (is_ended || format == Format::Jsonl && after[0] == b'\n');
        if is_whole_line && !cut_off.is_aborted {
            between_lines += 1;
            let is_missing = |cxn_id: &CxnId| !cut_off.applied.contains_key(cxn_id);
            assert!(cut_off.removed.iter().all(is_missing), "cut at {cut}");
            removed_more += usize::from(cut_off.removed.len() > GONE);
        } else {
            // A JSON object is whole without the line end behind it.
            assert!(cut_off.is_aborted || cut_off.applied == whole.applied, "cut at {cut}");
            assert!(cut_off.removed.is_subset(&whole.removed), "cut at {cut}");
        }
    }
    assert!(cuts > 50, "{cuts}");
    println!("{name}: {cuts} cuts, {between_lines} between lines, of which {removed_more} remove more");
}

#[test]
fn a_cut_of_json_lines_changes_nothing_that_the_whole_input_would_not() {
    cut_everywhere("jsonl");
}

#[test]
fn a_cut_of_json_changes_nothing_that_the_whole_input_would_not() {
    cut_everywhere("json");
}

#[test]
fn a_cut_of_pretty_json_changes_nothing_that_the_whole_input_would_not() {
    cut_everywhere("pretty json");
}

#[test]
fn a_cut_of_csv_changes_nothing_that_the_whole_input_would_not() {
    cut_everywhere("csv");
}

#[test]
fn a_cut_of_csv_with_cr_lf_changes_nothing_that_the_whole_input_would_not() {
    cut_everywhere("csv with CR LF");
}

#[test]
fn a_cut_of_quoted_csv_changes_nothing_that_the_whole_input_would_not() {
    cut_everywhere("quoted csv");
}

#[test]
fn a_cut_of_tsv_changes_nothing_that_the_whole_input_would_not() {
    cut_everywhere("tsv");
}

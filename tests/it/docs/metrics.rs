//! The page, the rules and the dashboard name exactly the metrics and labels that runs write.
//!
//! Every metric is on the page. Rules and dashboard need not use all of them.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use serde_json::Value;

use super::{inline_code, pages, read};
use crate::testkit::{APP, MIDNIGHT, World};

/// Labels of all metrics.
const COMMON: [&str; 3] = ["app", "batch", "job"];
/// Labels that Prometheus adds, and those of the rules themselves.
const NOT_OURS: [&str; 3] = ["instance", "exported_job", "batches"];

/// The file of a run that met an outage after one that did not: it has all metrics.
pub(super) fn metrics_file() -> String {
    let world = World::on_all_addresses();
    let sites: Vec<_> = (0..4).map(|number| world.site_on_own_host(number, civisite::Behaviour::Ok)).collect();
    world.import(&sites);
    fs::create_dir(world.path("metrics")).unwrap();
    let poll = |now: i64| world.run(&["poll", APP, "--metrics", "metrics", "--now", &now.to_string()]);
    poll(MIDNIGHT);
    world.server.stop_listening().unwrap();
    poll(MIDNIGHT + 7200);
    fs::read_to_string(world.path(&format!("metrics/cxnpoll-{APP}-default-0of1.prom"))).unwrap()
}

/// What a file of metrics has.
struct Written {
    /// The type of each metric.
    types: BTreeMap<String, String>,
    /// The values of each label of each series. A histogram has three series, and a summary too.
    labels: BTreeMap<String, BTreeMap<String, BTreeSet<String>>>,
}

impl Written {
    fn read(text: &str) -> Self {
        let mut written = Self { types: BTreeMap::new(), labels: BTreeMap::new() };
        for line in text.lines() {
            if let Some(kind) = line.strip_prefix("# TYPE ") {
                let (name, kind) = kind.split_once(' ').unwrap();
                written.types.insert(name.to_owned(), kind.to_owned());
            } else if !line.starts_with('#') {
                let (name, rest) = line.split_once('{').unwrap();
                let of_name = written.labels.entry(name.to_owned()).or_default();
                // No label of the test has a comma in its value.
                for label in rest.split_once('}').unwrap().0.split(',') {
                    let (label, value) = label.split_once('=').unwrap();
                    of_name.entry(label.to_owned()).or_default().insert(value.trim_matches('"').to_owned());
                }
            }
        }
        written
    }

    /// Returns the labels of a metric besides those of all metrics, and `le` of a histogram.
    fn own_labels(&self, metric: &str) -> BTreeSet<&str> {
        let labels = self.labels.get(metric).into_iter().flat_map(BTreeMap::keys).map(String::as_str);
        labels.filter(|label| !COMMON.contains(label)).collect()
    }
}

#[test]
fn page_has_every_metric_with_its_type_and_labels() {
    let written = Written::read(&metrics_file());
    assert!(written.types.len() > 20, "{:?}", written.types);
    let mut documented = BTreeMap::new();
    for row in read("docs/monitoring.md").lines().filter(|line| line.starts_with("| `cxnpoll_")) {
        let cells: Vec<_> = row.split(" | ").collect();
        let metric = cells[0].trim_start_matches("| ").trim_matches('`').trim_end_matches('}');
        let (name, labels) = metric.split_once('{').unwrap_or((metric, ""));
        let labels: BTreeSet<_> = labels.split(',').filter(|label| !label.is_empty()).map(str::to_owned).collect();
        documented.insert(name.to_owned(), (cells[1].to_owned(), labels));
    }
    let of_written = |(name, kind): (&String, &String)| {
        let labels = written.own_labels(name).into_iter().map(str::to_owned).collect();
        (name.clone(), (kind.clone(), labels))
    };
    assert_eq!(documented, written.types.iter().map(of_written).collect());
}

#[test]
fn pages_name_only_metrics_that_are_written() {
    let written = Written::read(&metrics_file());
    for page in pages() {
        for code in inline_code(&read(&page)) {
            // The colon keeps the names of recorded series apart.
            let words = code.split(|c: char| !c.is_ascii_alphanumeric() && c != '_' && c != ':');
            for name in words.filter(|word| word.starts_with("cxnpoll_") && *word != "cxnpoll_") {
                let is_written = written.types.contains_key(name) || written.labels.contains_key(name);
                assert!(is_written, "{page}: no metric {name}");
            }
        }
    }
}

#[test]
fn rules_and_dashboard_name_only_metrics_and_labels_that_are_written() {
    let written = Written::read(&metrics_file());
    let recorded = recorded();
    let mut checked = 0;
    for (place, text) in texts() {
        for (name, matchers) in selectors(&text) {
            checked += 1;
            let Some(labels) = written.labels.get(&name) else {
                assert!(recorded.contains(&name), "{place}: no metric {name}");
                continue;
            };
            for (label, values) in matchers.iter().filter(|(label, _)| !NOT_OURS.contains(&label.as_str())) {
                let known = labels.get(label).unwrap_or_else(|| panic!("{place}: {name} has no label {label}"));
                // Failure classes and causes that did not occur are known from elsewhere.
                let is_known = |value: &str| known.contains(value) || value.contains('$') || value.is_empty();
                assert!(values.split('|').all(is_known), "{place}: {name} {label} {values}: only {known:?}");
            }
        }
        for label in grouped(&text) {
            let is_written = written.labels.values().any(|labels| labels.contains_key(&label));
            assert!(is_written || NOT_OURS.contains(&label.as_str()), "{place}: no label {label}");
        }
    }
    assert!(checked > 60, "only {checked} selectors were found");
}

/// Returns the expressions and templates of the rules and of the dashboard, with their places.
fn texts() -> Vec<(String, String)> {
    let rules = ["recording-rules.yml", "alerts.yml"].map(|file| (file.to_owned(), without_comments(file)));
    let mut texts = Vec::from(rules);
    for (title, target) in targets() {
        texts.push((title.clone(), target["expr"].as_str().unwrap().to_owned()));
        texts.push((title, target["legendFormat"].as_str().unwrap().to_owned()));
    }
    for variable in dashboard()["templating"]["list"].as_array().unwrap() {
        texts.push((variable["name"].to_string(), variable["query"]["query"].as_str().unwrap_or_default().to_owned()));
    }
    texts
}

fn without_comments(file: &str) -> String {
    let text = read(&format!("docs/monitoring/{file}"));
    text.lines().filter(|line| !line.trim_start().starts_with('#')).collect::<Vec<_>>().join("\n")
}

fn dashboard() -> Value {
    serde_json::from_str(&read("docs/monitoring/dashboard.json")).unwrap()
}

/// Returns the queries of the dashboard with the titles of their panels.
pub(super) fn targets() -> Vec<(String, Value)> {
    let dashboard = dashboard();
    let panels = dashboard["panels"].as_array().unwrap().iter().filter(|panel| panel["type"] != "row");
    let of_panel = |panel: &Value| {
        let targets = panel["targets"].as_array().unwrap().clone();
        targets.into_iter().map(|target| (panel["title"].to_string(), target)).collect::<Vec<_>>()
    };
    let targets: Vec<_> = panels.flat_map(of_panel).collect();
    assert!(targets.len() > 20, "{}", targets.len());
    targets
}

/// Returns the names of the recorded series.
fn recorded() -> BTreeSet<String> {
    let text = read("docs/monitoring/recording-rules.yml");
    text.lines().filter_map(|line| line.trim().strip_prefix("- record: ")).map(str::to_owned).collect()
}

/// Returns the names of the program's series in a text, with their labels and values.
fn selectors(text: &str) -> Vec<(String, Vec<(String, String)>)> {
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == ':';
    let mut found = Vec::new();
    let starts = text.match_indices("cxnpoll_").map(|(at, _)| at);
    for at in starts.filter(|at| !text[..*at].ends_with(is_name) || text[..*at].ends_with(':')) {
        // A recorded name begins before the metric in it.
        let start = text[..at].rfind(|c| !is_name(c)).map_or(0, |before| before + 1);
        let name: String = text[start..].chars().take_while(|c| is_name(*c)).collect();
        let braces = text[start + name.len()..].strip_prefix('{').and_then(|rest| rest.split_once('}'));
        let matchers = braces.map_or("", |(inside, _)| inside).split(", ").filter(|matcher| !matcher.is_empty());
        let matchers = matchers.map(|matcher| {
            let (label, value) = matcher.split_once(['=', '!']).unwrap_or_else(|| panic!("{matcher}"));
            (label.to_owned(), value.trim_start_matches(['=', '~']).trim_matches('"').to_owned())
        });
        found.push((name, matchers.collect()));
    }
    found
}

/// Returns the labels in `by (…)`, `without (…)`, `ignoring (…)`, `$labels.…` and `{{…}}`.
fn grouped(text: &str) -> Vec<String> {
    let mut labels = Vec::new();
    for word in ["by (", "without (", "ignoring ("] {
        let lists = text.split(word).skip(1).filter_map(|rest| rest.split(')').next());
        labels.extend(lists.flat_map(|list| list.split(", ")).map(str::to_owned));
    }
    let of_template = |rest: &str| rest.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect();
    labels.extend(text.split("$labels.").skip(1).map(of_template));
    let legends = text.split("{{").skip(1).filter(|rest| rest.starts_with(|c: char| c.is_ascii_lowercase()));
    labels.extend(
        legends.filter(|rest| rest.split("}}").next().is_some_and(|name| !name.contains(' '))).map(of_template),
    );
    labels
}

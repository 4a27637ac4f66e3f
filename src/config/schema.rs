//! Compares `docs/cxnpoll.schema.json` with what the program reads.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use fancy_regex::Regex;
use serde_json::{Value, json};

use super::Config;
use crate::model::AppId;

/// A file with every key.
const EVERY_KEY: &str = r#"
store = "/var/lib/cxnpoll"
apps-dir = "apps"
allow-net = ["10.0.0.0/8"]
refuse-ports = [22, 25]
ca-file = "~/ca.pem"
contact = "https://example.org/polling"
heartbeat = "https://hc.example.org/ping/0123"
per-host = { "proxy.example.org" = 64 }
timeouts = { resolve = 10, connect = 0.5, tls = "10s", first-byte = "1h 30m", call = 60 }
backups = { every-hours = 24, keep = 7, verify = true, recipients = ["age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p"], recipients-file = "keys.txt" }
history = { days = 400 }
results = { all = 50, failures = 20, max-kib = 256 }
follow = { permanent = true }
registration = { requests-per-minute = 60, requests-per-site-and-hour = 30, connections-per-host = 5, allow = ["*.example.org", "10.0.0.0/8"], hold = true }

[notify]
every = "1h"
command = ["python3", "notify.py"]
webhook = "https://hooks.example.org/0123"
webhook-secret-file = "webhook.key"
sendmail = "ops@example.org, root"
sendmail-program = "~/bin/sendmail"
from = "cxnpoll@example.org"
subject = "{{ host }}"
body = "{{ changes }}"

[[limits]]
net = "2001:db8::/32"
concurrent = 16
[[limits]]
host = "*.example.org"
per-minute = 120
[[limits]]
proxy = "10.0.0.1:*"
concurrent = 1

[apps."org.example.myapp"]
title = "My app"
app-url = "https://app.example.org/cxn"
app-cert = "myapp.crt"
private-key = "~/keys.json"
metadata = "metadata.json"
link-secret-file = "links.key"
links = { settings = "https://app.example.org/{appId}/{cxnId}/{page}" }
disabled = false
tls = "skip-verify"

[jobs."app:org.example.myapp".default]
retry = "20 min (x6); 1 day (x*)"
threads = "auto"
per-host = 2
timeout = "2m"
max-runtime = 1200
metrics = "/var/lib/node_exporter"
heartbeat = "https://hc.example.org/ping/4567"
[jobs."org.example.myapp".other]
threads = 16

[[listeners]]
event = "app:org.example.myapp:job=default:poll"
priority = 10
stop = true
keep = true
[[listeners.calls]]
api = "System.get"
params = '{"a": null}'
allow-error = false
expect = [{ at = "/values/0/version", equals = "5.75.0" }]

[[listeners]]
event = "civi_cxn.pre-poll"
program = ["python3", "listener.py"]
reuse = true
timeout = 120
folder = "/opt/listener"
env = { DEBUG = "1" }
"#;

fn schema() -> Value {
    serde_json::from_str(&read("docs/cxnpoll.schema.json")).unwrap()
}

fn read(path: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap()
}

fn parse(text: &str) -> Result<Config, toml::de::Error> {
    Config::parse(text, Path::new(""))
}

/// Whether the program takes a file. It looks at the heartbeat and the names of apps only when it needs them.
fn takes(text: &str) -> bool {
    parse(text).is_ok_and(|config| {
        let heartbeat = config.heartbeat.as_ref().is_none_or(|url| config.heartbeat(Some(&url.0)).is_ok());
        heartbeat && config.app_names().iter().all(|name| AppId::from_argument(name).is_ok())
    })
}

fn value(text: &str) -> Value {
    serde_json::to_value(text.parse::<toml::Table>().unwrap()).unwrap()
}

/// Whether a schema accepts a value, by those keywords of JSON schema that ours has.
fn accepts(whole: &Value, schema: &Value, value: &Value) -> bool {
    let Some(keywords) = schema.as_object() else { return schema == &json!(true) };
    let all = |schemas: &Value| schemas.as_array().unwrap().iter().filter(|one| accepts(whole, one, value)).count();
    let number = |of: &Value, holds: fn(&f64, &f64) -> bool| {
        value.as_f64().is_none_or(|number| holds(&number, &of.as_f64().unwrap()))
    };
    let (list, table) = (value.as_array(), value.as_object());
    let first = schema["prefixItems"].as_array().map_or(0, Vec::len);
    let size = |of: &Value| usize::try_from(of.as_u64().unwrap()).unwrap();
    let is_one = |name: &Value| match name.as_str().unwrap() {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        other => panic!("type {other}"),
    };
    keywords.iter().all(|(keyword, of)| match keyword.as_str() {
        "$schema" | "$defs" | "title" | "description" | "default" | "examples" | "x-toml" => true,
        "$ref" => accepts(whole, whole.pointer(of.as_str().unwrap().trim_start_matches('#')).unwrap(), value),
        "type" => of.as_array().map_or_else(|| is_one(of), |names| names.iter().any(is_one)),
        "enum" => of.as_array().unwrap().contains(value),
        "minimum" => number(of, f64::ge),
        "maximum" => number(of, f64::le),
        "exclusiveMinimum" => number(of, f64::gt),
        "exclusiveMaximum" => number(of, f64::lt),
        "pattern" => {
            let pattern = Regex::new(of.as_str().unwrap()).unwrap();
            value.as_str().is_none_or(|text| pattern.is_match(text).unwrap())
        }
        "propertyNames" => table.is_none_or(|table| table.keys().all(|key| accepts(whole, of, &json!(key)))),
        "maxLength" => value.as_str().is_none_or(|text| text.len() <= size(of)),
        "minLength" => value.as_str().is_none_or(|text| text.len() >= size(of)),
        "minItems" => list.is_none_or(|list| list.len() >= size(of)),
        "maxProperties" => table.is_none_or(|table| table.len() <= size(of)),
        "prefixItems" => list.is_none_or(|list| {
            of.as_array().unwrap().iter().zip(list).all(|(schema, value)| accepts(whole, schema, value))
        }),
        "items" => list.is_none_or(|list| list.iter().skip(first).all(|value| accepts(whole, of, value))),
        "properties" => table.is_none_or(|table| {
            table.iter().all(|(key, value)| of.get(key).is_none_or(|schema| accepts(whole, schema, value)))
        }),
        "additionalProperties" => table.is_none_or(|table| {
            let mut more = table.iter().filter(|(key, _)| schema["properties"].get(key).is_none());
            more.all(|(_, value)| accepts(whole, of, value))
        }),
        "required" => {
            table.is_none_or(|table| of.as_array().unwrap().iter().all(|key| table.contains_key(key.as_str().unwrap())))
        }
        "allOf" => all(of) == of.as_array().unwrap().len(),
        "anyOf" => all(of) > 0,
        "oneOf" => all(of) == 1,
        other => panic!("keyword {other}"),
    })
}

/// Returns a file about which the schema and the program differ; `None` if they agree.
fn difference(schema: &Value, file: &Value) -> Option<String> {
    let text = toml::to_string(file).unwrap();
    let (by_schema, by_program) = (accepts(schema, schema, file), takes(&text));
    (by_schema != by_program).then(|| format!("{text}by the program: {by_program}, {:?}\n", parse(&text).err()))
}

/// Returns each file that differs from this one in one value, or lacks one, or has one more.
fn variants(file: &Value) -> Vec<Value> {
    let values = [
        json!(true),
        json!("x"),
        json!(""),
        json!(-1),
        json!(0),
        json!(1),
        json!(2.5),
        json!(70_000),
        json!(5_000_000_000_i64),
        json!({}),
        json!({"x": 1}),
        json!([]),
        json!([""]),
        json!("~user/x"),
        json!("1/2"),
    ];
    // serde also reads a table from a list of its values in order, which is no way to write a file.
    let mut variants: Vec<Value> = values.into_iter().filter(|value| !(file.is_object() && value.is_array())).collect();
    match file {
        Value::Object(map) => {
            for (key, below) in map {
                let mut without = map.clone();
                without.remove(key);
                variants.push(without.into());
                for variant in self::variants(below) {
                    let mut changed = map.clone();
                    changed[key] = variant;
                    variants.push(changed.into());
                }
            }
            let mut more = map.clone();
            more.insert("unknown".into(), json!(1));
            variants.push(more.into());
        }
        Value::Array(list) => {
            for (index, below) in list.iter().enumerate() {
                for variant in self::variants(below) {
                    let mut changed = list.clone();
                    changed[index] = variant;
                    variants.push(changed.into());
                }
            }
        }
        _ => {}
    }
    variants
}

#[test]
fn schema_and_program_accept_the_same_files() {
    let schema = schema();
    let file = value(EVERY_KEY);
    assert!(accepts(&schema, &schema, &file) && parse(EVERY_KEY).is_ok());
    let variants = variants(&file);
    assert!(variants.len() > 800, "{}", variants.len());
    // A file is a table.
    let files = variants.iter().filter(|file| file.is_object());
    let differences: Vec<_> = files.filter_map(|file| difference(&schema, file)).collect();
    assert!(differences.is_empty(), "{}", differences.join("\n"));
    for text in [
        "[[limits]]\nnet = '10.0.0.0/8'\nhost = 'a.example'\nconcurrent = 1",
        "[[limits]]\nhost = 'https://a.example'\nconcurrent = 1",
        "[[limits]]\nhost = 'a.example:80'\nconcurrent = 1",
        "[[limits]]\nhost = '[2001:db8::1]'\nconcurrent = 1",
        "[[limits]]\nhost = 'a.example'",
        "[[listeners]]\nevent = 'civi_cxn.poll'",
        "[[listeners]]\nevent = 'civi_cxn.poll'\ncalls = [{ api = 'A.b' }]\nprogram = ['x']",
        "[[listeners]]\nevent = 'civi_cxn.poll'\ncalls = [{ api = 'A.b' }]\nenv = { A = '1' }",
        "[[listeners]]\nevent = 'civi_cxn.poll'\ncalls = [{ api = 'A.b' }]\nenv = {}",
        "[[listeners]]\nevent = 'civi_cxn.poll'\nprogram = ['x']\nkeep = false",
        "[[listeners]]\nevent = 'civi_cxn.post-poll'\ncalls = [{ api = 'A.b' }]",
        "[[listeners]]\nevent = 'app:a.b:poll'\nprogram = ['x']",
        "[[listeners]]\nevent = 'civi_cxn.poll'\nprogram = 'x'",
        "[timeouts]\ncall = '2 months'",
        "[history]\ndays = 3650",
        "[history]\ndays = 3651",
        "[notify]\ncommand = []",
        "[notify]\nwebhook = 'ftp://a.example/'",
        "[notify]\nsendmail = 'a@b.example,-c'",
        "[notify]\nsendmail = 'a@b.example , c'",
        "[notify]\nsendmail = 'Ops <a@b.example>'",
        "[notify]\nfrom = \"a\\nBcc: b\"",
        "[notify]\nfrom = '@!#$%&*+-/=?^_`{|}~.a-1'",
        "[jobs.'org example'.default]",
        "[jobs.'.a'.default]",
        "[jobs.a.'']",
        "[jobs.a.' x']",
        "[jobs.a.\"a\\tb\"]",
        "[jobs.a.'größe (2)']",
        "[jobs.a.b.c]",
        "[jobs.a]\nretry = '1 day (x3)'",
        "[jobs.a.b]\nretry = ' ;20MINUTES(x 06 ); 1 hours (X24) ;1 day(x*); '",
        "[jobs.a.b]\nretry = '1 day (x*); 1 day (x3)'",
        "[jobs.a.b]\nretry = '1 day (x0)'",
        "[jobs.a.b]\nretry = '1 d (x3)'",
        "[jobs.a.b]\nretry = '1 day'",
        "[jobs.a.b]\nretry = '1 day (x3) 1 week (x3)'",
        "[jobs.a.b]\nthreads = 4096",
        "[jobs.a.b]\nthreads = 4097",
        "[jobs.a.b]\nper-host = 4096",
        "[jobs.a.b]\nheartbeat = 'ftp://a.example/'",
    ] {
        assert_eq!(difference(&schema, &value(text)), None);
    }
}

/// A duration that is too long, and text that is not JSON, are left to the program.
#[test]
fn schema_and_program_accept_the_same_texts() {
    let schema = schema();
    let texts: BTreeMap<String, Vec<String>> =
        serde_json::from_str(&read("fixtures/configuration-texts.json")).unwrap();
    let mut differences = Vec::new();
    for (key, texts) in texts {
        for text in texts {
            let file = key.replace("{}", &toml::Value::from(text).to_string());
            differences.extend(difference(&schema, &value(&file)));
        }
    }
    for name in ["a", "app:a.b", "", "app:", ".a", "a b", "a/b", "ä", "app:app:a"] {
        differences.extend(difference(&schema, &json!({"apps": {name: {}}})));
    }
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}

#[test]
fn schema_has_the_keys_of_the_program() {
    let schema = schema();
    let defs = &schema["$defs"];
    let listener = "[[listeners]]\nevent = 'civi_cxn.poll'\n";
    for (of, unknown) in [
        (&schema, "unknown = 1".to_owned()),
        (&schema["properties"]["timeouts"], "[timeouts]\nunknown = 1".to_owned()),
        (&schema["properties"]["backups"], "[backups]\nunknown = 1".to_owned()),
        (&schema["properties"]["history"], "[history]\nunknown = 1".to_owned()),
        (&schema["properties"]["results"], "[results]\nunknown = 1".to_owned()),
        (&schema["properties"]["notify"], "[notify]\nunknown = 1".to_owned()),
        (&schema["properties"]["follow"], "[follow]\nunknown = 1".to_owned()),
        (&schema["properties"]["registration"], "[registration]\nunknown = 1".to_owned()),
        (&schema["properties"]["apps"]["additionalProperties"], "[apps.a]\nunknown = 1".to_owned()),
        (
            &schema["properties"]["jobs"]["additionalProperties"]["additionalProperties"],
            "[jobs.a.b]\nunknown = 1".to_owned(),
        ),
        (&schema["properties"]["limits"]["items"], "[[limits]]\nunknown = 1".to_owned()),
        (&schema["properties"]["listeners"]["items"], format!("{listener}unknown = 1")),
        (&defs["call"], format!("{listener}calls = [{{ api = 'A.b', unknown = 1 }}]")),
        (&defs["expectation"], format!("{listener}calls = [{{ api = 'A.b', expect = [{{ unknown = 1 }}] }}]")),
    ] {
        let error = parse(&unknown).unwrap_err().to_string();
        let (_, expected) = error.split_once("expected ").unwrap_or_else(|| panic!("{error}"));
        let of_program: BTreeSet<_> = expected.split('`').skip(1).step_by(2).collect();
        let of_schema: BTreeSet<_> = of["properties"].as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(of_program, of_schema, "{unknown}");
    }
}

/// A default may be written, and changes nothing.
#[test]
fn defaults_of_the_schema_are_those_of_the_program() {
    let schema = schema();
    let outside = [("", &schema), ("timeouts", &schema["properties"]["timeouts"])];
    let tables =
        ["backups", "history", "results", "follow", "registration"].map(|table| (table, &schema["properties"][table]));
    let mut compared = 0;
    for (table, of) in outside.into_iter().chain(tables) {
        for (key, property) in of["properties"].as_object().unwrap() {
            let Some(default) = property.get("default") else { continue };
            let file = if table.is_empty() { json!({ key: default }) } else { json!({ table: { key: default } }) };
            assert_eq!(parse(&toml::to_string(&file).unwrap()).unwrap(), Config::default(), "{file}");
            compared += 1;
        }
    }
    let app = json!({"apps": {"a": {"disabled": false, "tls": "verify"}}});
    assert_eq!(parse(&toml::to_string(&app).unwrap()).unwrap(), parse("[apps.a]").unwrap());
    let shown = |text: &str| format!("{:?}", parse(text).unwrap().listeners());
    let program = "[[listeners]]\nevent = 'civi_cxn.poll'\nprogram = ['x']\n";
    assert_eq!(
        shown(program),
        shown(&format!("{program}priority = 0\nstop = false\nreuse = false\ntimeout = 120\nenv = {{}}"))
    );
    let calls = "[[listeners]]\nevent = 'civi_cxn.poll'\ncalls = [{ api = 'A.b' }]\n";
    let written = calls.replace("'A.b'", "'A.b', params = {}, expect = [], allow-error = false");
    assert_eq!(shown(calls), shown(&format!("{written}keep = false")));
    assert!(compared > 8, "{compared}");
}

#[test]
fn samples_of_the_pages_are_valid() {
    let schema = schema();
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs");
    let pages = fs::read_dir(docs).unwrap().map(|entry| format!("docs/{}", entry.unwrap().file_name().display()));
    let pages = pages
        .chain(["README.md".to_owned()])
        .filter(|page| Path::new(page).extension().is_some_and(|name| name == "md"));
    let of_pages = pages.flat_map(|page| {
        let text = read(&page);
        let blocks = text.split("```toml\n").skip(1).filter_map(|block| block.split("```").next());
        blocks.map(|block| (page.clone(), block.to_owned())).collect::<Vec<_>>()
    });
    let samples: Vec<_> = of_pages.chain([("docs/cxnpoll.toml".to_owned(), read("docs/cxnpoll.toml"))]).collect();
    assert!(samples.len() > 10, "{}", samples.len());
    for (page, sample) in samples {
        let parsed = parse(&sample);
        assert!(parsed.is_ok(), "{page}: {sample}\n{}", parsed.unwrap_err());
        assert!(accepts(&schema, &schema, &value(&sample)), "{page}: {sample}");
    }
}

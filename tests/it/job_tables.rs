//! The values of jobs in the configuration: `[jobs."org.example.myapp".NAME]`.

use std::fs;
use std::time::Instant;

use serde_json::{Value, json};

use crate::testkit::{APP, MIDNIGHT, World, assert_quiet, code, stderr};

/// Returns a table of a job.
fn table(name: &str, lines: &str) -> String {
    format!("[jobs.\"{APP}\".{name}]\n{lines}\n")
}

/// Returns the retry expression that a job last ran with.
fn last_retry(world: &World) -> Value {
    world.json(&["status", "--json"])[0]["retry"].clone()
}

/// Returns the exit code of `config check`, with its problems and warnings.
fn checked(world: &World) -> (i32, Vec<String>, Vec<String>) {
    let output = world.run(&["config", "check", "--json"]);
    let json: Value = serde_json::from_slice(&output.stdout).unwrap();
    let [problems, warnings] = ["problems", "warnings"].map(|key| {
        let texts = json[key].as_array().unwrap().iter();
        texts.map(|text| text.as_str().unwrap().to_owned()).collect::<Vec<_>>()
    });
    (code(&output), problems, warnings)
}

#[test]
fn run_has_the_values_of_its_table_unless_an_option_gives_another() {
    let world = World::with(["ok", "ok", "ok", "hang"]);
    fs::create_dir(world.path("metrics")).unwrap();
    let values = "retry = \"2 hour (x3); 1 day (x*)\"\nthreads = 2\nper-host = 3\ntimeout = 0.3\nmetrics = \"metrics\"";
    world.append_config(&(table("default", values) + &table("other", "retry = \"9 day (x9)\"")));
    // Before its first run, the job has the expression of the configuration.
    let site = world.site(0, "ok").cxn_id;
    let explained = |more: &[&str]| world.text(&[&["explain", &site], more].concat());
    assert!(explained(&[]).contains("retry expression 2 hour (x3); 1 day (x*)"));
    assert!(explained(&["--name", "other"]).contains("retry expression 9 day (x9)"));

    let began = Instant::now();
    let first = world.run(&["poll", APP, "-v"]);
    assert!(began.elapsed().as_secs() < 30, "the limit of a call is 0.3 s");
    let summary = stderr(&first);
    assert!(
        summary.contains("4 due, 4 polled, 3 ok, 1 failed (1 timeout)") && summary.contains(" 2 at a time"),
        "{summary}"
    );
    assert_eq!(fs::read_dir(world.path("metrics")).unwrap().count(), 1);
    assert_eq!(last_retry(&world), "2 hour (x3); 1 day (x*)");

    let options = ["--retry", "3 hour (x3); 1 day (x*)", "--threads", "3", "--metrics", "elsewhere"];
    let second = world.run(&[&["poll", APP, "-v", "--now", "4000000000"], &options[..]].concat());
    let summary = stderr(&second);
    assert!(summary.contains(" 3 at a time") && summary.contains("cannot write metrics to elsewhere"), "{summary}");
    assert_eq!(last_retry(&world), "3 hour (x3); 1 day (x*)");
    // What the job last ran with counts more than the configuration.
    assert!(explained(&[]).contains("retry expression 3 hour (x3); 1 day (x*)"));
}

#[test]
fn config_check_compares_with_the_last_runs() {
    let world = World::with(["ok"]);
    assert_eq!(checked(&world), (0, vec![], vec![]));
    assert_quiet(&world.run(&["poll", APP, "--name", "nightly", "--retry", "1 day (x3)"]));
    let last = format!("the job nightly of {APP} last ran with the retry expression '1 day (x3)', and ");
    let (exit, problems, warnings) = checked(&world);
    let expected =
        "a run without --retry has '1 hour (x48); 1 day (x90)': [jobs.\"org.example.myapp\".nightly] could set it";
    assert_eq!((exit, problems.len(), warnings), (0, 0, vec![last.clone() + expected]));

    let config = world.config();
    world.append_config(&table("nightly", "retry = \"1day(x3)\""));
    assert_eq!(checked(&world), (0, vec![], vec![]));
    world.set_config(&(config.clone() + &table("nightly", "retry = \"2 day (x3)\"") + &table("nightli", "")));
    let other = last + "[jobs.\"org.example.myapp\".nightly] has '2 day (x3)': does its crontab have --retry?";
    let unknown = "line 6: [jobs.\"org.example.myapp\".nightli]: this job never ran; did you mean nightly?";
    assert_eq!(checked(&world), (0, vec![], vec![other, unknown.to_owned()]));

    world.set_config(&(config + &table("nightly", "retry = \"1 day (x3)\"") + "[jobs.\"org.example.mapp\".x]\n"));
    let problem =
        "line 6: [jobs.\"org.example.mapp\".x] is never used: there is no such app; did you mean org.example.myapp?";
    assert_eq!(checked(&world), (78, vec![problem.to_owned()], vec![]));
}

#[test]
fn config_show_has_the_values_of_each_job_with_their_origins() {
    let world = World::new();
    let values = "retry = \"20min(x6)\"\nthreads = 16\nheartbeat = \"https://hc.example.org/K3Y\"";
    let config = world.config();
    world.set_config(&format!("heartbeat = \"https://all.example.org/K3Y\"\n{config}"));
    world.append_config(&(table("sync", values) + &table("late", "timeout = \"2m\"") + "[timeouts]\ncall = 30\n"));
    world.append_config("[apps.\"org.example.other\"]\n");
    let file = world.path("cxnpoll.toml").display().to_string();
    let output = world.command(&["config", "show", "--json"]).output().unwrap();
    assert!(!String::from_utf8_lossy(&output.stdout).contains("K3Y"), "{output:?}");
    let shown: Vec<Value> = serde_json::from_slice(&output.stdout).unwrap();
    let value = |job: &str, key: &str| {
        let key = format!("jobs.{job}.{key}");
        let found = shown.iter().find(|value| value["key"] == key).unwrap_or_else(|| panic!("{key} is not shown"));
        (found["value"].clone(), found["from"].as_str().unwrap().replace(&file, "FILE"))
    };
    let of = |value: Value, from: &str| (value, from.to_owned());
    let (sync, late) = (format!("{APP}.sync"), format!("{APP}.late"));
    assert_eq!(value(&sync, "retry"), of(json!("20 min (x6)"), "jobs.\"org.example.myapp\".sync in FILE"));
    assert_eq!(value(&sync, "threads"), of(json!("16"), "jobs.\"org.example.myapp\".sync in FILE"));
    assert_eq!(value(&sync, "heartbeat"), of(json!("hc.example.org/…"), "jobs.\"org.example.myapp\".sync in FILE"));
    assert_eq!(value(&sync, "timeout"), of(json!(30.0), "timeouts.call in FILE"));
    assert_eq!(value(&sync, "max-runtime"), of(json!(1200.0), "default"));
    assert_eq!(value(&late, "timeout"), of(json!(120.0), "jobs.\"org.example.myapp\".late in FILE"));
    assert_eq!(value(&late, "heartbeat"), of(json!("all.example.org/…"), "heartbeat in FILE"));
    assert_eq!(value(&late, "metrics"), of(Value::Null, "default"));
    assert_eq!(value("org.example.other.default", "per-host"), of(json!(4), "default"));
}

#[test]
fn dry_run_warns_of_sites_that_would_be_given_up() {
    let world = World::with(["status-500"; 3]);
    world.poll(MIDNIGHT, &["--retry", "1 hour (x1); 1 hour (x9)"]);
    world.append_config(&table("default", "retry = \"1 hour (x1)\""));
    let output = world.run(&["poll", APP, "--dry-run"]);
    let expected =
        "warning: the retry expression '1 hour (x1)' gives up 3 sites; the last run's was '1 hour (x1); 1 hour (x9)'\n";
    assert_eq!((code(&output), stderr(&output).as_str()), (0, expected));
    assert_eq!(last_retry(&world), "1 hour (x1); 1 hour (x9)");
}

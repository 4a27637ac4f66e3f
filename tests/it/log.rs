//! The log file.

use std::collections::BTreeSet;
use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::process::Command;

use serde_json::{Value, json};

use crate::testkit::{APP, World, assert_no_secret, assert_quiet, code, stderr};

#[test]
fn log_holds_every_poll_and_cron_gets_no_output() {
    let world = World::with(["ok", "status-500", "slow-60"]);
    let poll = ["poll", APP, "--batch", "0/1", "--now", "1767225600"];
    assert_quiet(&world.run(&[&poll[..], &["--log-file", "log.json", "--log-format", "json"]].concat()));
    let log = fs::read_to_string(world.path("log.json")).unwrap();
    let lines: Vec<Value> = log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let polls: Vec<_> = lines.iter().filter(|line| line["outcome"].is_string()).collect();
    assert_eq!(polls.len(), 3, "{log}");
    let runs: BTreeSet<_> = polls.iter().map(|line| line["span"]["run"].as_str().unwrap().to_owned()).collect();
    assert_eq!((runs.len(), runs.first().unwrap().len()), (1, 12), "{log}");
    for line in &polls {
        assert_eq!(
            (&line["span"]["app"], &line["span"]["job"], &line["span"]["batch"]),
            (&APP.into(), &"default".into(), &"0/1".into())
        );
        assert!(
            line["ms"].is_u64() && line["cxn"].as_str().unwrap().starts_with("cxn:") && line["timestamp"].is_string()
        );
    }
    let slow = polls.iter().find(|line| line["cxn"] == world.site(2, "ok").cxn_id).unwrap();
    assert!(slow["outcome"] == "ok" && slow["ms"].as_u64().unwrap() >= 60, "{slow}");
    let bad = polls.iter().find(|line| line["cxn"] == world.site(1, "ok").cxn_id).unwrap();
    assert!(
        bad["outcome"] == "http" && bad["message"] == "status 500 Internal Server Error: page \"500\" (text/html)",
        "{bad}"
    );
    assert!(log.contains("3 due, 3 polled, 2 ok, 1 failed (1 http)"), "{log}");

    let later = ["poll", APP, "--now", "1767229200", "--log-file", "log.txt"];
    assert_quiet(&world.run(&later));
    let log = fs::read_to_string(world.path("log.txt")).unwrap();
    assert!(log.contains("run{run=") && log.contains("outcome=\"ok\"") && log.contains("outcome=http"), "{log}");
}

#[test]
fn every_line_of_a_run_has_its_id_and_those_of_a_poll_have_the_site() {
    let world = World::new();
    let mut sites = world.sites(["ok", "status-500"]);
    for site in &mut sites {
        site.site_url = site.site_url.replace("//", "//jo:sesame@") + "?key=sesame";
    }
    world.import(&sites);
    let shown = |number, behaviour| world.site(number, behaviour).site_url + "?…";
    let [good, bad] = [shown(0, "ok"), shown(1, "status-500")];
    let program = r#"while read -r event; do echo seen >&2; echo '{"ok":true}'; done"#;
    world.append_config(&format!(
        "[[listeners]]\nevent = \"civi_cxn.poll\"\nprogram = [\"sh\", \"-c\", '''{program}''']\n\
         [[listeners]]\nevent = \"civi_cxn.poll\"\ncalls = [{{ api = \"System.get\" }}]\n"
    ));
    let poll = ["poll", APP, "--metrics", "missing", "--log-file", "log"];
    let mut ids = BTreeSet::new();
    for (format, now, before_id) in
        [("json", "1767225600", "\"run\":\""), ("text", "1767312000", "run{run="), ("text", "1767398400", "run{run=")]
    {
        let output = world.run(&[&poll[..], &["-v", "--now", now, "--log-format", format]].concat());
        let log = fs::read_to_string(world.path("log")).unwrap();
        fs::remove_file(world.path("log")).unwrap();
        let id = &log.split_once(before_id).unwrap().1[..12];
        assert!(log.lines().all(|line| line.contains(id)), "{log}");
        let stderr = stderr(&output);
        assert!(stderr.lines().all(|line| line.contains(&format!(" run={id}"))), "{stderr}");
        let has =
            |text: &str, words: &str, site: &str| text.lines().any(|line| line.contains(words) && line.contains(site));
        for (words, site) in [("seen", &good), ("seen", &bad), ("status 500", &bad)] {
            assert!(has(&log, words, site) && has(&stderr, words, site), "{words} {site}: {log}{stderr}");
        }
        assert!(has(&log, "polled", &good), "{log}");
        for words in ["2 due, 2 polled", "cannot write metrics"] {
            assert!(has(&log, words, "") && has(&stderr, words, ""), "{words}: {log}{stderr}");
        }
        assert!(!log.contains("sesame") && !stderr.contains("sesame"), "{log}{stderr}");
        ids.insert(id.to_owned());
    }
    assert_eq!(ids.len(), 3);
    // So does the error with which a run ends.
    fs::remove_dir_all(world.store()).unwrap();
    assert_eq!(code(&world.run(&poll)), 66);
    let log = fs::read_to_string(world.path("log")).unwrap();
    assert!(log.contains("ERROR run{run=") && log.lines().all(|line| line.contains("run{run=")), "{log}");
}

#[test]
fn unwritable_log_is_reported_once_and_the_run_goes_on() {
    let world = World::with(["ok", "status-500"]);
    let output = world.run(&["poll", APP, "--log-file", "/dev/full"]);
    assert_eq!(code(&output), 0);
    assert_eq!(stderr(&output), "warning: cannot write the log file: No space left on device (os error 28)\n");
    assert_eq!(world.server.total(), 2);
    assert_eq!(code(&world.run(&["poll", APP, "--log-file", "nowhere/log"])), 78);
}

#[test]
fn log_names_failures_and_holds_no_secret() {
    let behaviours = ["ok", "insecure", "status-500"];
    let world = World::with(behaviours);
    let sites = world.sites(behaviours);
    let log = |format: &str, now: &str| {
        let file = world.dir.path().join(format);
        let log = ["--log-file", file.to_str().unwrap(), "--log-format", format];
        assert_quiet(&world.run(&[&["poll", APP, "--now", now, "-q"], &log[..]].concat()));
        let text = fs::read_to_string(file).unwrap();
        for site in &sites {
            assert_no_secret(site, &text);
        }
        text
    };
    let text = log("text", "1767225600");
    for (site, class) in [(&sites[1], "garbled"), (&sites[2], "http")] {
        assert!(text.lines().any(|line| line.contains(&site.cxn_id) && line.contains(class)), "{text}");
    }
    assert!(!text.contains('\u{1b}') && text.contains(&sites[0].cxn_id), "{text}");

    let lines = log("json", "1767312000");
    let lines: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    for (site, class) in [(&sites[1], "garbled"), (&sites[2], "http")] {
        let line = lines.iter().find(|line| line["cxn"] == site.cxn_id.as_str()).unwrap();
        assert_eq!((&line["outcome"], &line["level"]), (&json!(class), &json!("INFO")), "{line}");
    }
}

#[test]
fn log_is_not_written_to_what_others_may_have_put_there() {
    let world = World::with(["ok"]);
    let directory = world.path("shared");
    fs::create_dir(&directory).unwrap();
    fs::set_permissions(&directory, Permissions::from_mode(0o777)).unwrap();
    symlink("../victim", directory.join("link")).unwrap();
    assert!(Command::new("mkfifo").arg(directory.join("pipe")).status().unwrap().success());
    for (name, expected) in
        [("link", "a symbolic link in a directory that other users"), ("pipe", "not a regular file")]
    {
        let message = world.refused(78, &["poll", APP, "--log-file", &format!("shared/{name}")]);
        assert!(message.contains(expected) && message.contains("hint: name a file in a directory"), "{message}");
    }
    assert!(!world.path("victim").exists());
    assert_eq!(world.server.total(), 0);
    // A link of the user is followed where no other user could have made it.
    symlink("target", world.path("log")).unwrap();
    assert_quiet(&world.run(&["poll", APP, "--log-file", "log"]));
    assert!(fs::read_to_string(world.path("target")).unwrap().contains("1 polled"));
    let output = world.run(&["retry", "1 day (x3)", "--log-file", "/dev/stderr", "-q"]);
    assert_eq!(code(&output), 0, "{output:?}");
}

//! `export`.

use std::fs;
use std::io::Read;
use std::os::unix::fs::{PermissionsExt, symlink};

use civisite::Site;
use serde_json::{Value, json};

use crate::import::{import, line};
use crate::testkit::{APP, MIDNIGHT, StoreLocks, World, assert_quiet, json_lines, until};

#[test]
fn export_is_imported_elsewhere_and_exports_the_same() {
    let behaviours = ["ok", "status-500", "retry-after-60", "api-error", "hang"];
    let world = World::with(behaviours);
    let site = world.site(9, "ok");
    let full = json!({"perm": {"z": 1, "a": [true, "\u{1b}"]}, "viaPort": "10.0.0.1:80", "disabled": true});
    import(&world, &[], &[line(&site, &full)]);
    for now in [MIDNIGHT, MIDNIGHT + 3600] {
        world.poll(now, &["--timeout", "0.2"]);
    }
    world.poll(MIDNIGHT, &["--name", "nightly", "--timeout", "0.2"]);
    // A site that reconnected has a history and is new.
    world.import(&[Site { site_url: "http://127.0.0.1:9/".into(), ..world.site(8, "ok") }]);

    let lines = |more: &[&str]| {
        let text = world.text(&[&["export"], more].concat());
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        lines.sort();
        lines
    };
    let here = lines(&[]);
    assert_eq!(here.len(), behaviours.len() + 2);
    let there = world.path("there");
    let there = ["--store", there.to_str().unwrap()];
    assert_quiet(&world.run_with_pipe(&[&["import"], &there[..]].concat(), here.join("\n").as_bytes()));
    assert_eq!(lines(&there), here);
    assert_eq!(world.json(&[&["store", "check", "--json"], &there[..]].concat())["faults"], 0);
}

#[test]
fn exported_file_is_private() {
    let world = World::with(["ok"; 3]);
    let file = world.path("connections.jsonl");
    fs::write(&file, "an older export").unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
    assert_quiet(&world.run(&["export", "--force", file.to_str().unwrap()]));
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(fs::read(&file).unwrap(), world.run(&["export", "-"]).stdout);
}

#[test]
fn export_through_a_symbolic_link_replaces_its_target() {
    let world = World::with(["ok"]);
    fs::create_dir(world.path("exports")).unwrap();
    let (target, link) = (world.path("exports/connections.jsonl"), world.path("link.jsonl"));
    fs::write(&target, "an older export").unwrap();
    symlink(&target, &link).unwrap();
    assert_quiet(&world.run(&["export", "--force", link.to_str().unwrap()]));
    assert_eq!(fs::read_link(&link).unwrap(), target);
    assert!(fs::symlink_metadata(&target).unwrap().is_file());
    assert_eq!(fs::read(&target).unwrap(), world.run(&["export"]).stdout);
}

#[test]
fn export_to_an_open_file_goes_where_it_is_open() {
    let world = World::with(["ok"]);
    let program = env!("CARGO_BIN_EXE_cxnpoll");
    let export = world.text(&["export"]);
    for (command, expected) in [
        (format!("{program} export /dev/stdout >> file"), format!("before\n{export}")),
        (format!("{program} export - >> file"), format!("before\n{export}")),
        (format!("{program} export /dev/fd/3 3> file"), export.clone()),
        (format!("{program} export /dev/fd/3 3>> file; echo after >> file"), format!("before\n{export}after\n")),
        (format!("{{ {program} export /proc/self/fd/3; echo after >&3; }} 3> file"), format!("{export}after\n")),
        (format!("{program} export /dev/stdout | cat > file"), export.clone()),
    ] {
        fs::write(world.path("file"), "before\n").unwrap();
        assert_quiet(&world.command_of("bash").args(["-c", &command]).output().unwrap());
        assert_eq!(fs::read_to_string(world.path("file")).unwrap(), expected, "{command}");
    }
    world.refused(2, &["export", "/proc/self/cwd/file"]);
}

#[test]
fn export_selects_connections_by_id_and_writes_to_no_file_named_like_one() {
    let world = World::with(["ok"; 3]);
    let id = world.site(1, "ok").cxn_id;
    let line = world.text(&["export", "--cxn", &id]);
    assert!(line.lines().count() == 1 && line.contains(&id), "{line}");
    assert_eq!(world.text(&["export", "--cxn", &id, "--cxn", &world.site(2, "ok").cxn_id]).lines().count(), 2);
    world.refused(66, &["export", "--cxn", "cxn:unknown"]);
    for (name, hint) in [
        (&id[..], format!("--cxn {id}")),
        (&id[4..], format!("--cxn {}", &id[4..])),
        ("CXN:x.jsonl", "--cxn CXN:x.jsonl".to_owned()),
        (APP, format!("--app {APP}")),
        ("app:unknown", "--app app:unknown".to_owned()),
    ] {
        let message = world.refused(2, &["export", "--force", name]);
        assert!(message.contains(&hint) && message.contains(&format!("the file ./{name}")), "{message}");
        assert!(!world.path(name).exists());
    }
    assert_quiet(&world.run(&["export", &format!("./{id}")]));
    assert_eq!(fs::read(world.path(&id)).unwrap(), world.run(&["export"]).stdout);
}

#[test]
fn export_writes_no_file_that_is_named_as_if_it_were_compressed() {
    let world = World::with(["ok"]);
    for name in ["sites.jsonl.gz", "sites.GZ"] {
        assert!(world.refused(2, &["export", name]).contains("| gzip"));
        assert!(!world.path(name).exists());
    }
}

#[test]
fn closed_pipe_ends_an_export_quietly() {
    let world = World::new();
    // The export must be larger than a pipe.
    let perm = "x".repeat(1000);
    let lines: Vec<Value> =
        (0..500).map(|n| line(&world.site(n, "ok"), &json!({"perm": format!("{n}{perm}")}))).collect();
    assert_eq!(import(&world, &[], &lines), [500, 0, 0]);
    let mut child = world.start(&["export"]);
    let mut stdout = child.stdout.take().unwrap();
    stdout.read_exact(&mut [0; 10]).unwrap();
    drop(stdout);
    assert_quiet(&child.wait_with_output().unwrap());
}

#[test]
fn killed_export_leaves_no_file_with_secrets() {
    let world = World::with(["ok"; 3]);
    let dir = world.path("exports");
    fs::create_dir(&dir).unwrap();
    let names = || -> Vec<_> { fs::read_dir(&dir).unwrap().map(|entry| entry.unwrap().file_name()).collect() };
    let locks = StoreLocks::acquire(&world);
    let mut export = world.start(&["export", "exports/connections.jsonl"]);
    until("it waits for the store with its file open", || locks.another_process_waits());
    export.kill().unwrap();
    export.wait().unwrap();
    drop(locks);
    // Where a file without a name is possible, none is left even now. A former build left one with a name.
    fs::write(dir.join(".cxnpoll-Abc123"), "a secret").unwrap();
    fs::write(dir.join(".tmpAbc123"), "of another program").unwrap();
    assert_quiet(&world.run(&["export", "exports/connections.jsonl"]));
    let mut left = names();
    left.sort();
    assert_eq!(left, [".tmpAbc123", "connections.jsonl"]);
}

#[test]
fn history_is_exported_without_secrets_and_old_months_are_removed() {
    let world = World::with(["ok", "ok-first-1"]);
    let gone = world.site(5, "ok");
    world.import(std::slice::from_ref(&gone));
    let retry = ["--retry", "1 hour (x1); 1 day (x1)"];
    world.poll(MIDNIGHT, &retry);
    assert_quiet(&world.run(&["remove", &gone.cxn_id, "--yes"]));
    world.poll(MIDNIGHT + 3600, &retry);
    let lines = || json_lines(&world.text(&["export", "--history"]));
    let of_kind = |kind: &str| lines().into_iter().filter(|line| line["kind"] == kind).collect::<Vec<_>>();
    let transitions = of_kind("transition");
    let changes: Vec<_> = transitions.iter().map(|line| [&line["from"], &line["to"]]).collect();
    assert_eq!(changes, [["new", "up"], ["new", "up"], ["new", "up"], ["up", "new"], ["up", "failing"]]);
    // By the real time, which is later than that of the polls.
    let removal = &transitions[3];
    assert!(removal["at"].as_i64() > Some(MIDNIGHT + 86_400), "{removal}");
    assert_eq!((&removal["class"], &removal["unknownFrom"]), (&Value::Null, &json!(MIDNIGHT + 3 * 3600)));
    let last = &transitions[4];
    assert_eq!((&last["cxnId"], &last["at"]), (&json!(world.site(1, "ok").cxn_id), &json!(MIDNIGHT + 3600)));
    assert_eq!(
        (&last["class"], &last["host"], &last["jobName"]),
        (&json!("http"), &json!("127.0.0.1"), &json!("default"))
    );
    assert_eq!(transitions.iter().filter(|line| line["cxnId"].is_null()).count(), 2, "it was removed");
    let runs = of_kind("run");
    assert_eq!((runs.len(), &runs[1]["exitCode"], &runs[1]["run"]["failed"]), (2, &json!(0), &json!(1)));
    let text = world.text(&["export", "--history"]);
    let secret: Value = serde_json::from_str(&gone.jsonl()).unwrap();
    assert!(!text.contains(secret["secret"].as_str().unwrap()), "a secret");

    let file = world.path("history.jsonl");
    assert_quiet(&world.run(&["export", "--history", file.to_str().unwrap()]));
    assert_eq!(fs::read_to_string(&file).unwrap(), text);
    assert_eq!(crate::testkit::code(&world.run(&["export", "--history", "--redact"])), 2);

    world.append_config("[history]\ndays = 30\n");
    for days in [40, 80, 120] {
        world.import(&[world.site(days, "ok")]);
        world.poll(MIDNIGHT + i64::from(days) * 86_400, &[]);
    }
    let months = fs::read_dir(world.store().join("history")).unwrap();
    let mut months: Vec<_> = months.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    // The imports are in the month of the real time.
    months.retain(|name| name.starts_with("20") && **name < *"2026-06");
    assert_eq!(months, ["2026-05.log"], "all of March is older than 30 days");
}

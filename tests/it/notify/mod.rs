//! Notifications.
//!
//! - [`hosts`] counts the messages about a host whose sites fail.
//! - [`webhook`] receives messages, checks their signatures, and fails for an hour.
//! - [`kills`] kills runs around the delivery of a message.

mod hosts;
mod kills;
mod webhook;

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::testkit::{APP, MIDNIGHT, World, assert_quiet, code, json_lines, signal, stderr, stdout, until};

const MINUTE: i64 = 60;
const HOUR: i64 = 3600;

/// A channel that adds each message to the file `messages`.
const COMMAND: &str = "command = [\"sh\", \"-c\", \"cat >> messages\"]\n";

/// Adds the table of notifications.
fn configure(world: &World, every: &str, channels: &str) {
    world.append_config(&format!("[notify]\nevery = \"{every}\"\n{channels}"));
}

/// Returns the messages that the command got so far.
fn messages(world: &World) -> Vec<Value> {
    json_lines(&fs::read_to_string(world.path("messages")).unwrap_or_default())
}

/// Returns the kinds and the numbers of sites of a message's changes.
fn changes(message: &Value) -> Vec<(&str, u64)> {
    let changes = message["changes"].as_array().unwrap().iter();
    changes.map(|change| (change["kind"].as_str().unwrap(), change["count"].as_u64().unwrap())).collect()
}

fn poll(world: &World, now: i64, more: &[&str]) {
    let now = now.to_string();
    assert_quiet(&world.run(&[&["poll", APP, "--per-host", "64", "--now", &now], more].concat()));
}

#[test]
fn changes_are_sent_once_and_at_most_one_message_in_an_hour() {
    let world = World::on_all_addresses();
    let behaviours = (0..).zip(["ok", "status-500", "fail-first-2", "ok"]);
    let sites: Vec<_> = behaviours.map(|(n, b)| world.site_on_own_host(n, b.parse().unwrap())).collect();
    world.import(&sites);
    configure(&world, "1h", COMMAND);
    let retry = ["--retry", "5 min (x3); 1 day (x*)"];
    for tick in 0..24 {
        poll(&world, MIDNIGHT + tick * 5 * MINUTE, &retry);
    }
    let sent = messages(&world);
    let summary: Vec<_> =
        sent.iter().map(|message| (message["at"].as_i64().unwrap() - MIDNIGHT, changes(message))).collect();
    assert_eq!(summary, [(0, vec![("failing", 2)]), (HOUR, vec![("recovered", 1)])]);
    let failing = &sent[0]["changes"][0];
    assert_eq!((&failing["appId"], &failing["jobName"]), (&format!("app:{APP}").into(), &"default".into()));
    let hosts: BTreeSet<_> = failing["hosts"].as_array().unwrap().iter().map(|host| host.as_str().unwrap()).collect();
    assert_eq!(hosts, ["127.0.2.1", "127.0.3.1"].into());
    let ids: BTreeSet<_> =
        failing["sites"].as_array().unwrap().iter().map(|site| site["cxnId"].as_str().unwrap()).collect();
    assert_eq!(ids, [sites[1].cxn_id.as_str(), &sites[2].cxn_id].into());
    assert_ne!(sent[0]["id"], sent[1]["id"]);
    assert!(sent[0]["text"].as_str().unwrap().contains("* 2 sites are failing on 2 hosts: http\n"), "{}", sent[0]);
    // What happened before a channel was configured is no news for it.
    world.append_config("sendmail = \"ops@example.org\"\nsendmail-program = \"/nowhere\"\n");
    poll(&world, MIDNIGHT + 2 * HOUR, &retry);
    // A poll by hand sends nothing.
    let by_hand = ["poll", APP, "--cxn", &sites[1].cxn_id, "--now", "1999999999"];
    assert_eq!(code(&world.run(&[&by_hand[..], &["--retry", "5 min (x1)"]].concat())), 3);
    assert_eq!(messages(&world).len(), 2);
}

#[test]
fn own_outages_are_sent_when_they_begin_and_end() {
    let world = World::on_all_addresses();
    let sites: Vec<_> = (0..12).map(|number| world.site_on_own_host(number, "ok".parse().unwrap())).collect();
    world.import(&sites);
    configure(&world, "5m", COMMAND);
    poll(&world, MIDNIGHT, &[]);
    world.server.stop_listening().unwrap();
    let failed = world.run(&["poll", APP, "--now", &(MIDNIGHT + HOUR).to_string()]);
    assert_eq!(code(&failed), 69, "{failed:?}");
    world.server.resume_listening().unwrap();
    poll(&world, MIDNIGHT + 2 * HOUR, &[]);
    let sent = messages(&world);
    let of: Vec<_> =
        sent.iter().map(|message| &message["changes"][0]).map(|change| (&change["kind"], &change["over"])).collect();
    let kind = Value::from("own-outage");
    assert_eq!(of, [(&kind, &false.into()), (&kind, &true.into())], "{sent:?}");
    assert_eq!(sent[0]["changes"][0]["cause"], "network");
}

#[test]
fn mail_goes_through_sendmail() {
    let world = World::with(["status-500"]);
    let program = world.path("sendmail");
    fs::write(&program, "#!/bin/sh\n[ \"$*\" = \"-i -t\" ] && cat > mail\n").unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    let channel = "sendmail = \"ops@example.org\"\nsendmail-program = \"sendmail\"\nfrom = \"cron@example.org\"\n\
                   subject = \"{{ changes | length }} {{ changes[0].kind }} at {{ at | utc }}\"\n";
    configure(&world, "1h", channel);
    poll(&world, MIDNIGHT, &[]);
    let mail = fs::read_to_string(world.path("mail")).unwrap();
    for line in ["From: <cron@example.org>", "To: <ops@example.org>", "Subject: 1 failing at 2026-01-01 00:00:00Z"] {
        assert!(mail.lines().any(|header| header == line), "{mail}");
    }
    assert!(mail.contains("* 1 site is failing on 127.0.0.1: http"), "{mail}");
}

#[test]
fn a_failing_command_is_a_warning_once_in_an_hour_and_gets_the_same_message_again() {
    let world = World::with(["status-500"]);
    let script = "cat >> messages; [ -e works ] || { echo no key >&2; exit 3; }";
    configure(&world, "1h", &format!("command = [\"sh\", \"-c\", \"{script}\"]\n"));
    let run = |tick: i64| {
        let output = world.run(&["poll", APP, "--now", &(MIDNIGHT + tick * 10 * MINUTE).to_string()]);
        (code(&output), stderr(&output))
    };
    let warning = "warning: the notification by command was not delivered: sh failed: exit status: 3: no key\n";
    assert_eq!(run(0), (0, warning.to_owned()));
    assert_eq!(run(1), (0, String::new()));
    assert_eq!(run(6), (0, warning.to_owned()));
    let doctor = || stdout(&world.run(&["doctor", "--json"]));
    assert!(
        doctor().contains("the notification by command of 2026-01-01 00:00:00Z is not delivered yet"),
        "{}",
        doctor()
    );
    fs::write(world.path("works"), "").unwrap();
    assert_eq!((run(7), run(8)), ((0, String::new()), (0, String::new())));
    assert!(!doctor().contains("is not delivered yet"), "{}", doctor());
    let sent = messages(&world);
    assert_eq!(sent.len(), 4);
    assert!(sent.iter().all(|message| *message == sent[0]), "{sent:?}");
}

#[test]
fn a_signal_ends_the_delivery_and_the_next_run_sends_the_message() {
    let world = World::with(["status-500"]);
    configure(&world, "1h", "command = [\"sh\", \"-c\", \"touch began; [ -e works ] || sleep 60; cat > delivered\"]\n");
    let child = world.start(&["poll", APP, "--now", &MIDNIGHT.to_string()]);
    until("the command has started", || world.path("began").exists());
    let began = Instant::now();
    signal(&child, "-TERM");
    let output = child.wait_with_output().unwrap();
    assert!(began.elapsed() < Duration::from_secs(5) && stderr(&output).is_empty(), "{output:?}");
    fs::write(world.path("works"), "").unwrap();
    poll(&world, MIDNIGHT + MINUTE, &[]);
    assert!(fs::read_to_string(world.path("delivered")).unwrap().contains("\"failing\""));
}

#[test]
fn without_a_channel_a_run_names_the_sites_that_it_gives_up() {
    let world = World::with(["status-500", "status-500", "status-500", "ok", "status-500"]);
    let give_up = |now: i64, more: &[&str]| {
        let now = now.to_string();
        let output = world.run(&[&["poll", APP, "--retry", "1 hour (x1)", "--now", &now], more].concat());
        (code(&output), stderr(&output))
    };
    let (code, text) = give_up(MIDNIGHT, &[]);
    assert_eq!((code, text.lines().count()), (0, 1), "{text}");
    assert!(text.starts_with(&format!("warning: 4 sites of {APP} default were given up: http://127.0.0.1:")), "{text}");
    assert!(text.ends_with(" and 1 more\n") && text.matches("http://").count() == 3, "{text}");
    assert_eq!(give_up(MIDNIGHT + HOUR, &[]).1, "");
    assert_quiet(&world.run(&["revive", "--all", "--yes", "-q"]));
    assert_eq!(give_up(MIDNIGHT + 2 * HOUR, &["-q"]).1, "");
    assert_quiet(&world.run(&["revive", "--all", "--yes", "-q"]));
    configure(&world, "1h", COMMAND);
    assert_eq!(give_up(MIDNIGHT + 3 * HOUR, &[]).1, "", "the message names them");
    assert!(changes(&messages(&world)[0]).contains(&("given-up", 4)), "{:?}", messages(&world));
}

#[test]
fn sites_that_another_retry_expression_gives_up_are_reported_once() {
    let world = World::on_all_addresses();
    let behaviours = (0..).zip(["ok", "status-500", "status-500"]);
    let sites: Vec<_> = behaviours.map(|(n, b)| world.site_on_own_host(n, b.parse().unwrap())).collect();
    world.import(&sites);
    configure(&world, "5m", COMMAND);
    let two = ["--retry", "1 hour (x2); 1 day (x9)"];
    poll(&world, MIDNIGHT, &two);
    poll(&world, MIDNIGHT + HOUR, &two);
    // No site is due.
    for minutes in [10, 20] {
        let now = (MIDNIGHT + HOUR + minutes * MINUTE).to_string();
        let output = world.run(&["poll", APP, "--now", &now, "--retry", "1 hour (x2)"]);
        assert_eq!((code(&output), stderr(&output).contains("gives up 2 sites")), (0, minutes == 10), "{output:?}");
    }
    let summary: Vec<_> = messages(&world).iter().map(|message| format!("{:?}", changes(message))).collect();
    assert_eq!(summary, [r#"[("failing", 2)]"#, r#"[("given-up", 2)]"#]);
    let now = (MIDNIGHT + 2 * HOUR).to_string();
    let status = world.json(&["status", "--json", "--now", &now]);
    assert_eq!((&status[0]["changes"]["givenUp"], &status[0]["givenUp"]), (&2.into(), &2.into()), "{status}");
    let report = world.json(&["report", "--json", "--now", &now, "--since", "2h"]);
    let of = |site: usize| report["sites"].as_array().unwrap().iter().find(|of| of["cxnId"] == *sites[site].cxn_id);
    let expected = (&Value::from(2 * HOUR), &Value::from(1), &Value::Null);
    let site = of(1).unwrap();
    let incidents = site["incidents"].as_array().unwrap();
    assert_eq!((&site["downS"], &incidents.len().into(), &incidents[0]["to"]), expected, "{site}");
    // Brought back, they fail at the second level until it is over.
    world.run(&["poll", APP, "--now", &(MIDNIGHT + 26 * HOUR).to_string(), "--retry", "1 hour (x2); 1 day (x1)"]);
    let last = messages(&world).pop().unwrap();
    assert_eq!(changes(&last), [("given-up", 2)]);
    world.assert_sound();
}

#[test]
fn sites_that_runs_follow_are_in_a_message() {
    let world = World::with(["redirect-301"]);
    world.append_config("[follow]\npermanent = true\n");
    configure(&world, "1h", COMMAND);
    (0..4).for_each(|day| poll(&world, MIDNIGHT + day * 24 * HOUR, &[]));
    let sent = messages(&world);
    let last = sent.last().unwrap();
    assert_eq!(changes(last), [("recovered", 1), ("moved", 1)], "{last}");
    let [old, new] = ["redirect-301", "ok"].map(|behaviour| world.site(0, behaviour).site_url);
    let site = &last["changes"][1]["sites"][0];
    assert_eq!((&site["oldUrl"], &site["siteUrl"]), (&old.as_str().into(), &new.as_str().into()));
    let text = last["text"].as_str().unwrap();
    assert!(text.contains("* 1 site was followed to a new URL on 127.0.0.1\n"), "{text}");
    assert!(text.ends_with(&format!("    {old} is now {new}\n")), "{text}");
}

#[test]
fn test_fails_if_a_template_does() {
    let world = World::with(["ok"]);
    configure(&world, "1h", &format!("{COMMAND}body = \"a\\n{{{{ hots }}}}\"\n"));
    let text = world.refused(78, &["notify", "test"]);
    assert!(text.contains("notify: the template `body` (line 2): ") && text.contains("hint: correct"), "{text}");
    assert_eq!(messages(&world), Vec::<Value>::new());
}

#[test]
fn test_reports_each_channel() {
    let world = World::with(["ok"]);
    let without = world.refused(78, &["notify", "test"]);
    assert!(without.contains("hint: add one to the table [notify]"), "{without}");
    configure(&world, "1h", &format!("{COMMAND}sendmail = \"ops@example.org\"\nsendmail-program = \"/nowhere\"\n"));
    assert!(world.refused(78, &["notify", "test", "--channel", "webhook"]).contains("no channel `webhook`"));
    assert_eq!(
        stdout(&world.run(&["notify", "test", "--channel", "command"])),
        "CHANNEL  RESULT\ncommand  delivered\n"
    );
    let sent = messages(&world);
    assert_eq!((&sent[0]["test"], changes(&sent[0])), (&true.into(), vec![]));
    assert!(sent[0]["subject"].as_str().unwrap().ends_with(": this is a test"), "{}", sent[0]);
    let output = world.run(&["notify", "test", "--json"]);
    let rows: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((code(&output), &rows[0]["delivered"], &rows[1]["delivered"]), (74, &true.into(), &false.into()));
    assert!(stderr(&output).contains("error: the notification by sendmail was not delivered: cannot execute /nowhere"));
}

#[test]
fn config_check_finds_what_keeps_channels_from_working() {
    let world = World::with(["ok"]);
    let config = world.config();
    fs::write(world.path("key"), "").unwrap();
    let problems = |table: &str| {
        world.set_config(&format!("{config}[notify]\n{table}"));
        let output = world.run(&["config", "check"]);
        (code(&output), stderr(&output))
    };
    let mode = |mode: u32| fs::set_permissions(world.path("key"), fs::Permissions::from_mode(mode)).unwrap();
    let webhook = "webhook = \"https://hooks.example.org/T0KEN\"\nwebhook-secret-file = \"key\"\n";
    for (table, secret_mode, expected) in [
        ("command = [\"./gone\"]\n", 0o600, "notify: command: cannot execute"),
        ("command = [\"sh\"]\nbody = \"{{ hots }}\"\n", 0o600, "notify: the template `body` (line 1): "),
        (
            "sendmail = \"a@example.org\"\nsendmail-program = \"gone\"\n",
            0o600,
            "notify: sendmail-program: cannot execute",
        ),
        (webhook, 0o644, "notify: webhook-secret-file: all users may read the key"),
        (webhook, 0o600, "key has no key"),
        ("webhook = \"ftp://T0KEN\"\n", 0o600, "expected an http or https URL"),
        ("sendmail = \"-Xlog root\"\n", 0o600, "expected an address"),
    ] {
        mode(secret_mode);
        let (code, text) = problems(table);
        assert!(code == 78 && text.contains(expected) && !text.contains("T0KEN"), "{table}: {code} {text}");
    }
    assert_eq!(problems("every = \"30m\"\n").0, 0);
    fs::write(world.path("key"), "secret\n").unwrap();
    assert_eq!(problems(webhook).0, 0);
    let shown = stdout(&world.run(&["config", "show"]));
    assert!(shown.contains("hooks.example.org/…") && !shown.contains("T0KEN"), "{shown}");
}

#[test]
fn a_failing_site_that_is_removed_and_imported_again_is_not_reported_as_recovered() {
    let world = World::on_all_addresses();
    let site = |number, behaviour: &str| world.site_on_own_host(number, behaviour.parse().unwrap());
    world.import(&[site(0, "status-500"), site(1, "status-500")]);
    configure(&world, "1h", COMMAND);
    poll(&world, MIDNIGHT, &[]);
    assert_quiet(&world.run(&["remove", &site(0, "ok").cxn_id]));
    world.import(&[site(0, "ok"), site(1, "ok")]);
    poll(&world, MIDNIGHT + HOUR, &[]);
    let sent = messages(&world);
    assert_eq!(sent.iter().map(changes).collect::<Vec<_>>(), [[("failing", 2)], [("recovered", 1)]]);
    assert_eq!(sent[1]["changes"][0]["sites"][0]["cxnId"], site(1, "ok").cxn_id);
}

//! `results`.

use std::fs;

use serde_json::{Value, json};

use crate::listeners::{configure, latest};
use crate::testkit::{APP, MIDNIGHT, World, code, short_id, stderr, stdout};

/// Keeps every reply.
const KEEP: &str = "[[listeners]]\nevent = \"civi_cxn.poll\"\nkeep = true\ncalls = [{ api = \"System.get\" }]\n";

#[test]
fn results_are_listed_shown_and_removed() {
    let world = World::with(["ok", "api-error"]);
    configure(
        &world,
        "[results]\nfailures = 1\nall = 2\n[[listeners]]\nevent = \"civi_cxn.poll\"\nkeep = true\ncalls = [{ api = \"System.get\" }]\n",
    );
    for day in 0..4 {
        world.poll(MIDNIGHT + day * 86_400, &["--retry", "1 day (x*)"]);
    }
    let site = world.site(0, "ok");
    let ok = &site.cxn_id;
    let lines = |arguments: &[&str]| world.text(arguments).lines().map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(lines(&["results"]).len(), 3);
    assert_eq!(lines(&["results", ok]).len(), 3);
    assert_eq!(lines(&["results", "--json"]).len(), 3);
    let at = (MIDNIGHT + 2 * 86_400).to_string();
    let shown: Value = serde_json::from_str(&lines(&["results", short_id(&site), "--at", &at])[0]).unwrap();
    assert_eq!(shown["value"]["System.get"]["values"][0]["uf"], "Drupal8");
    let failed = world.site(1, "api-error").cxn_id;
    let shown: Value = world.json(&["results", &failed, "--latest"]);
    assert_eq!((&shown["class"], &shown["at"]), (&json!("api"), &json!(MIDNIGHT + 3 * 86_400)));
    assert!(lines(&["results", "--app", "org.example.other", "--json"]).is_empty());

    assert_eq!(code(&world.run(&["results", "--remove"])), 2);
    assert_eq!(code(&world.run(&["results", "--remove", "--all"])), 2);
    assert_eq!(code(&world.run(&["results", "--remove", ok])), 0);
    assert_eq!(latest(&world).len(), 1);
    assert_eq!(code(&world.run(&["results", ok])), 66);
    assert_eq!(code(&world.run(&["results", "--remove", "--all", "--yes"])), 0);
    assert!(latest(&world).is_empty());
    world.assert_sound();
}

/// Opens the database of results without the program.
fn results(world: &World) -> sled::Db {
    sled::open(world.store().join("results")).unwrap()
}

#[test]
fn the_deepest_reply_is_kept_and_shown() {
    // A program receives the reply one level deeper, and keeps it two levels deeper.
    let program = "read -r event; echo '{\"call\":\"System.get\"}'; read -r line; \
                   echo \"{\\\"keep\\\":$line}\"; echo '{\"ok\":true}'";
    let of_program = format!("[[listeners]]\nevent = \"civi_cxn.poll\"\nprogram = [\"sh\", \"-c\", {program:?}]\n");
    for listener in [KEEP, &of_program] {
        let world = World::with(["nested", "ok"]);
        configure(&world, listener);
        assert_eq!(world.poll(MIDNIGHT, &[])["ok"], 2, "{listener}");
        let lines = world.text(&["results", "--json"]);
        assert_eq!(lines.lines().count(), 2, "{listener}");
        let nested = lines.lines().find(|line| line.contains(&world.site(0, "nested").cxn_id)).unwrap();
        assert!(nested.contains(&"[".repeat(510)) && !nested.contains("omitted"), "{listener}: {nested}");
        assert_eq!(world.text(&["results"]).lines().count(), 3, "{listener}");
        world.assert_sound();
    }
}

#[test]
fn result_that_cannot_be_read_is_skipped_reported_and_repaired() {
    for remedy in [&["store", "check", "--repair"][..], &["results", "--remove", "SITE"]] {
        let world = World::with(["ok", "ok"]);
        configure(&world, KEEP);
        world.poll(MIDNIGHT, &[]);
        let site = world.site(0, "ok");
        let key = [site.cxn_id.as_bytes(), b"\0default\0", &MIDNIGHT.to_be_bytes()].concat();
        results(&world).insert(key, &[1, 0, 99]).unwrap().expect("the result is there");
        for command in [&["results"][..], &["results", "--json"], &["results", &site.cxn_id, "--latest"]] {
            let output = world.run(command);
            assert_eq!(code(&output), 74, "{command:?}: {output:?}");
            let others = stdout(&output).matches(&world.site(1, "ok").cxn_id).count();
            assert_eq!(others, usize::from(command.len() < 3), "{command:?}: {output:?}");
            let message = stderr(&output);
            assert!(message.contains(&format!("{}: a kept result", site.cxn_id)), "{command:?}: {message}");
        }
        let check = world.run(&["store", "check"]);
        assert_eq!(code(&check), 74);
        let finding = format!("a kept result of {} cannot be read", site.cxn_id);
        assert!(stdout(&check).contains(&finding), "{check:?}");
        let remedy: Vec<_> = remedy.iter().map(|word| word.replace("SITE", &site.cxn_id)).collect();
        let remedied = world.run(&remedy.iter().map(String::as_str).collect::<Vec<_>>());
        assert_eq!((code(&remedied), stderr(&remedied).as_str()), (0, ""), "{remedied:?}");
        let quarantine = fs::read_to_string(world.store().join("kept/set-aside.jsonl")).unwrap_or_default();
        assert_eq!(quarantine.contains("\"value\":\"010063\""), remedy[0] == "store", "{quarantine}");
        world.assert_sound();
        assert_eq!(latest(&world).len(), 1);
    }
}

#[test]
fn results_without_a_connection_are_found_and_removed() {
    let world = World::with(["ok", "ok"]);
    configure(&world, KEEP);
    world.poll(MIDNIGHT, &[]);
    {
        let results = results(&world);
        let (key, value) = results.first().unwrap().unwrap();
        for number in 0..300_u32 {
            let at = key.iter().position(|byte| *byte == 0).unwrap();
            results.insert([format!("cxn:gone-{number}").as_bytes(), &key[at..]].concat(), &value).unwrap();
        }
    }
    let check = |arguments: &[&str], expected: i32| {
        let output = world.run(&[&["store", "check", "--json"], arguments].concat());
        assert_eq!(code(&output), expected, "{output:?}");
        serde_json::from_slice::<Value>(&output.stdout).unwrap()
    };
    for (arguments, orphans) in [(&[][..], 300), (&["--repair"], 300), (&[], 0)] {
        // A removal or a restore may leave them, so they are no faults.
        let found = check(arguments, 0);
        assert_eq!((&found["faults"], &found["orphanedResults"]), (&json!(0), &json!(orphans)), "{found}");
    }
    assert_eq!(latest(&world).len(), 2);
    // A reply that arrives after the removal of its connection leaves a result, too.
    let slow = world.site(7, "slow-1500");
    world.import(std::slice::from_ref(&slow));
    let run = world.start(&["poll", APP]);
    crate::testkit::until("the site is called", || world.server.polls(7) > 0);
    assert_eq!(code(&world.run(&["remove", &slow.cxn_id, "--all", "--yes"])), 0);
    crate::testkit::wait(run);
    assert_eq!(check(&["--repair"], 0)["orphanedResults"], 1);
    assert_eq!(check(&[], 0)["orphanedResults"], 0);
}

#[test]
fn database_of_results_that_does_not_work_is_a_fault_and_stops_no_check() {
    let world = World::with(["ok", "ok"]);
    configure(&world, KEEP);
    world.poll(MIDNIGHT, &[]);
    fs::remove_file(world.store().join("results/conf")).unwrap();
    fs::create_dir(world.store().join("results/conf")).unwrap();
    let check = world.run(&["store", "check"]);
    assert_eq!(code(&check), 74, "{check:?}");
    let report = stdout(&check);
    assert!(report.contains("2 connections") && report.contains("kept results cannot be used"), "{report}");
}

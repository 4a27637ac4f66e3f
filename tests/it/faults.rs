//! Operations on files that fail, as on a bad disk: nothing that is stored is lost.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use crate::listeners::{configure, latest};
use crate::testkit::faults::Faults;
use crate::testkit::{MIDNIGHT, World, code, number_from_env, stderr, was_killed};

/// The end of the path of the database's log.
const LOG: &str = "/store/db-1/db";

/// A listener that keeps replies.
const KEEP: &str = "[[listeners]]\nevent = \"civi_cxn.poll\"\nkeep = true\ncalls = [{ api = \"System.get\" }]\n";

/// An opening of the stores here takes fewer reads than this.
const OPENING: usize = 45;

fn copy(from: &Path, to: &Path) {
    let _ = fs::remove_dir_all(to);
    assert!(Command::new("cp").arg("-a").arg(from).arg(to).status().unwrap().success());
}

/// Fails each read of the log while a command opens the store; nothing may be missing afterwards.
fn fail_each_read(faults: &Faults, world: &World) {
    let site = world.site(0, "ok");
    // A command that opens the store and reads little else.
    let opens = ["get", &site.cxn_id];
    let original = world.path("original");
    copy(&world.store(), &original);
    let (_, reads) = faults.run(world, &opens, LOG, "none 0");
    let before = world.export();
    assert!(reads.len() > 20, "only {} reads", reads.len());
    // The last of these are reads of single pages.
    let opening = &reads[..reads.len().min(OPENING)];
    let offsets: BTreeSet<_> = opening.iter().map(|read| read.offset).collect();
    let mut failed = 0;
    // By default every second read fails once.
    let step = if number_from_env("CXNPOLL_KILLS").is_some() { 1 } else { 2 };
    let once = (1..=opening.len()).step_by(step).map(|number| format!("read {number}"));
    let from_then_on = (1..=opening.len()).step_by(7).map(|number| format!("from {number}"));
    let of_place = offsets.iter().take(8).map(|offset| format!("offset {offset}"));
    for at in once.chain(from_then_on).chain(of_place) {
        copy(&original, &world.store());
        let (output, reads) = faults.run(world, &opens, LOG, &at);
        let is_error = reads.iter().any(|read| read.failed) && code(&output) == 74;
        assert!(code(&output) == 0 || is_error, "{at}: {output:?}");
        assert!(!stderr(&output).contains("backup"), "{at}: {output:?}");
        failed += usize::from(is_error);
        assert!(world.export() == before, "{at}: the export differs");
        world.assert_sound();
    }
    assert!(failed > 10, "only {failed} commands failed");
}

#[test]
fn failed_read_loses_nothing_of_a_closed_store() {
    let Some(faults) = Faults::new() else { return };
    let world = World::new();
    world.import(&world.sites(vec!["ok"; 1500]));
    fail_each_read(&faults, &world);
}

#[test]
fn failed_read_loses_nothing_of_a_store_that_was_not_closed() {
    let Some(faults) = Faults::new() else { return };
    let world = World::with(["ok"; 20]);
    let more: Vec<_> = (20..1500).map(|number| world.site(number, "ok").jsonl()).collect();
    fs::write(world.path("more.jsonl"), more.join("\n")).unwrap();
    let killed = world.command(&["import", "more.jsonl"]).env("CXNPOLL_DIE_AT", "Flushed").output().unwrap();
    assert!(was_killed(&killed), "{killed:?}");
    fail_each_read(&faults, &world);
}

#[test]
fn failed_installation_leaves_no_database() {
    let Some(faults) = Faults::new() else { return };
    let world = World::with(["ok"; 20]);
    world.poll(MIDNIGHT, &[]);
    assert_eq!(code(&world.run(&["store", "backup"])), 0);
    let before = world.export();
    for command in [&["store", "restore", "--yes"][..], &["store", "compact"]] {
        for (file, at) in
            [("/store/db-2.new/conf", "sync 1"), ("/store/db-2", "rename 1"), ("/store/CURRENT.new", "sync 1")]
        {
            let (output, operations) = faults.run(&world, command, file, at);
            assert!(code(&output) == 74 && operations.iter().any(|one| one.failed), "{file}: {output:?}");
            let names: Vec<_> = fs::read_dir(world.store()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
            let is_left = |name: &str| name.starts_with("db-2") || name == "kept";
            assert!(!names.iter().any(|name| is_left(&name.to_string_lossy())), "{file}: {names:?}");
            assert_eq!(world.export(), before);
        }
    }
    assert_eq!(code(&world.run(&["store", "compact"])), 0);
    assert_eq!(world.export(), before);
}

#[test]
fn an_input_that_cannot_be_read_to_its_end_is_named_and_not_applied() {
    let Some(faults) = Faults::new() else { return };
    let world = World::with(["ok"]);
    let before = world.export();
    let lines: String = (1..1000).map(|number| world.site(number, "ok").jsonl()).collect();
    fs::write(world.path("input.jsonl"), lines).unwrap();
    for at in ["read 1", "read 3"] {
        let (output, reads) = faults.run(&world, &["import", "input.jsonl"], "/input.jsonl", at);
        assert!(code(&output) == 66 && reads.iter().any(|read| read.failed), "{at}: {output:?}");
        assert!(stderr(&output).starts_with("error: cannot read input.jsonl: "), "{at}: {output:?}");
        assert_eq!(world.export(), before);
    }
}

#[test]
fn results_that_cannot_be_read_stay_in_their_place() {
    let Some(faults) = Faults::new() else { return };
    let world = World::with(["ok"]);
    configure(&world, KEEP);
    world.poll(MIDNIGHT, &[]);
    let (output, _) = faults.run(&world, &["results"], "/store/results/db", "from 1");
    assert_eq!(code(&output), 74, "{output:?}");
    assert!(stderr(&output).contains("the disk cannot be read"), "{output:?}");
    assert!(!world.store().join("kept").exists());
    assert_eq!(latest(&world).len(), 1);
}

#[test]
fn failed_sync_is_explained_and_loses_nothing_acknowledged() {
    let Some(faults) = Faults::new() else { return };
    let world = World::with(["ok"; 20]);
    let mut before = world.export();
    let mut failed = 0;
    for number in 0..12 {
        let at = format!("sync {}", number + 1);
        fs::write(world.path("more.jsonl"), world.site(20 + number, "ok").jsonl()).unwrap();
        let (output, syncs) = faults.run(&world, &["import", "more.jsonl"], LOG, &at);
        let after = world.export();
        assert!(before.iter().all(|line| after.contains(line)), "{at}: a connection is missing");
        if code(&output) == 0 {
            assert!(after.len() > before.len(), "{at}: an acknowledged connection is missing");
        } else {
            assert!(syncs.iter().any(|sync| sync.failed) && code(&output) == 74, "{at}: {output:?}");
            assert!(stderr(&output).contains("did not acknowledge may be missing"), "{at}: {output:?}");
            failed += 1;
        }
        world.assert_sound();
        before = after;
    }
    assert!(failed > 1, "only {failed} commands failed");
}

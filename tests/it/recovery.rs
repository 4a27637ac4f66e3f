//! Damaged databases, full and read-only disks.

use std::fs::{self, File};
use std::process::Command;

use crate::listeners::{configure, latest};
use crate::testkit::{APP, MIDNIGHT, World, assert_quiet, code, stderr, stdout, tools};

#[test]
fn damaged_snapshots_are_archived_and_nothing_is_lost() {
    let world = World::with(["ok"; 300]);
    world.poll(MIDNIGHT, &[]);
    let before = world.export();
    let snapshots = || {
        fs::read_dir(world.store().join("db-1"))
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .filter(|path| path.file_name().unwrap().to_string_lossy().starts_with("snap."))
    };
    assert_eq!(snapshots().count(), 1);
    snapshots().for_each(|path| fs::write(path, "nonsense that is longer than a checksum").unwrap());
    let output = world.run(&["status"]);
    assert_eq!(code(&output), 0, "{output:?}");
    let (message, kept) = (stderr(&output), world.store().join("kept/db-1"));
    assert!(
        message.contains("the store's database was damaged (its checksums are wrong) and has been rebuilt"),
        "{message}"
    );
    assert!(message.contains(&format!("kept as {}; run `cxnpoll store check`", kept.display())), "{message}");
    assert!(world.store().join("kept/db-1/db").exists());
    assert_eq!(world.export(), before);
    world.assert_sound();
}

#[test]
fn unrepairable_database_stays_and_the_newest_backup_is_named() {
    const CUT_AT: usize = 1000;
    let world = World::with(["ok"; 300]);
    world.poll(MIDNIGHT, &[]);
    let before = world.export();
    assert_quiet(&world.run(&["store", "backup"]));
    let database = world.store().join("db-1");
    let whole = fs::read(database.join("db")).unwrap();
    // A truncated file, some wrong bytes, and only wrong bytes.
    let cut = [&whole[..CUT_AT], &vec![0; whole.len() - CUT_AT]].concat();
    let every = |step: usize| whole.iter().enumerate().map(|(at, byte)| byte ^ u8::from(at % step == 0)).collect();
    for (junk, is_cut) in [(cut, true), (every(777), false), (every(1), false)] {
        fs::write(database.join("db"), &junk).unwrap();
        let output = world.run(&["status"]);
        assert_eq!(code(&output), 74, "{output:?}");
        let after = fs::read(database.join("db")).unwrap();
        assert_eq!(after.len(), junk.len());
        // sled itself clears a record that is cut off at the end of the log.
        let is_cut_off = |at: usize| is_cut && at < CUT_AT && after[at] == 0;
        assert!((0..junk.len()).all(|at| after[at] == junk[at] || is_cut_off(at)), "the file has changed");
    }
    let output = world.run(&["status"]);
    assert!(stderr(&output).contains("hint: ") && stderr(&output).contains("cxnpoll store restore /"), "{output:?}");
    assert!(!world.store().join("kept").exists());
    assert_quiet(&world.run(&["store", "restore", "--yes"]));
    assert_eq!(world.export(), before);
    assert!(world.store().join("kept/db-1/db").exists());
    world.assert_sound();
}

#[test]
fn held_database_file_is_reported() {
    let world = World::with(["ok"]);
    let file = world.store().join("db-1/db");
    let held = File::open(&file).unwrap();
    held.lock().unwrap();
    let output = world.run(&["status"]);
    assert_eq!(code(&output), 74, "{output:?}");
    let message = stderr(&output);
    assert!(message.contains(&format!("cannot lock {}: timed out", file.display())), "{message}");
    assert!(!message.contains("backup"), "{message}");
    drop(held);
    world.assert_sound();
}

#[test]
fn unusable_results_can_be_removed() {
    let world = World::with(["ok"]);
    let results = world.store().join("results");
    fs::create_dir_all(results.join("db")).unwrap();
    let output = world.run(&["results"]);
    assert_eq!(code(&output), 74, "{output:?}");
    let message = stderr(&output);
    assert!(message.contains(&format!("cannot open {}", results.join("db").display())), "{message}");
    assert!(message.contains(&format!("hint: remove {} to give up all kept results", results.display())), "{message}");
    fs::remove_dir_all(&results).unwrap();
    assert_eq!(code(&world.run(&["results"])), 0);
}

#[test]
fn error_that_passes_names_no_backup() {
    let world = World::with(["ok"; 20]);
    world.poll(MIDNIGHT, &[]);
    assert_quiet(&world.run(&["store", "backup"]));
    let before = world.export();
    let mut failed = 0;
    for limit in 5..12 {
        let output = world.run_in_shell(&format!("ulimit -n {limit}"), "status");
        let message = stderr(&output);
        assert!(!message.contains("backup") && !message.contains("damaged"), "{limit}: {message}");
        if message.contains("store") {
            assert!(message.contains("hint: too many files are open"), "{limit}: {message}");
            failed += 1;
        }
        assert_eq!(world.export(), before);
    }
    assert!(failed > 1, "only {failed} commands failed");
}

#[test]
fn damaged_results_are_set_aside() {
    let world = World::with(["ok"]);
    configure(&world, "[[listeners]]\nevent = \"civi_cxn.poll\"\nkeep = true\ncalls = [{ api = \"System.get\" }]\n");
    world.poll(MIDNIGHT, &[]);
    let (results, kept) = (world.store().join("results"), world.store().join("kept/results"));
    let truncate = |name: &str, bytes: u64| {
        let file = File::options().write(true).open(results.join(name)).unwrap();
        file.set_len(bytes).unwrap();
    };
    for (day, bytes) in (1..).zip([30, 46]) {
        assert_eq!(latest(&world).len(), 1);
        truncate("conf", bytes);
        let output = world.run(&["results", "--latest"]);
        assert!(code(&output) == 0, "{bytes}: {output:?}");
        let message = stderr(&output);
        assert!(message.contains(&format!("they are now in {}", kept.display())), "{bytes}: {message}");
        assert_eq!(fs::metadata(kept.join("conf")).unwrap().len(), bytes);
        // The warning is not repeated, and new results are kept.
        assert!(latest(&world).is_empty());
        assert_eq!(world.poll(MIDNIGHT + day * 86_400, &["--retry", "1 day (x*)"])["ok"], 1);
    }
    assert_eq!(fs::read_dir(world.store().join("kept")).unwrap().count(), 1);
    world.assert_sound();
}

#[test]
fn full_disk_damages_nothing() {
    let world = World::with(["ok"; 500]);
    world.poll(MIDNIGHT, &[]);
    let before = world.export();
    let more: String = (500..3000).map(|number| world.site(number, "ok").jsonl() + "\n").collect();
    fs::write(world.path("more.jsonl"), more).unwrap();
    let size = fs::metadata(world.store().join("db-1/db")).unwrap().len();
    // The shell limits the size of files, in blocks of 512 bytes. A write beyond it fails as on a full disk.
    for limit in [8, size / 1024, size / 512, size / 512 + 200] {
        for command in ["import more.jsonl", "store backup", "store compact", "poll org.example.myapp --name other"] {
            let output = world.run_in_shell(&format!("trap '' XFSZ; ulimit -f {limit}"), command);
            let message = stderr(&output);
            assert!(matches!(code(&output), 0 | 1 | 74), "{limit} {command}: {output:?}");
            assert!(code(&output) == 0 || message.starts_with("error: "), "{limit} {command}: {output:?}");
            assert!(!message.contains("panicked"), "{limit} {command}: {output:?}");
        }
        world.assert_sound();
        let after = world.export();
        assert!(before.iter().all(|line| {
            let id = line.split(',').next().unwrap();
            after.iter().any(|line| line.starts_with(id))
        }));
    }
}

#[test]
fn read_only_directory_is_reported() {
    let world = World::with(["ok"]);
    world.poll(MIDNIGHT, &[]);
    let store = world.store().display().to_string();
    let program = env!("CARGO_BIN_EXE_cxnpoll");
    let script = format!(
        "mount --bind {store} {store} && mount -o remount,ro,bind {store} && {program} export --history && exec {program} poll {APP}"
    );
    let output = Command::new("unshare").args(["-m", "sh", "-c", &script]).env("CXNPOLL_STORE", &store).output();
    match output {
        Ok(output) if !stderr(&output).contains("unshare:") && !stderr(&output).contains("mount:") => {
            assert_eq!(code(&output), 74, "{output:?}");
            assert!(stderr(&output).contains("Read-only file system"), "{output:?}");
            // The database is copied. The history is not, since reading changes none of it.
            assert_eq!(stdout(&output), world.text(&["export", "--history"]));
        }
        _ => tools::skip("only root can mount a read-only directory"),
    }
    world.assert_sound();
}

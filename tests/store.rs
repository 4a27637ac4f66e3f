//! The store as a whole: who may open it, what it survives, what a check finds.

mod common;

use std::fs::{self, File};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::time::Duration;

use common::{APP, MIDNIGHT, World, assert_quiet, code, stderr};
use cxnpoll::store::Store;

#[test]
fn a_new_store_is_private_and_complete() {
    let world = World::with(["ok"]);
    let mode = |name: &str| fs::metadata(world.store().join(name)).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(""), mode("db-1"), mode("runs"), mode("CURRENT")), (0o700, 0o700, 0o700, 0o600));
    assert_eq!(fs::read_to_string(world.store().join("CURRENT")).unwrap(), "db-1\n");
    world.assert_sound();
}

#[test]
fn half_a_creation_is_no_obstacle() {
    let world = World::new();
    fs::create_dir_all(world.store().join("db-1.new")).unwrap();
    fs::write(world.store().join("db-1.new/db"), "half").unwrap();
    fs::write(world.store().join("CURRENT.new"), "db").unwrap();
    assert_eq!(code(&world.run(&["status"])), 66);
    world.import(&world.sites(["ok"]));
    world.assert_sound();
}

#[test]
fn a_database_that_nothing_names_is_kept() {
    let world = World::with(["ok"]);
    fs::remove_file(world.store().join("CURRENT")).unwrap();
    assert_eq!(code(&world.run(&["status"])), 66);
    let more = world.folder.path().join("more.jsonl");
    fs::write(&more, world.site(1, "ok").jsonl()).unwrap();
    let output = world.run(&["import", more.to_str().unwrap()]);
    assert!(stderr(&output).contains("kept/db-1"), "{output:?}");
    assert!(world.store().join("kept/db-1/db").exists());
    assert_eq!(world.json(&["store", "check", "--json"])["counts"]["cxns"], 1);
}

#[test]
fn what_sled_leaves_behind_when_killed_is_swept() {
    let world = World::with(["ok"; 3]);
    let left = world.store().join("db-1/snap.00000000000000FF.generating");
    File::create(&left).unwrap();
    world.assert_sound();
    assert!(!left.exists());
    assert_eq!(world.poll(MIDNIGHT, &[])["ok"], 3);
}

#[test]
fn a_store_of_a_newer_program_is_refused_and_left_alone() {
    let world = World::with(["ok"]);
    world.database().open_tree("meta").unwrap().insert("version", &3u32.to_be_bytes()).unwrap();
    for command in [&["status"][..], &["poll", APP], &["store", "check"], &["export"]] {
        let output = world.run(command);
        assert_eq!(code(&output), 74, "{output:?}");
        assert!(stderr(&output).contains("the store has version 3"), "{output:?}");
    }
    assert_eq!(world.server.total(), 0);
}

#[test]
fn a_store_that_stays_busy_is_75_with_a_word() {
    let world = World::with(["ok"]);
    let store = Store::open(&world.store(), Duration::ZERO).unwrap();
    store
        .session(|_| {
            let output = world.run(&["poll", APP, "--store-wait", "0.2"]);
            assert_eq!(code(&output), 75);
            assert!(stderr(&output).contains("stayed busy"), "{output:?}");
            Ok(())
        })
        .unwrap();
    assert_quiet(&world.run(&["poll", APP]));
}

#[test]
fn a_store_belongs_to_its_owner() {
    let world = World::with(["ok"]);
    let owner = fs::metadata(world.store()).unwrap().uid();
    if chown(world.store(), Some(owner + 4321), None).is_err() {
        println!("only root can give a folder away: nothing was tested");
        return;
    }
    let before = fs::read_dir(world.store()).unwrap().count();
    for command in [&["status"][..], &["poll", APP], &["import"]] {
        let output = world.run(command);
        assert_eq!(code(&output), 74, "{output:?}");
        assert!(stderr(&output).contains("hint: sudo -u"), "{output:?}");
    }
    assert_eq!(fs::read_dir(world.store()).unwrap().count(), before);
}

#[test]
fn many_commands_at_once_all_get_their_turn() {
    let world = World::with(["ok"; 200]);
    let more = world.folder.path().join("more.jsonl");
    fs::write(&more, (200..400).map(|number| world.site(number, "ok").jsonl() + "\n").collect::<String>()).unwrap();
    let batches = ["0/4", "1/4", "2/4", "3/4"].map(|batch| ["poll", APP, "--per-host", "64", "--batch", batch]);
    let mut started: Vec<_> = batches.iter().map(|command| world.start(command)).collect();
    started.push(world.start(&["import", more.to_str().unwrap()]));
    started.push(world.start(&["poll", APP, "--name", "other", "--per-host", "64"]));
    started.push(world.start(&["status", "--json"]));
    for child in started {
        let output = child.wait_with_output().unwrap();
        assert_eq!(code(&output), 0, "{output:?}");
        assert!(output.stderr.is_empty(), "{output:?}");
    }
    assert_eq!(world.json(&["store", "check", "--json"])["counts"]["cxns"], 400);
    world.assert_sound();
}

#[test]
fn connections_of_a_job_that_was_interrupted_while_it_began_are_new() {
    let world = World::with(["ok"; 40]);
    // A job that an import made known, with a status for one connection only.
    let line = world
        .site(0, "ok")
        .jsonl()
        .replace('}', &format!(r#","pollStatus":{{"late":{{"pollLevel":0,"pollCount":0,"lastRun":{MIDNIGHT}}}}}}}"#));
    world.import_text(&line);
    let dry = world.run(&["poll", APP, "--name", "late", "--dry-run", "--json", "--now", "1767225601"]);
    assert_eq!(String::from_utf8(dry.stdout).unwrap().lines().count(), 39);
    assert_eq!(world.poll(MIDNIGHT + 1, &["--name", "late"])["polled"], 39);
    world.assert_sound();
}

#[test]
fn who_waits_too_long_learns_who_holds_the_store() {
    let world = World::with(["ok"]);
    let store = Store::open(&world.store(), Duration::ZERO).unwrap().visited_by("import");
    store
        .session(|_| {
            let output = world.run(&["status", "--store-wait", "0.1"]);
            let told = format!("it is held by `cxnpoll import` (process {}) since 20", std::process::id());
            assert!(stderr(&output).contains(&told), "{output:?}");
            Ok(())
        })
        .unwrap();
}

#[test]
fn who_wants_the_store_again_waits_behind_the_others() {
    let world = World::with(["ok"]);
    let open = || Store::open(&world.store(), Duration::from_secs(30)).unwrap();
    let stop = std::sync::atomic::AtomicBool::new(false);
    let greedy = open();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                greedy
                    .session(|_| {
                        std::thread::sleep(Duration::from_millis(300));
                        Ok(())
                    })
                    .unwrap();
            }
        });
        // Each gets in between two sessions of the one that never lets go for long.
        for _ in 0..5 {
            std::thread::sleep(Duration::from_millis(50));
            let store = Store::open(&world.store(), Duration::from_secs(2)).unwrap();
            store.session(|_| Ok(())).unwrap();
        }
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
    });
}

#[test]
fn damaged_snapshots_are_set_aside_and_nothing_is_lost() {
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
    assert!(stderr(&output).contains("rebuilt from its log"), "{output:?}");
    assert!(world.store().join("kept/db-1/db").exists());
    assert_eq!(world.export(), before);
    world.assert_sound();
}

#[test]
fn what_cannot_be_mended_is_left_alone_and_the_newest_backup_is_named() {
    let world = World::with(["ok"; 300]);
    world.poll(MIDNIGHT, &[]);
    let before = world.export();
    assert_quiet(&world.run(&["store", "backup"]));
    let database = world.store().join("db-1");
    let whole = fs::read(database.join("db")).unwrap();
    let size = whole.len() as u64;
    // Cut off, a byte here and there, and all of it.
    let cut = [&whole[..1000], &vec![0; whole.len() - 1000]].concat();
    let every = |step: usize| whole.iter().enumerate().map(|(at, byte)| byte ^ u8::from(at % step == 0)).collect();
    for junk in [cut, every(777), every(1)] {
        fs::write(database.join("db"), junk).unwrap();
        let output = world.run(&["status"]);
        assert_eq!(code(&output), 74, "{output:?}");
    }
    let output = world.run(&["status"]);
    assert!(stderr(&output).contains("hint: ") && stderr(&output).contains("cxnpoll store restore /"), "{output:?}");
    assert_eq!(fs::metadata(database.join("db")).unwrap().len(), size);
    assert!(!world.store().join("kept").exists());
    assert_quiet(&world.run(&["store", "restore"]));
    assert_eq!(world.export(), before);
    assert!(world.store().join("kept/db-1/db").exists());
    world.assert_sound();
}

#[test]
fn a_run_takes_a_backup_when_the_newest_is_old() {
    let world = World::with(["ok"; 5]);
    let backups = || {
        fs::read_dir(world.store().join("backups")).map_or(0, |entries| {
            entries.filter(|entry| entry.as_ref().unwrap().path().extension().is_some_and(|end| end == "gz")).count()
        })
    };
    world.poll(MIDNIGHT, &[]);
    assert_eq!(backups(), 1);
    world.poll(MIDNIGHT + 3600, &[]);
    assert_eq!(backups(), 1);
    let mode = |name: &str| fs::metadata(world.store().join(name)).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode("backups"), 0o700);
    let world = World::with(["ok"]);
    let config = world.folder.path().join("cxnpoll.toml");
    let text = fs::read_to_string(&config).unwrap();
    fs::write(&config, text + "[backups]\nevery-hours = 0\n").unwrap();
    world.poll(MIDNIGHT, &[]);
    assert!(!world.store().join("backups").exists());
}

#[test]
fn a_restore_creates_a_store_where_there_is_none() {
    let world = World::with(["ok"; 3]);
    let before = world.export();
    let backup = world.json(&["store", "backup", "--json"]);
    assert_eq!(backup["cxns"], 3);
    let elsewhere = World::new();
    assert_quiet(&elsewhere.run(&["store", "restore", backup["path"].as_str().unwrap()]));
    assert_eq!(elsewhere.export(), before);
    assert_eq!(code(&elsewhere.run(&["store", "restore"])), 66);
}

#[test]
fn a_compacted_store_holds_the_same_in_fewer_bytes() {
    let world = World::with(["ok"; 500]);
    for hour in 0..12 {
        assert_eq!(world.poll(MIDNIGHT + hour * 3600, &[])["ok"], 500);
    }
    let (before, status) = (world.export(), world.json(&["status", "--json"]));
    let compacted = world.json(&["store", "compact", "--json"]);
    assert!(compacted["bytesAfter"].as_u64() < compacted["bytesBefore"].as_u64(), "{compacted}");
    assert_eq!((world.export(), world.json(&["status", "--json"])), (before, status));
    assert!(!world.store().join("db-1").exists() && !world.store().join("kept").exists());
    world.assert_sound();
    assert_eq!(world.poll(MIDNIGHT + 12 * 3600, &[])["ok"], 500);
}

#[test]
fn nothing_is_replaced_while_a_run_lives_and_runs_wait_for_it() {
    let world = World::with(["ok"; 2]);
    assert_quiet(&world.run(&["store", "backup"]));
    let store = Store::open(&world.store(), Duration::ZERO).unwrap();
    store
        .in_use(|| {
            for command in ["restore", "compact"] {
                let output = world.run(&["store", command]);
                assert_eq!(code(&output), 75, "{output:?}");
                assert!(stderr(&output).contains("is at work on the store"), "{output:?}");
            }
            Ok(())
        })
        .unwrap();
    Store::take_over(&world.store(), Duration::ZERO, "store compact", |_| {
        let output = world.run(&["poll", APP, "--store-wait", "0.1"]);
        assert_eq!(code(&output), 75, "{output:?}");
        assert!(stderr(&output).contains("held by `cxnpoll store compact`"), "{output:?}");
        Ok(())
    })
    .unwrap();
    assert_eq!(world.server.total(), 0);
    assert_quiet(&world.run(&["poll", APP]));
}

#[test]
fn a_store_of_the_first_version_is_read_and_goes_on() {
    let world = World::new();
    let archive = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/store-v1.tar.gz");
    let unpacked = std::process::Command::new("tar").args(["xzf", archive, "-C"]).arg(world.folder.path()).status();
    assert!(unpacked.unwrap().success());
    fs::set_permissions(world.store(), fs::Permissions::from_mode(0o700)).unwrap();
    // It belongs to whoever unpacks it, unless root keeps the owner of the archive.
    let me = fs::metadata(world.folder.path()).unwrap().uid();
    chown(world.store(), Some(me), None).unwrap();
    let expected = include_str!("../fixtures/store-v1.jsonl");
    let version = || world.database().open_tree("meta").unwrap().get("version").unwrap().unwrap().to_vec();
    assert_eq!(version(), [0, 0, 0, 1]);
    assert_eq!(world.export(), expected.lines().collect::<Vec<_>>());
    assert_eq!(version(), [0, 0, 0, 2], "an older program refuses it from now on");
    world.assert_sound();
    // One is switched off; the others were simulated at a port that nobody listens to any more.
    assert_eq!(world.poll(MIDNIGHT + 30 * 86_400, &["--timeout", "2"])["polled"], 11);
    world.assert_sound();
}

/// Runs a command under a shell that limits the size of files, which the file system answers like a disk that is full.
fn with_small_files(world: &World, blocks: u32, arguments: &str) -> std::process::Output {
    let program = env!("CARGO_BIN_EXE_cxnpoll");
    let script = format!("trap '' XFSZ; ulimit -f {blocks}; exec {program} {arguments}");
    let command = world.command(&[]);
    let mut shell = std::process::Command::new("/bin/sh");
    shell.args(["-c", &script]).current_dir(world.folder.path()).env_clear();
    for (name, value) in command.get_envs() {
        shell.env(name, value.unwrap());
    }
    shell.output().unwrap()
}

#[test]
fn a_full_disk_damages_nothing() {
    let world = World::with(["ok"; 500]);
    world.poll(MIDNIGHT, &[]);
    let before = world.export();
    let more: String = (500..3000).map(|number| world.site(number, "ok").jsonl() + "\n").collect();
    fs::write(world.folder.path().join("more.jsonl"), more).unwrap();
    let size = fs::metadata(world.store().join("db-1/db")).unwrap().len();
    // Blocks of 512 bytes: next to nothing, half of what there is, as much as there is, and a little more.
    for limit in [8, size / 1024, size / 512, size / 512 + 200] {
        for command in ["import more.jsonl", "store backup", "store compact", "poll org.example.myapp --name other"] {
            let output = with_small_files(&world, u32::try_from(limit).unwrap(), command);
            let told = stderr(&output);
            assert!(matches!(code(&output), 0 | 1 | 74), "{limit} {command}: {output:?}");
            assert!(code(&output) == 0 || told.starts_with("error: "), "{limit} {command}: {output:?}");
            assert!(!told.contains("panicked"), "{limit} {command}: {output:?}");
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
fn a_folder_that_is_read_only_is_told() {
    let world = World::with(["ok"]);
    let store = world.store().display().to_string();
    let program = env!("CARGO_BIN_EXE_cxnpoll");
    let script = format!("mount --bind {store} {store} && mount -o remount,ro,bind {store} && exec {program} status");
    let mut unshare = std::process::Command::new("unshare");
    let output = unshare.args(["-m", "sh", "-c", &script]).env("CXNPOLL_STORE", &store).output();
    match output {
        Ok(output) if !stderr(&output).contains("unshare") && !stderr(&output).contains("mount") => {
            assert_eq!(code(&output), 74, "{output:?}");
            assert!(stderr(&output).contains("Read-only file system"), "{output:?}");
        }
        _ => println!("only root can mount: nothing was tested"),
    }
    world.assert_sound();
}

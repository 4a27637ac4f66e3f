//! Damaged databases, full and read-only disks.

use std::fs;
use std::process::Command;

use crate::testkit::{MIDNIGHT, World, assert_quiet, code, stderr, tools};

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
    assert!(stderr(&output).contains("rebuilt from its log"), "{output:?}");
    assert!(world.store().join("kept/db-1/db").exists());
    assert_eq!(world.export(), before);
    world.assert_sound();
}

#[test]
fn unrepairable_database_stays_and_the_newest_backup_is_named() {
    let world = World::with(["ok"; 300]);
    world.poll(MIDNIGHT, &[]);
    let before = world.export();
    assert_quiet(&world.run(&["store", "backup"]));
    let database = world.store().join("db-1");
    let whole = fs::read(database.join("db")).unwrap();
    let size = whole.len() as u64;
    // A truncated file, some wrong bytes, and only wrong bytes.
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
    let store = world.store().display().to_string();
    let program = env!("CARGO_BIN_EXE_cxnpoll");
    let script = format!("mount --bind {store} {store} && mount -o remount,ro,bind {store} && exec {program} status");
    let output = Command::new("unshare").args(["-m", "sh", "-c", &script]).env("CXNPOLL_STORE", &store).output();
    match output {
        Ok(output) if !stderr(&output).contains("unshare") && !stderr(&output).contains("mount") => {
            assert_eq!(code(&output), 74, "{output:?}");
            assert!(stderr(&output).contains("Read-only file system"), "{output:?}");
        }
        _ => tools::skip("only root can mount a read-only directory"),
    }
    world.assert_sound();
}

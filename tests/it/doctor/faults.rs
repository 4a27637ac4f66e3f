//! The faults, each with the check that finds it.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, SystemTime};

use serde_json::json;

use super::scene::Scene;
use crate::testkit::APP;

/// A fault.
pub struct Fault {
    /// The check that finds it, and no other.
    pub check: &'static str,
    /// A part of the message or of the remedy.
    pub message: &'static str,
    pub plant: fn(&mut Scene),
}

pub const fn fault(check: &'static str, message: &'static str, plant: fn(&mut Scene)) -> Fault {
    Fault { check, message, plant }
}

pub const FAULTS: &[Fault] = &[
    fault("config", "string values must be quoted", |scene| scene.world.set_config("store = \n")),
    fault("config", "unknown field `threats`", |scene| scene.world.append_config("threats = 3\n")),
    fault("config", "there is no configuration file", |scene| {
        scene.variables.push(("CXNPOLL_CONFIG", "/nowhere/cxnpoll.toml".to_owned()));
    }),
    fault("config", "apps-dir: there is no directory", |scene| prepend(scene, "apps-dir = \"nowhere\"\n")),
    fault("config", "put the metadata.json of cxnapp into", |scene| {
        fs::create_dir_all(scene.world.path("apps/org.example.other")).unwrap();
        prepend(scene, "apps-dir = \"apps\"\n");
    }),
    fault("config-access", "all users may read", |scene| {
        prepend(scene, "heartbeat = \"https://hc.example.org/ping/0123\"\n");
    }),
    fault("config-access", "chmod o-w", |scene| scene.set_mode("cxnpoll.toml", 0o606)),
    fault("heartbeat", "is not an http or https URL", |scene| {
        prepend(scene, "heartbeat = \"hc.example.org/ping/0123\"\n");
        scene.set_mode("cxnpoll.toml", 0o600);
    }),
    fault("heartbeat", "has a --heartbeat that is not", |scene| {
        scene.set_run(&format!("{APP} --heartbeat hc.example.org"));
    }),
    fault("heartbeat", "sets CXNPOLL_HEARTBEAT, which is not", |scene| {
        scene.set_crontab(&format!("CXNPOLL_HEARTBEAT=hc.example.org\n*/5 * * * * cxnpoll poll {APP}\n"));
    }),
    fault("certificates", "there is no certificate", |scene| fs::remove_file(scene.world.path("app.crt")).unwrap()),
    fault("certificates", "app.crt is empty", |scene| fs::write(scene.world.path("app.crt"), " \n").unwrap()),
    fault("certificates", "expired on", |scene| scene.set_certificate(APP, -100, -1)),
    fault("certificates", "in 10 days", |scene| scene.set_certificate(APP, -1, 10)),
    fault("certificates", "is not valid before", |scene| scene.set_certificate(APP, 2, 100)),
    fault("certificates", "its common name is app:org.example.other", |scene| {
        scene.set_certificate("org.example.other", -1, 100);
    }),
    fault("certificates", "has connections and no certificate", |scene| {
        scene.world.set_config("allow-net = [\"127.0.0.0/8\"]\n");
    }),
    fault("listeners", "cannot execute", |scene| listener(scene, APP, "./gone.sh")),
    fault("listeners", "chmod +x", |scene| {
        fs::write(scene.world.path("listener.sh"), "#!/bin/sh\n").unwrap();
        listener(scene, APP, "./listener.sh");
    }),
    fault("listeners", "sed -i 's/", |scene| {
        scene.write_program("listener.sh", "#!/bin/sh\r\nexit\r\n");
        listener(scene, APP, "./listener.sh");
    }),
    fault("listeners", "install its interpreter", |scene| {
        scene.write_program("listener.sh", "#!/usr/bin/env php9\n");
        listener(scene, APP, "./listener.sh");
    }),
    fault("listeners", "did you mean org.example.myapp?", |scene| listener(scene, "org.example.myap", "/bin/cat")),
    fault("authorities", "no CA certificates", |scene| {
        scene.variables.push(("SSL_CERT_FILE", "/nowhere/ca.pem".to_owned()));
        scene.variables.push(("SSL_CERT_DIR", "/nowhere".to_owned()));
    }),
    fault("authorities", "holds no certificate", |scene| {
        fs::write(scene.world.path("ca.pem"), "# none\n").unwrap();
        prepend(scene, "ca-file = \"ca.pem\"\n");
        scene.variables.push(("RES_OPTIONS", "use-vc".to_owned()));
    }),
    fault("name-servers", "no answer from name server 11.0.0.53", |scene| {
        scene.variables.push(("RES_OPTIONS", String::new()));
    }),
    fault("clock", "the clock is 1 h", plant_wrong_clock),
    fault("clock", "is in the future", |scene| poll_at(scene, 7200)),
    fault("store", "there is no store in", |scene| fs::remove_dir_all(scene.world.store()).unwrap()),
    fault("store-access", "make it private: chmod 700", |scene| scene.set_mode("store", 0o755)),
    fault("store-access", "mount the file system for writing", |scene| {
        let store = scene.world.store().display().to_string();
        scene.mount(&["--bind", &store], &store);
        super::scene::run("mount", &["-o", "remount,bind,ro", &store]);
    }),
    fault("store", "the store's database is damaged", |scene| {
        let file = scene.world.store().join("db-1/db");
        let mut bytes = fs::read(&file).unwrap();
        bytes.iter_mut().skip(20).take(60_000).for_each(|byte| *byte = 0xA5);
        fs::write(file, bytes).unwrap();
        for entry in fs::read_dir(scene.world.store().join("db-1")).unwrap().flatten() {
            if entry.file_name().to_string_lossy().starts_with("snap.") {
                fs::remove_file(entry.path()).unwrap();
            }
        }
    }),
    fault("store", "the store has version 4294967295", |scene| insert(scene, "meta", b"version", &[0xFF; 4])),
    fault("store", "does not name a database", |scene| {
        fs::write(scene.world.store().join("CURRENT"), "db-9\n").unwrap();
    }),
    fault("records", "store check --repair", |scene| {
        let db = scene.world.database();
        let (key, _) = db.open_tree("cxn").unwrap().first().unwrap().unwrap();
        drop(db);
        insert(scene, "cxn", &key, b"no connection");
    }),
    fault("space", "MiB are free in", |scene| mount_store(scene, "size=8m")),
    fault("space", "inodes left", |scene| mount_store(scene, "nr_inodes=90")),
    fault("space", "ulimit -f unlimited", |scene| scene.setup = "ulimit -f 20000"),
    fault("backups", "there is no backup of the store", |scene| {
        fs::remove_dir_all(scene.world.store().join("backups")).unwrap();
    }),
    fault("backups", "write a new one: cxnpoll store backup", |scene| {
        let backup = backup(scene);
        let bytes = fs::read(&backup).unwrap();
        fs::write(backup, &bytes[..bytes.len() - 9]).unwrap();
    }),
    fault("backups", "cannot be restored", |scene| {
        let backup = backup(scene);
        let mut bytes = fs::read(&backup).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        fs::write(backup, bytes).unwrap();
    }),
    fault("backups", "cannot be restored", |scene| fs::write(backup(scene), "").unwrap()),
    fault("backups", "could not be restored when it was checked at 20", |scene| {
        let (backup, checked) = (backup(scene), scene.world.store().join("backups/checked.json"));
        let name = backup.file_name().unwrap().to_str().unwrap();
        fs::write(checked, format!(r#"{{"bad":{{"name":"{name}","at":1769860800}}}}"#)).unwrap();
    }),
    fault("backups", "the newest backup is", |scene| rename_backup(scene, "20260101T000000Z.jsonl.gz")),
    fault("backups", "is in the future", |scene| {
        let backups = scene.world.store().join("backups");
        fs::write(backups.join("20990101T000000Z.jsonl.gz"), "").unwrap();
    }),
    fault("open-files", "ulimit -Hn", |scene| scene.setup = "ulimit -n 256"),
    fault("memory", "ulimit -v unlimited", |scene| scene.setup = "ulimit -v 900000"),
    fault("temp-dir", "set TMPDIR", |scene| scene.variables.push(("TMPDIR", "/nowhere".to_owned()))),
    fault("temp-dir", "set TMPDIR", |scene| {
        let dir = scene.world.path("full");
        fs::create_dir(&dir).unwrap();
        scene.mount(&["-t", "tmpfs", "-o", "size=4k", "tmpfs"], &dir.display().to_string());
        scene.variables.push(("TMPDIR", dir.display().to_string()));
    }),
    fault("dev-null", "mknod -m 666 /dev/null", |scene| {
        let file = scene.world.path("empty-file").display().to_string();
        scene.mount(&["--bind", &file], "/dev/null");
    }),
    fault("jobs", "cxnpoll.toml poll org.example.myapp", |scene| scene.set_crontab("")),
    fault("jobs", "starts the job nightly", |scene| {
        let output = scene.world.run(&["poll", APP, "--name", "nightly"]);
        assert!(output.status.success(), "{output:?}");
    }),
    fault("jobs", "poll only batch", |scene| {
        let line = scene.world.export().remove(0);
        let code: serde_json::Value = serde_json::from_str(&line).unwrap();
        let other = u8::from(code["batchCode"].as_u64().unwrap() < 5000);
        scene.set_run(&format!("{APP} --batch {other}/2"));
    }),
    fault("entries", "--retrry", |scene| scene.set_run(&format!("{APP} --retrry '1 hour (x2)'"))),
    fault("entries", "did you mean org.example.myapp?", |scene| scene.set_run("org.example.mapp")),
    fault("entries", "at its first %", |scene| scene.set_run(&format!("{APP} --log-file /tmp/$(date +%F).log"))),
    fault("entries", "which does not exist", |scene| {
        scene.set_crontab(&format!("*/5 * * * * /opt/gone/cxnpoll cxn:poll {APP}\n"));
    }),
    fault("entries", "which is not in its PATH (/usr/bin:/bin)", |scene| {
        fs::write(scene.world.path("crontab"), format!("*/5 * * * * cxnpoll poll {APP} >/dev/null\n")).unwrap();
    }),
    fault("entries", "is not one that cron can read", |scene| {
        scene.set_crontab(&format!("61 * * * * cxnpoll poll {APP}\n"));
    }),
    fault("entries", "runs as daemon, but the store belongs to root", |scene| {
        let program = env!("CARGO_BIN_EXE_cxnpoll");
        scene.set_crontab("");
        scene.schedule_by_timer();
        let service = scene.world.path(".config/systemd/user/cxnpoll@.service");
        fs::write(service, format!("[Service]\nUser=daemon\nExecStart={program} poll {APP}\n")).unwrap();
    }),
    fault("entry-files", "is not a directory", |scene| scene.set_run(&format!("{APP} --metrics /nowhere"))),
    fault("entry-files", "whose directory does not exist", |scene| {
        scene.set_run(&format!("{APP} --log-file /nowhere/cxnpoll.log"));
    }),
    fault("entry-files", "whose directory does not exist", |scene| {
        scene.set_run(&format!("{APP} >>/nowhere/cxnpoll.log 2>&1"));
    }),
    fault("last-runs", "has begun since", |scene| {
        // Only the store of two days ago is there.
        fs::remove_dir_all(scene.world.store()).unwrap();
        let site = scene.world.site(0, "ok");
        scene.world.import(&[site]);
        poll_at(scene, -172_800);
    }),
];

/// Adds keys at the beginning of the configuration.
fn prepend(scene: &Scene, text: &str) {
    scene.world.set_config(&(text.to_owned() + &scene.world.config()));
}

fn listener(scene: &Scene, app: &str, program: &str) {
    let event = format!("app:{app}:job=default:poll");
    scene.world.append_config(&format!("[[listeners]]\nevent = \"{event}\"\nprogram = [\"{program}\"]\n"));
}

fn insert(scene: &Scene, tree: &str, key: &[u8], value: &[u8]) {
    scene.world.database().open_tree(tree).unwrap().insert(key, value).unwrap();
}

fn now() -> i64 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    i64::try_from(now.as_secs()).unwrap()
}

/// Polls at a time that is so many seconds from now.
fn poll_at(scene: &Scene, offset_s: i64) {
    let output = scene.world.run(&["poll", APP, "--now", &(now() + offset_s).to_string()]);
    assert!(output.status.success(), "{output:?}");
}

/// The file of the backup.
fn backup(scene: &Scene) -> PathBuf {
    let mut files = fs::read_dir(scene.world.store().join("backups")).unwrap().map(|entry| entry.unwrap().path());
    files.find(|path| path.extension().is_some_and(|extension| extension == "gz")).unwrap()
}

fn rename_backup(scene: &Scene, name: &str) {
    let backup = backup(scene);
    fs::rename(&backup, backup.with_file_name(name)).unwrap();
}

/// Moves the store to a small file system.
fn mount_store(scene: &mut Scene, options: &str) {
    let store = scene.world.store().display().to_string();
    let aside = scene.world.path("aside").display().to_string();
    super::scene::run("mv", &[&store, &aside]);
    fs::create_dir(&store).unwrap();
    scene.mount(&["-t", "tmpfs", "-o", &format!("{options},mode=700"), "tmpfs"], &store);
    super::scene::run("cp", &["-a", &format!("{aside}/."), &store]);
    assert!(Path::new(&store).join("CURRENT").exists());
}

/// Adds a healthy site whose server has a clock an hour ahead.
fn plant_wrong_clock(scene: &mut Scene) {
    let listener = TcpListener::bind("127.0.0.2:0").unwrap();
    let mut site = scene.world.site(1, "ok");
    site.site_url = format!("http://{}/site", listener.local_addr().unwrap());
    let mut line: serde_json::Value = serde_json::from_str(&site.jsonl()).unwrap();
    line["pollStatus"] = json!({"default": {"pollLevel": 0, "pollCount": 0, "lastRun": now() - 60}});
    scene.world.import_text(&line.to_string());
    thread::spawn(move || {
        for stream in listener.incoming() {
            let (mut stream, mut request) = (stream.unwrap(), [0; 1024]);
            let length = stream.read(&mut request).unwrap();
            assert!(request[..length].starts_with(b"HEAD / HTTP/1.1\r\n"));
            let date = httpdate::fmt_http_date(SystemTime::now() + Duration::from_secs(3660));
            let reply =
                format!("HTTP/1.1 403 Forbidden\r\nDate: {date}\r\nContent-Length: 9\r\nConnection: close\r\n\r\n");
            let _ = stream.write_all(reply.as_bytes());
        }
    });
}

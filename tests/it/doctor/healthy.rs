//! Healthy installations of different shapes.

use std::fs;
use std::thread;
use std::time::Duration;

use super::scene::{Scene, run};
use crate::testkit::{APP, assert_quiet};

/// A name, and what makes this shape of the scene.
type Shape = (&'static str, fn(&mut Scene));

pub const SHAPES: &[Shape] = &[
    ("a file in /etc/cron.d", |scene| {
        scene.set_cron_file("cxnpoll", &format!("*/5 * * * * root {{program}} poll {APP}\n"));
    }),
    ("batches", |scene| {
        scene.set_crontab(&format!(
            "0 * * * * cxnpoll poll {APP} --batch 0/2\n5 * * * * cxnpoll poll {APP} --batch=1/2\n"
        ));
    }),
    ("no run yet", |scene| {
        fs::remove_dir_all(scene.world.store()).unwrap();
        let site = scene.world.site(0, "ok");
        scene.world.import(&[site]);
    }),
    ("a restored store without backups", |scene| {
        // The last run began in an earlier second than the restore.
        thread::sleep(Duration::from_secs(1));
        let output = scene.world.run(&["store", "backup"]);
        assert!(output.status.success(), "{output:?}");
        let (backups, aside) = (scene.world.store().join("backups"), scene.world.path("aside"));
        run("cp", &["-a", &backups.display().to_string(), &aside.display().to_string()]);
        fs::remove_dir_all(scene.world.store()).unwrap();
        let mut files: Vec<_> = fs::read_dir(aside).unwrap().map(|entry| entry.unwrap().path()).collect();
        files.retain(|path| path.extension().is_some_and(|extension| extension == "gz"));
        files.sort();
        let output = scene.world.run(&["store", "restore", "--yes", files.last().unwrap().to_str().unwrap()]);
        assert!(output.status.success(), "{output:?}");
        assert!(!scene.world.store().join("backups").exists());
    }),
    ("a script", |scene| {
        let text = format!(
            "#!/bin/sh\n# polls\nAPP={APP}\nPROGRAM=cxnpoll\n\nfor i in 1; do\n  \"$PROGRAM\" poll \\\n    \"${{APP}}\"\ndone\n"
        );
        let path = scene.write_program("poll-all.sh", &text);
        scene.set_crontab(&format!("*/5 * * * * {path} >/dev/null\n"));
    }),
    ("a script in a PATH of its own", |scene| {
        let bin = scene.world.path("bin").display().to_string();
        let path = scene.write_program("poll-all", &format!("export PATH={bin}:$PATH\ncxnpoll poll {APP}\n"));
        fs::write(scene.world.path("crontab"), format!("*/5 * * * * sh {path}\n")).unwrap();
    }),
    ("a script with a loop over apps", |scene| {
        let path = scene.write_program("poll-all", "#!/bin/sh\nfor app in a b; do cxnpoll poll \"$app\"; done\n");
        scene.set_crontab(&format!("*/5 * * * * {path}\n"));
    }),
    ("a script in another language", |scene| {
        let path = scene.write_program("poll-all", "#!/usr/bin/env python3\nimport os\nos.system('cxnpoll poll x')\n");
        scene.set_crontab(&format!("*/5 * * * * {path}\n"));
    }),
    ("a directory of scripts", |scene| {
        scene.write_program("hourly/poll", &format!("#!/bin/sh\n{} poll {APP}\n", env!("CARGO_BIN_EXE_cxnpoll")));
        let dir = scene.world.path("hourly").display().to_string();
        scene.set_cron_file("hourly", &format!("17 * * * * root cd / && run-parts --report {dir}\n"));
    }),
    ("a script of a timer", |scene| {
        scene.schedule_by_timer();
        let path = scene.write_program("poll-all", &format!("#!/bin/sh\ncxnpoll poll {APP}\n"));
        let bin = scene.world.path("bin").display().to_string();
        scene.add_to_unit("cxnpoll@.service", &format!("Environment=PATH={bin}\nExecStart=\nExecStart={path}\n"));
    }),
    ("a timer in a sandbox that lets it write", |scene| {
        scene.schedule_by_timer();
        let dir = scene.world.dir.path().display().to_string();
        scene.add_to_unit("cxnpoll@.service", &format!("ProtectSystem=strict\nReadWritePaths=-{dir} /srv\n"));
    }),
    ("a masked timer beside a crontab", |scene| {
        scene.schedule_by_timer();
        std::os::unix::fs::symlink("/dev/null", scene.world.path(".config/systemd/user/cxnpoll@job.timer")).unwrap();
        scene.set_run(APP);
    }),
    ("every night with the default expression", |scene| {
        scene.set_crontab(&format!("30 2 * * * cxnpoll poll {APP}\n"));
    }),
    ("a crontab that cannot be listed", |scene| {
        scene.write_program("bin/crontab", "#!/bin/sh\necho crontab: cannot fork >&2\nexit 1\n");
    }),
    ("a second store in another crontab line", |scene| {
        scene.set_crontab(&format!("*/5 * * * * cxnpoll poll {APP}\n*/5 * * * * cxnpoll --store /srv/b poll other\n"));
    }),
    ("a run that polled nothing", |scene| assert_quiet(&scene.world.run(&["poll", APP]))),
];

//! Faults of crontabs, scripts and timers.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};

use super::faults::{Fault, fault};
use super::scene::Scene;
use crate::testkit::APP;

pub const FAULTS: &[Fault] = &[
    fault("jobs", "starts only every 28 d", |scene| {
        scene.set_crontab(&format!("0 3 1 * * cxnpoll poll {APP}\n"));
    }),
    fault("jobs", "starts only every 1 d", |scene| {
        scene.set_crontab(&format!("0 3 * * * cxnpoll poll {APP} --retry '20 min (x6)'\n"));
    }),
    fault("jobs", "runs only when the machine starts", |scene| {
        scene.set_crontab(&format!("@reboot cxnpoll poll {APP}\n"));
    }),
    fault("entries", "another entry of the same job", |scene| {
        scene.set_crontab(&format!(
            "*/5 * * * * cxnpoll poll {APP}\n1 * * * * cxnpoll poll {APP} --retry '2 hours (x3)'\n"
        ));
    }),
    fault("entries", "write it as `*/5 * * * * COMMAND`", |scene| {
        scene.set_crontab(&format!("*/5 * * * * root cxnpoll poll {APP}\n"));
    }),
    fault("entries", "write it as `*/5 * * * * USER COMMAND`", |scene| {
        scene.set_cron_file("cxnpoll", &format!("*/5 * * * * {{program}} poll {APP}\n"));
    }),
    fault("entries", "runs as daemon, but the store belongs to root", |scene| {
        scene.set_cron_file("cxnpoll", &format!("*/5 * * * * daemon {{program}} poll {APP}\n"));
    }),
    fault("entries", "its name has other characters", |scene| {
        scene.set_cron_file("cxnpoll.cron", &format!("*/5 * * * * root {{program}} poll {APP}\n"));
    }),
    fault("entries", "chmod 644 /etc/cron.d/cxnpoll", |scene| {
        scene.set_cron_file("cxnpoll", &format!("*/5 * * * * root {{program}} poll {APP}\n"));
        fs::set_permissions("/etc/cron.d/cxnpoll", fs::Permissions::from_mode(0o666)).unwrap();
    }),
    fault("entries", "echo >> /etc/cron.d/cxnpoll", |scene| {
        scene.set_cron_file("cxnpoll", &format!("*/5 * * * * root {{program}} poll {APP}"));
    }),
    fault("jobs", "no crontab or timer starts the job default", |scene| {
        scene.set_cron_file("cxnpoll", &format!("# */5 * * * * root {{program}} poll {APP}\n"));
    }),
    fault("entries", "make it executable: chmod +x", |scene| {
        let path = scene.write_program("poll-all", &format!("#!/bin/sh\ncxnpoll poll {APP}\n"));
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        scene.set_crontab(&format!("*/5 * * * * {path}\n"));
    }),
    fault("entries", "did you mean org.example.myapp?", |scene| {
        let path = scene.write_program("poll-all", "#!/bin/sh\ncxnpoll poll org.example.mapp\n");
        scene.set_crontab(&format!("*/5 * * * * {path}\n"));
    }),
    fault("entry-files", "poll-all, which line 2 of the crontab of root starts, writes to /nowhere/x.log", |scene| {
        let path = scene.write_program("poll-all", &format!("#!/bin/bash\ncxnpoll poll {APP} >>/nowhere/x.log\n"));
        scene.set_crontab(&format!("*/5 * * * * {path}\n"));
    }),
    fault("jobs", "no crontab or timer starts", |scene| {
        let path = scene.write_program("hourly/poll", &format!("#!/bin/sh\ncxnpoll poll {APP}\n"));
        fs::set_permissions(path, fs::Permissions::from_mode(0o644)).unwrap();
        let dir = scene.world.path("hourly").display().to_string();
        scene.set_cron_file("hourly", &format!("17 * * * * root cd / && run-parts --report {dir}\n"));
    }),
    fault("jobs", "systemctl --user unmask cxnpoll@job.timer", |scene| mask(scene, "cxnpoll@job.timer")),
    fault("jobs", "systemctl --user unmask cxnpoll@job.service", |scene| mask(scene, "cxnpoll@job.service")),
    fault("jobs", "has no time at which it starts", |scene| {
        scene.schedule_by_timer();
        scene.add_to_unit("cxnpoll@job.timer", "[Timer]\nOnCalendar=\n");
    }),
    fault("jobs", "starts only once", |scene| {
        scene.schedule_by_timer();
        scene.add_to_unit("cxnpoll@.timer", "[Timer]\nOnCalendar=\nOnBootSec=1min\n");
    }),
    fault("jobs", "systemctl --user enable --now cxnpoll@job.timer", |scene| {
        scene.schedule_by_timer();
        fs::remove_dir_all(scene.world.path(".config/systemd/user/timers.target.wants")).unwrap();
    }),
    fault("jobs", "starts only every 28 d", |scene| {
        scene.schedule_by_timer();
        scene.add_to_unit("cxnpoll@.timer", "[Timer]\nOnCalendar=\nOnCalendar=monthly\n");
    }),
    fault("entry-files", "writes the store to", |scene| {
        scene.schedule_by_timer();
        scene.add_to_unit("cxnpoll@.service", "ProtectSystem=strict\n");
    }),
    fault("entry-files", "add ReadWritePaths=/srv to its [Service]: systemctl --user edit", |scene| {
        sandbox(scene, "--metrics /srv");
    }),
    fault("entry-files", "writes a log to /var/log, which the sandbox", |scene| {
        sandbox(scene, "--log-file /var/log/cxnpoll.log");
    }),
    fault("entry-files", "writes a log to /root, which the sandbox", |scene| {
        sandbox(scene, "--log-file /root/cxnpoll.log");
    }),
    fault("entry-files", "write -/nowhere instead", |scene| {
        scene.schedule_by_timer();
        scene.add_to_unit("cxnpoll@.service", "ReadWritePaths=/nowhere\n");
    }),
    fault("entry-files", "which is a directory", |scene| scene.set_run(&format!("{APP} --log-file /tmp"))),
    fault("entry-files", "mount -o remount,rw", |scene| {
        let dir = mount_dir(scene, "ro");
        scene.set_run(&format!("{APP} --log-file {dir}/x.log"));
    }),
    fault("entry-files", "on a file system that is full", |scene| {
        let dir = mount_dir(scene, "size=4k");
        fs::write(format!("{dir}/x"), [1; 4096]).unwrap();
        scene.set_run(&format!("{APP} --metrics {dir}"));
    }),
];

/// Mounts an empty file system, and returns its directory.
fn mount_dir(scene: &mut Scene, options: &str) -> String {
    let dir = scene.world.path("mounted").display().to_string();
    fs::create_dir(&dir).unwrap();
    scene.mount(&["-t", "tmpfs", "-o", options, "tmpfs"], &dir);
    dir
}

fn mask(scene: &Scene, unit: &str) {
    scene.schedule_by_timer();
    symlink("/dev/null", scene.world.path(".config/systemd/user").join(unit)).unwrap();
}

/// Adds options to the run of a timer that may write the store, and what systemd creates.
fn sandbox(scene: &Scene, options: &str) {
    scene.schedule_by_timer();
    let (program, dir) = (env!("CARGO_BIN_EXE_cxnpoll"), scene.world.dir.path().display().to_string());
    scene.add_to_unit(
        "cxnpoll@.service",
        &format!("ProtectSystem=strict\nReadWritePaths={dir}\nExecStart=\nExecStart={program} poll {APP} {options}\n"),
    );
}

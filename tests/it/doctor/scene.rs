//! A healthy installation in a namespace, in which faults are planted.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;
use tempfile::TempDir;

use crate::testkit::namespace::Network;
use crate::testkit::{APP, World, assert_quiet};

const CRON_D: &str = "/etc/cron.d";

/// An installation with a store, an app, a site that was polled, and an entry of a crontab.
pub struct Scene {
    pub world: World,
    /// What a shell runs before `doctor`, such as `ulimit -n 64`.
    pub setup: &'static str,
    /// More variables, or other values.
    pub variables: Vec<(&'static str, String)>,
    /// Mounts to undo.
    mounts: Vec<String>,
    /// What the directory of the world has in a healthy installation.
    healthy: TempDir,
    _network: Network,
}

impl Scene {
    pub fn set_up() -> Self {
        let network = Network::set_up();
        let world = World::with(["ok"]);
        let empty = world.path("empty");
        fs::create_dir(&empty).unwrap();
        fs::write(world.path("empty-file"), "").unwrap();
        // The schedules of this machine are none of the scene.
        for dir in ["/etc/cron.d", "/var/spool/cron", "/etc/systemd/system", "/run/systemd/system"] {
            if Path::new(dir).is_dir() {
                run("mount", &["-t", "tmpfs", "tmpfs", dir]);
            }
        }
        if Path::new("/etc/crontab").exists() {
            run("mount", &["--bind", &world.path("empty-file").display().to_string(), "/etc/crontab"]);
        }
        let bin = world.path("bin");
        fs::create_dir(&bin).unwrap();
        fs::write(bin.join("crontab"), "#!/bin/sh\nexec cat \"$HOME/crontab\"\n").unwrap();
        fs::set_permissions(bin.join("crontab"), Permissions::from_mode(0o755)).unwrap();
        std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_cxnpoll"), bin.join("cxnpoll")).unwrap();
        assert_quiet(&world.run(&["poll", APP]));
        let scene = Self {
            world,
            setup: ":",
            variables: Vec::new(),
            mounts: Vec::new(),
            healthy: TempDir::new().unwrap(),
            _network: network,
        };
        scene.set_crontab(&format!("*/5 * * * * cxnpoll poll {APP}\n"));
        copy(scene.world.dir.path(), scene.healthy.path());
        scene
    }

    /// Brings the healthy installation back.
    pub fn restore(&mut self) {
        for entry in fs::read_dir(self.world.dir.path()).unwrap() {
            run("rm", &["-rf", &entry.unwrap().path().display().to_string()]);
        }
        copy(self.healthy.path(), self.world.dir.path());
        for entry in fs::read_dir(CRON_D).unwrap() {
            fs::remove_file(entry.unwrap().path()).unwrap();
        }
        (self.setup, self.variables) = (":", Vec::new());
    }

    /// Undoes mounts, also that of the `/dev/null` that `umount` has as its standard input.
    pub fn undo(&mut self) {
        for target in self.mounts.drain(..).rev() {
            run("umount", &["-l", &target]);
        }
    }

    /// Mounts something until the next fault is planted.
    pub fn mount(&mut self, arguments: &[&str], target: &str) {
        run("mount", &[arguments, &[target]].concat());
        self.mounts.push(target.to_owned());
    }

    /// Replaces the crontab of the user; its PATH has this program.
    pub fn set_crontab(&self, lines: &str) {
        let path = self.world.path("bin").display().to_string();
        fs::write(self.world.path("crontab"), format!("PATH={path}:/usr/bin:/bin\n{lines}")).unwrap();
    }

    /// Moves the schedule from the crontab to a file in `/etc/cron.d`; `{program}` is that of the text.
    pub fn set_cron_file(&self, name: &str, text: &str) {
        self.set_crontab("");
        fs::write(Path::new(CRON_D).join(name), text.replace("{program}", env!("CARGO_BIN_EXE_cxnpoll"))).unwrap();
    }

    /// Writes a file of the installation that can be executed, and returns its path.
    pub fn write_program(&self, name: &str, text: &str) -> String {
        let path = self.world.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o755)).unwrap();
        path.display().to_string()
    }

    /// Adds keys to a unit of the timer.
    pub fn add_to_unit(&self, unit: &str, keys: &str) {
        let drop_in = self.world.path(".config/systemd/user").join(unit.to_owned() + ".d");
        fs::create_dir_all(&drop_in).unwrap();
        fs::write(drop_in.join("test.conf"), keys).unwrap();
    }

    /// Replaces the arguments of the run in the crontab.
    pub fn set_run(&self, arguments: &str) {
        self.set_crontab(&format!("*/5 * * * * cxnpoll poll {arguments}\n"));
    }

    /// Moves the schedule from the crontab to a timer of the user.
    pub fn schedule_by_timer(&self) {
        self.set_crontab("");
        let units = self.world.path(".config/systemd/user");
        fs::create_dir_all(units.join("timers.target.wants")).unwrap();
        let program = env!("CARGO_BIN_EXE_cxnpoll");
        for (name, text) in [
            ("cxnpoll@.timer", "[Timer]\nOnCalendar=*:0/5\n".to_owned()),
            ("job.env", format!("CXNPOLL_APP={APP}\nCXNPOLL_OPTIONS=--limit 9\n")),
            (
                "cxnpoll@.service",
                format!(
                    "[Service]\nLogsDirectory=cxnpoll-test\nEnvironmentFile=-{}/%i.env\n\
                     ExecStart={program} poll ${{CXNPOLL_APP}} $CXNPOLL_OPTIONS --log-file %L/cxnpoll-test/%i.log\n",
                    units.display()
                ),
            ),
        ] {
            fs::write(units.join(name), text).unwrap();
        }
        let wanted = units.join("timers.target.wants/cxnpoll@job.timer");
        std::os::unix::fs::symlink(units.join("cxnpoll@.timer"), wanted).unwrap();
    }

    /// Replaces the certificate by one that is valid from and until so many days from now, for an app.
    pub fn set_certificate(&self, app: &str, from_days: i64, until_days: i64) {
        let at = |days: i64| {
            let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
            let seconds = i64::try_from(now.as_secs()).unwrap() + days * 86_400;
            rcgen::date_time_ymd(1970, 1, 1) + std::time::Duration::from_secs(seconds.try_into().unwrap())
        };
        let mut params = rcgen::CertificateParams::default();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(rcgen::DnType::CommonName, format!("app:{app}"));
        (params.not_before, params.not_after) = (at(from_days), at(until_days));
        let certificate = params.self_signed(&rcgen::KeyPair::generate().unwrap()).unwrap();
        fs::write(self.world.path("app.crt"), certificate.pem()).unwrap();
    }

    pub fn set_mode(&self, name: &str, mode: u32) {
        fs::set_permissions(self.world.path(name), Permissions::from_mode(mode)).unwrap();
    }

    /// Runs `doctor` as cron would.
    pub fn doctor(&self, arguments: &[&str]) -> Output {
        let path = format!("{}:/usr/bin:/bin", self.world.path("bin").display());
        let mut command = self.world.command_of("/bin/sh");
        let script = format!("{}; exec {} doctor \"$@\"", self.setup, env!("CARGO_BIN_EXE_cxnpoll"));
        command.args(["-c", &script, "sh"]).args(arguments).env("PATH", path);
        for (name, value) in &self.variables {
            command.env(name, value);
        }
        command.output().unwrap()
    }

    /// Returns the checks with a finding.
    pub fn findings(&self) -> Vec<String> {
        checks(&self.doctor(&["--json"]))
    }

    /// Returns how often the site was polled.
    pub fn polls(&self) -> u64 {
        self.world.server.polls(0)
    }
}

/// The checks with a finding.
pub fn checks(output: &Output) -> Vec<String> {
    let json: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{output:?}"));
    let found = json["findings"].as_array().unwrap().iter();
    found.map(|finding| finding["check"].as_str().unwrap().to_owned()).collect()
}

fn copy(from: &Path, to: &Path) {
    run("cp", &["-a", &format!("{}/.", from.display()), &to.display().to_string()]);
}

pub fn run(program: &str, arguments: &[&str]) {
    let output = Command::new(program).args(arguments).output().unwrap();
    assert!(output.status.success(), "{program} {arguments:?}: {output:?}");
}

//! A directory with a store, simulated sites, and the command.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::Write;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::thread;
use std::time::Duration;

use civisite::{Behaviour, Server, Site};
use serde_json::Value;
use tempfile::TempDir;

use super::{assert_quiet, code, stderr, stdout};

/// 2026-01-01T00:00:00Z
pub const MIDNIGHT: i64 = 1_767_225_600;
/// The app of simulated sites.
pub const APP: &str = "org.example.myapp";
/// The app's certificate, valid for a century.
pub const CERTIFICATE: &str = include_str!("../../fixtures/app.crt");

/// Level, count and lastRun by site; zeros for a site that was never polled.
pub type Statuses = BTreeMap<u32, [i64; 3]>;

/// A directory of its own with a store, and simulated sites.
pub struct World {
    pub dir: TempDir,
    pub server: Server,
}

impl World {
    /// Starts simulated sites on 127.0.0.1. There is no store yet.
    pub fn new() -> Self {
        Self::at(Server::start().unwrap())
    }

    /// Starts simulated sites that answer on every loopback address. There is no store yet.
    pub fn on_all_addresses() -> Self {
        Self::at(Server::bind((Ipv4Addr::UNSPECIFIED, 0).into()).unwrap())
    }

    fn at(server: Server) -> Self {
        Self { dir: TempDir::new().unwrap(), server }
    }

    /// Imports simulated sites, numbered from 0, with these behaviours.
    pub fn with<const N: usize>(behaviours: [&str; N]) -> Self {
        let world = Self::new();
        world.import(&world.sites(behaviours));
        world
    }

    /// Returns simulated sites, numbered from 0, with these behaviours.
    pub fn sites(&self, behaviours: impl IntoIterator<Item = impl AsRef<str>>) -> Vec<Site> {
        (0..).zip(behaviours).map(|(number, behaviour)| self.site(number, behaviour.as_ref())).collect()
    }

    /// Returns a simulated site.
    pub fn site(&self, number: u32, behaviour: &str) -> Site {
        self.server.site_doing(number, behaviour.parse::<Behaviour>().unwrap())
    }

    /// Returns a simulated site in a loopback network of its own; see [`World::on_all_addresses`].
    pub fn site_on_own_host(&self, number: u32, behaviour: Behaviour) -> Site {
        let mut site = self.server.site_doing(number, behaviour);
        let host = Ipv4Addr::from_bits(Ipv4Addr::LOCALHOST.to_bits() + ((number + 1) << 8));
        site.site_url = site.site_url.replace("127.0.0.1", &host.to_string());
        site
    }

    /// Imports sites.
    pub fn import(&self, sites: &[Site]) {
        let lines: Vec<String> = sites.iter().map(Site::jsonl).collect();
        self.import_text(&lines.join("\n"));
    }

    /// Imports JSON lines.
    pub fn import_text(&self, lines: &str) {
        let file = self.path("import.jsonl");
        fs::write(&file, lines).unwrap();
        assert_quiet(&self.run(&["import", file.to_str().unwrap()]));
    }

    /// Returns the path of a file in the directory.
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Returns the path of the store.
    pub fn store(&self) -> PathBuf {
        self.path("store")
    }

    /// Returns the text of the configuration.
    ///
    /// The default one allows loopback, and names the app's certificate, so that nothing warns.
    pub fn config(&self) -> String {
        let path = self.path("cxnpoll.toml");
        if !path.exists() {
            fs::write(self.path("app.crt"), CERTIFICATE).unwrap();
            self.set_config(&format!("allow-net = [\"127.0.0.0/8\"]\n[apps.\"{APP}\"]\napp-cert = \"app.crt\"\n"));
        }
        fs::read_to_string(&path).unwrap()
    }

    /// Replaces the configuration.
    pub fn set_config(&self, text: &str) {
        fs::write(self.path("cxnpoll.toml"), text).unwrap();
    }

    /// Adds text at the end of the configuration.
    pub fn append_config(&self, text: &str) {
        self.set_config(&(self.config() + text));
    }

    /// Returns the command as cron would start it: without a terminal, with hardly any environment.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = self.command_of(env!("CARGO_BIN_EXE_cxnpoll"));
        command.args(arguments);
        command
    }

    /// Returns any other program with the environment and directory of the command.
    pub fn command_of(&self, program: impl AsRef<OsStr>) -> Command {
        self.config();
        let mut command = Command::new(program);
        command
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .env("HOME", self.dir.path())
            .env("CXNPOLL_STORE", self.store())
            .env("CXNPOLL_CONFIG", self.path("cxnpoll.toml"))
            // With this option the name servers of the machine are not asked whether they answer.
            .env("RES_OPTIONS", "use-vc")
            .current_dir(self.dir.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    /// Runs the command to its end.
    pub fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    /// Runs the command in a shell that first runs `setup`, such as `ulimit -n 64`.
    pub fn run_in_shell(&self, setup: &str, arguments: &str) -> Output {
        let script = format!("{setup}; exec {} {arguments}", env!("CARGO_BIN_EXE_cxnpoll"));
        self.command_of("/bin/sh").args(["-c", &script]).output().unwrap()
    }

    /// Runs the command with a file as its standard input.
    pub fn run_with_input(&self, arguments: &[&str], input: &str) -> Output {
        let path = self.path("stdin");
        fs::write(&path, input).unwrap();
        self.command(arguments).stdin(File::open(path).unwrap()).output().unwrap()
    }

    /// Runs the command with a pipe as its standard input. The command need not read it.
    pub fn run_with_pipe(&self, arguments: &[&str], input: &[u8]) -> Output {
        let mut child = self.command(arguments).stdin(Stdio::piped()).spawn().unwrap();
        let mut stdin = child.stdin.take().unwrap();
        match stdin.write_all(input) {
            Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => panic!("{error}"),
            _ => drop(stdin),
        }
        child.wait_with_output().unwrap()
    }

    /// Starts the command.
    pub fn start(&self, arguments: &[&str]) -> Child {
        self.command(arguments).spawn().unwrap()
    }

    /// Runs a command that must succeed without a message; returns its standard output.
    pub fn text(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        assert_eq!((code(&output), stderr(&output).as_str()), (0, ""), "{arguments:?}");
        stdout(&output)
    }

    /// Runs a command that must succeed; returns the JSON that it prints.
    pub fn json(&self, arguments: &[&str]) -> Value {
        let output = self.run(arguments);
        assert_eq!(code(&output), 0, "{arguments:?}: {output:?}");
        serde_json::from_slice(&output.stdout).unwrap()
    }

    /// Runs a command that must fail with this exit code and an error only; returns its messages.
    pub fn refused(&self, exit: i32, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        let message = stderr(&output);
        assert_eq!((code(&output), stdout(&output).as_str()), (exit, ""), "{arguments:?}: {message}");
        assert!(message.contains("error:"), "{arguments:?}: {message}");
        message
    }

    /// Runs `poll` at a time; returns its summary.
    pub fn poll(&self, now: i64, more: &[&str]) -> Value {
        let now = now.to_string();
        self.json(&[&["poll", APP, "--json", "--per-host", "64", "--now", &now], more].concat())
    }

    /// Returns what `explain --json` prints about a site at a time.
    pub fn explain(&self, site: &Site, now: i64) -> Value {
        self.json(&["explain", &site.cxn_id, "--json", "--now", &now.to_string()])
    }

    /// Returns the lines of an export, sorted.
    pub fn export(&self) -> Vec<String> {
        let output = self.run(&["export"]);
        assert_eq!(code(&output), 0, "{output:?}");
        let mut lines: Vec<_> = stdout(&output).lines().map(str::to_owned).collect();
        lines.sort();
        lines
    }

    /// Returns the status of every site.
    pub fn statuses(&self) -> Statuses {
        let status = |line: &String| {
            let line: Value = serde_json::from_str(line).unwrap();
            let number = line["cxnId"].as_str().unwrap()[26..].parse().unwrap();
            let status = &line["pollStatus"]["default"];
            (number, ["pollLevel", "pollCount", "lastRun"].map(|key| status[key].as_i64().unwrap_or(0)))
        };
        self.export().iter().map(status).collect()
    }

    /// Opens the database without the program.
    pub fn database(&self) -> sled::Db {
        // The threads of its last user may hold it for some milliseconds more.
        for _ in 0..200 {
            let current = fs::read_to_string(self.store().join("CURRENT")).unwrap();
            if let Ok(db) = sled::open(self.store().join(current.trim_end())) {
                return db;
            }
            thread::sleep(Duration::from_millis(10));
        }
        panic!("the database stayed locked");
    }

    /// Asserts that `store check` finds no fault.
    pub fn assert_sound(&self) {
        let check = self.json(&["store", "check", "--json"]);
        assert_eq!(check["faults"], 0, "{check}");
    }
}

/// Returns the id of a connection without `cxn:`.
pub fn short_id(site: &Site) -> &str {
    site.cxn_id.strip_prefix("cxn:").unwrap()
}

/// Asserts that a text does not hold the start of a site's secret.
///
/// PHP puts the start of an argument into a stack trace.
pub fn assert_no_secret(site: &Site, text: &str) {
    assert!(!text.contains(&site.secret_base64[..8]), "{text}");
}

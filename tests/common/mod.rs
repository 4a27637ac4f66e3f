//! What the tests of the binary share: a folder of their own, simulated sites, and the command.

#![allow(dead_code, reason = "each test file uses its part")]

use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use civisite::{Behaviour, Server, Site};
use serde_json::Value;
use tempfile::TempDir;

/// 2026-01-01T00:00:00Z
pub const MIDNIGHT: i64 = 1_767_225_600;
/// The app of simulated sites.
pub const APP: &str = "org.example.myapp";

/// Its certificate, which is good for a century.
pub const CERTIFICATE: &str = include_str!("../../fixtures/app.crt");

/// A folder with a store, and simulated sites.
pub struct World {
    pub folder: TempDir,
    pub server: Server,
}

impl World {
    /// Simulated sites, and no store yet.
    pub fn new() -> Self {
        Self { folder: TempDir::new().unwrap(), server: Server::start().unwrap() }
    }

    /// Simulated sites numbered from 0 that behave as told, imported into a store.
    pub fn with<const N: usize>(behaviours: [&str; N]) -> Self {
        let world = Self::new();
        world.import(&world.sites(behaviours));
        world
    }

    /// Simulated sites numbered from 0 that behave as told.
    pub fn sites(&self, behaviours: impl IntoIterator<Item = impl AsRef<str>>) -> Vec<Site> {
        (0..).zip(behaviours).map(|(number, behaviour)| self.site(number, behaviour.as_ref())).collect()
    }

    /// A simulated site.
    pub fn site(&self, number: u32, behaviour: &str) -> Site {
        self.server.site_doing(number, behaviour.parse::<Behaviour>().unwrap())
    }

    /// Imports sites.
    pub fn import(&self, sites: &[Site]) {
        let lines: Vec<String> = sites.iter().map(Site::jsonl).collect();
        self.import_text(&lines.join("\n"));
    }

    /// Imports JSON lines.
    pub fn import_text(&self, lines: &str) {
        let file = self.folder.path().join("import.jsonl");
        fs::write(&file, lines).unwrap();
        assert_quiet(&self.run(&["import", file.to_str().unwrap()]));
    }

    pub fn store(&self) -> PathBuf {
        self.folder.path().join("store")
    }

    /// The command as cron would start it: no terminal, hardly an environment. Loopback is allowed.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_cxnpoll"));
        command
            .args(arguments)
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .env("HOME", self.folder.path())
            .env("CXNPOLL_STORE", self.store())
            .current_dir(self.folder.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let config = self.folder.path().join("cxnpoll.toml");
        if !config.exists() {
            // With metadata for the app of the simulated sites, so that nothing warns.
            let cert = self.folder.path().join("app.crt");
            fs::write(&cert, CERTIFICATE).unwrap();
            let text = format!("allow-net = [\"127.0.0.0/8\"]\n[apps.\"{APP}\"]\napp-cert = \"app.crt\"\n");
            fs::write(&config, text).unwrap();
        }
        command.env("CXNPOLL_CONFIG", config);
        command
    }

    /// Runs the command to its end.
    pub fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    /// Starts the command.
    pub fn start(&self, arguments: &[&str]) -> Child {
        self.command(arguments).spawn().unwrap()
    }

    /// Runs a command that must end well, and reads the JSON that it prints.
    pub fn json(&self, arguments: &[&str]) -> Value {
        let output = self.run(arguments);
        assert_eq!(code(&output), 0, "{output:?}");
        serde_json::from_slice(&output.stdout).unwrap()
    }

    /// A run at a moment, with the summary that it prints.
    pub fn poll(&self, now: i64, more: &[&str]) -> Value {
        let now = now.to_string();
        self.json(&[&["poll", APP, "--json", "--per-host", "64", "--now", &now], more].concat())
    }

    /// What `explain --json` says of a site at a moment.
    pub fn explain(&self, site: &Site, now: i64) -> Value {
        self.json(&["explain", &site.cxn_id, "--json", "--now", &now.to_string()])
    }

    /// The lines of an export, sorted.
    pub fn export(&self) -> Vec<String> {
        let output = self.run(&["export"]);
        assert_eq!(code(&output), 0, "{output:?}");
        let mut lines: Vec<_> = String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect();
        lines.sort();
        lines
    }

    /// Opens the database behind the program's back.
    pub fn database(&self) -> sled::Db {
        // Its last user's threads may hold it for some milliseconds more.
        for _ in 0..200 {
            if let Ok(db) = sled::open(self.store().join("db-1")) {
                return db;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        panic!("the database stayed locked");
    }

    /// The store has no faults.
    pub fn assert_sound(&self) {
        let check = self.json(&["store", "check", "--json"]);
        assert_eq!(check["faults"], 0, "{check}");
    }
}

pub fn code(output: &Output) -> i32 {
    output.status.code().unwrap_or(-1)
}

pub fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// Done, and not a word, as cron likes it.
pub fn assert_quiet(output: &Output) {
    assert_eq!(code(output), 0, "{output:?}");
    assert!(output.stdout.is_empty() && output.stderr.is_empty(), "{output:?}");
}

//! The directory in which a case runs, and the environment of its commands.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use rcgen::{CertificateParams, DnType, KeyPair};
use tempfile::TempDir;

use super::case::Case;
use super::sites::{APP, APP_URL, Sites};
use super::step::{self, Input};

/// Directories with the programs that cases use.
const SYSTEM_PATH: &str = "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin";

/// The directory of a case, beside a directory with the program.
pub struct CaseDir {
    root: TempDir,
    path: PathBuf,
}

impl CaseDir {
    /// Creates an empty directory.
    pub fn new() -> Self {
        let root = TempDir::new().unwrap();
        // Users other than that of the case must be able to look for files that they can read.
        fs::set_permissions(root.path(), Permissions::from_mode(0o755)).unwrap();
        let path = root.path().join("case");
        fs::create_dir(&path).unwrap();
        Self { root, path }
    }

    /// Returns the path of the directory.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Creates what a case has before its first step.
    pub fn set_up(&self, case: &Case, sites: &Sites) {
        self.install(case.user.is_some());
        for dir in ["home", "tmp"] {
            fs::create_dir(self.path.join(dir)).unwrap();
        }
        self.write("app.crt", certificate().as_bytes());
        let default = format!(
            "allow-net = [\"127.0.0.0/8\"]\n\n[apps.\"{APP}\"]\ntitle = \"A case\"\napp-url = \"{APP_URL}\"\n\
             app-cert = \"app.crt\"\n\n{}",
            case.config.as_deref().unwrap_or_default()
        );
        self.write("cxnpoll.toml", case.config_only.as_ref().unwrap_or(&default).as_bytes());
        for (name, text) in &case.files {
            self.write(name, text.as_bytes());
        }
        for (name, text) in &case.latin1_files {
            let bytes: Vec<u8> = text.chars().map(|c| u8::try_from(c).unwrap()).collect();
            self.write(name, &bytes);
        }
        if let Some(user) = case.user {
            let status =
                Command::new("chown").args(["-R", &format!("{user}:{user}")]).arg(&self.path).status().unwrap();
            assert!(status.success());
        }
        if case.store.is_some() {
            let lines = sites.store_lines();
            let mut import = self.command("cxnpoll", case.user);
            import.args(["import", "--format", "jsonl", "-"]);
            let output = step::output_of(import, Input::Pipe(&lines));
            assert!(output.code == 0 && output.stderr.is_empty(), "{output:?}");
        }
    }

    /// Puts the program into a directory that only holds it.
    ///
    /// Another user may be unable to follow a symbolic link.
    fn install(&self, for_another_user: bool) {
        let program = env!("CARGO_BIN_EXE_cxnpoll");
        let link = self.bin().join("cxnpoll");
        fs::create_dir(self.bin()).unwrap();
        if !for_another_user {
            symlink(program, link).unwrap();
        } else if fs::hard_link(program, &link).is_err() {
            fs::copy(program, &link).unwrap();
        }
    }

    fn bin(&self) -> PathBuf {
        self.root.path().join("bin")
    }

    /// Writes a file, which can be executed if it begins with `#!`.
    fn write(&self, name: &str, content: &[u8]) {
        let path = self.path.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, content).unwrap();
        let mode = if content.starts_with(b"#!") { 0o755 } else { 0o644 };
        fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
    }

    /// Returns a program with the directory and environment of the case.
    ///
    /// It runs as `user`; `None` is the user of this process.
    pub fn command(&self, program: &str, user: Option<u32>) -> Command {
        let mut command = Command::new(program);
        command
            .env_clear()
            .env("PATH", format!("{}:{SYSTEM_PATH}", self.bin().display()))
            .env("SHELL", "/bin/bash")
            .env("LANG", "C.UTF-8")
            .env("HOME", self.path.join("home"))
            .env("TMPDIR", self.path.join("tmp"))
            .env("CXNPOLL_CONFIG", self.path.join("cxnpoll.toml"))
            .env("CXNPOLL_STORE", self.path.join("store"))
            .current_dir(&self.path);
        if let Some(user) = user {
            command.uid(user).gid(user);
        }
        command
    }
}

/// Creates a certificate of the app.
fn certificate() -> String {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, format!("app:{APP}"));
    params.self_signed(&KeyPair::generate().unwrap()).unwrap().pem()
}

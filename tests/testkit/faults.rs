//! Commands that the disk fails: see `tests/faults/preload.rs`.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use tempfile::TempDir;

use super::{World, tools};

/// The library that makes operations on a file fail.
pub struct Faults {
    dir: TempDir,
}

/// An operation on a file, as the library records it.
pub struct Operation {
    /// Where a read began.
    pub offset: u64,
    /// Whether it was made to fail.
    pub failed: bool,
}

impl Faults {
    /// Compiles the library; `None` where that is not possible or of no use, which is reported.
    pub fn new() -> Option<Self> {
        if !tools::allows_preload() {
            return None;
        }
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/faults/preload.rs");
        let faults = Self { dir: TempDir::new().unwrap() };
        let compiler = env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
        let mut command = Command::new(compiler);
        command.args(["--edition", "2024", "--crate-type", "cdylib", "-o"]).arg(faults.library()).arg(source);
        match command.output() {
            Ok(output) if output.status.success() => Some(faults),
            other => {
                tools::skip(&format!("rustc does not compile tests/faults/preload.rs: {other:?}"));
                None
            }
        }
    }

    fn library(&self) -> PathBuf {
        self.dir.path().join("libfaults.so")
    }

    /// Runs a command while operations fail, on a file whose path has this end.
    ///
    /// `at` is a value of `FAULT_AT`. Returns the operations on the file too.
    pub fn run(&self, world: &World, arguments: &[&str], file: &str, at: &str) -> (Output, Vec<Operation>) {
        let log = self.dir.path().join("log");
        let mut command = world.command(arguments);
        command.env("LD_PRELOAD", self.library()).env("FAULT_FILE", file).env("FAULT_AT", at).env("FAULT_LOG", &log);
        let output = command.output().unwrap();
        let lines = fs::read_to_string(&log).unwrap_or_default();
        let _ = fs::remove_file(log);
        let operation = |line: &str| {
            let mut parts = line.split(' ').skip(1);
            Operation { offset: parts.next().unwrap().parse().unwrap(), failed: parts.next() == Some("true") }
        };
        (output, lines.lines().map(operation).collect())
    }
}

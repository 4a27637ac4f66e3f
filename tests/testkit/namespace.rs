//! The command in namespaces of its own, which no packet leaves.

use std::process::Output;

use super::{World, code, tools};

/// Directories with `ip` and `mount`.
const PATH: &str = "/usr/sbin:/usr/bin:/sbin:/bin";

impl World {
    /// Runs the command in namespaces of its own for network and mounts, after a shell has run `setup`.
    ///
    /// The loopback interface is up. The shell's `"$0" "$@"` is the command. `None` if the system does not allow it; the
    /// test is to end at once then.
    pub fn run_in_namespace(&self, setup: &str, arguments: &[&str]) -> Option<Output> {
        if !tools::require("unshare") || !tools::require("ip") {
            return None;
        }
        let shell = |script: &str| {
            let mut command = self.command_of("unshare");
            command.env("PATH", PATH).env_remove("RES_OPTIONS").args([
                "--user",
                "--map-root-user",
                "--net",
                "--mount",
                "sh",
                "-ec",
                script,
            ]);
            command.arg(env!("CARGO_BIN_EXE_cxnpoll")).args(arguments).output().unwrap()
        };
        if code(&shell("ip link set lo up")) != 0 {
            tools::skip("this user may not create a network namespace");
            return None;
        }
        Some(shell(&format!("ip link set lo up; {setup}; exec \"$0\" \"$@\"")))
    }
}

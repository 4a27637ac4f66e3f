//! Runs tests, or commands of a test, in a namespace.
//!
//! It has a network that no packet leaves, and files below `/etc` that only the test sees.

use std::cell::RefCell;
use std::env;
use std::fs;
use std::path::Path;
use std::process::{Command, Output};
use std::sync::OnceLock;

use tempfile::TempDir;

use super::{World, code, tools};

/// The variable that is set in a namespace.
const INSIDE: &str = "CXNPOLL_TEST_NAMESPACE";
/// Directories of the programs that set a network up.
const SYSTEM_PATH: &str = "/usr/sbin:/usr/bin:/sbin:/bin";
/// The name server that `/etc/resolv.conf` names.
pub const NAME_SERVER: &str = "11.0.0.53";

/// Runs the body of a test in a namespace, in another process of this test binary.
///
/// `test` is the path of the test. Without the tools, or where namespaces are forbidden, the test is skipped.
pub fn run(test: &str, more_tools: &[&str], body: impl FnOnce()) {
    static IS_POSSIBLE: OnceLock<bool> = OnceLock::new();
    if env::var_os(INSIDE).is_some() {
        return body();
    }
    if !["unshare", "ip", "mount"].iter().chain(more_tools).all(|tool| tools::require(tool)) {
        return;
    }
    if !IS_POSSIBLE.get_or_init(|| unshare().arg("true").output().is_ok_and(|output| output.status.success())) {
        return tools::skip("this user may not create a namespace");
    }
    let (_, test) = test.split_once("::").unwrap();
    let mut command = unshare();
    command
        .arg(env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture", "--include-ignored"])
        .env(INSIDE, "1");
    command.env_remove("RUST_BACKTRACE");
    let output = command.output().unwrap();
    let [stdout, stderr] = [&output.stdout, &output.stderr].map(|text| String::from_utf8_lossy(text));
    assert!(output.status.success() && stdout.contains("1 passed"), "{stdout}\n{stderr}");
    // With `--nocapture`, figures of the test are shown.
    print!("{stdout}");
}

fn unshare() -> Command {
    let mut command = Command::new("unshare");
    command.args(["--user", "--map-root-user", "--net", "--mount"]);
    let path = env::var("PATH").unwrap_or_default();
    command.env("PATH", format!("{SYSTEM_PATH}:{path}"));
    command
}

/// The network of a namespace, and the files that configure its resolver.
///
/// All addresses of 11.0.0.0/8, 10.0.0.0/8 and `2a00:1::/32` belong to this machine, as those of no interface.
pub struct Network {
    etc: TempDir,
    /// What [`Network::route`] added, as arguments of `ip`.
    routes: RefCell<Vec<String>>,
}

impl Network {
    /// Sets up the network of this namespace.
    pub fn set_up() -> Self {
        let network = Self { etc: TempDir::new().unwrap(), routes: RefCell::default() };
        for (name, text) in [
            ("resolv.conf", format!("nameserver {NAME_SERVER}\n")),
            ("nsswitch.conf", "hosts: files dns\n".to_owned()),
            ("hosts", "127.0.0.1 localhost\n".to_owned()),
        ] {
            let (file, system) = (network.etc.path().join(name), Path::new("/etc").join(name));
            fs::write(&file, text).unwrap();
            if system.exists() {
                succeed(Command::new("mount").arg("--bind").args([file, system]));
            }
        }
        for arguments in [
            "link set lo up",
            "address add 11.0.0.1/32 dev lo",
            "route add local 11.0.0.0/8 dev lo table local src 11.0.0.1",
            "route add local 10.0.0.0/8 dev lo table local src 11.0.0.1",
            "-6 route add local 2a00:1::/32 dev lo table local",
        ] {
            ip(arguments);
        }
        network
    }

    /// Replaces `/etc/hosts`.
    pub fn set_hosts(&self, text: &str) {
        fs::write(self.etc.path().join("hosts"), text).unwrap();
    }

    /// Changes what connecting to a network does.
    ///
    /// `kind` is `unreachable` (EHOSTUNREACH), `prohibit` (EACCES), or `dev lo` (no packet comes back).
    pub fn route(&self, kind: &str, net: &str) {
        let arguments = if kind.starts_with("dev") { format!("{net} {kind}") } else { format!("{kind} {net}") };
        let family = if net.contains(':') { "-6 " } else { "" };
        ip(&format!("{family}route add {arguments} table local"));
        self.routes.borrow_mut().push(format!("{family}route del {arguments} table local"));
    }

    /// Makes the network work again.
    pub fn restore(&self) {
        for route in self.routes.take() {
            ip(&route);
        }
        self.set_hosts("127.0.0.1 localhost\n");
        set_port_range("32768\t60999");
    }
}

/// Sets the local ports that connections of this network can have.
pub fn set_port_range(range: &str) {
    fs::write("/proc/sys/net/ipv4/ip_local_port_range", range).unwrap();
}

/// Changes the network of this namespace with `ip`.
pub fn ip(arguments: &str) {
    succeed(Command::new("ip").args(arguments.split(' ')));
}

fn succeed(command: &mut Command) {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {output:?}");
}

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
            command.env("PATH", SYSTEM_PATH).env_remove("RES_OPTIONS").args([
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

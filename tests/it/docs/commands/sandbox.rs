//! A place in which the commands of a page run as on a server with cxnpoll.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;
use std::thread;

use rcgen::{CertificateParams, DnType, KeyPair};
use tempfile::TempDir;

use super::blocks::blocks;
use crate::docs::{read, root};
use crate::testkit::{CERTIFICATE, MIDNIGHT, World};

/// The app that most pages name. Its sites are those of the simulation.
const APP: &str = "org.civicrm.myapp";

/// The configuration of each sandbox.
const CONFIG: &str = r#"
[apps."org.civicrm.myapp"]
app-cert = "myapp.crt"

[[listeners]]
event = "civi_cxn.poll"
calls = [{ api = "System.get" }]
keep = true
"#;

/// The program. Pages do not allow loopback, on which the simulated sites are, and their demo has too many sites for a test.
const PROGRAM: &str = r#"#!/bin/sh
case $1 in demo) shift; set -- demo "$@" --sites 2 --runs 2 ;; esac
exec $PROGRAM --allow-net 127.0.0.0/8 "$@"
"#;

/// Absolute paths of pages, which are below the sandbox here.
const PATHS: [&str; 8] = [
    "/backup/",
    "/usr/local/share/man/man1",
    "/usr/local/share/zsh/site-functions",
    "/etc/cxnpoll",
    "/var/",
    "/data",
    "/usr/local/bin/cxnpoll",
    "/usr/bin/cxnpoll",
];

/// One command of a page.
pub struct Step {
    /// The line of the page with its block.
    pub line: usize,
    /// The text for the shell.
    pub command: String,
    /// The output that the page shows; `None` if it shows none.
    pub output: Option<String>,
    /// Whether it may print nothing at all, because cron would mail it.
    pub is_quiet: bool,
}

/// What a command did.
pub struct Outcome {
    /// `None` if it was not reached.
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

/// A store with polled sites, and the files that pages name. Every sandbox is a copy.
pub struct Template {
    world: World,
    /// The connection that pages name.
    id: String,
    /// A server that receives heartbeats.
    heartbeats: SocketAddr,
}

impl Template {
    /// Starts the sites and fills the store: some sites are healthy, and one is given up.
    pub fn new() -> Self {
        let world = World::new();
        let mut sites = world.sites(["ok", "ok", "ok", "status-500", "api-error"]);
        // Each batch of a page has some of them.
        for (site, code) in sites.iter_mut().zip((0..).step_by(2000)) {
            site.batch_code = Some(code);
        }
        let lines = sites.iter().map(|site| site.jsonl() + "\n").collect::<String>();
        let ours = lines.replace("app:org.example.myapp", &format!("app:{APP}"));
        world.config();
        world.append_config(&CONFIG.replace("myapp.crt", "app.crt"));
        world.import_text(&(ours.clone() + &world.site(9, "ok").jsonl()));
        world.run(&["poll", APP, "--name", "history", "--retry", "1 hour (x1)", "--now", &MIDNIGHT.to_string()]);

        let files = world.path("files");
        fs::create_dir(&files).unwrap();
        let write = |name: &str, text: &str| fs::write(files.join(name), text).unwrap();
        write("sites.jsonl", &lines);
        write("connections.jsonl", &ours);
        let map = sites.iter().zip(ours.lines()).map(|(site, line)| format!("\"{}\":{line}", site.cxn_id));
        write("cxns.json", &format!("{{{}}}", map.collect::<Vec<_>>().join(",")));
        let columns = ["cxnId", "secret", "appId", "appUrl", "siteUrl"].join("\t");
        let row = |line: &str| {
            let value: serde_json::Value = serde_json::from_str(line).unwrap();
            let fields = columns.split('\t').map(|column| value[column].as_str().unwrap().to_owned());
            fields.collect::<Vec<_>>().join("\t")
        };
        let table = |more: &str, value: &str| {
            let rows = ours.lines().map(|line| format!("{}{value}\n", row(line)));
            format!("{columns}{more}\n{}", rows.collect::<String>())
        };
        write("cxn.tsv", &table("", ""));
        write("join.tsv", &table("\tjobName\tpollLevel\tpollCount\tlastRun", "\tdefault\t0\t2\t1767220000"));
        let statuses = sites.iter().map(|site| format!("{}\tdefault\t0\t2\t1767220000\n", site.cxn_id));
        write(
            "status.tsv",
            &format!("cxnId\tjobName\tpollLevel\tpollCount\tlastRun\n{}", statuses.collect::<String>()),
        );
        for name in ["myapp.crt", "civicrm.crt"] {
            write(name, &certificate());
        }
        write("example.crt", CERTIFICATE);
        write("ca.pem", CERTIFICATE);
        for (language, name) in [("python", "listener.py"), ("php", "listener.php")] {
            let program = blocks(&read("docs/listeners.md")).into_iter().find(|block| block.language == language);
            let text = format!("#!/usr/bin/env {}\n{}", language.replace("python", "python3"), program.unwrap().text);
            write_program(&files.join(name), &text);
        }
        Self { id: sites[0].cxn_id.clone(), heartbeats: serve_heartbeats(), world }
    }

    /// Runs commands in a copy, one after the other in the same shell.
    pub fn run(&self, steps: &[Step]) -> Vec<Outcome> {
        let dir = TempDir::new().unwrap();
        self.fill(dir.path());
        let mut script = "set -o pipefail\ncd work\n".to_owned();
        for (number, step) in steps.iter().enumerate() {
            Self::provide_files(dir.path(), &step.command);
            fs::write(dir.path().join(format!("steps/{number}")), self.adapted(dir.path(), &step.command)).unwrap();
            let file = format!("$SANDBOX/steps/{number}");
            let redirected = format!(">{file}.out 2>{file}.err </dev/null; echo $? >{file}.code\n");
            script.extend(["eval \"$(cat ", &file, ")\" ", &redirected]);
        }
        let bin = dir.path().join("bin");
        let stubs = root().join("tests/it/docs/stubs");
        let status = Command::new("timeout")
            .args(["60", "bash", "-c", &script])
            .env_clear()
            .env("PATH", format!("{}:{}:/usr/bin:/bin", bin.display(), stubs.display()))
            .env("SANDBOX", dir.path())
            .env("REPOSITORY", root())
            .env("HOME", dir.path().join("home"))
            .env("TMPDIR", dir.path().join("tmp"))
            .env("CXNPOLL_STORE", dir.path().join("var/lib/cxnpoll/store"))
            .env("CXNPOLL_CONFIG", dir.path().join("etc/cxnpoll/cxnpoll.toml"))
            // With this option the name servers of the machine are not asked whether they answer.
            .env("RES_OPTIONS", "use-vc")
            .current_dir(dir.path())
            .status()
            .unwrap();
        assert_ne!(status.code(), Some(124), "the commands take too long");
        let outcome = |number: usize| {
            let part = |end: &str| fs::read_to_string(dir.path().join(format!("steps/{number}.{end}")));
            Outcome {
                code: part("code").ok().and_then(|code| code.trim().parse().ok()),
                stdout: part("out").unwrap_or_default(),
                stderr: part("err").unwrap_or_default(),
            }
        };
        (0..steps.len()).map(outcome).collect()
    }

    /// Makes the directories and files of a server.
    fn fill(&self, dir: &Path) {
        let apps = "var/www/cxnapp/app/cxn/org.civicrm.myapp";
        let dirs = ["bin", "home", "tmp", "steps", "data", "etc/cxnpoll", "var/lib/cxnpoll", "var/lib/node_exporter"];
        let more = ["backup", "share/man/man1", "share/zsh/site-functions", "home/.config/fish/completions"];
        for name in dirs.into_iter().chain(more).chain(["var/log/cxnpoll", "var/lib/prometheus/node-exporter", apps]) {
            fs::create_dir_all(dir.join(name)).unwrap();
        }
        let program = PROGRAM.replace("$PROGRAM", env!("CARGO_BIN_EXE_cxnpoll"));
        write_program(&dir.join("bin/cxnpoll"), &program);
        symlink(dir.join("bin/cxnpoll"), dir.join("var/www/cxnapp/app/console")).unwrap();
        fs::write(dir.join(apps).join("metadata.json"), format!(r#"{{"app:{APP}":{{"title":"My app"}}}}"#)).unwrap();
        fs::write(dir.join("etc/cxnpoll/cxnpoll.toml"), CONFIG).unwrap();
        for copy in [&*format!("{apps}/app.crt"), "etc/cxnpoll/myapp.crt"] {
            fs::copy(self.world.path("files/myapp.crt"), dir.join(copy)).unwrap();
        }
        let copies = [("files", "files"), ("files", "work"), ("store", "var/lib/cxnpoll/store")];
        for (from, to) in copies {
            let copied = Command::new("cp").arg("-r").args([self.world.path(from), dir.join(to)]).status().unwrap();
            assert!(copied.success());
        }
    }

    /// Puts the files of the repository that a command names where it looks for them.
    ///
    /// Programs do nothing there.
    fn provide_files(dir: &Path, command: &str) {
        for word in command.split_whitespace().filter(|word| word.contains('/') && !word.starts_with('/')) {
            let (original, copy) = (root().join(word), dir.join("work").join(word));
            if !original.is_file() || copy.exists() {
                continue;
            }
            fs::create_dir_all(copy.parent().unwrap()).unwrap();
            if original.metadata().unwrap().permissions().mode() & 0o111 == 0 {
                fs::copy(original, copy).unwrap();
            } else {
                write_program(&copy, "#!/bin/sh\n");
            }
        }
    }

    /// Returns a command with the paths of the sandbox and the id of a site.
    fn adapted(&self, dir: &Path, command: &str) -> String {
        let server = format!("http://{}", self.heartbeats);
        let command = command
            .replace("cxn:0123…", &self.id)
            .replace("cxn:0123456789abcdef0123456789abcdef", &self.id)
            .replace("https://hc.example.org", &server);
        PATHS.iter().fold(command, |command, path| {
            let place = dir.join(path.trim_start_matches("/usr").trim_start_matches("/local").trim_matches('/'));
            let absolute = |before: &str| before.is_empty() || before.ends_with([' ', '=', '"', '\'', '>', ':', '\n']);
            let mut parts = command.split(path);
            let mut adapted = parts.next().unwrap_or_default().to_owned();
            for part in parts {
                let slash = if path.ends_with('/') { "/" } else { "" };
                let place = format!("{}{slash}", place.display());
                adapted += if absolute(&adapted) { &place } else { path };
                adapted += part;
            }
            adapted
        })
    }
}

/// Starts a server that accepts every heartbeat.
fn serve_heartbeats() -> SocketAddr {
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = server.local_addr().unwrap();
    thread::spawn(move || {
        for mut stream in server.incoming().flatten() {
            let _ = BufReader::new(&stream).read_line(&mut String::new());
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
        }
    });
    address
}

/// Returns a certificate of the app.
fn certificate() -> String {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, format!("app:{APP}"));
    params.self_signed(&key).unwrap().pem()
}

fn write_program(path: &Path, text: &str) {
    fs::write(path, text).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}

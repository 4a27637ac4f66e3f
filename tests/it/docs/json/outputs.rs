//! What commands print as JSON about connections in every state.

use std::collections::BTreeMap;
use std::fs;

use serde_json::{Value, json};

use crate::testkit::{APP, MIDNIGHT, World, library};

/// The section of the page, and the values that its commands printed.
pub(super) type Outputs = BTreeMap<String, Vec<Value>>;

const HOUR: i64 = 3600;
/// The job `fails` keeps a reply and then fails. The job `slow` takes time for each site.
const LISTENERS: &str = r#"
[notify]
every = "5m"
command = ["sh", "-c", "cat >> messages"]
sendmail = "root"
sendmail-program = "/nowhere"
[[listeners]]
event = "app:org.example.myapp:job=default:poll"
keep = true
calls = [{ api = "System.get" }]
[[listeners]]
event = "app:org.example.myapp:job=fails:poll"
keep = true
calls = [{ api = "System.get" }, { api = "System.get", expect = [{ at = "/nothing" }] }]
[[listeners]]
event = "app:org.example.myapp:job=slow:poll"
program = ["sh", "-c", "sleep 0.3; echo '{\"ok\":true}'"]
"#;

/// A world, and what its commands printed.
struct Runs {
    world: World,
    ids: Vec<String>,
    outputs: Outputs,
}

/// Runs every command that prints JSON, so that each of its fields occurs with each of its types.
pub(super) fn all() -> Outputs {
    let world = World::on_all_addresses();
    let mut runs = Runs { world, ids: Vec::new(), outputs: Outputs::new() };
    runs.import();
    runs.poll();
    runs.follow();
    runs.explain_and_list();
    runs.change();
    runs.configuration();
    runs.outage();
    runs.report();
    runs.store();
    runs.outputs
}

impl Runs {
    /// Runs a command, whatever its exit code, and keeps what it printed: a value, or one per line.
    fn run(&mut self, section: &str, arguments: &[&str]) {
        let output = self.world.run(arguments);
        let values = serde_json::Deserializer::from_slice(&output.stdout).into_iter::<Value>();
        let values: Vec<_> =
            values.map(|value| value.unwrap_or_else(|error| panic!("{arguments:?}: {error}"))).collect();
        assert!(!values.is_empty(), "{arguments:?}: {output:?}");
        self.keep(section, values);
    }

    fn keep(&mut self, section: &str, values: Vec<Value>) {
        let values = values.into_iter().flat_map(|value| match value {
            Value::Array(elements) => elements,
            value => vec![value],
        });
        self.outputs.entry(section.to_owned()).or_default().extend(values);
    }

    fn poll_at(&mut self, now: i64, more: &[&str]) {
        let now = now.to_string();
        let retry = "1 hour (x1); 1 day (x1)";
        self.run("poll --json", &[&["poll", APP, "--json", "--retry", retry, "--now", &now], more].concat());
    }

    fn import(&mut self) {
        let world = &self.world;
        let own_host = |number: u32, behaviour: &str| world.site_on_own_host(number, behaviour.parse().unwrap());
        let mut sites: Vec<_> =
            (0..).zip(["slow-20", "ok", "ok", "fail-first-1", "status-500"]).map(|(n, b)| own_host(n, b)).collect();
        // Two of three on one address ask to wait, so the third is left to the next run.
        sites.extend((5..8).map(|number| world.site(number, "retry-after-7200")));
        sites.push(own_host(8, "ok"));
        sites.push(own_host(9, "ok"));
        sites.push(own_host(10, "ok"));
        sites.push(own_host(11, "fail-first-1"));
        self.ids = sites.iter().map(|site| site.cxn_id.clone()).collect();
        let mut lines: Vec<Value> = sites.iter().map(|site| serde_json::from_str(&site.jsonl()).unwrap()).collect();
        lines[8]["viaPort"] = json!("127.0.0.1:9");
        lines[8]["perm"] = json!({"api": ["Contact"]});
        lines[8]["disabled"] = json!(true);
        lines[8]["pollStatus"] = json!({"default": {"pollLevel": 0, "pollCount": 1, "lastRun": MIDNIGHT - HOUR}});
        let moved = lines[9]["siteUrl"].as_str().unwrap().replace("http:", "https:");
        let message = format!("redirected (301 Moved Permanently) to {moved}");
        lines[9]["disabled"] = json!(true);
        lines[9]["pollStatus"] = json!({"default": {
            "pollLevel": 0, "pollCount": 1, "lastRun": MIDNIGHT, "earlyS": 600,
            "lastFailure": {"at": MIDNIGHT, "class": "redirect", "message": message},
            "attempts": [{"at": MIDNIGHT, "class": "redirect"}],
        }});
        lines[10]["pollStatus"] = json!({"default": {
            "pollLevel": 0, "pollCount": 0, "lastRun": MIDNIGHT, "attempts": [{"at": MIDNIGHT, "class": "ok"}],
            "tookMs": 900_000,
        }});
        let text: Vec<_> = lines.iter().map(Value::to_string).collect();
        let all = self.world.path("all.jsonl");
        fs::write(&all, text.join("\n") + "\n").unwrap();
        self.run("import --json", &["import", "all.jsonl", "--json", "--prune", "--dry-run"]);
        self.run("import --json", &["import", "all.jsonl", "--json"]);
    }

    fn poll(&mut self) {
        self.world.append_config(LISTENERS);
        self.run("poll --dry-run --json", &["poll", APP, "--dry-run", "--json"]);
        let new = self.ids[0].clone();
        self.run("explain --json", &["explain", &new, "--json"]);
        self.run("plan --json", &["plan", "--json"]);
        self.run("event", &["event", APP, "--cxn", &new]);
        self.poll_at(MIDNIGHT, &["--per-host", "1", "--log-file", "log", "--log-format", "json"]);
        let log = fs::read_to_string(self.world.path("log")).unwrap();
        self.keep("The log file", log.lines().map(|line| serde_json::from_str(line).unwrap()).collect());
        // Its time is over before all sites are polled.
        self.run("poll --json", &["poll", APP, "--json", "--name", "slow", "--threads", "1", "--max-runtime", "0.8"]);
        self.explain_all(MIDNIGHT);
        self.run("status --json", &["status", "--json", "--now", &MIDNIGHT.to_string()]);
        self.run("results --table --json", &["results", "--table", "version", "--json"]);
        // Values that are too large are left out.
        self.world.append_config("[results]\nmax-kib = 0\n");
        let recovers = self.ids[11].clone();
        self.poll_at(MIDNIGHT + HOUR, &["--cxn", &recovers]);
        self.poll_at(MIDNIGHT + HOUR, &[]);
        let messages = fs::read_to_string(self.world.path("messages")).unwrap();
        self.keep("A notification", messages.lines().map(|line| serde_json::from_str(line).unwrap()).collect());
        self.run("notify test --json", &["notify", "test", "--json"]);
        // It recovers.
        let failed_once = self.ids[3].clone();
        self.poll_at(MIDNIGHT + HOUR, &["--cxn", &failed_once]);
    }

    /// A site that moves is in a notification.
    fn follow(&mut self) {
        let world = World::with(["redirect-301"]);
        world.append_config("[follow]\npermanent = true\n[notify]\ncommand = [\"sh\", \"-c\", \"cat >> messages\"]\n");
        for day in 0..3 {
            world.poll(MIDNIGHT + day * 24 * HOUR, &[]);
        }
        let messages = fs::read_to_string(world.path("messages")).unwrap();
        self.keep("A notification", messages.lines().map(|line| serde_json::from_str(line).unwrap()).collect());
    }

    fn explain_all(&mut self, now: i64) {
        for id in self.ids.clone() {
            self.run("explain --json", &["explain", &id, "--json", "--now", &now.to_string()]);
        }
    }

    fn explain_and_list(&mut self) {
        // The site that fails is given up after a day, and the slow one takes longer than a tick.
        for batch in ["0/1", "9999/10000"] {
            let now = (MIDNIGHT + HOUR).to_string();
            self.run("plan --json", &["plan", "--json", "--hours", "72", "--batch", batch, "--now", &now]);
        }
        self.explain_all(MIDNIGHT + HOUR);
        let (failing, via) = (self.ids[4].clone(), self.ids[8].clone());
        self.run("get --json", &["get", "--json"]);
        let now = (MIDNIGHT + 2 * HOUR).to_string();
        self.run("get --json", &["get", "--json", "--history", "--now", &now]);
        self.run("status --json", &["status", "--json", "--history", "--now", &now]);
        // As in a store of a former build.
        let (history, away) = (self.world.store().join("history"), self.world.path("history"));
        fs::rename(&history, &away).unwrap();
        self.run("status --json", &["status", "--json", "--history", "--now", &now]);
        fs::rename(&away, &history).unwrap();
        self.run("call --json", &["call", &failing, "System.get", "--json"]);
        let given_up = ["--dry-run", "--json", "--retry", "1 hour (x1)", "--cxn", &failing];
        self.run("poll --dry-run --json", &[&["poll", APP], &given_up[..]].concat());
        let well = self.ids[1].clone();
        self.run("poll --json", &["poll", APP, "--json", "--name", "fails", "--cxn", &well]);
        self.run("results --json", &["results", "--json"]);
        self.run("event", &["event", APP, "--cxn", &via]);
        self.run("event", &["event", APP]);
        self.run("export", &["export"]);
        library::add_to_history(&self.world, &well);
        for retry in ["20 min (x3); 1 day (x*)", "1 min (x3); 1 hour (x3)"] {
            self.run("retry --json", &["retry", retry, "--json"]);
        }
    }

    fn change(&mut self) {
        let id = self.ids[4].clone();
        for via_port in ["viaPort=127.0.0.1:9", "viaPort="] {
            self.run("set --json", &["set", &id, via_port, "--json"]);
        }
        for command in ["disable", "enable", "revive"] {
            self.run("With `--dry-run`", &[command, &id, "--json", "--dry-run"]);
            self.run(&format!("{command} --json"), &[command, &id, "--json"]);
        }
        self.run("export", &["export"]);
        self.run("remove --json", &["remove", &id, "--json", "--yes"]);
    }

    fn configuration(&mut self) {
        self.run("config show --json", &["config", "show", "--json"]);
        let output = self.world.command(&["config", "check", "--json"]).env_remove("CXNPOLL_CONFIG").output().unwrap();
        self.keep("config check --json", vec![serde_json::from_slice(&output.stdout).unwrap()]);
        let config = self.world.config();
        let text = format!("apps-dir = \"nowhere\"\n{config}\n[apps.\"org.example.lax\"]\ntls = \"skip-verify\"\n");
        self.world.set_config(&text);
        self.run("config check --json", &["config", "check", "--json"]);
        self.run("doctor --json", &["doctor", "--json"]);
        self.world.set_config(&config);
        let create = ["config", "app-keys", "create", APP, "--json"];
        self.run("config app-keys create --json", &create);
        self.run("config app-keys create --json", &[&create[..], &["--dir", "demo", "--self-signed"]].concat());
        self.world.set_config(&format!("[apps.\"{APP}\"]\nprivate-key = \"demo/keys.json\"\n"));
        self.run(
            "config app-keys request --json",
            &["config", "app-keys", "request", APP, "--json", "--output", "new.csr"],
        );
        self.world.set_config(&config);
    }

    fn outage(&mut self) {
        self.world.server.stop_listening().unwrap();
        self.poll_at(MIDNIGHT + 2 * HOUR, &[]);
        self.run("status --json", &["status", "--json"]);
        self.run("disable --json", &["disable", "--all", "--yes", "--json"]);
        // This job has never had anything due.
        self.poll_at(MIDNIGHT + 2 * HOUR, &["--name", "idle"]);
        self.run("status --json", &["status", "--json"]);
    }

    fn report(&mut self) {
        let report = |now: i64, more: &[&str]| -> Vec<String> {
            let now = now.to_string();
            ["report", "--json", "--now", &now].iter().chain(more).map(ToString::to_string).collect()
        };
        let mut run = |arguments: Vec<String>| {
            self.run("report --json", &arguments.iter().map(String::as_str).collect::<Vec<_>>());
        };
        run(report(MIDNIGHT + 3 * HOUR, &[]));
        // No run was in this second, and the connections are selected.
        run(report(MIDNIGHT - HOUR, &["--since", "1s", "--state", "disabled"]));
        // One fails before history begins, and recovers.
        let world = World::new();
        let arguments = |at: i64, more: &[&str]| report(at, more);
        let keep = |runs: &mut Self, arguments: Vec<String>| {
            runs.keep("report --json", vec![world.json(&arguments.iter().map(String::as_str).collect::<Vec<_>>())]);
        };
        world.import(&[world.site(0, "status-500")]);
        fs::remove_dir_all(world.store().join("history")).unwrap();
        keep(self, arguments(MIDNIGHT, &[]));
        world.poll(MIDNIGHT, &[]);
        fs::remove_dir_all(world.store().join("history")).unwrap();
        world.poll(MIDNIGHT + HOUR, &[]);
        world.import(&[world.site(0, "ok")]);
        world.poll(MIDNIGHT + 2 * HOUR, &[]);
        keep(self, arguments(MIDNIGHT + 3 * HOUR, &[]));
    }

    fn store(&mut self) {
        self.run("export --history", &["export", "--history"]);
        self.run("store create --json", &["store", "create", "--json"]);
        self.run("store backup --json", &["store", "backup", "--json"]);
        self.run("store restore --json", &["store", "restore", "--json", "--yes"]);
        self.run("store compact --json", &["store", "compact", "--json"]);
        let cxns = self.world.database().open_tree("cxn").unwrap();
        cxns.insert(cxns.first().unwrap().unwrap().0, &[9]).unwrap();
        drop(cxns);
        self.run("store check --json", &["store", "check", "--json"]);
    }
}

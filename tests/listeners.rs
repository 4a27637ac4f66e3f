//! The logic of jobs: events, API calls, programs, and what they keep. Every example of the documentation is run here.

mod common;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use std::time::{Duration, Instant};

use civisite::Site;
use common::{APP, MIDNIGHT, World, code, stderr};
use serde_json::{Value, json};

/// The page that documents listeners.
const PAGE: &str = include_str!("../docs/listeners.md");
/// The commented sample of a configuration.
const SAMPLE: &str = include_str!("../docs/cxnpoll.toml");

/// The code of the page in one language that holds a text.
fn example(language: &str, with: &str) -> &'static str {
    let fence = format!("```{language}\n");
    let blocks = PAGE.split(&*fence).skip(1);
    blocks.map(|block| block.split("```").next().unwrap()).find(|block| block.contains(with)).unwrap()
}

/// Adds listeners to a world's configuration.
fn configure(world: &World, listeners: &str) {
    let _ = world.command(&[]);
    let file = world.folder.path().join("cxnpoll.toml");
    let text = fs::read_to_string(&file).unwrap().split("[[listeners]]").next().unwrap().to_owned();
    fs::write(file, text + listeners).unwrap();
}

/// A listener with a program, as text of the configuration.
fn program(event: &str, command: &[&str], more: &str) -> String {
    format!("[[listeners]]\nevent = \"{event}\"\nprogram = {command:?}\n{more}\n")
}

/// A shell script as a listener of every poll.
fn script(world: &World, script: &str, more: &str) {
    fs::write(world.folder.path().join("listener.sh"), script).unwrap();
    configure(world, &program("civi_cxn.poll", &["sh", "listener.sh"], more));
}

/// The newest of what is kept of each site.
fn latest(world: &World) -> Vec<Value> {
    let output = world.run(&["results", "--latest", "--json"]);
    assert_eq!(code(&output), 0, "{output:?}");
    String::from_utf8(output.stdout).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// What is left of a listener that is known to the system.
fn is_running(text: &str) -> bool {
    let all = Command::new("ps").args(["-eo", "args"]).output().unwrap();
    String::from_utf8_lossy(&all.stdout).lines().any(|line| line.contains(text))
}

#[test]
fn the_example_in_python_serves_event_after_event() {
    let world = World::with(["ok", "ok", "ok", "ok", "api-error", "status-500"]);
    fs::write(world.folder.path().join("listener.py"), example("python", "def poll")).unwrap();
    configure(&world, &program(&format!("app:{APP}:job=default:poll"), &["python3", "listener.py"], "reuse = true"));
    let summary = world.poll(MIDNIGHT, &["--threads", "2"]);
    assert_eq!((&summary["ok"], &summary["failures"]), (&json!(4), &json!({"listener": 1, "http": 1})));
    let kept = latest(&world);
    assert_eq!(kept.len(), 4);
    assert!(kept.iter().all(|one| one["value"]["version"] == "5.75.0" && one["class"] == "ok"), "{kept:?}");
}

#[test]
fn the_example_in_shell() {
    let world = World::with(["ok", "ok", "api-error", "close"]);
    script(&world, example("sh", "while read"), "reuse = true");
    let summary = world.poll(MIDNIGHT, &["--threads", "1"]);
    assert_eq!((&summary["ok"], &summary["failures"]), (&json!(2), &json!({"listener": 1, "disconnected": 1})));
    assert_eq!(latest(&world)[0]["value"], json!({"version": 5}));
    // The same without reuse: it is started for each event.
    script(&world, example("sh", "while read"), "");
    assert_eq!(world.poll(MIDNIGHT + 86_400, &["--threads", "1"])["ok"], 2);
}

#[test]
fn the_example_in_php_where_there_is_php() {
    if !Command::new("php").arg("--version").output().is_ok_and(|output| output.status.success()) {
        eprintln!("skipped: php is not installed");
        return;
    }
    let world = World::with(["ok", "ok", "api-error"]);
    fs::write(world.folder.path().join("listener.php"), example("php", "function poll")).unwrap();
    configure(&world, &program("civi_cxn.poll", &["php", "listener.php"], "reuse = true"));
    let summary = world.poll(MIDNIGHT, &[]);
    assert_eq!((&summary["ok"], &summary["failures"]), (&json!(2), &json!({"listener": 1})));
}

#[test]
fn the_examples_in_toml_are_read() {
    let world = World::with(["ok"]);
    for block in PAGE.split("```toml\n").skip(1).map(|block| block.split("```").next().unwrap()) {
        configure(&world, &block.replace("allow-net = [\"127.0.0.0/8\"]\n", ""));
        assert_eq!(code(&world.run(&["status"])), 0, "{block}");
    }
    configure(&world, example("toml", "Contact.getcount"));
    assert_eq!(world.poll(MIDNIGHT, &[])["ok"], 1);
    let kept = &latest(&world)[0]["value"];
    assert_eq!(kept["System.get"]["values"][0]["version"], "5.75.0");
    assert_eq!(kept["Contact.getcount"]["values"][0]["params"], json!({"is_deleted": 0, "version": 3}));
}

#[test]
fn the_sample_runs_the_two_jobs_of_civicrm_org() {
    let world = World::new();
    let sites = ["profile", "cron"].into_iter().zip(world.sites(["ok", "ok"]));
    let sites: Vec<Site> = sites.map(|(app, site)| Site { app_id: format!("app:org.civicrm.{app}"), ..site }).collect();
    let _ = world.command(&[]);
    fs::write(
        world.folder.path().join("cxnpoll.toml"),
        SAMPLE.replace("# allow-net = [\"10.0.0.0/8\"]", "allow-net = [\"127.0.0.0/8\"]"),
    )
    .unwrap();
    world.import(&sites);
    world.server.record_calls();
    for app in ["profile", "cron"] {
        let output = world.run(&["poll", &format!("org.civicrm.{app}"), "--json"]);
        let summary: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!((code(&output), &summary["ok"]), (0, &json!(1)), "{output:?}");
    }
    let kept = latest(&world);
    assert_eq!(kept.len(), 1);
    assert!(kept[0]["value"]["Setting.get"]["values"].is_object(), "{kept:?}");
    let call = world.server.last_call(1).unwrap();
    assert_eq!((&*call.entity, &*call.action), ("Job", "execute"));
}

#[test]
fn the_example_in_rust_is_the_one_of_the_page_and_polls() {
    let example = example("rust", "App::new");
    assert!(include_str!("../fixtures/listener.rs").ends_with(example));
    let program = std::env::current_exe().unwrap().ancestors().nth(2).unwrap().join("examples/listener");
    assert!(program.exists(), "`cargo build --example listener` makes {}", program.display());
    let world = World::with(["ok", "ok", "api-error"]);
    let like = world.command(&["poll", APP, "--json"]);
    let mut command = Command::new(program);
    command.args(like.get_args()).env_clear().current_dir(world.folder.path());
    command.envs(like.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let output = command.output().unwrap();
    assert_eq!(code(&output), 0, "{output:?}");
    let summary: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&summary["ok"], &summary["failures"]), (&json!(2), &json!({"api": 1})));
    assert_eq!(latest(&world)[0]["value"], json!({"version": "5.75.0"}));
}

#[test]
fn listeners_come_in_order_and_can_stop_it() {
    let world = World::with(["ok"]);
    let say = |event: &str, word: &str, more: &str, end: &str| {
        let line = format!("echo {word} >> order; echo '{end}'");
        program(event, &["sh", "-c", &line], more)
    };
    let mine = format!("app:{APP}:job=default:poll");
    let ok = r#"{"ok":true}"#;
    let order = |listeners: &[String], now: i64| {
        let _ = fs::remove_file(world.folder.path().join("order"));
        configure(&world, &listeners.concat());
        let summary = world.poll(now, &[]);
        (fs::read_to_string(world.folder.path().join("order")).unwrap().replace('\n', " "), summary["ok"].clone())
    };
    let three = [
        say("civi_cxn.poll", "general", "priority = 9", ok),
        say(&mine, "low", "", ok),
        say(&mine, "high", "priority = 1", ok),
    ];
    assert_eq!(order(&three, MIDNIGHT), ("high low general ".to_owned(), json!(1)));
    let stopped = [say(&mine, "one", "stop = true", ok), say("civi_cxn.poll", "two", "", ok)];
    assert_eq!(order(&stopped, MIDNIGHT + 86_400), ("one ".to_owned(), json!(1)));
    let stops = [say(&mine, "one", "", r#"{"ok":true,"stop":true}"#), say(&mine, "two", "", ok)];
    assert_eq!(order(&stops, MIDNIGHT + 2 * 86_400), ("one ".to_owned(), json!(1)));
    let fails = [say(&mine, "one", "", r#"{"error":"no"}"#), say(&mine, "two", "", ok)];
    assert_eq!(order(&fails, MIDNIGHT + 3 * 86_400), ("one ".to_owned(), json!(0)));
    let another = [say("app:org.example.other:job=default:poll", "other", "", ok), say(&mine, "mine", "", ok)];
    assert_eq!(order(&another, MIDNIGHT + 4 * 86_400), ("mine ".to_owned(), json!(1)));
}

#[test]
fn a_run_tells_of_its_beginning_and_end() {
    let world = World::with(["ok", "ok"]);
    let note = |event: &str| program(event, &["sh", "-c", "cat >> events; echo '{\"ok\":true}'"], "timeout = 5");
    let note = |event: &str| note(event).replace("cat >> events", "read -r line; echo \\\"$line\\\" >> events");
    configure(&world, &(note("civi_cxn.pre-poll") + &note(&format!("app:{APP}:job=default:post-poll"))));
    world.poll(MIDNIGHT, &["--batch", "0/1"]);
    // Nothing is due: nobody is told.
    world.poll(MIDNIGHT + 60, &[]);
    let events = fs::read_to_string(world.folder.path().join("events")).unwrap();
    let events: Vec<Value> = events.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(events.len(), 2, "{events:?}");
    assert_eq!((&events[0]["batch"], &events[0]["due"]), (&json!({"name": "0/1", "from": 0, "to": 10000}), &json!(2)));
    assert_eq!((&events[1]["summary"]["ok"], &events[0]["summary"]), (&json!(2), &Value::Null));

    configure(&world, &program("civi_cxn.pre-poll", &["sh", "-c", "echo '{\"error\":\"the warehouse is shut\"}'"], ""));
    let before = world.server.polls(0);
    let output = world.run(&["poll", APP, "--now", &(MIDNIGHT + 86_400).to_string()]);
    assert_eq!(code(&output), 78);
    assert!(stderr(&output).contains("pre-poll failed: the warehouse is shut"), "{output:?}");
    assert_eq!(world.server.polls(0), before);
}

#[test]
fn a_program_that_does_not_work_is_our_fault() {
    let world = World::with(["ok"; 20]);
    let before = world.export();
    for (command, expected) in [
        (&["./no-such-program"][..], "can't start"),
        (&["sh", "-c", "echo no such module >&2; exit 3"], "its last words: no such module"),
        (&["sh", "-c", "echo babble"], "broke the protocol"),
        (&["sh", "-c", "read -r x; sleep 60"], "took longer than 1 s"),
        (&["true"], "before it answered"),
    ] {
        for more in ["timeout = 1", "timeout = 1\nreuse = true"] {
            configure(&world, &program("civi_cxn.poll", command, more));
            let output = world.run(&["poll", APP]);
            assert_eq!(code(&output), 78, "{command:?}: {output:?}");
            let told = stderr(&output);
            assert!(told.contains(expected) && told.contains("hint: ") && told.lines().count() == 2, "{told}");
            // Nobody is charged, but all are known to the job now.
            let after = world.export();
            assert!(after.iter().all(|line| !line.contains("pollLevel")), "{after:?}");
            assert_eq!(after.len(), before.len());
        }
    }
}

#[test]
fn a_program_that_fails_later_costs_its_own_poll() {
    for (trouble, expected) in [
        ("echo '{\"log\":\"now\"}'; exit 1", "ended"),
        ("echo babble; sleep 9", "broke the protocol"),
        ("sleep 9", "took longer"),
    ] {
        let world = World::with(["ok"; 6]);
        // The third event of each of its lives goes wrong.
        let text = format!(
            "n=0\nwhile read -r event; do n=$((n + 1)); if [ $n = 3 ]; then {trouble}; fi; echo '{{\"ok\":true}}'; done"
        );
        script(&world, &text, "reuse = true\ntimeout = 1");
        let summary = world.poll(MIDNIGHT, &["--threads", "1"]);
        assert_eq!((&summary["ok"], &summary["failures"]), (&json!(4), &json!({"listener": 2})), "{trouble}");
        let messages: Vec<_> =
            (0..6).map(|n| world.explain(&world.site(n, "ok"), MIDNIGHT)["lastOutcome"].to_string()).collect();
        assert_eq!(messages.iter().filter(|message| message.contains(expected)).count(), 2, "{messages:?}");
    }
}

#[test]
fn a_reused_program_that_ends_between_events_is_started_again() {
    let world = World::with(["ok"; 5]);
    script(&world, "echo started >> starts; read -r event; echo '{\"ok\":true}'", "reuse = true");
    assert_eq!(world.poll(MIDNIGHT, &["--threads", "1"])["ok"], 5);
    assert_eq!(fs::read_to_string(world.folder.path().join("starts")).unwrap().lines().count(), 5);
    script(&world, "echo one >> lives; while read -r event; do echo '{\"ok\":true}'; done", "reuse = true");
    assert_eq!(world.poll(MIDNIGHT + 86_400, &["--threads", "1"])["ok"], 5);
    assert_eq!(fs::read_to_string(world.folder.path().join("lives")).unwrap().lines().count(), 1);
}

#[test]
fn no_program_outlives_its_run() {
    let world = World::with(["ok"; 3]);
    let mark = format!("{}", 86_400 + std::process::id());
    // It ignores that its input ends, and so does what it has started.
    script(&world, &format!("sleep {mark} &\nread -r event; echo '{{\"ok\":true}}'; sleep {mark}"), "reuse = true");
    let began = Instant::now();
    assert_eq!(world.poll(MIDNIGHT, &["--threads", "1", "--limit", "1"])["ok"], 1);
    assert!(began.elapsed() < Duration::from_secs(20));
    assert!(!is_running(&format!("sleep {mark}")));
}

#[test]
fn a_program_gets_its_environment_and_folder_and_no_secret() {
    let world = World::with(["ok"]);
    let jobs = world.folder.path().join("jobs");
    fs::create_dir(&jobs).unwrap();
    let listener = jobs.join("listener.sh");
    fs::write(
        &listener,
        "#!/bin/sh\nread -r event\nenv > environment\necho \"$event\" > event\necho '{\"ok\":true}'\n",
    )
    .unwrap();
    fs::set_permissions(&listener, fs::Permissions::from_mode(0o755)).unwrap();
    configure(
        &world,
        &program("civi_cxn.poll", &["./listener.sh"], "folder = \"jobs\"\nenv = { WAREHOUSE = \"a b\" }"),
    );
    assert_eq!(world.poll(MIDNIGHT, &[])["ok"], 1);
    let environment = fs::read_to_string(jobs.join("environment")).unwrap();
    assert!(
        environment.contains("WAREHOUSE=a b\n") && environment.contains("PATH=") && !environment.contains("CXNPOLL")
    );
    let event = fs::read_to_string(jobs.join("event")).unwrap();
    let site = world.site(0, "ok");
    assert!(!event.contains(&site.secret_base64));
    // It is what `event` prints.
    let printed = world.run(&["event", APP, "--cxn", &site.cxn_id, "--now", &MIDNIGHT.to_string()]);
    assert_eq!(String::from_utf8(printed.stdout).unwrap(), event);
    let before_run: Value = world.json(&["event", APP, "--name", "x"]);
    assert_eq!(before_run["event"], format!("app:{APP}:job=x:pre-poll"));
}

#[test]
fn a_program_logs_and_its_stderr_is_ours() {
    let world = World::with(["ok"]);
    let text = "read -r event; echo muttered >&2; echo '{\"log\":\"look here\",\"level\":\"warning\"}'; echo '{\"log\":\"by the way\"}'; sleep 0.1; echo '{\"ok\":true}'";
    script(&world, text, "");
    let output = world.run(&["poll", APP, "--now", &MIDNIGHT.to_string()]);
    assert_eq!((code(&output), &*stderr(&output)), (0, "warning: look here\n"));
    let output = world.run(&["poll", APP, "--now", &(MIDNIGHT + 86_400).to_string(), "-v"]);
    let told = stderr(&output);
    assert!(told.contains("muttered") && told.contains("by the way"), "{told}");
}

#[test]
fn what_counts_as_success_is_told() {
    let world = World::with(["ok", "api-error"]);
    let mut now = MIDNIGHT;
    let mut ok = |call: &str| {
        configure(&world, &format!("[[listeners]]\nevent = \"civi_cxn.poll\"\ncalls = [{{ {call} }}]\n"));
        now += 90 * 86_400;
        world.poll(now, &["--retry", "1 day (x*)"])["ok"].clone()
    };
    assert_eq!(ok("api = \"System.get\""), 1);
    assert_eq!(ok("api = \"System.get\", allow-error = true"), 2);
    assert_eq!(ok("api = \"System.get\", expect = [{ at = \"/values/0/uf\", equals = \"Drupal8\" }]"), 1);
    assert_eq!(ok("api = \"System.get\", expect = [{ at = \"/values/0/uf\", equals = \"Joomla\" }]"), 0);
    assert_eq!(ok("api = \"System.get\", allow-error = true, expect = [{ at = \"/error_code\" }]"), 1);
    assert_eq!(
        ok("api = \"X.y\", params = '{\"a\": null}', expect = [{ at = \"/values/0/params/a\", equals = \"\" }]"),
        0
    );
}

#[test]
fn a_poll_by_hand_shows_what_happens_but_no_secret() {
    let world = World::with(["ok", "insecure"]);
    configure(
        &world,
        "[[listeners]]\nevent = \"civi_cxn.poll\"\ncalls = [{ api = \"System.get\", params = { a = 1 } }]\nkeep = true\n",
    );
    let log = world.folder.path().join("log");
    for (number, expected) in [(0, "ok: level 0, count 0, due again 20"), (1, ": level 0, count 1, due again 20")] {
        let site = world.site(number, if number == 0 { "ok" } else { "insecure" });
        let output = world.run(&["poll", APP, "--cxn", &site.cxn_id, "-v", "--log-file", log.to_str().unwrap()]);
        let told = stderr(&output);
        assert!(told.contains("call System.get {\"a\":1}") && told.contains(expected), "{told}");
        assert!(!told.contains(&site.secret_base64[..8]) && !fs::read_to_string(&log).unwrap().contains("System.get"));
    }
    let output = world.run(&["poll", APP, "--cxn", &world.site(0, "ok").cxn_id, "-v"]);
    assert!(stderr(&output).contains("reply after ") && stderr(&output).contains("5.75.0"), "{output:?}");
}

#[test]
fn results_are_listed_shown_and_removed() {
    let world = World::with(["ok", "api-error"]);
    configure(
        &world,
        "[results]\nfailures = 1\nall = 2\n[[listeners]]\nevent = \"civi_cxn.poll\"\nkeep = true\ncalls = [{ api = \"System.get\" }]\n",
    );
    for day in 0..4 {
        world.poll(MIDNIGHT + day * 86_400, &["--retry", "1 day (x*)"]);
    }
    let ok = world.site(0, "ok").cxn_id;
    let lines = |arguments: &[&str]| {
        let output = world.run(arguments);
        assert_eq!(code(&output), 0, "{output:?}");
        String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(lines(&["results"]).len(), 3);
    assert_eq!(lines(&["results", &ok]).len(), 3);
    assert_eq!(lines(&["results", "--json"]).len(), 3);
    let at = (MIDNIGHT + 2 * 86_400).to_string();
    let shown: Value =
        serde_json::from_str(&lines(&["results", ok.strip_prefix("cxn:").unwrap(), "--at", &at])[0]).unwrap();
    assert_eq!(shown["value"]["System.get"]["values"][0]["uf"], "Drupal8");
    let failed = world.site(1, "api-error").cxn_id;
    let shown: Value = world.json(&["results", &failed, "--latest"]);
    assert_eq!((&shown["class"], &shown["at"]), (&json!("api"), &json!(MIDNIGHT + 3 * 86_400)));
    assert!(lines(&["results", "--app", "org.example.other", "--json"]).is_empty());

    assert_eq!(code(&world.run(&["results", "--remove"])), 2);
    assert_eq!(code(&world.run(&["results", "--remove", "--all"])), 2);
    assert_eq!(code(&world.run(&["results", "--remove", &ok])), 0);
    assert_eq!(latest(&world).len(), 1);
    assert_eq!(code(&world.run(&["results", &ok])), 66);
    assert_eq!(code(&world.run(&["results", "--remove", "--all", "--yes"])), 0);
    assert!(latest(&world).is_empty());
    world.assert_sound();
}

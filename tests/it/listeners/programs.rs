//! Programs as listeners.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::{configure, program, script};
use crate::testkit::{APP, MIDNIGHT, World, code, stderr, stdout, until};

#[test]
fn broken_program_ends_the_run_and_no_failure_is_counted() {
    let world = World::with(["ok"; 20]);
    let before = world.export();
    for (command, expected) in [
        (&["./no-such-program"][..], "cannot start"),
        (&["sh", "-c", "echo no such module >&2; exit 3"], "its last line on stderr: no such module"),
        (&["sh", "-c", "echo babble"], "broke the protocol"),
        (&["sh", "-c", "read -r x; sleep 60"], "wrote nothing to stdout within 1 s (does it flush its output?)"),
        (&["true"], "before it answered"),
    ] {
        for more in ["timeout = 1", "timeout = 1\nreuse = true"] {
            configure(&world, &program("civi_cxn.poll", command, more));
            let output = world.run(&["poll", APP]);
            assert_eq!(code(&output), 78, "{command:?}: {output:?}");
            let message = stderr(&output);
            assert!(
                message.contains(expected) && message.contains("hint: ") && message.lines().count() == 2,
                "{message}"
            );
            // No failure is counted.
            let after = world.export();
            assert!(after.iter().all(|line| !line.contains("pollLevel")), "{after:?}");
            assert_eq!(after.len(), before.len());
        }
    }
}

#[test]
fn program_that_fails_later_fails_one_poll() {
    for (fault, expected) in [
        ("echo '{\"log\":\"now\"}'; exit 1", "ended"),
        ("echo babble; sleep 9", "broke the protocol"),
        ("sleep 9", "took longer"),
    ] {
        let world = World::with(["ok"; 6]);
        // The third event of every process fails.
        let text = format!(
            "n=0\nwhile read -r event; do n=$((n + 1)); if [ $n = 3 ]; then {fault}; fi; echo '{{\"ok\":true}}'; done"
        );
        script(&world, &text, "reuse = true\ntimeout = 1");
        let summary = world.poll(MIDNIGHT, &["--threads", "1"]);
        assert_eq!((&summary["ok"], &summary["failures"]), (&json!(4), &json!({"listener": 2})), "{fault}");
        let messages: Vec<_> =
            (0..6).map(|n| world.explain(&world.site(n, "ok"), MIDNIGHT)["lastOutcome"].to_string()).collect();
        assert_eq!(messages.iter().filter(|message| message.contains(expected)).count(), 2, "{messages:?}");
    }
}

#[test]
fn reused_program_that_ended_is_started_again() {
    let world = World::with(["ok"; 5]);
    script(&world, "echo started >> starts; read -r event; echo '{\"ok\":true}'", "reuse = true");
    assert_eq!(world.poll(MIDNIGHT, &["--threads", "1"])["ok"], 5);
    assert_eq!(fs::read_to_string(world.path("starts")).unwrap().lines().count(), 5);
    script(&world, "echo one >> lives; while read -r event; do echo '{\"ok\":true}'; done", "reuse = true");
    assert_eq!(world.poll(MIDNIGHT + 86_400, &["--threads", "1"])["ok"], 5);
    assert_eq!(fs::read_to_string(world.path("lives")).unwrap().lines().count(), 1);
}

#[test]
fn programs_that_leave_children_behind_cost_no_time_and_leave_nothing() {
    let world = World::with(["ok"; 60]);
    // The child holds all pipes of the program. The program counts the files and the dead children of `cxnpoll`.
    let text = "read -r event\nsleep 60 &\n\
                ls /proc/$PPID/fd | wc -l >> files\n\
                ps -o stat= --ppid $PPID | grep -c Z >> zombies\necho '{\"ok\":true}'";
    for more in ["reuse = true", "reuse = false"] {
        script(&world, text, more);
        let began = Instant::now();
        let now = if more == "reuse = true" { MIDNIGHT } else { MIDNIGHT + 86_400 };
        assert_eq!(world.poll(now, &["--threads", "1"])["ok"], 60);
        assert!(began.elapsed() < Duration::from_secs(30), "{more}: {:?}", began.elapsed());
        for file in ["files", "zombies"] {
            let text = fs::read_to_string(world.path(file)).unwrap();
            let counts: Vec<u32> = text.lines().map(|line| line.parse().unwrap()).collect();
            let (least, most) = (counts.iter().min().unwrap(), counts.iter().max().unwrap());
            assert!(counts.len() == 60 && most - least < 30, "{more}: {file}: {counts:?}");
            fs::remove_file(world.path(file)).unwrap();
        }
    }
    let pre_poll = ["sh", "-c", "sleep 60 & exit 3"];
    configure(&world, &program("civi_cxn.pre-poll", &pre_poll, ""));
    let began = Instant::now();
    let output = world.run(&["poll", APP, "--now", &(MIDNIGHT + 2 * 86_400).to_string()]);
    assert_eq!(code(&output), 78, "{output:?}");
    assert!(stderr(&output).contains("exit status: 3") && began.elapsed() < Duration::from_secs(30), "{output:?}");
}

/// Whether the arguments of any process hold a text.
fn is_running(text: &str) -> bool {
    let all = Command::new("ps").args(["-eo", "args"]).output().unwrap();
    stdout(&all).lines().any(|line| line.contains(text))
}

#[test]
fn no_program_outlives_its_run() {
    let world = World::with(["ok"; 3]);
    let mark = format!("{}", 86_400 + std::process::id());
    // Neither the script nor the process that it starts ends when its input does.
    script(&world, &format!("sleep {mark} &\nread -r event; echo '{{\"ok\":true}}'; sleep {mark}"), "reuse = true");
    let began = Instant::now();
    assert_eq!(world.poll(MIDNIGHT, &["--threads", "1", "--limit", "1"])["ok"], 1);
    assert!(began.elapsed() < Duration::from_secs(20));
    assert!(!is_running(&format!("sleep {mark}")));
}

#[test]
fn late_output_is_not_taken_for_the_next_answer() {
    let world = World::with(["ok"; 4]);
    let answer = r#"while read -r event; do printf '{"ok":true}\n{"error":"late"}\n'; done"#;
    script(&world, answer, "reuse = true");
    let summary = world.poll(MIDNIGHT, &["--threads", "1"]);
    assert_eq!((&summary["ok"], &summary["failed"]), (&json!(4), &json!(0)), "{summary}");
}

#[test]
fn program_gets_its_environment_and_directory_and_no_secret() {
    let world = World::with(["ok"]);
    let jobs = world.path("jobs");
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
    // `event` prints the same.
    let printed = world.run(&["event", APP, "--cxn", &site.cxn_id, "--now", &MIDNIGHT.to_string()]);
    assert_eq!(stdout(&printed), event);
    let before_run: Value = world.json(&["event", APP, "--name", "x"]);
    assert_eq!(before_run["event"], format!("app:{APP}:job=x:pre-poll"));
}

#[test]
fn program_logs_and_its_stderr_is_shown_with_verbose() {
    let world = World::with(["ok"]);
    let text = "read -r event; echo diagnostics >&2; echo '{\"log\":\"look here\",\"level\":\"warning\"}'; echo '{\"log\":\"by the way\"}'; sleep 0.1; echo '{\"ok\":true}'";
    script(&world, text, "");
    let output = world.run(&["poll", APP, "--now", &MIDNIGHT.to_string()]);
    assert_eq!((code(&output), &*stderr(&output)), (0, "warning: look here\n"));
    let output = world.run(&["poll", APP, "--now", &(MIDNIGHT + 86_400).to_string(), "-v"]);
    let message = stderr(&output);
    assert!(message.contains("diagnostics") && message.contains("by the way"), "{message}");
}

#[test]
fn log_and_stderr_of_an_event_are_limited() {
    let world = World::with(["ok"; 2]);
    let flood = r#"for n in 1 2 3; do seq -f '{"log":"line %g"}' 1000; seq -f 'on stderr %g' 1000 >&2; done"#;
    script(&world, &format!("while read -r event; do {flood}; echo '{{\"ok\":true}}'; done"), "reuse = true");
    let output = world.run(&["poll", APP, "--threads", "1", "-v", "--log-file", "log"]);
    assert_eq!(code(&output), 0, "{output:?}");
    for text in [stderr(&output), fs::read_to_string(world.path("log")).unwrap()] {
        let lines = |part: &str| text.lines().filter(|line| line.contains(part)).count();
        assert_eq!((lines("line "), lines("and 2900 more lines of sh listener.sh")), (200, 2), "{text}");
        assert_eq!((lines("on stderr "), lines("listener's stderr: and ")), (200, 2), "{text}");
    }
}

#[test]
fn program_that_writes_much_before_it_exits_is_not_killed() {
    let world = World::with(["ok"]);
    let text = "while read -r event; do echo '{\"ok\":true}'; done\nhead -c 999999 /dev/zero\nhead -c 999999 /dev/zero >&2\ntouch ended";
    script(&world, text, "reuse = true");
    assert_eq!(world.poll(MIDNIGHT, &[])["ok"], 1);
    assert!(world.path("ended").exists());
}

#[test]
fn killed_run_takes_its_programs_along() {
    let world = World::with(["ok"; 2]);
    let mark = format!("{}", 186_400 + std::process::id());
    // Neither ends with its input, and one is a child of the program.
    script(&world, &format!("trap '' HUP TERM\nsleep {mark} &\nread -r event\nsleep {mark}"), "reuse = true");
    let mut run = world.start(&["poll", APP, "--threads", "2"]);
    let running = || is_running(&format!("sleep {mark}"));
    until("the programs run", || world.store().join("store.lock").exists() && running());
    thread::sleep(Duration::from_millis(300));
    run.kill().unwrap();
    run.wait().unwrap();
    let killed = Instant::now();
    until("no program runs", || !running());
    assert!(killed.elapsed() < Duration::from_secs(4));
}

#[test]
fn program_gets_only_its_standard_streams() {
    let world = World::with(["ok"]);
    let listing = "read -r event; ls /proc/self/fd > files; echo '{\"ok\":true}'";
    configure(&world, &program("civi_cxn.poll", &["sh", "-c", listing], ""));
    let output = world.run_in_shell("exec 7< cxnpoll.toml 9>> inherited", &format!("poll {APP} --log-file log"));
    assert_eq!(code(&output), 0, "{output:?}");
    // `ls` itself opens the directory.
    assert_eq!(fs::read_to_string(world.path("files")).unwrap(), "0\n1\n2\n3\n");
}

//! Completions: what the program answers to a shell, and the script of bash.

use std::fs;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::testkit::library::hold_session;
use crate::testkit::{APP, World, code, short_id, stderr, stdout, tools};

/// Returns the candidates for the last word of a command line.
fn candidates(world: &World, words: &[&str]) -> Vec<String> {
    let output = ask(world.command(&[&["--", "cxnpoll"], words].concat()), words.len());
    assert_eq!((code(&output), &*stderr(&output)), (0, ""));
    stdout(&output).lines().map(str::to_owned).collect()
}

fn ask(mut command: Command, index: usize) -> Output {
    let line = [("COMPLETE", "bash"), ("_CLAP_IFS", "\n"), ("_CLAP_COMPLETE_INDEX", &index.to_string())];
    command.envs(line).output().unwrap()
}

#[test]
fn names_of_every_closed_set_are_offered() {
    let world = World::new();
    for (words, expected) in [
        (&["get", "--state", ""][..], &["new", "healthy", "retrying", "given-up", "disabled", "deferred"][..]),
        (&["get", "--state=new,gi"], &["--state=new,given-up"]),
        (&["revive", "--failure", "t"], &["tls", "timeout", "too-large"]),
        (&["export", "--format", ""], &["jsonl", "json", "csv", "tsv"]),
        (&["import", "--on-error", ""], &["abort", "skip"]),
        (&["--log-format", ""], &["text", "json"]),
        (&["--color", "a"], &["auto", "always"]),
        (&["poll", "--threads", ""], &["auto"]),
        (&["poll", "--batch", ""], &[]),
        (&["completions", "b"], &["bash"]),
        (&["man", "store", "c"], &["check", "compact", "create"]),
        (&["store", "b"], &["backup"]),
    ] {
        assert_eq!(candidates(&world, words), expected, "{words:?}");
    }
    assert!(!world.store().exists());
}

#[test]
fn apps_jobs_and_connections_come_from_the_store_and_the_configuration() {
    let world = World::with(["ok", "ok"]);
    world.append_config("\n[apps.\"org.example.other\"]\ntitle = \"Other\"\n[jobs.\"org.example.other\".hourly]\n");
    world.poll(1_700_000_000, &["--name", "nightly"]);
    let (first, second) = (world.site(0, "ok"), world.site(1, "ok"));
    let mut ids = [&*first.cxn_id, &*second.cxn_id];
    ids.sort_unstable();
    for (words, expected) in [
        (&["status", "org"][..], &[APP, "org.example.other"][..]),
        (&["get", "--app", "app:org.example.o"], &["app:org.example.other"]),
        (&["config", "init", "--app", "org.example.o"], &["org.example.other"]),
        (&["explain", "cxn:"], &ids),
        (&["explain", short_id(&first)], &[short_id(&first)]),
        (&["poll", APP, "--cxn", &first.cxn_id], &[&*first.cxn_id]),
        (&["poll", APP, "--name", ""], &["nightly"]),
        (&["poll", "org.example.other", "--name="], &["--name=hourly"]),
        (&["status", "--name="], &["--name=hourly", "--name=nightly"]),
        (&["explain", "cxn:none"], &[]),
        (&["--store", "elsewhere", "explain", "cxn:"], &[]),
        (&["--config", "elsewhere", "status", "org"], &[]),
    ] {
        assert_eq!(candidates(&world, words), expected, "{words:?}");
    }
    // The option counts more than the environment.
    let arguments = format!("--store={}", world.store().display());
    let mut command = world.command(&["--", "cxnpoll", &arguments, "explain", &first.cxn_id]);
    command.env("CXNPOLL_STORE", world.path("elsewhere"));
    assert_eq!(stdout(&ask(command, 3)), first.cxn_id);
    assert!(!world.path("elsewhere").exists());
    world.assert_sound();
}

#[test]
fn connections_that_are_offered_are_limited() {
    let world = World::new();
    world.import(&world.sites(["ok"; 250]));
    assert_eq!(candidates(&world, &["explain", "cxn:"]).len(), 200);
}

#[test]
fn store_that_is_busy_or_would_be_changed_is_left_alone() {
    let world = World::with(["ok"]);
    let cxn_id = world.site(0, "ok").cxn_id;
    hold_session(&world, "import", || {
        let began = Instant::now();
        assert_eq!(candidates(&world, &["explain", "cxn:"]).len(), 0);
        assert!(began.elapsed() < Duration::from_secs(3));
    });
    assert_eq!(candidates(&world, &["explain", "cxn:"]), [&*cxn_id]);
    // A session that was killed leaves no hint, and a former build one without the version.
    let hint = world.store().join("outlook");
    let text = fs::read_to_string(&hint).unwrap();
    let mut json: Value = serde_json::from_str(text.split_once('\n').unwrap().1).unwrap();
    assert!(json.as_object_mut().unwrap().remove("version").is_some());
    let json = json.to_string();
    fs::write(&hint, format!("{:08x}\n{json}", crc32fast::hash(json.as_bytes()))).unwrap();
    assert_eq!(candidates(&world, &["explain", "cxn:"]).len(), 0);
    fs::remove_file(&hint).unwrap();
    assert_eq!(candidates(&world, &["explain", "cxn:"]).len(), 0);
    assert!(!hint.exists());
}

#[test]
fn variable_with_another_value_changes_nothing() {
    let world = World::new();
    for value in ["", "0", "1", "yes"] {
        let output = world.command(&["retry", "1 hour (x1)"]).env("COMPLETE", value).output().unwrap();
        assert!(stdout(&output).starts_with("1 hour (x1)"), "{value}: {output:?}");
    }
    let script = world.command(&[]).env("COMPLETE", "bash").output().unwrap();
    assert_eq!(stdout(&script), world.text(&["completions", "bash"]));
}

#[test]
fn scripts_are_for_every_shell() {
    let world = World::new();
    for (shell, sign) in [
        ("bash", "\ncomplete -o nosort -F _cxnpoll cxnpoll"),
        ("zsh", "#compdef cxnpoll"),
        ("fish", "--command cxnpoll"),
        ("elvish", "older-than"),
        ("powershell", "older-than"),
    ] {
        assert!(world.text(&["completions", shell]).contains(sign), "{shell}");
    }
}

/// Readline splits the line, as here, and replaces what `$2` is of the last word.
#[test]
fn script_of_bash_joins_what_readline_splits() {
    if !tools::require("bash") {
        return;
    }
    let world = World::with(["ok"]);
    let site = world.site(0, "ok");
    let id = short_id(&site);
    fs::write(world.path("b c.jsonl"), "").unwrap();
    let complete = |words: &str, current: &str| {
        let script = format!(
            "source <(cxnpoll completions bash)\ncompopt() {{ echo compopt $*; }}\n\
            COMP_WORDS=({words}) COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1))\n\
            COMP_POINT=${{#COMP_LINE}}\n_cxnpoll cxnpoll {current} x\nprintf '%s\\n' \"${{COMPREPLY[@]}}\""
        );
        let line = words.replace(" : ", ":").replace(" :", ":").replace(" = ", "=").replace("''", "");
        let directory = std::path::Path::new(env!("CARGO_BIN_EXE_cxnpoll")).parent().unwrap().display();
        let path = format!("{directory}:{}", std::env::var("PATH").unwrap());
        let output =
            world.command_of("bash").args(["-c", &script]).envs([("COMP_LINE", line), ("PATH", path)]).output();
        let output = output.unwrap();
        assert_eq!(code(&output), 0, "{output:?}");
        stdout(&output)
    };
    assert_eq!(complete(&format!("cxnpoll explain cxn : {}", &id[..30]), &id[..30]), format!("{id}\n"));
    assert_eq!(complete("cxnpoll explain cxn :", "''"), format!("{id}\n"));
    assert_eq!(complete("cxnpoll get --state = gi", "gi"), "given-up\n");
    assert_eq!(complete("cxnpoll poll ''", "''"), format!("{APP}\n"), "options are offered only behind -");
    assert_eq!(complete("cxnpoll import b", "b"), "b\\ c.jsonl\n");
    assert_eq!(complete("cxnpoll poll --batch ''", "''"), "\n", "there are no files for what is no file");
    for by_the_shell in ["'~other/b'", "'$HOME/b'", "'\"b'"] {
        assert_eq!(
            complete(&format!("cxnpoll import {by_the_shell}"), by_the_shell),
            "compopt -o bashdefault -o default\n\n"
        );
    }
    assert_eq!(complete("cxnpoll export '>' b", "b"), "compopt -o bashdefault -o default\n\n");
    assert_eq!(complete("cxnpoll --store = elsewhere explain cxn : ''", "''"), "\n");
}

//! Every command that a page shows is executed, page by page, as by a reader of the page.
//!
//! Executed are the blocks of the languages `sh`, `crontab` and `console` (a session with its output), and `cxnpoll config
//! check` on those of `toml`. What cannot run in a test, such as `systemctl`, is a program in `tests/it/docs/stubs`, which
//! checks what it is given. `cxn:0123…` stands for a connection.

pub(super) mod blocks;
mod sandbox;

use std::collections::BTreeMap;
use std::process::{Command, Stdio};
use std::thread;

use blocks::{Block, CronLine, blocks, cron_lines, session, shell_commands};
use sandbox::{Outcome, Step, Template};

use super::{inline_code, pages, read};

/// How many commands each page has; no other page has any.
const COMMANDS: &[(&str, usize)] = &[
    ("CONTRIBUTING.md", 2),
    ("README.md", 18),
    ("docs/benchmarks.md", 13),
    ("docs/commands.md", 67),
    ("docs/configuration.md", 15),
    ("docs/connections.md", 15),
    ("docs/history.md", 6),
    ("docs/install.md", 29),
    ("docs/json.md", 2),
    ("docs/listeners.md", 22),
    ("docs/monitoring.md", 2),
    ("docs/moving-from-cxnapp.md", 19),
    ("docs/notifications.md", 3),
    ("docs/registration.md", 13),
    ("docs/running.md", 12),
    ("docs/scaling.md", 2),
    ("docs/schedule.md", 10),
    ("docs/troubleshooting.md", 8),
];

/// The commands that fail here, and their exit codes.
const FAILURES: &[(&str, &str, i32)] = &[
    // No cron or systemd starts anything in a sandbox.
    ("README.md", "sudo -u cxnpoll cxnpoll doctor", 78),
    ("docs/troubleshooting.md", "cxnpoll doctor", 78),
    ("docs/commands.md", "cxnpoll doctor", 78),
    ("docs/commands.md", "sudo -u cxnpoll cxnpoll doctor", 78),
    // The file exists, there is no terminal to ask at, and there is no such backup.
    ("docs/commands.md", "cxnpoll config init -n --output -", 0),
    ("docs/commands.md", "cxnpoll config init", 2),
    ("docs/commands.md", "cxnpoll export connections.jsonl", 2),
    ("docs/commands.md", "cxnpoll store restore --check", 0),
    ("docs/commands.md", "cxnpoll store restore /", 66),
    // There is no channel.
    ("docs/commands.md", "cxnpoll notify test", 78),
    ("docs/commands.md", "cxnpoll store restore", 2),
    // The configuration names no key.
    // The site has not moved.
    ("docs/commands.md", "cxnpoll follow", 3),
    ("docs/connections.md", "cxnpoll follow", 3),
];

/// Languages of blocks that are not executed.
const SHOWN: [&str; 11] = ["apache", "ini", "json", "nginx", "php", "promql", "python", "rust", "text", "xml", "yaml"];

/// Returns the commands of a block.
fn steps(block: &Block) -> Vec<Step> {
    let step = |command: String| Step { line: block.line, command, output: None, is_quiet: false };
    match block.language.as_str() {
        // A program for another program.
        "sh" if block.text.starts_with("#!") => Vec::new(),
        "sh" => shell_commands(&block.text).into_iter().flat_map(|command| shell_steps(block, command)).collect(),
        "crontab" => {
            let lines = cron_lines(&block.text).into_iter();
            lines.map(|line| Step { is_quiet: true, ..step(cron_command(&line)) }).collect()
        }
        "console" => {
            let session = session(&block.text).into_iter();
            session.map(|(command, output)| Step { output: Some(output), ..step(command) }).collect()
        }
        "toml" => {
            let app = if block.text.contains("[apps.\"org.example.myapp\"]") { "example" } else { "civicrm" };
            vec![step(format!(
                "cp \"$SANDBOX\"/files/listener.* \"$SANDBOX\"/files/ca.pem . && cp \"$SANDBOX\"/files/{app}.crt myapp.crt && \
                 cat > cxnpoll.toml <<'TOML'\n{}TOML\ncxnpoll --config cxnpoll.toml config check",
                block.text
            ))]
        }
        language if SHOWN.contains(&language) => Vec::new(),
        language => panic!("line {}: a block of an unknown language: {language:?}", block.line),
    }
}

/// Returns the steps of a command in a shell block, which may be a line of a crontab among others.
fn shell_steps(block: &Block, command: String) -> Vec<Step> {
    if command.starts_with("*/") {
        return steps(&Block { line: block.line, language: "crontab".to_owned(), text: command });
    }
    vec![Step { line: block.line, command, output: None, is_quiet: false }]
}

/// Returns the command that starts a command as cron does: without the variables of the page's shell.
fn cron_command(line: &CronLine) -> String {
    format!("sudo env {}sh -c \"$(cat <<'CRON'\n{}\nCRON\n)\"", line.variables, line.command)
}

/// Returns what is wrong with a command of a page; empty if nothing is.
fn complaint(page: &str, step: &Step, outcome: &Outcome) -> String {
    let failure = FAILURES.iter().find(|(of, command, _)| *of == page && step.command.starts_with(command));
    let expected = failure.map_or(0, |(_, _, code)| *code);
    let is_shown = step.output.as_ref().is_none_or(|output| *output == outcome.stdout);
    let is_as_quiet = !step.is_quiet || (outcome.stdout.is_empty() && outcome.stderr.is_empty());
    if outcome.code == Some(expected) && is_shown && is_as_quiet {
        return String::new();
    }
    let Step { line, command, is_quiet, .. } = step;
    let Outcome { code, stdout, stderr } = outcome;
    format!(
        "{page}, block at line {line}: {command}\nexit code {code:?}, expected {expected}, quiet: {is_quiet}\n{stdout}{stderr}\n"
    )
}

#[test]
fn every_command_of_the_pages_does_what_it_should() {
    let template = Template::new();
    let mut counts = BTreeMap::new();
    let mut complaints = String::new();
    thread::scope(|scope| {
        let run = |page: String| {
            let steps: Vec<Step> = blocks(&read(&page)).iter().flat_map(steps).collect();
            let outcomes = if steps.is_empty() { Vec::new() } else { template.run(&steps) };
            let found: String =
                steps.iter().zip(&outcomes).map(|(step, outcome)| complaint(&page, step, outcome)).collect();
            (page, outcomes.len(), found)
        };
        let threads: Vec<_> = pages().into_iter().map(|page| scope.spawn(move || run(page))).collect();
        for thread in threads {
            let (page, count, found) = thread.join().unwrap();
            complaints += &found;
            if count > 0 {
                counts.insert(page, count);
            }
        }
    });
    assert!(complaints.is_empty(), "{complaints}");
    let expected: BTreeMap<String, usize> = COMMANDS.iter().map(|(page, count)| ((*page).to_owned(), *count)).collect();
    assert_eq!(counts, expected, "correct COMMANDS if blocks were added or removed");
}

/// A function that prints the help of a command, if its options before `--` are valid.
const HELP: &str = "cxnpoll() {
    words=()
    if [ $1 = help ]; then
        \"$PROGRAM\" \"$@\"
        return
    fi
    for word; do
        [ \"$word\" = -- ] && break
        words+=(\"$word\")
    done
    \"$PROGRAM\" \"${words[@]}\" --help
}";

/// Commands within sentences are tried with `--help`, since they stand for any connection, file or app.
#[test]
fn commands_within_sentences_are_valid() {
    let mut tried = 0;
    for page in pages() {
        for code in inline_code(&read(&page)) {
            if !code.starts_with("cxnpoll ") {
                continue;
            }
            let placeholders =
                [("…", "x"), ("CLASS", "dns"), ("COMMAND", "poll"), ("EXPR", "'1 day (x1)'"), ("SHELL", "bash")];
            let code = placeholders.iter().fold(code, |code, (name, value)| code.replace(name, value));
            let script = format!("set -o pipefail\n{HELP}\n{code}");
            let mut shell = Command::new("bash");
            shell.env("PROGRAM", env!("CARGO_BIN_EXE_cxnpoll")).env("CXNPOLL_STORE", "/nowhere");
            let output = shell.args(["-c", &script]).stdin(Stdio::null()).output().unwrap();
            assert!(output.status.success(), "{page}: {code}\n{}", String::from_utf8_lossy(&output.stderr));
            tried += 1;
        }
    }
    assert!(tried > 25, "only {tried} commands were found");
}

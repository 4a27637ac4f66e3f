//! Every command that a page shows is valid with its flags.

use std::process::Command;

use super::{blocks, pages, read};

/// Returns the lines of shell and crontab blocks; joins lines within a quote.
fn commands(page: &str) -> Vec<String> {
    let mut commands: Vec<String> = Vec::new();
    for block in blocks(&read(page), &["sh", ""]) {
        for line in block.lines() {
            match commands.last_mut() {
                Some(open) if open.matches('\'').count() % 2 == 1 => {
                    open.push(' ');
                    open.push_str(line);
                }
                _ => commands.push(line.trim_start_matches("*/5 * * * * ").to_owned()),
            }
        }
    }
    commands
}

/// It runs with `--help` added.
#[test]
fn commands_of_the_pages_are_valid() {
    let program = env!("CARGO_BIN_EXE_cxnpoll");
    let mut tried = 0;
    for page in pages() {
        for command in commands(&page) {
            let ours = command.split(" | ").find(|part| part.contains("cxnpoll ") && !part.starts_with("ssh"));
            let ours = ours.map(|part| part.split(['>', '#', '&']).next().unwrap_or_default().trim());
            let Some(ours) = ours
                .and_then(|part| part.split_once("cxnpoll "))
                .filter(|(before, _)| before.is_empty() || before.ends_with('/'))
            else {
                continue;
            };
            let script = format!("'{program}' {} --help", ours.1.replace('…', "x"));
            let output = Command::new("sh").args(["-c", &script]).output().unwrap();
            assert!(output.status.success(), "{page}: {command}\n{}", String::from_utf8_lossy(&output.stderr));
            tried += 1;
        }
    }
    assert!(tried > 25, "only {tried} commands were found");
}

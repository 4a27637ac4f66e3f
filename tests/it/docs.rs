//! What the documentation promises.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::testkit::tools;

const PAGES: [&str; 4] = ["README.md", "docs/listeners.md", "docs/moving-from-cxnapp.md", "docs/running.md"];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Returns the lines of shell and crontab blocks; joins lines within a quote.
fn commands(page: &str) -> Vec<String> {
    let text = fs::read_to_string(root().join(page)).unwrap();
    let mut commands: Vec<String> = Vec::new();
    for block in text.split("```").skip(1).step_by(2) {
        let Some(block) = block.strip_prefix("sh\n").or_else(|| block.strip_prefix('\n')) else { continue };
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

/// Every command that a page shows is valid with its flags; it runs with `--help` added.
#[test]
fn commands_of_the_pages_are_valid() {
    let program = env!("CARGO_BIN_EXE_cxnpoll");
    let mut tried = 0;
    for page in PAGES {
        for command in commands(page) {
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

#[test]
fn links_of_the_pages_lead_to_files() {
    for page in PAGES {
        let text = fs::read_to_string(root().join(page)).unwrap();
        let dir = root().join(page).parent().unwrap().to_owned();
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let file = link.split('#').next().unwrap_or_default();
            assert!(file.is_empty() || link.starts_with("http") || dir.join(file).exists(), "{page}: {link}");
        }
    }
}

#[test]
fn systemd_units_are_valid() {
    if !tools::require("systemd-analyze") || !tools::require_file("/lib/systemd/system/sysinit.target") {
        return;
    }
    let output = Command::new("systemd-analyze")
        .arg("verify")
        .args(["cxnpoll@.service", "cxnpoll@.timer"].map(|unit| root().join("docs/systemd").join(unit)))
        .output()
        .unwrap();
    let message = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && message.is_empty(), "{message}");
}

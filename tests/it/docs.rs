//! What the documentation promises.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::testkit::tools;

const PAGES: [&str; 7] = [
    "README.md",
    "CONTRIBUTING.md",
    "SECURITY.md",
    "docs/design.md",
    "docs/listeners.md",
    "docs/moving-from-cxnapp.md",
    "docs/running.md",
];
/// Pages that name files of the code.
const PAGES_ABOUT_CODE: [&str; 2] = ["CONTRIBUTING.md", "docs/design.md"];

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

/// Paths without a leading directory are below `src/`.
#[test]
fn files_of_the_code_that_pages_name_exist() {
    for page in PAGES_ABOUT_CODE {
        let text = fs::read_to_string(root().join(page)).unwrap();
        let names = text.lines().flat_map(|line| line.split('`').skip(1).step_by(2));
        let files: Vec<_> = names.filter(|name| is_file_of_code(name)).collect();
        assert!(files.len() > 5, "{page}: only {files:?}");
        for file in files {
            assert!(root().join(file).exists() || root().join("src").join(file).exists(), "{page}: {file}");
        }
    }
}

/// Whether a name in backquotes is a path to a Rust file. `NAME.rs` stands for any file.
fn is_file_of_code(name: &str) -> bool {
    std::path::Path::new(name).extension().is_some_and(|extension| extension == "rs") && !name.contains("NAME")
}

/// The design names every directory of the code, and every file that is in none.
#[test]
fn design_has_every_room_of_the_code() {
    let design = fs::read_to_string(root().join("docs/design.md")).unwrap();
    let map = design.split("```text").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
    for entry in fs::read_dir(root().join("src")).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        let name = if entry.path().is_dir() { name + "/" } else { name };
        assert!(map.split_whitespace().any(|word| word == name), "the code map lacks {name}");
    }
}

#[test]
fn systemd_units_are_valid() {
    if !tools::require("systemd-analyze") || !tools::require_file("/lib/systemd/system/sysinit.target") {
        return;
    }
    let output = Command::new("systemd-analyze")
        .args(["verify", "--man=no"])
        .args(["cxnpoll@.service", "cxnpoll@.timer"].map(|unit| root().join("docs/systemd").join(unit)))
        .output()
        .unwrap();
    let message = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && message.is_empty(), "{message}");
}

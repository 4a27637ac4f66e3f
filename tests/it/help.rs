//! The complete help text as a snapshot, and man pages.

use std::fmt::Write;
use std::fs;
use std::os::unix::fs::symlink;

use crate::testkit::{World, code, stderr, stdout, tools};

/// Appends the help of a command and of all commands below it.
fn help(world: &World, command: &[&str], all: &mut String) {
    let output = world.run(&[command, &["--help"]].concat());
    assert_eq!(code(&output), 0, "{output:?}");
    let text = stdout(&output);
    let lines: Vec<_> = text.lines().map(str::trim_end).collect();
    write!(all, "$ cxnpoll {}\n{}\n\n", [command, &["--help"]].concat().join(" "), lines.join("\n")).unwrap();
    let names =
        lines.iter().skip_while(|line| !line.ends_with("Commands:")).skip(1).take_while(|line| !line.is_empty());
    // A wrapped description goes on in deeper lines.
    let names = names.filter_map(|line| line.strip_prefix("  ").filter(|name| !name.starts_with(' ')));
    let names: Vec<_> = names.filter_map(|line| line.split(' ').next()).filter(|name| *name != "help").collect();
    if names.is_empty() {
        assert!(text.contains("Example"), "{command:?} has no example");
    }
    for name in names {
        help(world, &[command, &[name]].concat(), all);
    }
}

#[test]
fn help_text_matches_the_snapshot() {
    let mut all = String::new();
    help(&World::new(), &[], &mut all);
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/help.txt");
    if std::env::var_os("CXNPOLL_BLESS").is_some() {
        fs::write(file, &all).unwrap();
    }
    let before = fs::read_to_string(file).unwrap_or_default();
    let differs = all.lines().zip(before.lines()).find(|(new, old)| new != old);
    assert_eq!(differs, None, "CXNPOLL_BLESS=1 cargo test --test it help accepts the new help");
    assert_eq!(all, before);
}

#[test]
fn help_and_version_go_to_standard_output() {
    let world = World::new();
    assert_eq!(world.text(&["--version"]), concat!("cxnpoll ", env!("CARGO_PKG_VERSION"), "\n"));
    for arguments in [&["-h"][..], &["--help"], &["poll", "-h"], &["import", "--help"]] {
        let help = world.text(arguments);
        assert!(help.contains("Usage: cxnpoll") && help.contains("--store"), "{help}");
        assert!(!help.contains("--no-debug"), "what cxnapp's crontab lines hold needs no help");
    }
    assert!(world.text(&["-h"]).contains("Exit codes: 0 done"));
}

#[test]
fn man_pages_cover_every_command() {
    let world = World::new();
    assert!(
        world.text(&["man"]).contains(".TH cxnpoll 1") && world.text(&["man", "store", "check"]).contains("repair")
    );
    assert_eq!(code(&world.run(&["man", "nothing"])), 2);
    let dir = world.path("man");
    fs::create_dir(&dir).unwrap();
    world.text(&["man", "--dir", dir.to_str().unwrap()]);
    for page in ["cxnpoll.1", "cxnpoll-poll.1", "cxnpoll-store-check.1", "cxnpoll-man.1"] {
        let text = fs::read_to_string(dir.join(page)).unwrap();
        for section in ["DESCRIPTION", "EXIT STATUS", "ENVIRONMENT", "FILES", "SEE ALSO"] {
            assert!(
                text.lines().any(|line| line == format!(".SH \"{section}\"") || line == format!(".SH {section}")),
                "{page}"
            );
        }
    }
    assert!(fs::read_to_string(dir.join("cxnpoll-poll.1")).unwrap().contains(".SH EXAMPLES"));
    let configuration = world.text(&["man", "cxnpoll.toml"]);
    assert_eq!(configuration, fs::read_to_string(dir.join("cxnpoll.toml.5")).unwrap());
    assert!(configuration.contains(".TH cxnpoll.toml 5") && configuration.contains("every\\-hours"));
    assert_eq!(code(&world.run(&["man", "--dir", "nowhere"])), 66);
    assert!(!world.store().exists());
}

#[test]
fn pages_go_to_the_directory_of_their_section() {
    let world = World::new();
    fs::create_dir_all(world.path("share/man/man1")).unwrap();
    world.text(&["man", "--dir", "share/man/man1/"]);
    assert!(world.path("share/man/man1/cxnpoll.1").exists() && world.path("share/man/man5/cxnpoll.toml.5").exists());
    assert!(!world.path("share/man/man1/cxnpoll.toml.5").exists());
}

#[test]
fn pages_replace_links() {
    let world = World::new();
    fs::create_dir(world.path("man")).unwrap();
    symlink("../victim", world.path("man/cxnpoll.1")).unwrap();
    assert_eq!(code(&world.run(&["man", "--dir", "man"])), 0);
    assert!(!world.path("victim").exists() && world.path("man/cxnpoll.1").is_file());
}

#[test]
fn man_pages_are_rendered_without_warnings() {
    if !tools::require("man") {
        return;
    }
    let world = World::new();
    fs::create_dir(world.path("man")).unwrap();
    world.text(&["man", "--dir", "man"]);
    let pages = fs::read_dir(world.path("man")).unwrap().map(|page| page.unwrap().path());
    let output = world
        .command_of("man")
        .envs([("MANPAGER", "cat"), ("LC_ALL", "C.UTF-8")])
        .args(["--warnings=all", "-l"])
        .args(pages)
        .output()
        .unwrap();
    assert_eq!((code(&output), &*stderr(&output)), (0, ""));
    assert!(stdout(&output).contains("EXIT STATUS"));
}

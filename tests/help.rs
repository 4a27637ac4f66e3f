//! The complete help, as a snapshot: who changes a flag sees what users will see.

mod common;

use std::fmt::Write;
use std::fs;

use common::{World, code};

/// The help of a command and of all below it.
fn help(world: &World, command: &[&str], all: &mut String) {
    let output = world.run(&[command, &["--help"]].concat());
    assert_eq!(code(&output), 0, "{output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    let lines: Vec<_> = text.lines().map(str::trim_end).collect();
    write!(all, "$ cxnpoll {}\n{}\n\n", [command, &["--help"]].concat().join(" "), lines.join("\n")).unwrap();
    let names =
        lines.iter().skip_while(|line| !line.ends_with("Commands:")).skip(1).take_while(|line| !line.is_empty());
    let names: Vec<_> =
        names.filter_map(|line| line.split_whitespace().next()).filter(|name| *name != "help").collect();
    if names.is_empty() {
        assert!(text.contains("Example"), "{command:?} has no example");
    }
    for name in names {
        help(world, &[command, &[name]].concat(), all);
    }
}

#[test]
fn the_help_is_as_it_was() {
    let mut all = String::new();
    help(&World::new(), &[], &mut all);
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/help.txt");
    if std::env::var_os("CXNPOLL_BLESS").is_some() {
        fs::write(file, &all).unwrap();
    }
    let before = fs::read_to_string(file).unwrap_or_default();
    let differs = all.lines().zip(before.lines()).find(|(new, old)| new != old);
    assert_eq!(differs, None, "CXNPOLL_BLESS=1 cargo test --test help takes the new help for good");
    assert_eq!(all, before);
}

#[test]
fn every_shell_gets_completions_and_every_command_a_page() {
    let world = World::new();
    let shown = |arguments: &[&str]| {
        let output = world.run(arguments);
        assert_eq!(code(&output), 0, "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    for (shell, sign) in
        [("bash", "complete -F _cxnpoll"), ("zsh", "#compdef cxnpoll"), ("fish", "complete -c cxnpoll")]
    {
        let text = shown(&["completions", shell]);
        assert!(text.contains(sign) && text.contains("revive") && text.contains("older-than"), "{shell}");
    }
    assert!(shown(&["man"]).contains(".TH cxnpoll 1") && shown(&["man", "store", "check"]).contains("repair"));
    assert_eq!(code(&world.run(&["man", "nothing"])), 2);
    let folder = world.folder.path().join("man");
    fs::create_dir(&folder).unwrap();
    shown(&["man", "--dir", folder.to_str().unwrap()]);
    for page in ["cxnpoll.1", "cxnpoll-poll.1", "cxnpoll-store-check.1", "cxnpoll-man.1"] {
        assert!(fs::read_to_string(folder.join(page)).unwrap().contains(".SH"), "{page}");
    }
    assert_eq!(code(&world.run(&["man", "--dir", "nowhere"])), 66);
    assert!(!world.store().exists());
}

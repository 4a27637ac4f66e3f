//! The commands of `docs/scaling.md` split a store, and change the number of servers.
//!
//! No site is polled twice, and none is left out.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use super::commands::blocks::blocks;
use super::read;
use crate::testkit::{APP, MIDNIGHT, World, assert_quiet, code, json_lines, stdout};

const SITES: u32 = 60;
const HOUR: i64 = 3600;

/// Runs a command on a server, which is a store of its own.
fn on_server(world: &World, server: usize, arguments: &[&str]) -> std::process::Output {
    world.command(arguments).env("CXNPOLL_STORE", store(world, server)).output().unwrap()
}

fn store(world: &World, server: usize) -> PathBuf {
    if server == 0 { world.store() } else { world.path(&format!("store-{server}")) }
}

/// Runs the commands of a block of the page; `# server 1` precedes those of server 1.
fn run_block(world: &World, block: &str) -> usize {
    let mut server = 0;
    let mut run = 0;
    for line in block.lines().map(str::trim) {
        match (line.strip_prefix("# server "), line.strip_prefix("cxnpoll ")) {
            (Some(number), _) => server = number.parse().unwrap(),
            (None, Some(command)) => {
                assert_quiet(&on_server(world, server, &command.split(' ').collect::<Vec<_>>()));
                run += 1;
            }
            (None, None) => assert_eq!(line, ""),
        }
    }
    run
}

/// Polls every batch on its server; returns how many sites were polled.
fn poll_all(world: &World, servers: usize, now: i64) -> usize {
    let poll = |server: usize| {
        let (batch, now) = (format!("--batch={server}/{servers}"), now.to_string());
        let output = on_server(world, server, &["poll", APP, &batch, "--per-host", "64", "--json", "--now", &now]);
        assert_eq!(code(&output), 0, "{output:?}");
        json_lines(&stdout(&output))[0]["polled"].as_u64().unwrap()
    };
    usize::try_from((0..servers).map(poll).sum::<u64>()).unwrap()
}

/// Returns the connections of an export, each once.
fn ids(world: &World, file: &str) -> BTreeSet<String> {
    let lines = json_lines(&fs::read_to_string(world.path(file)).unwrap());
    let ids: BTreeSet<_> = lines.iter().map(|line| line["cxnId"].as_str().unwrap().to_owned()).collect();
    assert!(ids.len() == lines.len() && !ids.is_empty(), "{file}: {}", ids.len());
    ids
}

#[test]
fn commands_of_the_page_split_a_store_and_change_the_number_of_servers() {
    let world = World::new();
    world.import(&world.sites(vec!["ok"; SITES as usize]));
    assert_eq!(poll_all(&world, 1, MIDNIGHT), 60);
    let blocks = blocks(&read("docs/scaling.md")).into_iter().filter(|block| block.text.starts_with("# server"));
    let blocks: Vec<_> = blocks.map(|block| block.text).collect();
    let [split, resize] = &blocks[..] else { panic!("{blocks:?}") };

    assert_eq!(run_block(&world, split), 4);
    assert_quiet(&on_server(&world, 0, &["export", "--batch", "0/3", "part-0.jsonl"]));
    let parts = ["part-0.jsonl", "part-1.jsonl", "part-2.jsonl"].map(|file| ids(&world, file));
    let union: BTreeSet<_> = parts.iter().flatten().collect();
    assert_eq!((union.len(), parts.iter().map(BTreeSet::len).sum::<usize>()), (60, 60));
    assert_eq!(poll_all(&world, 3, MIDNIGHT + 60), 0, "the poll statuses were moved too");
    assert_eq!(poll_all(&world, 3, MIDNIGHT + HOUR), 60);

    assert_eq!(run_block(&world, resize), 10);
    assert_eq!(poll_all(&world, 4, MIDNIGHT + HOUR + 60), 0);
    assert_eq!(poll_all(&world, 4, MIDNIGHT + 2 * HOUR), 60);
    assert!((0..SITES).all(|site| world.server.polls(site) == 3));
    for server in 0..4 {
        let check = on_server(&world, server, &["store", "check"]);
        assert!(stdout(&check).contains("No faults"), "{check:?}");
    }
}

/// A new connection reaches the server of its batch through server 0.
#[test]
fn connections_are_passed_on_with_the_line_of_the_page() {
    let world = World::new();
    let sites = world.sites(vec!["ok"; 40]);
    world.import(&sites[..20]);
    poll_all(&world, 1, MIDNIGHT);
    let page = read("docs/scaling.md");
    let lines = page.lines().filter_map(|line| line.trim().strip_prefix("*/5 * * * * cxnpoll "));
    let lines: Vec<_> = lines.filter_map(|line| line.split_once(" | ssh server")).collect();
    assert_eq!(lines.len(), 2, "{lines:?}");
    let pass_on = || {
        for (export, import) in &lines {
            let part = stdout(&on_server(&world, 0, &export.split(' ').collect::<Vec<_>>()));
            let (server, import) = import.split_once(" cxnpoll ").unwrap();
            fs::write(world.path("stdin"), part).unwrap();
            let mut command = world.command(&[import]);
            command.env("CXNPOLL_STORE", store(&world, server.parse().unwrap()));
            assert_quiet(&command.stdin(fs::File::open(world.path("stdin")).unwrap()).output().unwrap());
        }
    };
    pass_on();
    assert_eq!(poll_all(&world, 3, MIDNIGHT + HOUR), 20);
    world.import(&sites[20..]);
    // The statuses that server 0 has of other batches are older, and are not taken.
    pass_on();
    assert_eq!(poll_all(&world, 3, MIDNIGHT + HOUR + 60), 20, "the new ones");
}

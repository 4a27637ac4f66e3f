//! The structure of the code is checked from its source: layers, cycles, lengths and names.
//!
//! Imports point one way: see `LAYERS` and `STORE` in `rules.rs`.

mod graph;
mod modules;
mod rules;
mod scan;
mod sentences;
mod words;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use graph::Graph;
use modules::Modules;
use rules::{Breach, LAYERS, STORE};
use words::BANNED;

/// Directories with Rust code of this repository.
const CODE: [&str; 4] = ["src", "tests", "benches", "fixtures"];
/// Other directories with text of this repository.
const TEXTS: [&str; 3] = [".cargo", ".ci", "docs"];
/// Extensions of files that hold text for people. A script of `.ci` has none.
const TEXT_EXTENSIONS: [&str; 9] = ["rs", "md", "toml", "sh", "service", "timer", "txt", "html", ""];
/// These files list the words that they look for.
const LISTS_OF_WORDS: &str = "tests/it/architecture/";

/// All Rust files of some directories, as path and text; the path is relative to the repository.
fn sources(directories: &[&str]) -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    read(directories.iter().map(|directory| root.join(directory)).collect(), &["rs"])
}

/// All files that hold text for people, as path and text; the path is relative to the repository.
fn texts() -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let top = fs::read_dir(root).unwrap().map(|entry| entry.unwrap().path());
    let top = top.filter(|path| path.extension().is_some_and(|extension| extension == "md" || extension == "toml"));
    let directories = CODE.iter().chain(&TEXTS).map(|directory| root.join(directory));
    read(top.chain(directories).collect(), &TEXT_EXTENSIONS)
}

/// The files with one of these extensions among paths and below them.
fn read(mut pending: Vec<PathBuf>, extensions: &[&str]) -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = Vec::new();
    while let Some(path) = pending.pop() {
        if path.is_dir() {
            if path.file_name().is_some_and(|name| name != "target") {
                pending.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
            }
        } else if extensions.iter().any(|wanted| path.extension().unwrap_or_default() == *wanted) {
            let name = path.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
            files.push((name, fs::read_to_string(&path).unwrap()));
        }
    }
    files.sort();
    files
}

/// The files of the program, with paths relative to `src/`.
fn program() -> Vec<(String, String)> {
    let mut files = sources(&["src"]);
    for (path, _) in &mut files {
        *path = path.trim_start_matches("src/").to_owned();
    }
    files
}

/// The modules of the program.
fn modules() -> Modules {
    Modules::read(program().iter().map(|(path, text)| (&**path, &**text)))
}

/// The imports between the files of the program.
fn graph() -> Graph {
    let (modules, files) = (modules(), program().len());
    let graph = Graph::of(&modules);
    assert!(graph.0.len() > files, "{files} files cannot have only {} imports", graph.0.len());
    graph
}

fn assert_none(mut breaches: Vec<Breach>) {
    breaches.sort();
    let lines: Vec<String> = breaches.iter().map(ToString::to_string).collect();
    assert!(breaches.is_empty(), "{} breaches of the structure:\n{}", breaches.len(), lines.join("\n"));
}

#[test]
fn every_file_has_a_layer() {
    let files = program();
    let names = || files.iter().map(|(path, _)| &**path);
    assert_none([rules::unplaced(names(), &LAYERS, ""), rules::unplaced(names(), &STORE, "store/")].concat());
}

#[test]
fn imports_between_layers_point_one_way() {
    assert_none(rules::one_way(&graph(), &LAYERS, ""));
}

#[test]
fn imports_inside_the_store_point_one_way() {
    assert_none(rules::one_way(&graph(), &STORE, "store/"));
}

#[test]
fn no_files_import_each_other() {
    assert_none(rules::cycles(&graph()));
}

#[test]
fn no_glob_import_hides_a_use() {
    assert_none(rules::globs(&modules()));
}

/// Simulated sites check what the program implements, so only the demo may use their code.
#[test]
fn only_the_demo_uses_simulated_sites() {
    let users = program().into_iter().filter(|(_, text)| text.contains("civisite")).map(|(path, _)| path);
    let others: Vec<_> =
        users.filter(|path| !path.starts_with("cli/commands/demo/") && path != "cli/simulation.rs").collect();
    assert_eq!(others, [""; 0]);
}

#[test]
fn program_has_no_async_runtime() {
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["tree", "--edges", "normal", "--prefix", "none", "--format", "{p}", "--locked", "--offline"]);
    let output = cargo.current_dir(env!("CARGO_MANIFEST_DIR")).output().unwrap();
    let crates = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success() && crates.contains("civisite v"), "{}", String::from_utf8_lossy(&output.stderr));
    for runtime in ["tokio", "async-std", "smol", "async-executor", "futures-executor"] {
        assert!(!crates.lines().any(|line| line.split(' ').next() == Some(runtime)), "the program has {runtime}");
    }
}

#[test]
fn no_file_is_too_long() {
    assert_none(sources(&CODE).iter().filter_map(|(path, text)| rules::too_long(path, text)).collect());
}

#[test]
fn doc_comments_begin_with_a_short_sentence() {
    let files = sources(&CODE);
    assert_none(files.iter().flat_map(|(path, text)| sentences::too_long(path, text)).collect());
}

#[test]
fn no_former_name_is_left() {
    let files: Vec<_> = texts().into_iter().filter(|(path, _)| !path.starts_with(LISTS_OF_WORDS)).collect();
    for expected in [".ci/run", "README.md", "docs/design.md", "benches/table.sh", "fixtures/picture.rs"] {
        assert!(files.iter().any(|(path, _)| path == expected), "{expected} is not checked");
    }
    assert_none(files.iter().flat_map(|(path, text)| BANNED.find(path, text)).collect());
}

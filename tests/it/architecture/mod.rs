//! The structure of the code is checked from its source: layers, cycles, lengths of files, and former names.
//!
//! Imports point one way: see `LAYERS` and `STORE` in `rules.rs`.

mod graph;
mod modules;
mod rules;
mod scan;
mod words;

use std::fs;
use std::path::{Path, PathBuf};

use graph::Graph;
use modules::Modules;
use rules::{Breach, LAYERS, STORE};
use words::BANNED;

/// Directories with Rust code of this repository.
const CODE: [&str; 5] = ["src", "tests", "benches", "fixtures", "fuzz"];
/// These files list the words that they look for.
const LISTS_OF_WORDS: &str = "tests/it/architecture/";

/// All Rust files of some directories, as path and text; the path is relative to the repository.
fn sources(directories: &[&str]) -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut pending: Vec<PathBuf> = directories.iter().map(|directory| root.join(directory)).collect();
    let mut files = Vec::new();
    while let Some(path) = pending.pop() {
        if path.is_dir() && path.file_name().is_some_and(|name| name != "target") {
            pending.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let name = path.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
            files.push((name, fs::read_to_string(&path).unwrap()));
        }
    }
    files.sort();
    files
}

/// The files of the program and their imports.
fn program() -> (Vec<(String, String)>, Graph) {
    let mut files = sources(&["src"]);
    for (path, _) in &mut files {
        *path = path.trim_start_matches("src/").to_owned();
    }
    let graph = Graph::of(&Modules::read(files.iter().map(|(path, text)| (&**path, &**text))));
    assert!(graph.0.len() > files.len(), "{} files cannot have only {} imports", files.len(), graph.0.len());
    (files, graph)
}

fn assert_none(mut breaches: Vec<Breach>) {
    breaches.sort();
    let lines: Vec<String> = breaches.iter().map(ToString::to_string).collect();
    assert!(breaches.is_empty(), "{} breaches of the structure:\n{}", breaches.len(), lines.join("\n"));
}

#[test]
fn every_file_has_a_layer() {
    let (files, _) = program();
    let names = || files.iter().map(|(path, _)| &**path);
    assert_none([rules::unplaced(names(), LAYERS, ""), rules::unplaced(names(), STORE, "store/")].concat());
}

#[test]
fn imports_between_layers_point_one_way() {
    assert_none(rules::one_way(&program().1, LAYERS, ""));
}

#[test]
fn imports_inside_the_store_point_one_way() {
    assert_none(rules::one_way(&program().1, STORE, "store/"));
}

#[test]
fn no_files_import_each_other() {
    assert_none(rules::cycles(&program().1));
}

#[test]
fn no_file_is_too_long() {
    assert_none(sources(&CODE).iter().filter_map(|(path, text)| rules::too_long(path, text)).collect());
}

#[test]
fn no_former_name_is_left() {
    let files = sources(&["src", "tests"]).into_iter().filter(|(path, _)| !path.starts_with(LISTS_OF_WORDS));
    assert_none(files.flat_map(|(path, text)| BANNED.find(&path, &text)).collect());
}

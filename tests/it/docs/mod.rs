//! What the documentation promises. One file per idea; this one reads the pages.

mod code_map;
mod commands;
mod json;
mod links;
mod metrics;
mod promtool;
mod reference;
mod scaling;
mod systemd;
mod troubleshooting;

use std::fs;
use std::path::Path;

pub use commands::blocks::blocks;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Returns the text of a page, which is a path from the top directory.
pub fn read(page: &str) -> String {
    fs::read_to_string(root().join(page)).unwrap_or_else(|error| panic!("{page}: {error}"))
}

/// Returns all pages for people: those at the top, and those in `docs` and below.
fn pages() -> Vec<String> {
    fn add(dir: &Path, pages: &mut Vec<String>) {
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                add(&path, pages);
            } else if path.extension().is_some_and(|extension| extension == "md") {
                pages.push(path.strip_prefix(root()).unwrap().to_str().unwrap().to_owned());
            }
        }
    }
    let at_the_top = fs::read_dir(root()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut pages: Vec<String> =
        at_the_top.filter(|name| Path::new(name).extension().is_some_and(|extension| extension == "md")).collect();
    add(&root().join("docs"), &mut pages);
    pages.sort();
    assert!(pages.len() > 6, "only {pages:?}");
    pages
}

/// Returns what a page has in backquotes, outside fenced blocks.
fn inline_code(text: &str) -> Vec<String> {
    let prose: String = text.split("```").step_by(2).collect();
    prose.lines().flat_map(|line| line.split('`').skip(1).step_by(2)).map(str::to_owned).collect()
}

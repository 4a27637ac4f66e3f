//! The design and the guide for contributors name the files of the code.

use std::fs;
use std::path::Path;

use super::{inline_code, read, root};

/// Pages that name files of the code.
const PAGES_ABOUT_CODE: [&str; 2] = ["CONTRIBUTING.md", "docs/design.md"];

/// Paths without a leading directory are below `src/`.
#[test]
fn files_of_the_code_that_pages_name_exist() {
    for page in PAGES_ABOUT_CODE {
        let files: Vec<_> = inline_code(&read(page)).into_iter().filter(|name| is_file_of_code(name)).collect();
        assert!(files.len() > 5, "{page}: only {files:?}");
        for file in files {
            assert!(root().join(&file).exists() || root().join("src").join(&file).exists(), "{page}: {file}");
        }
    }
}

/// Whether a name in backquotes is a path to a Rust file. `NAME.rs` stands for any file.
fn is_file_of_code(name: &str) -> bool {
    Path::new(name).extension().is_some_and(|extension| extension == "rs") && !name.contains("NAME")
}

/// The design names every directory of the code, and every file that is in none.
#[test]
fn design_has_every_room_of_the_code() {
    let design = read("docs/design.md");
    let map = design.split("```text").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
    for entry in fs::read_dir(root().join("src")).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        let name = if entry.path().is_dir() { name + "/" } else { name };
        assert!(map.split_whitespace().any(|word| word == name), "the code map lacks {name}");
    }
}

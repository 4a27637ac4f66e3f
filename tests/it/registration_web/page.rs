//! The snippets of docs/registration.md, with the paths of a test.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use crate::docs::{blocks, read};

/// The script, as the page names it.
const SCRIPT: &str = "/var/www/cxnpoll/registration";
/// The socket of fcgiwrap, as the page names it.
const SOCKET: &str = "/run/cxnpoll-registration.socket";

/// Returns the block of a language that contains a text.
pub fn snippet(language: &str, containing: &str) -> String {
    let blocks = blocks(&read("docs/registration.md"));
    let found = blocks.into_iter().find(|block| block.language == language && block.text.contains(containing));
    found.unwrap_or_else(|| panic!("docs/registration.md has no block of {language} with {containing}")).text
}

/// The script and the socket in the directory of a test.
pub struct Paths {
    pub script: PathBuf,
    pub socket: PathBuf,
}

impl Paths {
    /// Writes the script of the page, which starts the program that was built with this configuration.
    pub fn new(dir: &Path) -> Self {
        let paths = Self { script: dir.join("registration"), socket: dir.join("fcgiwrap.socket") };
        let text = snippet("sh", "#!/bin/sh");
        let text = text.replace("/usr/bin/cxnpoll", env!("CARGO_BIN_EXE_cxnpoll"));
        let text = text.replace("/etc/cxnpoll", dir.to_str().unwrap());
        fs::write(&paths.script, text).unwrap();
        fs::set_permissions(&paths.script, fs::Permissions::from_mode(0o755)).unwrap();
        paths
    }

    /// Returns a snippet with these paths, for the app of the recorded registrations.
    pub fn adapt(&self, snippet: &str) -> String {
        let snippet = snippet.replace(SCRIPT, self.script.to_str().unwrap());
        snippet.replace(SOCKET, self.socket.to_str().unwrap()).replace(r"org\.example\.myapp", r"org\.example\.poll")
    }
}

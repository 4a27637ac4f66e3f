//! Programs that some tests need and that may not be installed.

use std::env;
use std::io::{Write, stderr};
use std::path::{Path, PathBuf};
use std::thread;

/// Directories that may hold tools and are not always in `PATH`.
const SYSTEM_DIRS: [&str; 2] = ["/usr/sbin", "/sbin"];

/// Returns whether a tool is installed; the test is to end at once where it is not.
///
/// A missing tool is reported on standard error. With `CXNPOLL_REQUIRE_TOOLS=1` it fails the test.
pub fn require(tool: &str) -> bool {
    if tool == "faketime" && !allows_preload() {
        return false;
    }
    is_installed(tool) || missing(tool)
}

/// Returns whether a tool is installed.
pub fn is_installed(tool: &str) -> bool {
    path(tool).is_some()
}

/// Returns the path of a tool; `None` if it is not installed.
///
/// Beside a directory of `PATH` that was extracted from packages, `sbin` is searched, too.
pub fn path(tool: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let dirs: Vec<PathBuf> = env::split_paths(&path).collect();
    let beside = dirs.iter().map(|dir| dir.with_file_name("sbin"));
    let mut files = dirs.iter().cloned().chain(SYSTEM_DIRS.map(Into::into)).chain(beside).map(|dir| dir.join(tool));
    files.find(|file| file.is_file())
}

/// Returns whether a file of an installed tool is there; otherwise as [`require`].
pub fn require_file(path: &str) -> bool {
    Path::new(path).is_file() || missing(path)
}

/// Returns whether `LD_PRELOAD` works on the command; where it does not, this is reported.
///
/// Then the test is to end at once. The command is linked as the tests are, and a static program loads no library.
pub fn allows_preload() -> bool {
    let is_static = cfg!(target_feature = "crt-static");
    if is_static {
        skip("a static program loads no library");
    }
    !is_static
}

/// Reports that a test is skipped because the system does not allow what it needs.
pub fn skip(reason: &str) {
    report(reason);
}

fn missing(tool: &str) -> bool {
    let required = env::var_os("CXNPOLL_REQUIRE_TOOLS").is_some_and(|value| value == "1");
    assert!(!required, "{tool} is not installed, and CXNPOLL_REQUIRE_TOOLS=1 requires it");
    report(&format!("{tool} is not installed"));
    false
}

/// Writes to standard error directly, which the test harness does not capture.
fn report(reason: &str) {
    let thread = thread::current();
    let test = thread.name().unwrap_or("a test");
    let _ = writeln!(stderr(), "\n*** SKIPPED: {test}: {reason} ***");
}

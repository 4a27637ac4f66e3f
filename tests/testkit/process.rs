//! Processes: how they ended, what they printed, and how to stop them.

use std::io::Read;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, ExitStatus, Output};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

/// How long [`until`] waits before the test fails.
const UNTIL_LIMIT: Duration = Duration::from_secs(20);

/// Returns the exit code; -1 after a signal.
pub fn code(output: &Output) -> i32 {
    output.status.code().unwrap_or(-1)
}

/// Returns standard output as text.
pub fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// Returns standard error as text.
pub fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// Asserts success without any output, which cron would mail.
pub fn assert_quiet(output: &Output) {
    assert_eq!(code(output), 0, "{output:?}");
    assert!(output.stdout.is_empty() && output.stderr.is_empty(), "{output:?}");
}

/// Parses text that holds one JSON value per line.
pub fn json_lines(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Whether SIGKILL ended the process.
pub fn was_killed(output: &Output) -> bool {
    output.status.signal() == Some(9)
}

/// Sends a signal, such as `-TERM`, to a child of the test.
pub fn signal(child: &Child, name: &str) {
    let sent = Command::new("kill").args([name, &child.id().to_string()]).status().unwrap();
    assert!(sent.success());
}

/// Waits until a condition holds.
pub fn until(what: &str, holds: impl Fn() -> bool) {
    let began = Instant::now();
    while !holds() {
        assert!(began.elapsed() < UNTIL_LIMIT, "timed out waiting until {what}");
        thread::sleep(Duration::from_millis(2));
    }
}

/// Waits for the end of a child; returns its status and its standard output.
pub fn wait(mut child: Child) -> (ExitStatus, String) {
    let mut text = String::new();
    child.stdout.take().unwrap().read_to_string(&mut text).unwrap();
    (child.wait().unwrap(), text)
}

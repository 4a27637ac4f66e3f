//! The limits of this process, and the directories and devices that every run needs.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::FileTypeExt;

use rustix::process::{Resource, getrlimit};

use crate::cli::commands::findings::{Check, Findings};
use crate::cli::commands::users;
use crate::run::{available_memory, max_workers};
use crate::util::private_temp::PrivateTempDir;

/// So many workers should be possible, since that is what a fleet of slow sites needs.
const MIN_WORKERS: usize = 256;
/// The limit of processes and threads of a user should be at least this.
const MIN_PROCESSES: u64 = 512;
/// The limit of the address space should be at least this, in bytes: each thread has a stack in it.
const MIN_ADDRESS_SPACE: u64 = 1 << 30;
/// So much space should be left for temporary files, in bytes.
const MIN_TEMP_BYTES: usize = 64 << 10;
/// So much memory should be left, in bytes.
const MIN_MEMORY: u64 = 64 << 20;

/// Limits of this process. `None` is no limit, or one that is not known.
#[derive(Debug, Clone, Copy)]
struct Limits {
    workers: usize,
    open_files: Option<u64>,
    processes: Option<u64>,
    address_space: Option<u64>,
    memory: Option<u64>,
}

/// Checks the limits of this process.
pub(super) fn check(findings: &mut Findings) {
    let limits = Limits {
        workers: max_workers(),
        open_files: getrlimit(Resource::Nofile).maximum,
        // It does not limit root.
        processes: getrlimit(Resource::Nproc).current.filter(|_| users::current() != 0),
        address_space: getrlimit(Resource::As).current,
        memory: available_memory(),
    };
    check_limits(limits, findings);
    find_unwritable(findings);
}

fn check_limits(limits: Limits, findings: &mut Findings) {
    findings.check([Check::OpenFiles, Check::Processes, Check::Memory]);
    let Limits { workers, open_files, processes, address_space, memory } = limits;
    if let Some(files) = open_files.filter(|_| workers < MIN_WORKERS) {
        let message =
            format!("at most {files} files may be open, so that a run polls at most {workers} sites at a time");
        findings.add(
            Check::OpenFiles,
            message,
            "raise the hard limit (ulimit -Hn 8192, or LimitNOFILE=8192 of the unit)",
        );
    }
    if let Some(processes) = processes.filter(|limit| *limit < MIN_PROCESSES) {
        let message = format!("this user may have only {processes} processes and threads");
        findings.add(Check::Processes, message, "raise the limit (ulimit -u 4096, or LimitNPROC=4096 of the unit)");
    }
    let mib = |bytes| bytes >> 20;
    if let Some(bytes) = address_space.filter(|limit| *limit < MIN_ADDRESS_SPACE) {
        let message =
            format!("a process may have only {} MiB of address space, in which each thread has a stack", mib(bytes));
        findings.add(Check::Memory, message, "remove the limit (ulimit -v unlimited), or limit the memory of the unit");
    }
    if let Some(bytes) = memory.filter(|left| *left < MIN_MEMORY) {
        let message = format!("only {} MiB of memory are left", mib(bytes));
        findings.add(Check::Memory, message, "free some memory: ps -e -o rss,args --sort -rss | head");
    }
}

/// Finds a directory of temporary files, or a `/dev/null`, that cannot be written.
fn find_unwritable(findings: &mut Findings) {
    findings.check([Check::TempDir, Check::DevNull]);
    // A full file system still has room for the name of a file.
    let written = tempfile::tempfile().and_then(|mut file| file.write_all(&vec![0; MIN_TEMP_BYTES]));
    if let Err(error) = written {
        let dir = PrivateTempDir::parent();
        let message = format!("cannot write a temporary file in {}: {}", dir.display(), error.kind());
        findings.add(
            Check::TempDir,
            message,
            "free some space there, or set TMPDIR to a directory that can be written",
        );
    }
    let null = OpenOptions::new().write(true).open("/dev/null").and_then(|_| fs::metadata("/dev/null"));
    if !null.is_ok_and(|metadata| metadata.file_type().is_char_device()) {
        let remedy = "make it again as root: rm -f /dev/null; mknod -m 666 /dev/null c 1 3";
        findings.add(Check::DevNull, "/dev/null cannot be written, or is no device", remedy);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ENOUGH: Limits =
        Limits { workers: 4096, open_files: None, processes: None, address_space: None, memory: Some(1 << 30) };

    #[test]
    fn low_limits_are_found_one_by_one() {
        for (limits, expected) in [
            (ENOUGH, &[][..]),
            (Limits { open_files: Some(256), workers: 64, ..ENOUGH }, &["open-files"]),
            (Limits { open_files: Some(4096), workers: 1344, ..ENOUGH }, &[]),
            (Limits { processes: Some(100), ..ENOUGH }, &["processes"]),
            (Limits { address_space: Some(256 << 20), ..ENOUGH }, &["memory"]),
            (Limits { memory: Some(1 << 20), ..ENOUGH }, &["memory"]),
        ] {
            let mut findings = Findings::default();
            check_limits(limits, &mut findings);
            assert_eq!(findings.ids(), expected, "{limits:?}");
        }
    }
}

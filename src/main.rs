//! Passes the arguments to the command line, and its exit code to the system.

use std::env;
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};

use rustix::process::{Resource, getrlimit};

/// The allocator of the packages: that of musl makes threads wait for each other.
#[cfg(target_env = "musl")]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The variable that limits the arenas of glibc's allocator.
const ARENAS_VARIABLE: &str = "MALLOC_ARENA_MAX";
/// The variable that limits what mimalloc reserves at once.
const RESERVE_VARIABLE: &str = "MIMALLOC_ARENA_RESERVE";

fn main() -> ExitCode {
    restart_with_frugal_allocator();
    cxnpoll::cli::run(env::args_os()).into()
}

/// Executes the program again with an allocator that takes little, if memory is limited (`ulimit -v`).
///
/// A value that the user has set stays. Of the limit, glibc takes 64 MiB for nearly every thread, and mimalloc takes
/// 128 MiB or more at once. If the program cannot be executed, it goes on as it is.
fn restart_with_frugal_allocator() {
    let is_musl = cfg!(target_env = "musl");
    let (variable, value) = if is_musl { (RESERVE_VARIABLE, "0") } else { (ARENAS_VARIABLE, "1") };
    if getrlimit(Resource::As).current.is_none() || env::var_os(variable).is_some() {
        return;
    }
    let mut arguments = env::args_os();
    if let (Ok(program), Some(name)) = (env::current_exe(), arguments.next()) {
        let _ = Command::new(program).arg0(name).args(arguments).env(variable, value).exec();
    }
}

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

fn main() -> ExitCode {
    restart_with_one_arena();
    cxnpoll::cli::run(env::args_os()).into()
}

/// Executes the program again with one arena, if memory is limited (`ulimit -v`).
///
/// A number that the user has set stays. Each arena takes 64 MiB of the limit, and glibc makes one for nearly every
/// thread. If the program cannot be executed, it goes on as it is.
fn restart_with_one_arena() {
    let is_limited = getrlimit(Resource::As).current.is_some();
    if !(cfg!(target_env = "gnu") && is_limited && env::var_os(ARENAS_VARIABLE).is_none()) {
        return;
    }
    let mut arguments = env::args_os();
    if let (Ok(program), Some(name)) = (env::current_exe(), arguments.next()) {
        let _ = Command::new(program).arg0(name).args(arguments).env(ARENAS_VARIABLE, "1").exec();
    }
}

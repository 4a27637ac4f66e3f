//! Arguments to exit code, nothing else.

use std::process::ExitCode;

fn main() -> ExitCode {
    cxnpoll::cli::run(std::env::args_os()).into()
}

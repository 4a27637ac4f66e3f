//! All exit codes of the program.
//!
//! They follow `sysexits.h` where it has a suitable number. Scripts and systemd units depend on them.

/// Success. Sites that failed do not change it.
pub const OK: u8 = 0;
/// An internal error: a bug, or an operation of the system that should not fail.
pub const INTERNAL: u8 = 1;
/// The command line is wrong.
pub const USAGE: u8 = 2;
/// A site failed: that of `call` or `poll --cxn`, or any with `--strict`. Also a poll with `--cxn` that did not succeed.
pub const SITE_FAILED: u8 = 3;
/// Bad records in an import, or a prune over its limit.
pub const BAD_DATA: u8 = 65;
/// A store, app, connection or file was not found.
pub const NOT_FOUND: u8 = 66;
/// This machine or its network caused failures. They changed no site's failure count.
pub const OWN_OUTAGE: u8 = 69;
/// The store or a temporary file cannot be used, records were skipped, or `store check` found faults.
pub const STORE: u8 = 74;
/// Standard output or an output file cannot be written, although the command did its work.
pub const OUTPUT: u8 = 74;
/// Declined: another run polls the batch, or the store stayed busy longer than `--store-wait`.
///
/// Also a run whose `--max-runtime` was over before it was known what is due.
pub const DECLINED: u8 = 75;
/// The configuration is wrong, or a listener does not work.
///
/// A program does not work at all, or a listener failed before or after the polls of a run, or at all sites.
///
/// Also a run in which no site accepts the messages of the app.
pub const CONFIG: u8 = 78;
/// Ended by SIGHUP.
pub const SIGHUP: u8 = 129;
/// Ended by SIGINT.
pub const SIGINT: u8 = 130;
/// Ended by SIGTERM.
pub const SIGTERM: u8 = 143;

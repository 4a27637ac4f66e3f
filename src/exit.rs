//! The exit codes: every one that the program ends with, in one place.
//!
//! They follow `sysexits.h` where it has a fitting number, so that scripts and systemd units can tell them apart.

/// Done. Sites that failed are no error of ours.
pub const OK: u8 = 0;
/// An internal error: a bug, or an operation of the system that should not fail.
pub const INTERNAL: u8 = 1;
/// The command line is wrong.
pub const USAGE: u8 = 2;
/// The site failed, where the command was about one site (`call`, `poll --cxn`), or any site with `--strict`.
pub const SITE_FAILED: u8 = 3;
/// Bad records in an import.
pub const BAD_DATA: u8 = 65;
/// Not found: store, app, connection, file.
pub const NOT_FOUND: u8 = 66;
/// Our own network is down: the run ended without charging the sites.
pub const OWN_OUTAGE: u8 = 69;
/// The store can't be opened or read, or `store check` found faults.
pub const STORE: u8 = 74;
/// Declined: another runner has the batch, or the store stayed busy beyond `--store-wait`.
pub const DECLINED: u8 = 75;
/// The configuration is wrong.
pub const CONFIG: u8 = 78;
/// Ended by SIGINT.
pub const SIGINT: u8 = 130;
/// Ended by SIGTERM.
pub const SIGTERM: u8 = 143;

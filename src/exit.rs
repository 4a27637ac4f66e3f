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

/// An exit code, as help, manual pages and the documentation describe it.
pub struct Meaning {
    /// The code.
    pub code: u8,
    /// What it is called in one or two words.
    pub name: &'static str,
    /// When a command ends with it.
    pub when: &'static str,
}

/// All exit codes, in their order.
pub const MEANINGS: [Meaning; 13] = [
    Meaning { code: OK, name: "done", when: "Success. Sites that failed do not change it." },
    Meaning {
        code: INTERNAL,
        name: "internal error",
        when: "A bug, or an operation of the system that should not fail, such as starting a thread.",
    },
    Meaning {
        code: USAGE,
        name: "usage",
        when: "The command line is wrong, a change needs a confirmation, or an export would replace a file.",
    },
    Meaning {
        code: SITE_FAILED,
        name: "the site failed",
        when: "The site of `call` or `poll --cxn` failed, or any site with `--strict`.",
    },
    Meaning {
        code: BAD_DATA,
        name: "bad records",
        when: "An import has bad records, even if they were skipped, or a prune is over its limit.",
    },
    Meaning { code: NOT_FOUND, name: "not found", when: "A store, app, connection or file was not found." },
    Meaning {
        code: OWN_OUTAGE,
        name: "own outage",
        when: "This machine or its network caused failures. No site's failure count changed by them.",
    },
    Meaning {
        code: STORE,
        name: "store or output",
        when: "The store, standard output, an output file or a temporary file cannot be used, records of the store were \
               skipped because they cannot be read, or `store check` found faults. Output that cannot be written changes \
               nothing of what a command does.",
    },
    Meaning {
        code: DECLINED,
        name: "declined or busy",
        when: "Another run is polling these sites, or the store stayed busy longer than `--store-wait`, or until \
               `--max-runtime` was over and nothing was polled.",
    },
    Meaning {
        code: CONFIG,
        name: "configuration",
        when: "The configuration is wrong, a listener program does not work, a listener failed at all sites or before or \
               after the polls, or no site accepts the messages of the app.",
    },
    Meaning {
        code: SIGHUP,
        name: "ended by SIGHUP",
        when: "SIGHUP ended the command, such as that of a closed terminal.",
    },
    Meaning { code: SIGINT, name: "ended by SIGINT", when: "SIGINT ended the command: Ctrl-C." },
    Meaning { code: SIGTERM, name: "ended by SIGTERM", when: "SIGTERM ended the command, such as that of systemd." },
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_has_a_meaning() {
        let source = include_str!("exit.rs");
        let values = source.lines().filter_map(|line| line.strip_prefix("pub const ")?.split_once(": u8 = "));
        let mut codes: Vec<u8> = values.map(|(_, value)| value.trim_end_matches(';').parse().unwrap()).collect();
        codes.dedup();
        assert_eq!(codes, MEANINGS.map(|meaning| meaning.code));
    }
}

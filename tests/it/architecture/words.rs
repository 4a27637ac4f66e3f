//! Words and names that the code has left behind.

use super::rules::Banned;

/// What must not come back. A hyphen follows the first letter of each banned word, so that a search for the word does not find the list.
pub const BANNED: Banned =
    Banned { people: PEOPLE, everywhere: EVERYWHERE, identifiers: IDENTIFIERS, allowed: ALLOWED };

/// Words for people. Code is not a person.
const PEOPLE: &[&str] = &["w-ho", "w-hoever", "n-obody", "s-omebody"];

/// Former names and what replaced them. They mean nothing else, neither in code nor in text.
const EVERYWHERE: &[(&str, &str)] = &[
    ("A-lteration", "AdminAction"),
    ("C-xnLine", "CxnPatch"),
    ("E-nrolled", "BackfillProgress"),
    ("F-AREWELL", "SHUTDOWN_GRACE"),
    ("L-ACKS", "DEFAULT_TAIL"),
    ("L-OOK_AGAIN", "LOCK_POLL_INTERVAL"),
    ("N-otOpened", "OpenError"),
    ("P-ATIENCE", "MAX_OUTAGE"),
    ("P-IECE", "MAX_VALUE_BYTES"),
    ("P-acked", "EncodedResult"),
    ("P-auses", "Backoff"),
    ("S-helf", "DueBucket"),
    ("S-tatusLine", "StatusPatch"),
    ("T-ELLTALE", "REDACT_PREFIX_LEN"),
    ("T-OLD", "MAX_REPORTED"),
    ("T-ally", "StateCounts"),
    ("W-eather", "Verdict"),
    ("a-ffordable", "clamp_to_fd_limit"),
    ("e-nrol", "backfill"),
    ("e-nrolled", "backfilled"),
    ("f-oresees", "query"),
    ("g-ate", "session, lock or recovery"),
    ("i-nsisting", "run_on_store_thread"),
    ("i-s_sure", "confirm"),
    ("j-udge", "check or rule"),
    ("l-ast_words", "last_stderr_line"),
    ("l-ine_up", "enqueue_host"),
    ("m-end", "repair"),
    ("m-uttered", "stderr_buf"),
    ("n-othing_is_due", "is_certainly_idle"),
    ("o-utlook", "due_hint"),
    ("p-ut_away", "archive"),
    ("r-un_alone", "run_locked"),
    ("s-afe_text", "sanitize"),
    ("s-et_aside", "quarantine"),
    ("s-weep", "remove_incomplete_snapshots"),
    ("t-old", "reported"),
    ("t-ook_ms", "last_duration_ms"),
    ("u-nreached", "answered"),
    ("v-isitor", "owner"),
];

/// Former names and what replaced them. In text they are ordinary words.
///
/// Words that are ordinary names in code too are not listed.
const IDENTIFIERS: &[(&str, &str)] = &[
    ("A-ct", "AdminArgs"),
    ("A-lone", "ExclusiveStore"),
    ("C-HUNK", "QUEUE_CAPACITY"),
    ("C-OST", "MAX_OPEN_OVERHEAD"),
    ("C-aller", "Dispatcher"),
    ("C-andidate", "DueEntry"),
    ("C-laim", "RunLock"),
    ("D-oubtful", "Unsure"),
    ("F-EW", "LOW_WATERMARK"),
    ("F-IRST", "INITIAL_LOAD"),
    ("G-ATHER", "COALESCE"),
    ("G-ROUP", "FLUSH_COUNT"),
    ("I-NTERVAL", "FLUSH_INTERVAL"),
    ("J-udge", "Rule"),
    ("K-ept", "StoredResult"),
    ("N-ames", "NameCache"),
    ("N-onsense", "Protocol"),
    ("P-lace", "CxnLocator"),
    ("P-lan", "PollRun"),
    ("P-olled", "PollResult"),
    ("R-eplacement", "StatusUpdate"),
    ("S-uspected", "Offline"),
    ("T-ask", "PollTask"),
    ("T-rouble", "ProgramError"),
    ("W-atch", "PhaseTagging"),
    ("W-ords", "Verbs"),
    ("a-bandon", "cancel_pending"),
    ("a-lone", "lock_exclusive"),
    ("a-lter", "admin"),
    ("c-aught", "catch_sled_panic"),
    ("f-ire", "emit"),
    ("f-orget", "delete_cxn"),
    ("h-eard", "stdout_buf"),
    ("i-n_use", "lock_shared"),
    ("k-nows", "knows_app"),
    ("l-asting", "unrepairable"),
    ("p-aged", "scan_in_batches"),
    ("p-atient", "with_min_timeout"),
    ("r-aised", "bump_counters"),
    ("v-isit", "with_session"),
];

/// Words that users know, with the file that may use them.
const ALLOWED: &[(&str, &str)] = &[
    ("docs/running.md", "o-utlook"),
    ("benches/sqlite/compare.rs", "o-utlook"),
    ("docs/design.md", "o-utlook"),
    ("src/store/engine/layout.rs", "o-utlook"),
    ("src/store/mod.rs", "o-utlook"),
    ("tests/it/idle.rs", "o-utlook"),
    ("tests/it/completions.rs", "o-utlook"),
];

//! The environment variables that the program reads, and the files that it uses.

use crate::cli::completion;
use crate::config::{CONFIG_VARIABLE, HEARTBEAT_VARIABLE, STORE_VARIABLE};

/// Environment variables, each with its effect.
pub(super) const VARIABLES: [(&str, &str); 20] = [
    (CONFIG_VARIABLE, "The configuration file, unless `--config` names one."),
    (STORE_VARIABLE, "The directory of the store, unless `--store` names one. `~/` is the home directory."),
    (
        HEARTBEAT_VARIABLE,
        "The URL that `poll` calls after a successful run, unless `--heartbeat` names one. Other users cannot see it.",
    ),
    ("XDG_CONFIG_HOME", "The directory of the user's configuration. The default is `~/.config`."),
    (
        "XDG_STATE_HOME",
        "The directory of the user's state, in which the store is by default. The default is `~/.local/state`.",
    ),
    ("HOME", "The user's home directory, which `~` stands for at the beginning of a path."),
    ("TMPDIR", "The directory of temporary files. The default is `/tmp`."),
    ("NO_COLOR", "If it is not empty, there are no colors, unless `--color` asks for them."),
    ("CLICOLOR_FORCE", "If it is neither empty nor 0, there are colors, also without a terminal."),
    ("CLICOLOR", "If it is 0, there are no colors."),
    ("TERM", "If it is `dumb` or missing, there are no colors."),
    ("SSL_CERT_FILE", "A file of certificate authorities in PEM, in place of those of the platform."),
    ("SSL_CERT_DIR", "Directories of certificate authorities, separated by colons, in place of those of the platform."),
    (
        "RES_OPTIONS",
        "Options of the system's resolver. With `use-vc`, name servers are not asked by UDP to find out whether they answer.",
    ),
    ("PATH", "Where listener programs are found that are not named by a path."),
    (
        "LANG, LOGNAME, SHELL, TZ, USER",
        "Passed on to listener programs, as are HOME, PATH and TMPDIR. They get no other variable.",
    ),
    (
        "CONTENT_LENGTH, PATH_INFO, REMOTE_ADDR, REQUEST_METHOD",
        "The request that `registration` answers. The web server sets them, as CGI/1.1 has it.",
    ),
    ("MALLOC_ARENA_MAX", "The number of memory arenas of glibc. If memory is limited (`ulimit -v`), the default is 1."),
    (
        "MIMALLOC_ARENA_RESERVE",
        "The address space that the allocator of the packages reserves, in KiB. If it is limited (`ulimit -v`), the default is 0.",
    ),
    (
        completion::VARIABLE,
        "The name of the shell that asks for completions. The script that `cxnpoll completions` prints sets it.",
    ),
];

/// Files and directories, each with its purpose.
pub(super) const FILES: [(&str, &str); 6] = [
    ("~/.config/cxnpoll/cxnpoll.toml", "The user's configuration."),
    ("/etc/cxnpoll/cxnpoll.toml", "The configuration, if the user has none."),
    (
        "~/.local/state/cxnpoll",
        "The store, unless another directory is given. It belongs to one user and has mode 0700.",
    ),
    ("STORE/backups", "Backups, which runs write. They contain all secrets."),
    ("STORE/kept", "What a restore replaced, and what a repair removed. Remove it once all is well."),
    ("STORE/runs", "The locks of runs."),
];

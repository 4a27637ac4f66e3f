//! Options, durations, and credentials in URLs.

cases! {
    console_options,
    console_verbose_3,
    option_twice_flags,
    option_twice_global,
    option_twice_poll,
}

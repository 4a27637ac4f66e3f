//! Options, durations, and credentials in URLs.

cases! {
    console_options,
    console_verbose_3,
    credentials_are_not_shown,
    credentials_are_sent,
    durations_of_poll,
    durations_of_selections,
    option_twice_flags,
    option_twice_global,
    option_twice_poll,
}

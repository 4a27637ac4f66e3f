//! Output that cannot be written, and metrics.

cases! {
    pager_does_not_hold_the_store,
    stdout_closed_poll,
}

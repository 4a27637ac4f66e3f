//! Output that cannot be written, and metrics.

cases! {
    pager_does_not_hold_the_store,
    pipe_closed_metrics,
    pipe_closed_strict,
    stdout_closed_poll,
    stdout_full_export,
    stdout_full_get,
    stdout_full_poll,
}

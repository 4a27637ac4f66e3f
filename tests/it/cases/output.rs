//! Output that cannot be written, and metrics.

cases! {
    metrics_mode_under_umask_077,
    metrics_names_with_hyphens,
    metrics_of_a_former_layout,
    pager_does_not_hold_the_store,
    pipe_closed_metrics,
    pipe_closed_strict,
    stdout_closed_poll,
    stdout_full_export,
    stdout_full_get,
    stdout_full_poll,
}

//! Listener programs and the configuration.

cases! {
    counts_of_one,
}

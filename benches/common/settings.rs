//! Criterion's settings for the benches of the store.

use std::time::Duration;

use criterion::Criterion;

/// Returns settings for few long iterations: most of them end with a sync to the disk.
pub fn criterion() -> Criterion {
    Criterion::default()
        .sample_size(10)
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(2))
        .configure_from_args()
}

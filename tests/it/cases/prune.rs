//! What removes, replaces or exports much.

cases! {
    prune_ten_of_twelve,
    results_remove_does_not_ask,
    results_remove_y,
}

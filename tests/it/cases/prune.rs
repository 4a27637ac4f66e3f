//! What removes, replaces or exports much.

cases! {
    export_a_connection_by_mistake,
    export_over_a_file,
    export_through_a_dangling_link,
    jsonl_cut_with_skip,
    prune_at_most,
    prune_at_most_percent,
    prune_brake,
    prune_ten_of_twelve,
    prune_the_last_of_an_app,
    prune_with_a_bad_row,
    redact_hides_query_secrets,
    restore_asks_at_a_terminal,
    restore_yes,
    results_remove_does_not_ask,
    results_remove_y,
}

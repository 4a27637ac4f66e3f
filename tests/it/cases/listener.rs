//! Listener programs and the configuration.

cases! {
    config_empty_certificate,
    config_listener_of_an_unknown_app,
    config_missing_program,
    config_program_not_executable,
    counts_of_one,
    listener_byte_order_mark,
    listener_dies_at_its_second_event,
    listener_does_not_flush,
    listener_ends_between_events,
    listener_exits_without_answer,
    listener_killed,
    listener_pre_poll_dies,
    metadata_byte_order_mark,
}

//! The environment: directories, descriptors and terminals.

cases! {
    colour_clicolor_0,
    colour_dumb_terminal,
    colour_forced,
    home_configuration_unreadable,
    home_unreadable,
    log_to_a_socket,
    log_to_dash,
    log_to_descriptors,
    status_at_80_columns,
    store_read_only_and_a_signal,
    store_read_only_directory,
    store_read_only_for_another_user,
    store_read_only_for_writers,
    store_read_only_mount,
    terminal_without_a_width,
    tilde_everywhere,
    tilde_in_the_store_variable,
    volume_for_every_command,
    volume_not_writable,
    volume_owned_by_root,
}

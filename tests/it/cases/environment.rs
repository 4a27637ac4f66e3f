//! The environment: directories, descriptors and terminals.

cases! {
    terminal_without_a_width,
}

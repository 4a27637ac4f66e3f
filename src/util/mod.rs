//! Helpers without domain knowledge: files, locks, text and time.

mod descriptor;
pub mod encryption;
pub mod file_error;
pub mod fs_atomic;
pub mod home;
pub mod lock;
pub mod open;
pub mod private_temp;
pub mod signal;
mod staging;
pub mod text;
pub mod time;

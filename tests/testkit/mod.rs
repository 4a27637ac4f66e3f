//! What the tests share: a store with simulated sites, the command, and the tools around both.

pub mod faults;
pub mod library;
mod locks;
pub mod name_server;
pub mod namespace;
mod process;
mod random;
pub mod registrar;
pub mod samples;
pub mod tools;
mod world;

pub use locks::StoreLocks;
pub use process::{assert_quiet, code, json_lines, signal, stderr, stdout, until, wait, was_killed};
pub use random::{Random, number_from_env};
pub use world::{APP, CERTIFICATE, MIDNIGHT, World, assert_no_secret, short_id};

//! Hosts over real sockets: one that is bad, limits by address, reused connections, dead addresses.
//!
//! Each test prints its figures with `--nocapture`. The sizes of `figures` take minutes, so `tests/long.sh` runs them.

mod addresses;
mod bad_host;
mod connections;
mod figures;
mod limits;
mod scene;
mod server;
mod shared_address;

//! Any bytes as the body of a registration: whatever they are, they are opened or refused.

#![no_main]

#[path = "shared.rs"]
mod shared;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|body: &[u8]| shared::answer(body));

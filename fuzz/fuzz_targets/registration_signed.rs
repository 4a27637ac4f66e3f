//! Any bytes in a registration that is signed properly, as any client can.
//!
//! The first byte decides what the others are: envelope and ciphertext, or a plaintext that is encrypted.

#![no_main]

#[path = "shared.rs"]
mod shared;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    if let Some((mode, bytes)) = input.split_first() {
        let body = if mode % 2 == 0 { shared::signed(bytes) } else { shared::encrypted(bytes) };
        shared::answer(&body);
    }
});

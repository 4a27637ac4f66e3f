//! Any JSON as what a registration holds, without its encryption. So this is fast.

#![no_main]

#[path = "shared.rs"]
mod shared;

use libfuzzer_sys::{Corpus, fuzz_target};

fuzz_target!(|plaintext: &[u8]| -> Corpus {
    match serde_json::from_slice(plaintext) {
        Ok(plaintext) => {
            shared::read(&plaintext);
            Corpus::Keep
        }
        Err(_) => Corpus::Reject,
    }
});

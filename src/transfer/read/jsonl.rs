//! JSON lines: one connection per line.

use std::io::BufRead;

use super::lines::for_each_line;
use crate::transfer::entry::{Emit, Raw};
use crate::transfer::error::Error;

/// Emits the lines that are not blank.
pub fn read<E: From<Error>>(input: impl BufRead, emit: &mut Emit<E>) -> Result<(), E> {
    for_each_line(input, |number, text| match text.map(|text| text.trim_start_matches('\u{feff}').trim()) {
        Ok("") => Ok(()),
        text => emit(number, text.map(|text| Raw::Cxn(text.to_owned()))),
    })
}

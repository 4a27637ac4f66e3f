//! Lines of an input, with their numbers.

use std::io::BufRead;

use crate::transfer::error::{Error, Problem};

/// Emits each line without its end, with its number from 1.
///
/// # Errors
/// Those of `emit`, and where the input cannot be read.
pub fn for_each_line<E: From<Error>>(
    mut input: impl BufRead,
    mut emit: impl FnMut(usize, Result<&str, Problem>) -> Result<(), E>,
) -> Result<(), E> {
    let mut line = Vec::new();
    for number in 1.. {
        line.clear();
        if input.read_until(b'\n', &mut line).map_err(Error::ReadInput)? == 0 {
            break;
        }
        let text = line.strip_suffix(b"\n").unwrap_or(&line);
        let text = text.strip_suffix(b"\r").unwrap_or(text);
        emit(number, std::str::from_utf8(text).map_err(|_| Problem::NotUtf8))?;
    }
    Ok(())
}

//! Comma-separated values with a header.

use std::cell::Cell;
use std::io::{self, Read};

use super::table::Header;
use crate::transfer::entry::Emit;
use crate::transfer::error::{Error, Problem};
use crate::transfer::format::NULL;

/// Counts the quotes of an input.
struct QuoteCounter<'a, R> {
    input: R,
    count: &'a Cell<u64>,
}

impl<R: Read> Read for QuoteCounter<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.input.read(buffer)?;
        let quotes = buffer[..length].iter().map(|byte| u64::from(*byte == b'"')).sum::<u64>();
        self.count.set(self.count.get() + quotes);
        Ok(length)
    }
}

/// Emits the rows after the header.
pub fn read<E: From<Error>>(input: impl Read, emit: &mut Emit<E>) -> Result<(), E> {
    let quotes = Cell::new(0_u64);
    let counted = QuoteCounter { input, count: &quotes };
    let mut reader = csv::ReaderBuilder::new().flexible(true).has_headers(false).from_reader(counted);
    let mut row = csv::ByteRecord::new();
    let mut header: Option<Header> = None;
    while reader.read_byte_record(&mut row).map_err(|error| Error::ReadInput(error.into()))? {
        let number = row.position().and_then(|at| usize::try_from(at.line()).ok()).unwrap_or_default();
        let fields: Result<Vec<&str>, _> = row.iter().map(std::str::from_utf8).collect();
        let Some(header) = &header else {
            let names = fields.unwrap_or_default();
            let names = names.into_iter().map(|name| name.trim_start_matches('\u{feff}'));
            header = Some(Header::new(names).ok_or(Error::NoHeader)?);
            continue;
        };
        let record = fields.map_err(|_| Problem::NotUtf8).and_then(|fields| {
            let fields = fields.into_iter().map(|field| (field != NULL).then(|| field.to_owned()));
            header.object(fields.collect()).map(|object| header.record(object))
        });
        emit(number, record)?;
    }
    // The csv crate takes the end of the input for the end of a quoted field. Within a field quotes come in pairs, so an
    // odd number means that one is not closed.
    if quotes.get().is_multiple_of(2) { Ok(()) } else { Err(Error::UnclosedQuote.into()) }
}

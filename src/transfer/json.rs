//! `{cxnId: {…}}`: the file store of cxnapp.

use std::fmt;
use std::io::Read;

use serde::de::{DeserializeSeed, Deserializer, MapAccess, Visitor};
use serde_json::{Map, Value};

use super::format::Raw;
use super::jsonl::describe;
use crate::error::{Error, Kind, Result};

/// Hands out the entries one by one, as they come.
pub(super) fn each(input: impl Read, emit: &mut dyn FnMut(usize, Result<Raw, String>) -> Result<()>) -> Result<()> {
    let mut failed = None;
    let mut parser = serde_json::Deserializer::from_reader(input);
    let parsed = Entries { emit, failed: &mut failed }.deserialize(&mut parser).and_then(|()| parser.end());
    match (failed, parsed) {
        (Some(error), _) => Err(error),
        (None, Err(error)) => {
            let text = format!("line {}: {}", error.line(), describe(&error));
            Err(Error::new(Kind::BadData, format!("{text}\nnothing was imported"))
                .hint("expected {cxnId: {…}}, as the file store of cxnapp has it; --format names another form"))
        }
        (None, Ok(())) => Ok(()),
    }
}

struct Entries<'a> {
    emit: &'a mut dyn FnMut(usize, Result<Raw, String>) -> Result<()>,
    failed: &'a mut Option<Error>,
}

impl<'de> DeserializeSeed<'de> for Entries<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Entries<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("a JSON object of connections by cxnId")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let mut number = 0;
        while let Some((cxn_id, value)) = map.next_entry::<String, Value>()? {
            number += 1;
            if let Err(error) = (self.emit)(number, entry(cxn_id, value)) {
                *self.failed = Some(error);
                return Err(serde::de::Error::custom("stopped"));
            }
        }
        Ok(())
    }
}

/// One entry. Its cxnId may stand in front of it alone.
fn entry(cxn_id: String, value: Value) -> Result<Raw, String> {
    let Value::Object(fields) = value else { return Err("expected a JSON object".to_owned()) };
    let mut object = Map::from_iter([("cxnId".to_owned(), Value::from(cxn_id))]);
    for (key, value) in fields {
        if key == "cxnId" && object["cxnId"] != value {
            return Err("the cxnId within differs from the one in front".to_owned());
        }
        object.insert(key, value);
    }
    Ok(Raw::Cxn(Value::Object(object).to_string()))
}

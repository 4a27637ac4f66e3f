//! `{cxnId: {…}}`, as the file store of cxnapp has it.

use std::fmt;
use std::io::Read;

use serde::de::{DeserializeSeed, Deserializer, MapAccess, Visitor};
use serde_json::{Map, Value};

use crate::transfer::entry::{Emit, Raw};
use crate::transfer::error::{Error, Problem};
use crate::transfer::json_problem::problem_of;

/// Emits the entries one by one, without holding all of them.
pub fn read<E: From<Error>>(input: impl Read, emit: &mut Emit<E>) -> Result<(), E> {
    let mut failed = None;
    let mut parser = serde_json::Deserializer::from_reader(input);
    let parsed = Entries { emit, failed: &mut failed }.deserialize(&mut parser).and_then(|()| parser.end());
    match (failed, parsed) {
        (Some(error), _) => Err(error),
        (None, Err(error)) if error.is_io() => Err(Error::ReadInput(error.into()).into()),
        (None, Err(error)) => Err(Error::InvalidJson { line: error.line(), problem: problem_of(&error) }.into()),
        (None, Ok(())) => Ok(()),
    }
}

/// Visits the entries. serde cannot carry an error of `emit`, so that goes into `failed`.
struct Entries<'a, 'e, E> {
    emit: &'a mut Emit<'e, E>,
    failed: &'a mut Option<E>,
}

impl<'de, E> DeserializeSeed<'de> for Entries<'_, '_, E> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de, E> Visitor<'de> for Entries<'_, '_, E> {
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

/// Makes a record of one entry, whose value may lack the cxnId.
fn entry(cxn_id: String, value: Value) -> Result<Raw, Problem> {
    let Value::Object(fields) = value else { return Err(Problem::NotAnObject) };
    let mut object = Map::from_iter([("cxnId".to_owned(), Value::from(cxn_id))]);
    for (key, value) in fields {
        if key == "cxnId" && object["cxnId"] != value {
            return Err(Problem::CxnIdDiffers);
        }
        object.insert(key, value);
    }
    Ok(Raw::Cxn(Value::Object(object).to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn records(text: &str) -> Result<Vec<Result<Raw, Problem>>, Error> {
        let mut records = Vec::new();
        read(text.as_bytes(), &mut |_, record| {
            records.push(record);
            Ok::<_, Error>(())
        })?;
        Ok(records)
    }

    #[test]
    fn the_key_of_an_entry_is_its_cxn_id() {
        let text =
            r#"{"cxn:1": {"secret": "x"}, "cxn:2": {"cxnId": "cxn:2"}, "cxn:3": {"cxnId": "cxn:4"}, "cxn:5": 5}"#;
        assert_eq!(
            records(text).unwrap(),
            [
                Ok(Raw::Cxn(r#"{"cxnId":"cxn:1","secret":"x"}"#.to_owned())),
                Ok(Raw::Cxn(r#"{"cxnId":"cxn:2"}"#.to_owned())),
                Err(Problem::CxnIdDiffers),
                Err(Problem::NotAnObject),
            ]
        );
    }

    #[test]
    fn an_input_that_is_not_json_is_an_error_with_its_line() {
        for text in ["{\"cxn:1\": {},\n x}", "{\"cxn:1\": {}}\n x", "\n[1]"] {
            let error = records(text).unwrap_err();
            assert!(matches!(error, Error::InvalidJson { line: 2, .. }), "{text}: {error:?}");
        }
    }

    #[test]
    fn an_error_of_emit_ends_the_reading() {
        #[derive(Debug)]
        enum Stop {
            Here(usize),
            Transfer(Error),
        }
        impl From<Error> for Stop {
            fn from(error: Error) -> Self {
                Self::Transfer(error)
            }
        }
        let text = r#"{"cxn:1": {}, "cxn:2": {}, not JSON"#;
        let stopped =
            read(text.as_bytes(), &mut |number, _| if number == 2 { Err(Stop::Here(number)) } else { Ok(()) });
        assert!(matches!(stopped, Err(Stop::Here(2))), "{stopped:?}");
        let invalid = read(text.as_bytes(), &mut |_, _| Ok::<_, Stop>(()));
        assert!(matches!(invalid, Err(Stop::Transfer(Error::InvalidJson { .. }))), "{invalid:?}");
    }
}

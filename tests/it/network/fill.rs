//! The placeholders in a case.

use std::io::Write;

use chrono::{TimeDelta, Utc};
use flate2::Compression;
use flate2::write::GzEncoder;

/// The length of `{first}`.
const FIRST_BYTES: usize = 40;

/// The placeholders whose values are known before the poll, with their values.
#[derive(Clone)]
pub struct Placeholders(pub Vec<(&'static str, String)>);

impl Placeholders {
    /// Fills in a text that is no reply.
    pub fn fill(&self, text: &str) -> String {
        self.0.iter().fold(text.to_owned(), |text, (name, value)| text.replace(&format!("{{{name}}}"), value))
    }

    fn get(&self, name: &str) -> Option<Vec<u8>> {
        self.0.iter().find(|(known, _)| *known == name).map(|(_, value)| value.clone().into_bytes())
    }
}

/// Fills in a reply; returns the pieces between its pauses. `body` is the message that answers the request.
pub fn reply(template: &str, names: &Placeholders, body: &[u8]) -> Vec<Vec<u8>> {
    template.split("{pause}").map(|piece| fill(piece, |name| value(name, names, body))).collect()
}

/// Replaces each placeholder that has a value. Other braces stand for themselves.
fn fill(template: &str, value: impl Fn(&str) -> Option<Vec<u8>>) -> Vec<u8> {
    let (mut filled, mut rest) = (Vec::new(), template);
    while let Some((before, after)) = rest.split_once('{') {
        filled.extend(latin1(before));
        let placeholder = after.split_once('}').and_then(|(name, after)| Some((value(name)?, after)));
        let (bytes, after) = placeholder.unwrap_or((b"{".to_vec(), after));
        filled.extend(bytes);
        rest = after;
    }
    filled.extend(latin1(rest));
    filled
}

/// Returns the bytes of a text in which each character is one byte.
fn latin1(text: &str) -> impl Iterator<Item = u8> {
    text.chars().map(|c| u8::try_from(u32::from(c)).unwrap())
}

fn value(name: &str, names: &Placeholders, body: &[u8]) -> Option<Vec<u8>> {
    let (first, rest) = body.split_at(FIRST_BYTES);
    Some(match name {
        "body" => body.to_vec(),
        "length" => body.len().to_string().into_bytes(),
        "hex" => hex(body),
        "first" => first.to_vec(),
        "rest" => rest.to_vec(),
        "rest-hex" => hex(rest),
        "gzip" => gzip(body),
        "gzip-length" => gzip(body).len().to_string().into_bytes(),
        "gzip-hex" => hex(&gzip(body)),
        _ => return names.get(name).or_else(|| repeated(name)).or_else(|| date(name)),
    })
}

fn hex(bytes: &[u8]) -> Vec<u8> {
    format!("{:x}", bytes.len()).into_bytes()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// `3*text`
fn repeated(name: &str) -> Option<Vec<u8>> {
    let (times, text) = name.split_once('*')?;
    Some(latin1(text).collect::<Vec<_>>().repeat(times.parse().ok()?))
}

/// `date +120 FORMAT`
fn date(name: &str) -> Option<Vec<u8>> {
    let (seconds, format) = name.strip_prefix("date ")?.split_once(' ')?;
    let time = Utc::now() + TimeDelta::seconds(seconds.parse().ok()?);
    Some(time.format(format).to_string().into_bytes())
}

#[test]
fn placeholders_are_filled_in_and_other_braces_stay() {
    let names = Placeholders(vec![("port", "80".to_owned())]);
    let body: Vec<u8> = (0..50).collect();
    let pieces = reply("a{port}{\"b\":{length}}{pause}{3*x\r\n}\u{e9}{hex} {rest-hex} {none} {", &names, &body);
    assert_eq!(pieces, [b"a80{\"b\":50}".to_vec(), b"x\r\nx\r\nx\r\n\xe932 a {none} {".to_vec()]);
    assert_eq!(reply("{first}{rest}", &names, &body), [body]);
    assert_eq!(names.fill("{port}{x}"), "80{x}");
}

//! Unencrypted replies: with them a site reports why it cannot send a message.

/// The start of an unencrypted reply.
const START: &[u8] = b"CXN-0.2-INSECURE\x01";
const KEY: &[u8] = b"\"error_message\"";

/// An unencrypted reply with an error's text, for a request that cannot be answered with a message.
#[must_use]
pub fn insecure(error_message: &str) -> Vec<u8> {
    let json = serde_json::json!({"is_error": 1, "error_message": error_message});
    [START, json.to_string().as_bytes()].concat()
}

/// The `error_message` of an unencrypted reply, which may be cut off after it.
///
/// `None` if it is not such a reply; empty if it has no message. Nothing else of the reply is trusted or returned: a
/// stack trace in it may quote the secret.
#[must_use]
pub fn insecure_error(reply: &[u8]) -> Option<String> {
    let json = &reply[find(reply, START)? + START.len()..];
    let message = find(json, KEY).and_then(|at| {
        let value = json[at + KEY.len()..].trim_ascii_start().strip_prefix(b":")?;
        // The text may be whole where the reply is not.
        serde_json::Deserializer::from_slice(value).into_iter::<String>().next()?.ok()
    });
    Some(message.unwrap_or_default())
}

/// The position of the first occurrence of `part`.
pub(super) fn find(bytes: &[u8], part: &[u8]) -> Option<usize> {
    bytes.windows(part.len()).position(|window| window == part)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_read_back() {
        assert_eq!(insecure_error(&insecure("no \"way\"")).as_deref(), Some("no \"way\""));
    }

    #[test]
    fn only_the_error_message_is_read() {
        for (reply, expected) in [
            (
                "CXN-0.2-INSECURE\x01{\"is_error\":1,\"error_message\":\"No \\\"way\\u00e9\",\"0\":[\"#0\"]}",
                Some("No \"wayé"),
            ),
            ("CXN-0.2-INSECURE\x01{ \"error_message\" : \"No\", \"0\": [\"cut o", Some("No")),
            ("\n<b>Notice</b>CXN-0.2-INSECURE\x01{\"error_message\":\"No\"}", Some("No")),
            ("CXN-0.2-INSECURE\x01{\"is_error\":1,\"error_message\":\"cut o", Some("")),
            ("CXN-0.2-INSECURE\x01{\"is_error\":1,\"error_message\":null}", Some("")),
            ("CXN-0.2-INSECURE\x01{\"a\":\"\\\"error_message\\\":\\\"no\\\"\"}", Some("")),
            ("CXN-0.2-INSECURE\x01", Some("")),
            ("CXN-0.2-INSECURE", None),
            ("{\"error_message\":\"No\"}", None),
            ("", None),
        ] {
            assert_eq!(insecure_error(reply.as_bytes()).as_deref(), expected, "{reply}");
        }
    }
}

//! What `export --redact` hides of a connection.

use serde_json::{Map, Value};
use url::Url;

/// Replaces a secret.
const REDACTED: &str = "(redacted)";
/// Replaces a part of a URL.
const REDACTED_PART: &str = "redacted";

/// Hides the secret, and in every URL the credentials, the values of the query and the fragment.
pub(super) fn redact(object: &mut Map<String, Value>) {
    object.insert("secret".to_owned(), REDACTED.into());
    for key in ["appUrl", "siteUrl"] {
        if let Some(Value::String(url)) = object.get_mut(key) {
            *url = redacted_url(url);
        }
    }
    // The message of a redirect has a URL.
    let statuses = object.get_mut("pollStatus").and_then(Value::as_object_mut);
    for status in statuses.into_iter().flat_map(Map::values_mut) {
        if let Some(Value::String(message)) = status.pointer_mut("/lastFailure/message") {
            *message = redacted_text(message);
        }
    }
}

/// A text in which every word with `://` is redacted as a URL.
fn redacted_text(text: &str) -> String {
    let word = |word: &str| {
        let Some(separator) = word.find("://") else { return word.to_owned() };
        let start = separator - word[..separator].chars().rev().take_while(char::is_ascii_alphanumeric).count();
        format!("{}{}", &word[..start], redacted_url(&word[start..]))
    };
    let words = text.split_inclusive(char::is_whitespace).map(|part| {
        let end = part.trim_end().len();
        format!("{}{}", word(&part[..end]), &part[end..])
    });
    words.collect()
}

/// A URL without its secrets. One that has none stays exactly as it is.
fn redacted_url(text: &str) -> String {
    let parsed = Url::parse(text).ok().filter(Url::has_host);
    parsed.and_then(|url| redacted_parts(text, url)).unwrap_or_else(|| redacted_loosely(text))
}

/// The same for a URL with a host; `None` if a part cannot be replaced.
fn redacted_parts(text: &str, mut url: Url) -> Option<String> {
    let is_secret = |part: &str| !["", REDACTED_PART].contains(&part);
    let has_user = is_secret(url.username()) || url.password().is_some();
    let query = url.query().map(redacted_query);
    let has_fragment = url.fragment().is_some_and(is_secret);
    if !has_user && !has_fragment && query.as_deref() == url.query() {
        return Some(text.to_owned());
    }
    if has_user {
        url.set_password(None).and_then(|()| url.set_username(REDACTED_PART)).ok()?;
    }
    url.set_query(query.as_deref());
    if has_fragment {
        url.set_fragment(Some(REDACTED_PART));
    }
    Some(url.into())
}

/// The same for what only looks like a URL.
///
/// Hides what is before the last `@`, and all that may be a query or a fragment.
fn redacted_loosely(text: &str) -> String {
    let (rest, fragment) = text.split_once('#').map_or((text, ""), |(rest, _)| (rest, "#redacted"));
    let (rest, query) = rest
        .split_once('?')
        .map_or((rest, String::new()), |(rest, query)| (rest, format!("?{}", redacted_query(query))));
    let rest = rest.rsplit_once('@').map_or(rest.to_owned(), |(before, host)| {
        let scheme = before.find("://").map_or(0, |at| at + "://".len());
        format!("{}{REDACTED_PART}@{host}", &before[..scheme])
    });
    format!("{rest}{query}{fragment}")
}

/// A query with its keys and without its values.
///
/// A part without `=`, or with nothing after it, counts as a value: base64 may end so.
fn redacted_query(query: &str) -> String {
    let part = |part: &str| match part.split_once('=') {
        _ if part.is_empty() => String::new(),
        Some((key, value)) if value.contains(|c| c != '=') => format!("{key}={REDACTED_PART}"),
        _ => REDACTED_PART.to_owned(),
    };
    query.split('&').map(part).collect::<Vec<_>>().join("&")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn a_url_keeps_its_host_its_path_and_the_keys_of_its_query() {
        for (url, expected) in [
            ("https://a.example", "https://a.example"),
            ("HTTPS://A.example/x?", "HTTPS://A.example/x?"),
            ("https://a.example/?c2VjcmV0==&a=c2U=&", "https://a.example/?redacted&a=redacted&"),
            ("https://a.example/x?key=s1&&token=s2=s3", "https://a.example/x?key=redacted&&token=redacted"),
            ("https://a.example/x?s1", "https://a.example/x?redacted"),
            ("https://a.example/?a[]=s1&b%3D=s2", "https://a.example/?a[]=redacted&b%3D=redacted"),
            ("https://a.example?s1=1;b=s2", "https://a.example/?s1=redacted"),
            ("https://a.example/#s1", "https://a.example/#redacted"),
            ("https://a.example/#", "https://a.example/#"),
            ("https://jo:s1@a.example/x", "https://redacted@a.example/x"),
            ("https://jo@a.example:81/x?k=s1#s2", "https://redacted@a.example:81/x?k=redacted#redacted"),
            ("https://jo:s@1@a.example/", "https://redacted@a.example/"),
            ("http:\\\\jo:s1@a.example", "http://redacted@a.example/"),
            ("ftp://jo:s1@a.example/x", "ftp://redacted@a.example/x"),
            ("jo:s1@a.example/x?k=s2", "redacted@a.example/x?k=redacted"),
            ("http://jo:s1@[a.example/x?k=s2#s3", "http://redacted@[a.example/x?k=redacted#redacted"),
            ("/civicrm?k=s1", "/civicrm?k=redacted"),
            ("javascript:alert(1)", "javascript:alert(1)"),
            ("no url", "no url"),
        ] {
            assert_eq!(redacted_url(url), expected);
            assert_eq!(redacted_url(expected), expected);
        }
    }

    #[test]
    fn urls_in_a_text_are_redacted() {
        for (text, expected) in [
            (
                "redirected (301 Moved) to https://jo:s1@a.example/?k=s2",
                "redirected (301 Moved) to https://redacted@a.example/?k=redacted",
            ),
            ("see (http://a.example?k=s1)\tor é://b?s1", "see (http://a.example/?k=redacted\tor é://b?redacted"),
            ("what? k=v", "what? k=v"),
            ("", ""),
        ] {
            assert_eq!(redacted_text(text), expected);
        }
    }

    #[test]
    fn every_url_of_a_connection_is_redacted() {
        let url = "https://jo:geheim@a.example/?k=geheim#geheim";
        let status = |message: &str| json!({"lastRun": 1, "lastFailure": {"message": message}});
        let mut object = json!({
            "secret": "geheim", "appUrl": url, "siteUrl": url, "viaPort": null,
            "pollStatus": {"a": status(&format!("redirected to {url}")), "b": {"lastRun": 1}},
        });
        redact(object.as_object_mut().unwrap());
        assert!(!object.to_string().contains("geheim"), "{object}");
        assert_eq!(object.to_string().matches("https://redacted@a.example/?k=redacted#redacted").count(), 3);
    }

    proptest! {
        #[test]
        fn no_value_is_shown_and_redacting_twice_changes_nothing(
            scheme in "(https?|HTTP|ftp|x)?:?[/\\\\]{0,3}",
            user in "(([a-z:%]{0,3}geheim[a-z:@]{0,3})@)?",
            rest in "[a-z.:\\[]{0,8}(/[a-z%;]{0,3})?",
            query in "(\\?([a-z]{0,2}=)?geheim={0,2}(&([a-z;]{0,2}=)?geheim[?/]{0,2}){0,2})?",
            fragment in "(#geheim[#?@=&]{0,2})?",
        ) {
            let url = format!("{scheme}{user}{rest}{query}{fragment}");
            let redacted = redacted_url(&url);
            prop_assert_eq!(&redacted_url(&redacted), &redacted);
            prop_assert_eq!(redacted_text(&redacted_text(&url)), redacted_text(&url));
            prop_assert!(!redacted.contains("geheim"), "{} {}", url, redacted);
        }
    }
}

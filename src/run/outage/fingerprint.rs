//! The fingerprint of a failure: what it has in common with others of the same cause.

use std::hash::{DefaultHasher, Hash, Hasher};

use crate::model::{Cause, Failure, TlsCause};

/// The hash of a failure's class and cause. `site` is the name of its host, which differs where the cause does not.
pub(super) fn fingerprint(failure: &Failure, site: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    if is_about_time(&failure.cause) {
        // With a wrong clock certificates have expired at some sites, and messages at others.
        Cause::Expired.hash(&mut hasher);
        return hasher.finish();
    }
    let common = |text: &str| common(text, site);
    let cause = match &failure.cause {
        Cause::Message => Cause::Text(common(&failure.message)),
        Cause::Text(text) => Cause::Text(common(text)),
        Cause::Status(status, Some(text)) => Cause::Status(*status, Some(common(text))),
        Cause::Page(title) => Cause::Page(common(title)),
        cause => cause.clone(),
    };
    (failure.class, cause).hash(&mut hasher);
    hasher.finish()
}

/// Whether something has expired, or is not valid yet, by the clock of this machine or of the site.
pub(super) fn is_about_time(cause: &Cause) -> bool {
    match cause {
        Cause::Tls(TlsCause::Expired | TlsCause::NotYetValid) | Cause::Expired => true,
        Cause::Status(_, Some(text)) => {
            let text = text.to_lowercase();
            text.contains("ttl") || text.contains("expired")
        }
        _ => false,
    }
}

/// A text without the name of the site and words that hold a digit.
///
/// Times, numbers and names of temporary files differ where the cause does not.
fn common(text: &str, site: &str) -> String {
    let text = text.to_lowercase();
    let text = if site.is_empty() { text } else { text.replace(&site.to_lowercase(), "") };
    let words = text.split_whitespace().filter(|word| !word.contains(|c: char| c.is_ascii_digit()));
    words.collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::FailureClass;

    #[test]
    fn names_of_sites_and_digits_make_no_difference() {
        let failure = |cause, message: &str| Failure { cause, ..Failure::new(FailureClass::Http, message) };
        let of = |cause, message, site| fingerprint(&failure(cause, message), site);
        let text = |text: &str| Cause::Text(text.to_owned());
        let page = |title: &str| Cause::Page(title.to_owned());
        for (one, other) in [
            (
                (Cause::Message, "no address for A.example: code 3"),
                (Cause::Message, "no address for b.example: code 41"),
            ),
            ((text("no file /tmp/f3a, sorry"), "x"), (text("no file /tmp/b0c, sorry"), "y")),
            ((text("key 7 of a.example"), "x"), (text("key 8 of b.example"), "y")),
            ((page("a.example: log in"), "x"), (page("b.example: log in"), "x")),
            ((Cause::Status(403, None), "a"), (Cause::Status(403, None), "b")),
            ((Cause::Status(400, Some("a.example".into())), ""), (Cause::Status(400, Some("b.example".into())), "")),
        ] {
            assert_eq!(of(one.0.clone(), one.1, "a.example"), of(other.0, other.1, "b.example"), "{one:?}");
        }
        assert_ne!(of(Cause::Status(403, None), "", ""), of(Cause::Status(404, None), "", ""));
        assert_ne!(of(page("a"), "", ""), of(text("a"), "", ""));
        let clock = of(Cause::Expired, "", "");
        assert_eq!(clock, of(Cause::Tls(TlsCause::NotYetValid), "", ""));
        assert_eq!(clock, of(Cause::Status(400, Some("Invalid TTL".into())), "", ""));
        assert_ne!(clock, of(Cause::Tls(TlsCause::UnknownIssuer), "", ""));
        assert_ne!(of(Cause::Message, "one", ""), of(Cause::Message, "two", ""));
        let timeout = Failure::new(FailureClass::Timeout, "one");
        assert_ne!(of(Cause::Message, "one", ""), fingerprint(&timeout, ""));
    }
}

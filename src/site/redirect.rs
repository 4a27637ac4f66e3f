//! Redirects that are not followed: the stored message, and the target that is read back from it.

use std::fmt;

use ureq::http::StatusCode;

use super::endpoint::Endpoint;
use super::failure::with_reason;
use crate::model::{Failure, FailureClass};

/// A redirect that is not followed.
///
/// The store keeps a failure as its class and message only. [`Redirect::target_of`] is the inverse of the message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Redirect {
    status: StatusCode,
    why: WhyNotFollowed,
    target: Target,
}

/// Why a redirect is not followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum WhyNotFollowed {
    /// Its status does not ask for the same request at another place.
    Status,
    /// Too many redirects came before it.
    TooMany,
}

/// The target of a redirect as it may be shown.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Target {
    /// The whole URL.
    Whole(String),
    /// The URL without its query, which may hold a key.
    WithoutQuery(String),
}

/// Stands before the target.
const BEFORE_TARGET: &str = ") to ";
/// Stands for a part of a URL that is not shown. Also ends a message that is cut off. No URL contains it.
const HIDDEN: char = '…';

impl Redirect {
    /// Makes the redirect of a call to `from` whose reply names `to`.
    ///
    /// The query of the target is kept only if it is the query of the call: sites name their API with it
    /// (`?q=civicrm/cxn/api`).
    pub(super) fn new(status: StatusCode, why: WhyNotFollowed, from: &Endpoint, to: &Endpoint) -> Self {
        let mut url = to.site_url().clone();
        let target = if url.query().is_none() || url.query() == from.site_url().query() {
            Target::Whole(url.into())
        } else {
            url.set_query(None);
            Target::WithoutQuery(url.into())
        };
        Self { status, why, target }
    }

    /// The URL that a site redirected to; `None` if the message does not hold the whole URL.
    ///
    /// It is `None` for a failure of another class as well.
    #[must_use]
    pub fn target_of(failure: &Failure) -> Option<&str> {
        let (_, url) =
            failure.message.rsplit_once(BEFORE_TARGET).filter(|_| failure.class == FailureClass::Redirect)?;
        (!url.ends_with(HIDDEN) && Endpoint::new(url, None).is_ok()).then_some(url)
    }
}

impl fmt::Display for Redirect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let why = match self.why {
            WhyNotFollowed::Status => "",
            WhyNotFollowed::TooMany => " too many times",
        };
        write!(f, "redirected{why} ({}{BEFORE_TARGET}", with_reason(self.status))?;
        match &self.target {
            Target::Whole(url) => f.write_str(url),
            Target::WithoutQuery(url) => write!(f, "{url}?{HIDDEN}"),
        }
    }
}

impl From<Redirect> for Failure {
    fn from(redirect: Redirect) -> Self {
        Self::new(FailureClass::Redirect, redirect.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::util::text::MAX_SANITIZED_CHARS;
    use proptest::prelude::*;

    const STATUS: StatusCode = StatusCode::MOVED_PERMANENTLY;

    fn redirect(why: WhyNotFollowed, from: &str, to: &str) -> Redirect {
        let from = Endpoint::new(from, None).unwrap();
        Redirect::new(STATUS, why, &from, &from.redirected(to).unwrap())
    }

    #[test]
    fn only_a_query_that_was_sent_is_shown() {
        let from = "http://site.example/x?key=1";
        for (to, shown) in [
            ("https://u:p@o.example/a?key=1#f", "https://o.example/a?key=1"),
            ("https://o.example/a?key=2", "https://o.example/a?…"),
            ("/b", "http://site.example/b"),
        ] {
            let message = redirect(WhyNotFollowed::Status, from, to).to_string();
            assert_eq!(message, format!("redirected (301 Moved Permanently) to {shown}"));
        }
        assert_eq!(
            redirect(WhyNotFollowed::TooMany, from, "/b").to_string(),
            "redirected too many times (301 Moved Permanently) to http://site.example/b"
        );
    }

    #[test]
    fn a_target_is_read_only_from_a_redirect_whose_url_is_whole() {
        let target =
            |message: &str| Redirect::target_of(&Failure::new(FailureClass::Redirect, message)).map(str::to_owned);
        assert_eq!(target("redirected (302 Found) to http://o.example/").as_deref(), Some("http://o.example/"));
        // As earlier builds wrote it.
        let stored = "redirected once too often (307 Temporary Redirect) to http://o.example/a";
        assert_eq!(target(stored).as_deref(), Some("http://o.example/a"));
        for message in [
            "redirected (302 Found) to http://o.example/?…",
            "redirected (302 Found) to ftp://o.example/",
            "redirected (302 Found) to o.example",
            "redirected to an invalid URL: invalid IPv6 address",
            "status 304 Not Modified without a location",
        ] {
            assert_eq!(target(message), None, "{message}");
        }
        let other = Failure::new(FailureClass::Http, "redirected (302 Found) to http://o.example/");
        assert_eq!(Redirect::target_of(&other), None);
    }

    proptest! {
        #[test]
        fn a_stored_target_is_read_back_if_it_is_whole(
            path in "(/[a-z.;,()~ é%+-]{0,12}){0,20}", query in "(\\?q\\) to [a-z]{0,3})?", too_many: bool,
            keeps_query: bool,
        ) {
            let why = if too_many { WhyNotFollowed::TooMany } else { WhyNotFollowed::Status };
            let to = format!("https://o.example{path}{query}");
            let from = format!("http://site.example/{}", if keeps_query { &query } else { "" });
            let redirect = redirect(why, &from, &to);
            let is_whole = redirect.to_string().chars().count() < MAX_SANITIZED_CHARS;
            let expected = match &redirect.target {
                Target::Whole(url) if is_whole => Some(url.clone()),
                _ => None,
            };
            let stored = Failure::from(redirect);
            prop_assert_eq!(Redirect::target_of(&stored), expected.as_deref());
        }
    }
}

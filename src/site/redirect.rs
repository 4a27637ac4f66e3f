//! Redirects: which are followed, the message of the others, and its inverse.

use std::fmt;

use ureq::http::{HeaderValue, StatusCode};
use url::Url;

use super::adoption::Redirection;
use super::endpoint::Endpoint;
use super::failure::with_reason;
use crate::model::{Cause, Failure, FailureClass};
use crate::util::text::decode;

/// How many redirects are followed.
const MAX_REDIRECTS: usize = 3;

/// The longest URL that a redirect may lead to, in bytes. It must fit into the buffer of a request.
const MAX_TARGET_BYTES: usize = 8 * 1024;

/// How many characters of a host's name are shown.
const MAX_HOST_CHARS: usize = 60;

/// The redirects of one call.
#[derive(Debug, Default)]
pub(super) struct Redirects {
    /// The URLs that were called before, without user info and fragment.
    called: Vec<Url>,
    /// The statuses that were followed.
    followed: Vec<StatusCode>,
    /// Where they lead, also if the last is not followed.
    ///
    /// `None` before the first, and if the last leads nowhere.
    pub(super) led: Option<Redirection>,
}

impl Redirects {
    /// Follows a redirect with this status and `Location` of a call to `from`.
    ///
    /// The location is UTF-8, or else Latin-1. An empty one counts as missing.
    ///
    /// # Errors
    /// Class `redirect` where it is not followed, or has no valid location of `http` or `https`.
    pub(super) fn follow(
        &mut self,
        from: &Endpoint,
        status: StatusCode,
        location: Option<&HeaderValue>,
    ) -> Result<Endpoint, Failure> {
        self.led = None;
        let location = location.map(|value| decode(value.as_bytes())).unwrap_or_default();
        if location.trim().is_empty() {
            let message = format!("status {} without a location", with_reason(status));
            return Err(Failure::new(FailureClass::Redirect, message));
        }
        let refused =
            |message: &str| Failure::new(FailureClass::Redirect, format!("status {}: {message}", with_reason(status)));
        let to = from.redirected(&location).map_err(|failure| refused(&failure.message))?;
        self.called.push(from.site_url().clone());
        let led = || {
            let is_permanent =
                |status: &StatusCode| matches!(*status, StatusCode::MOVED_PERMANENTLY | StatusCode::PERMANENT_REDIRECT);
            let mut all = self.followed.iter().chain([&status]);
            Some(Redirection { target: to.site_url().clone(), is_permanent: all.all(is_permanent) })
        };
        let why = if !matches!(status, StatusCode::TEMPORARY_REDIRECT | StatusCode::PERMANENT_REDIRECT) {
            self.led = led();
            WhyNotFollowed::Status(self.followed.clone())
        } else if self.called.contains(to.site_url()) {
            WhyNotFollowed::Loop
        } else if self.followed.len() == MAX_REDIRECTS {
            WhyNotFollowed::TooMany
        } else if to.site_url().as_str().len() > MAX_TARGET_BYTES {
            return Err(refused(&format!("its target has more than {MAX_TARGET_BYTES} bytes")));
        } else {
            self.led = led();
            self.followed.push(status);
            return Ok(to);
        };
        Err(Redirect::new(status, why, from, &to).into())
    }

    /// Makes the redirect the cause of a failure to call its target. What this machine could not do keeps its cause.
    pub(super) fn as_cause_of(&self, failure: Failure, target: &Endpoint) -> Failure {
        if self.followed.is_empty() || failure.class == FailureClass::Local {
            return failure;
        }
        let host = target.site_url().host_str().unwrap_or_default().to_owned();
        Failure { cause: Cause::Redirect(host), ..failure }
    }

    /// The host and port of an endpoint that a redirect led to; `None` before the first redirect.
    pub(super) fn host(&self, endpoint: &Endpoint) -> Option<String> {
        let host = endpoint.uri().authority().filter(|_| !self.followed.is_empty())?.as_str();
        Some(match host.char_indices().nth(MAX_HOST_CHARS) {
            Some((end, _)) => format!("{}{HIDDEN}", &host[..end]),
            None => host.to_owned(),
        })
    }
}

/// A redirect that is not followed.
///
/// The store keeps a failure as its class and message only. [`Redirect::permanent_target`] reads the message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Redirect {
    status: StatusCode,
    why: WhyNotFollowed,
    /// The host of the target.
    host: String,
    target: Target,
}

/// Why a redirect is not followed.
#[derive(Debug, Clone, PartialEq, Eq)]
enum WhyNotFollowed {
    /// Its status does not ask for the same request at another place. Those of redirects before it do.
    Status(Vec<StatusCode>),
    /// Its target was called before.
    Loop,
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

/// Stands before the statuses of a redirect whose target was not called yet.
const BEFORE_STATUSES: &str = "redirected (";
/// Stands between statuses.
const BETWEEN_STATUSES: &str = ", then ";
/// Stands before the target.
const BEFORE_TARGET: &str = ") to ";
/// Stands for a part of a URL that is not shown. Also ends a message that is cut off. No URL contains it.
const HIDDEN: char = '…';

impl Redirect {
    /// Makes the redirect of a call to `from` whose reply names `to`.
    ///
    /// The query of the target is kept only if it is the query of the call: sites name their API with it
    /// (`?q=civicrm/cxn/api`).
    fn new(status: StatusCode, why: WhyNotFollowed, from: &Endpoint, to: &Endpoint) -> Self {
        let mut url = to.site_url().clone();
        let host = url.host_str().unwrap_or_default().to_owned();
        let target = if url.query().is_none() || url.query() == from.site_url().query() {
            Target::Whole(url.into())
        } else {
            url.set_query(None);
            Target::WithoutQuery(url.into())
        };
        Self { status, why, host, target }
    }

    /// The URL that a failure names as the target of permanent redirects.
    ///
    /// `None` if the message does not hold the whole URL, if one of the redirects is not permanent, and for redirects
    /// in a loop or too many of them.
    pub(super) fn permanent_target(failure: &Failure) -> Option<&str> {
        let message = Some(failure.message.as_str()).filter(|_| failure.class == FailureClass::Redirect)?;
        let (statuses, url) = message.split_once(BEFORE_STATUSES)?.1.rsplit_once(BEFORE_TARGET)?;
        let is_permanent = |status: &str| ["301", "308"].iter().any(|permanent| status.starts_with(permanent));
        (statuses.split(BETWEEN_STATUSES).all(is_permanent) && !url.ends_with(HIDDEN)).then_some(url)
    }
}

impl fmt::Display for Redirect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.why {
            WhyNotFollowed::Status(followed) => {
                f.write_str(BEFORE_STATUSES)?;
                followed.iter().try_for_each(|status| write!(f, "{}{BETWEEN_STATUSES}", with_reason(*status)))?;
            }
            WhyNotFollowed::Loop => f.write_str("redirected in a loop (")?,
            WhyNotFollowed::TooMany => f.write_str("redirected too many times (")?,
        }
        write!(f, "{}{BEFORE_TARGET}", with_reason(self.status))?;
        match &self.target {
            Target::Whole(url) => f.write_str(url),
            Target::WithoutQuery(url) => write!(f, "{url}?{HIDDEN}"),
        }
    }
}

impl From<Redirect> for Failure {
    fn from(redirect: Redirect) -> Self {
        let failure = Self::new(FailureClass::Redirect, redirect.to_string());
        Self { cause: Cause::Redirect(redirect.host), ..failure }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::util::text::MAX_SANITIZED_CHARS;
    use proptest::prelude::*;

    const STATUS: StatusCode = StatusCode::MOVED_PERMANENTLY;

    fn endpoint(url: &str) -> Endpoint {
        Endpoint::new(url, None).unwrap()
    }

    /// Follows redirects, each a status and a location, to the URL that is called in the end.
    fn followed(from: &str, redirects: &[(u16, &[u8])]) -> Result<String, Failure> {
        let mut at = endpoint(from);
        let mut all = Redirects::default();
        for (status, location) in redirects {
            let location = HeaderValue::from_bytes(location).unwrap();
            at = all.follow(&at, StatusCode::from_u16(*status).unwrap(), Some(&location))?;
        }
        assert_eq!(all.host(&at).is_some(), !redirects.is_empty());
        Ok(at.uri().to_string())
    }

    fn message(from: &str, redirects: &[(u16, &[u8])]) -> String {
        followed(from, redirects).unwrap_err().to_string()
    }

    #[test]
    fn a_location_is_any_text() {
        for (location, expected) in [
            (&b"../v2/api"[..], "http://site.example/a/v2/api"),
            (b"/v2#content", "http://site.example/v2"),
            (b" /my site/api ", "http://site.example/my%20site/api"),
            ("/café".as_bytes(), "http://site.example/caf%C3%A9"),
            (b"/caf\xe9?\xe9", "http://site.example/caf%C3%A9?%C3%A9"),
            (b"//other.example:80/", "http://other.example/"),
            (b"?b", "http://site.example/a/b/c?b"),
        ] {
            assert_eq!(followed("http://site.example/a/b/c", &[(307, location)]).unwrap(), expected);
        }
    }

    #[test]
    fn without_a_valid_location_the_status_is_shown() {
        let from = "http://site.example/a";
        for location in [&b""[..], b" ", b"\t"] {
            assert_eq!(message(from, &[(302, location)]), "redirect: status 302 Found without a location");
        }
        let failure = Redirects::default().follow(&endpoint(from), STATUS, None).unwrap_err();
        assert_eq!(failure.to_string(), "redirect: status 301 Moved Permanently without a location");
        for (location, expected) in [
            (
                &b"http://[::1"[..],
                "redirect: status 301 Moved Permanently: redirected to an invalid URL: invalid IPv6 address",
            ),
            (b"ftp://o.example/", "redirect: status 301 Moved Permanently: only http and https are supported, not ftp"),
        ] {
            let failure = followed(from, &[(301, location)]).unwrap_err();
            assert_eq!((failure.to_string().as_str(), Redirect::permanent_target(&failure)), (expected, None));
        }
    }

    #[test]
    fn a_redirect_is_not_followed_to_a_url_that_was_called() {
        let from = "http://u:p@site.example/a?b";
        for redirects in [
            &[(308, &b"http://site.example:80/a?b#c"[..])][..],
            &[(308, b"#c")],
            &[(308, b"/x"), (308, b"/a?b")],
            &[(308, b"/x"), (308, b"//Site.example/y"), (308, b"/x")],
        ] {
            let message = message(from, redirects);
            assert!(
                message.starts_with("redirect: redirected in a loop (308 Permanent Redirect) to http://site"),
                "{message}"
            );
        }
        assert!(followed(from, &[(307, b"/x"), (307, b"/y"), (307, b"/z")]).is_ok());
        assert_eq!(
            message(from, &[(307, b"/x"), (307, b"/y"), (308, b"/z"), (307, b"/w")]),
            "redirect: redirected too many times (307 Temporary Redirect) to http://site.example/w"
        );
    }

    #[test]
    fn only_a_query_that_was_sent_is_shown() {
        let from = "http://site.example/x?key=1";
        for (to, shown) in [
            ("https://u:p@o.example/a?key=1#f", "https://o.example/a?key=1"),
            ("https://o.example/a?key=2", "https://o.example/a?…"),
            ("/b", "http://site.example/b"),
        ] {
            let failure = followed(from, &[(301, to.as_bytes())]).unwrap_err();
            assert_eq!(failure.message, format!("redirected (301 Moved Permanently) to {shown}"));
            let host = if to == "/b" { "site.example" } else { "o.example" };
            assert_eq!(failure.cause, Cause::Redirect(host.to_owned()));
        }
    }

    #[test]
    fn a_target_is_read_only_from_a_permanent_redirect_whose_url_is_whole() {
        let target = |message: &str| {
            Redirect::permanent_target(&Failure::new(FailureClass::Redirect, message)).map(str::to_owned)
        };
        for message in [
            "redirected (301 Moved Permanently) to http://o.example/",
            "redirected (308) to http://o.example/",
            "at o.example: redirected (308 Permanent Redirect, then 301 Moved Permanently) to http://o.example/",
        ] {
            assert_eq!(target(message).as_deref(), Some("http://o.example/"), "{message}");
        }
        for message in [
            "redirected (301 Moved Permanently) to http://o.example/?…",
            "redirected (302 Found) to http://o.example/",
            "at o.example: redirected (307 Temporary Redirect, then 301 Moved Permanently) to http://o.example/",
            "redirected in a loop (308 Permanent Redirect) to http://o.example/",
            "redirected too many times (308 Permanent Redirect) to http://o.example/",
            // As earlier builds wrote it.
            "redirected once too often (308 Permanent Redirect) to http://o.example/",
            "status 304 Not Modified without a location",
        ] {
            assert_eq!(target(message), None, "{message}");
        }
        let other = Failure::new(FailureClass::Http, "redirected (301 Moved Permanently) to http://o.example/");
        assert_eq!(Redirect::permanent_target(&other), None);
    }

    proptest! {
        #[test]
        fn a_stored_target_is_read_back_if_it_is_whole(
            path in "(/[a-z.;,()~ é%+-]{0,12}){0,20}", query in "(\\?q\\) to [a-z]{0,3})?", hops in 0..2_usize,
            keeps_query: bool,
        ) {
            let from = endpoint(&format!("http://site.example/{}", if keeps_query { &query } else { "" }));
            let to = from.redirected(&format!("https://o.example{path}{query}")).unwrap();
            let why = WhyNotFollowed::Status(vec![StatusCode::PERMANENT_REDIRECT; hops]);
            let redirect = Redirect::new(STATUS, why, &from, &to);
            let is_whole = redirect.to_string().chars().count() < MAX_SANITIZED_CHARS;
            let expected = match &redirect.target {
                Target::Whole(url) if is_whole => Some(url.clone()),
                _ => None,
            };
            let stored = Failure::from(redirect);
            prop_assert_eq!(Redirect::permanent_target(&stored), expected.as_deref());
        }
    }
}

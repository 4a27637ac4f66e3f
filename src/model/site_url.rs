//! The URL of a site, which may hold a user name and a password.

use std::fmt;

use serde::{Serialize, Serializer};
use url::Url;

/// The URL at which a site accepts API calls, as it was imported.
///
/// `Display`, `Debug` and `Serialize` leave user name and password out. Only [`SiteUrl::with_credentials`] returns them.
#[derive(Clone, PartialEq, Eq)]
pub struct SiteUrl(String);

/// Stands for a part that is not shown.
const HIDDEN: &str = "…";

impl SiteUrl {
    /// The whole text, for the store, for exports and for calls.
    #[must_use]
    pub fn with_credentials(&self) -> &str {
        &self.0
    }

    /// The text for log lines: without credentials, and with `…` in place of query and fragment.
    ///
    /// These may hold a key.
    #[must_use]
    pub fn without_query(&self) -> String {
        let shown = self.shown();
        match shown.find(['?', '#']) {
            Some(at) if at + 1 < shown.len() => format!("{}{HIDDEN}", &shown[..=at]),
            _ => shown,
        }
    }

    /// The text without user name and password; unchanged if it has none.
    fn shown(&self) -> String {
        let text = &self.0;
        let Some((_, after)) = text.rsplit_once('@') else { return text.clone() };
        let mut url = match Url::parse(text) {
            Ok(url) if is_callable(&url) => url,
            // What looks like a password may be anywhere before the last `@`.
            _ => return format!("{HIDDEN}{after}"),
        };
        if url.username().is_empty() && url.password().is_none() {
            return text.clone();
        }
        // Both succeed for every URL with a host.
        let _ = url.set_username("").and_then(|()| url.set_password(None));
        url.into()
    }
}

impl<T: Into<String>> From<T> for SiteUrl {
    fn from(text: T) -> Self {
        Self(text.into())
    }
}

impl fmt::Display for SiteUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown())
    }
}

impl fmt::Debug for SiteUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.shown(), f)
    }
}

impl Serialize for SiteUrl {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.shown())
    }
}

/// Whether sites can be called at a URL: its scheme is `http` or `https`, so that it has a host.
#[must_use]
pub fn is_callable(url: &Url) -> bool {
    matches!(url.scheme(), "http" | "https")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn user_name_and_password_are_not_shown() {
        for (text, shown) in [
            ("https://jo:sesame@site.example/x?y#z", "https://site.example/x?y#z"),
            ("https://sesame@site.example", "https://site.example/"),
            ("https://:sesame@site.example/", "https://site.example/"),
            ("HTTP://JO:se%40same@Site.Example:8080/a@b", "http://site.example:8080/a@b"),
            ("http:jo:sesame@site.example/", "http://site.example/"),
            ("http:\\\\jo:sesame@site.example/", "http://site.example/"),
            ("http:////jo:se@same@site.example/", "http://site.example/"),
            ("http://jo:sesame@site.example:99999/", "…site.example:99999/"),
            ("jo:sesame@site.example", "…site.example"),
        ] {
            let url = SiteUrl::from(text);
            assert_eq!((url.to_string(), url.with_credentials()), (shown.to_owned(), text));
            assert_eq!(format!("{url:?} {}", serde_json::json!(url)), format!("{shown:?} {shown:?}"));
        }
    }

    #[test]
    fn a_url_without_them_is_shown_unchanged() {
        for text in ["HTTPS://Site.Example", "http://127.1/a@b?c@d", "https://site.example/?q=a:b@c", "no url", ""] {
            assert_eq!(SiteUrl::from(text).to_string(), text);
        }
    }

    #[test]
    fn a_log_line_has_neither_query_nor_fragment() {
        for (text, logged) in [
            ("https://site.example/x?q=civicrm/cxn&key=sesame#sesame", "https://site.example/x?…"),
            ("https://jo:sesame@site.example/x#sesame", "https://site.example/x#…"),
            ("https://site.example/x?", "https://site.example/x?"),
            ("no url?sesame", "no url?…"),
        ] {
            assert_eq!(SiteUrl::from(text).without_query(), logged);
        }
    }

    proptest! {
        #[test]
        fn no_password_is_shown(
            scheme in "(https?|ftp|x)?", colon in ":?", slashes in "[/\\\\]{0,4}", user in "[a-z:%@]{0,5}", rest in "\\PC{0,12}"
        ) {
            let text = format!("{scheme}{colon}{slashes}{user}:sesame@{rest}");
            prop_assert!(!SiteUrl::from(text).to_string().contains("sesame"));
        }
    }
}

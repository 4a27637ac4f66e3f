//! The texts, hints and exit codes of the errors of `set` and `follow`.

use super::report::{ALLOW_OWN_NETWORK, Report, argument};
use crate::exit;
use crate::model::{CxnId, FailureClass, InvalidViaPort};
use crate::site::NotFollowed;
use crate::transfer::Problem;
use crate::util::text::sanitize;

/// Why a connection is not changed.
#[derive(Debug)]
pub(in crate::cli) enum EditError {
    /// An argument is not `KEY=VALUE`. It is not shown, as it may be a secret.
    NoEqualsSign,
    /// `set` does not change this key.
    Key {
        /// The key.
        key: String,
        /// A similar key that it changes.
        suggestion: Option<String>,
        /// Whether it is a key of connections, which an import changes.
        is_known: bool,
    },
    /// The siteUrl is not one that an import accepts.
    SiteUrl(Problem),
    /// The viaPort cannot be parsed.
    ViaPort(InvalidViaPort),
    /// The site is reached through a viaPort, which redirects do not use.
    HasViaPort(CxnId),
    /// No redirect of the site can be followed.
    NotFollowed {
        /// The connection.
        cxn_id: CxnId,
        /// Why.
        reason: NotFollowed,
    },
    /// The siteUrl was changed while the site was polled.
    ChangedMeanwhile(CxnId),
}

impl From<EditError> for Report {
    fn from(error: EditError) -> Self {
        let (settings, import) = (
            "set siteUrl=URL or viaPort=HOST:PORT",
            "import the connection to change it; `set` changes siteUrl and viaPort",
        );
        match error {
            EditError::NoEqualsSign => Self::usage("an argument behind the connection is not KEY=VALUE").hint(settings),
            EditError::Key { key, suggestion, is_known } => {
                let hint = match suggestion {
                    Some(name) => format!("did you mean {name}?"),
                    None => if is_known { import } else { settings }.to_owned(),
                };
                Self::usage(format!("'{}' cannot be set", sanitize(&key))).hint(hint)
            }
            EditError::SiteUrl(problem) => Self::usage(problem.to_string()),
            EditError::ViaPort(problem) => Self::usage(problem.to_string()),
            EditError::HasViaPort(cxn_id) => {
                let set = format!("set both: cxnpoll set {} siteUrl=… viaPort=…", argument(cxn_id.as_str()));
                Self::usage(format!("{cxn_id} has a viaPort, which redirects do not use")).hint(set)
            }
            EditError::NotFollowed { cxn_id, reason } => not_followed(&cxn_id, reason),
            EditError::ChangedMeanwhile(cxn_id) => {
                Self::new(exit::DECLINED, format!("the siteUrl of {cxn_id} was changed meanwhile; nothing was changed"))
                    .hint("try again")
            }
        }
    }
}

fn not_followed(cxn_id: &CxnId, reason: NotFollowed) -> Report {
    let report = |message: &str| Report::new(exit::SITE_FAILED, format!("{cxn_id} {message}; nothing was changed"));
    match reason {
        NotFollowed::NoRedirect => report("is not redirected"),
        NotFollowed::Temporary(url) => {
            report(&format!("is redirected to {} only for now", sanitize(&url))).hint(format!(
                "set the siteUrl if the site has moved for good: cxnpoll set {} siteUrl=…",
                argument(cxn_id.as_str())
            ))
        }
        NotFollowed::NotHttps(url) => report(&format!("is redirected from https to {}", sanitize(&url))),
        NotFollowed::OtherDomain(url) => report(&format!("is redirected to another domain: {}", sanitize(&url))),
        NotFollowed::TooLong => report("is redirected to a URL that is too long"),
        NotFollowed::TooManyRedirects => report("is redirected too many times"),
        NotFollowed::Failed { url, failure } => {
            let report = report(&format!("failed at {}: {failure}", sanitize(&url)));
            if failure.class == FailureClass::Blocked { report.hint(ALLOW_OWN_NETWORK) } else { report }
        }
    }
}

//! Where a site is that redirects elsewhere for good: polls follow its redirects.

use super::Error;
use crate::listener::{Listeners, Phase, PollEvent};
use crate::model::{AppMeta, Cxn, JobName, Outcome, SiteUrl, UnixTime};
use crate::site::{Api, Client, NotFollowed, PollCalls, Redirection, Targets};
use crate::transfer::MAX_URL_BYTES;

/// How many permanent redirects are followed, one after the other.
const MAX_REDIRECTS: usize = 3;
/// On how many days a run must meet a redirect before it follows it.
pub(super) const MIN_DAYS: u8 = 3;

/// Follows permanent redirects until a poll succeeds without any.
///
/// `first` is the redirect of `cxn`. `poll` polls a connection, and also returns where redirects led. Returns the siteUrl, and
/// what the last poll returned.
///
/// # Errors
/// Those of `poll`.
pub(super) fn follow<T>(
    cxn: &Cxn,
    first: Redirection,
    targets: Targets,
    mut poll: impl FnMut(&Cxn) -> Result<(Outcome, T, Option<Redirection>), Error>,
) -> Result<Result<(SiteUrl, T), NotFollowed>, Error> {
    let (mut at, mut redirection) = (cxn.clone(), first);
    for _ in 0..MAX_REDIRECTS {
        at.site_url = match redirection.adopted(&at.site_url, targets) {
            Ok(site_url) if site_url.with_credentials().len() > MAX_URL_BYTES => return Ok(Err(NotFollowed::TooLong)),
            Ok(site_url) => site_url,
            Err(reason) => return Ok(Err(reason)),
        };
        match poll(&at)? {
            (_, _, Some(next)) => redirection = next,
            (Ok(()), polled, None) => return Ok(Ok((at.site_url, polled))),
            (Err(failure), _, None) => {
                return Ok(Err(NotFollowed::Failed { url: at.site_url.without_query(), failure }));
            }
        }
    }
    Ok(Err(NotFollowed::TooManyRedirects))
}

/// Polls a connection with the listeners of a job, and finds to which siteUrl its redirects lead.
///
/// Nothing is recorded or kept.
///
/// # Errors
/// [`Error::Listener`] if a listener program cannot be used.
pub fn find_target(
    app: &AppMeta,
    job: &JobName,
    listeners: &Listeners,
    client: &Client,
    cxn: &Cxn,
    now: UnixTime,
) -> Result<Result<SiteUrl, NotFollowed>, Error> {
    let chain = listeners.of(&app.app_id, job, Phase::Poll);
    let mut dispatcher = chain.dispatcher();
    let mut poll = |cxn: &Cxn| {
        let calls = PollCalls::default();
        let api = Api::new(client, cxn, &app.app_cert).in_poll(&calls);
        let outcome = dispatcher.poll(&mut PollEvent::new(app, job, cxn, now, Some(api), true))?;
        Ok((outcome, (), calls.redirection()))
    };
    match poll(cxn)? {
        (_, (), Some(first)) => Ok(follow(cxn, first, Targets::Any, poll)?.map(|(site_url, ())| site_url)),
        (Ok(()), (), None) => Ok(Err(NotFollowed::NoRedirect)),
        (Err(failure), (), None) => Ok(Err(NotFollowed::Failed { url: cxn.site_url.without_query(), failure })),
    }
}

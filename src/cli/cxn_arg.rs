//! A connection as it is named on the command line.

use std::str::FromStr;

use crate::cli::error::{Error, Result};
use crate::model::{Cxn, CxnId, InvalidId};
use crate::store::{self, CxnKey, ReadSession, Store};

/// The name of a connection: its id, with or without `cxn:`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::cli) struct CxnArg {
    /// The text as an id.
    as_given: CxnId,
    /// The text after `cxn:`; `None` if that is too long for an id.
    with_prefix: Option<CxnId>,
}

impl FromStr for CxnArg {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        Ok(Self { as_given: text.parse()?, with_prefix: format!("cxn:{text}").parse().ok() })
    }
}

impl CxnArg {
    /// The text as an id, whether or not there is such a connection.
    pub(in crate::cli) fn as_given(&self) -> &CxnId {
        &self.as_given
    }

    /// Finds the connection, with its id; `None` if there is no such connection.
    ///
    /// # Errors
    /// The store cannot be read.
    pub(in crate::cli) fn find(&self, session: &ReadSession) -> store::Result<Option<(CxnId, CxnKey)>> {
        for cxn_id in [Some(&self.as_given), self.with_prefix.as_ref()].into_iter().flatten() {
            if let Some(key) = session.find(cxn_id)? {
                return Ok(Some((cxn_id.clone(), key)));
            }
        }
        Ok(None)
    }

    /// Loads something of the connection, which must be there.
    ///
    /// # Errors
    /// [`Error::UnknownCxn`] if there is no such connection, [`Error::Skipped`] if `read` returns `None` because it cannot
    /// be read; the store cannot be read.
    pub(in crate::cli) fn load_with<T: Send>(
        &self,
        store: &Store,
        read: impl FnOnce(&ReadSession, CxnKey) -> store::Result<Option<T>> + Send,
    ) -> Result<T> {
        let found = store.read(|session| match self.find(session)? {
            Some((_, key)) => Ok(Some(read(session, key)?)),
            None => Ok(None),
        });
        match found? {
            Some(Some(loaded)) => Ok(loaded),
            Some(None) if !store.skipped().is_empty() => Err(Error::Skipped(store.skipped().take())),
            _ => Err(self.unknown()),
        }
    }

    /// Loads the connection, which must be there.
    ///
    /// # Errors
    /// Those of [`CxnArg::load_with`].
    pub(in crate::cli) fn load(&self, store: &Store) -> Result<Cxn> {
        self.load_with(store, ReadSession::cxn)
    }

    /// The error for a connection that is not in the store.
    pub(in crate::cli) fn unknown(&self) -> Error {
        Error::UnknownCxn(self.as_given.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_an_id_with_or_without_its_prefix() {
        let argument: CxnArg = "0123".parse().unwrap();
        assert_eq!(argument.as_given().as_str(), "0123");
        assert_eq!(argument.with_prefix.map(String::from), Some("cxn:0123".to_owned()));
        let longest: CxnArg = "x".repeat(255).parse().unwrap();
        assert_eq!(longest.with_prefix, None);
        assert!("".parse::<CxnArg>().is_err() && "a\nb".parse::<CxnArg>().is_err());
    }
}

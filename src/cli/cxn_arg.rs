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

    /// Finds the connection; `None` if there is no such connection.
    ///
    /// # Errors
    /// The store cannot be read.
    pub(in crate::cli) fn find(&self, session: &ReadSession) -> store::Result<Option<CxnKey>> {
        match (session.find(&self.as_given)?, &self.with_prefix) {
            (None, Some(cxn_id)) => session.find(cxn_id),
            (found, _) => Ok(found),
        }
    }

    /// Loads the connection; `None` if there is no such connection.
    ///
    /// # Errors
    /// The store cannot be read.
    pub(in crate::cli) fn get(&self, store: &Store) -> Result<Option<Cxn>> {
        let found = store.read(|session| match self.find(session)? {
            Some(key) => session.cxn(key),
            None => Ok(None),
        });
        Ok(found?)
    }

    /// Loads the connection, which must be there.
    ///
    /// # Errors
    /// [`Error::UnknownCxn`] if there is no such connection; the store cannot be read.
    pub(in crate::cli) fn load(&self, store: &Store) -> Result<Cxn> {
        self.get(store)?.ok_or_else(|| self.unknown())
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

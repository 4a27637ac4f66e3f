//! The keys that backups are encrypted to.

use std::fs;

use super::error::{Error, Result};
use super::file::Config;
use crate::util::encryption::{InvalidRecipient, Recipient, key_lines};
use crate::util::file_error::{FileError, FileOp};

impl Config {
    /// The recipients of backups; empty if backups are not encrypted.
    ///
    /// They are those of options, or else those of the configuration and its `recipients-file`.
    ///
    /// # Errors
    /// [`Error::File`] where the file cannot be read; [`Error::InvalidRecipient`] and [`Error::NoRecipients`].
    pub fn backup_recipients(&self, options: &[String]) -> Result<Vec<Recipient>> {
        if !options.is_empty() {
            let invalid = |problem| Error::InvalidRecipient { place: None, problem };
            return options.iter().map(|text| text.parse().map_err(invalid)).collect();
        }
        let mut recipients = self.backups.recipients.clone();
        let Some(path) = &self.backups.recipients_file else { return Ok(recipients) };
        let text = fs::read(path).map_err(FileError::at(FileOp::Read, path))?;
        let before = recipients.len();
        for (line, key) in key_lines(&text) {
            let recipient = key.ok_or(InvalidRecipient::Other).and_then(str::parse);
            let place = Some((path.clone(), line));
            recipients.push(recipient.map_err(|problem| Error::InvalidRecipient { place, problem })?);
        }
        // A file that lost its content must not end the encryption.
        if recipients.len() == before { Err(Error::NoRecipients { path: path.clone() }) } else { Ok(recipients) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::util::encryption::Identities;

    #[test]
    fn recipients_of_both_places_are_used_and_a_bad_file_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let [first, second] = [(); 2].map(|()| Identities::generate().unwrap().1);
        let config = |text: &str| Config::parse(&format!("[backups]\n{text}"), dir.path()).unwrap();
        assert_eq!(config("").backup_recipients(&[]).unwrap(), []);
        let both = config(&format!("recipients = [\"{first}\"]\nrecipients-file = \"keys\""));
        let write = |text: &str| fs::write(dir.path().join("keys"), text).unwrap();
        assert!(matches!(both.backup_recipients(&[]), Err(Error::File(_))));
        write(&format!("# a key\r\n{second}\r\n"));
        assert_eq!(both.backup_recipients(&[]).unwrap(), [first, second.clone()]);
        write("# none\n\n");
        assert!(matches!(both.backup_recipients(&[]), Err(Error::NoRecipients { .. })));
        write(&format!("{second}\nage1\n"));
        assert!(matches!(both.backup_recipients(&[]), Err(Error::InvalidRecipient { place: Some((_, 2)), .. })));
    }
}

//! `cxnpoll man`: manual pages.

use std::fs::Permissions;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use clap::Args;

use crate::cli::error::{Error, Result};
use crate::cli::ui::output;
use crate::cli::values;
use crate::exit;
use crate::util::fs_atomic::{AtomicFile, Durability};

/// Print a manual page, or write the pages of all commands
#[derive(Args)]
#[command(after_help = "Examples:\n  cxnpoll man poll | man -l -\n  cxnpoll man --dir /usr/local/share/man/man1")]
pub(in crate::cli) struct Man {
    /// Command, such as poll or store check
    #[arg(value_name = "COMMAND")]
    command: Vec<String>,
    /// Write the pages of all commands to this directory
    #[arg(long, value_name = "DIR", value_parser = values::path(), conflicts_with = "command")]
    dir: Option<PathBuf>,
}

impl Man {
    pub(in crate::cli) fn run(&self, mut command: clap::Command) -> Result<u8> {
        if let Some(directory) = &self.dir {
            if !directory.is_dir() {
                return Err(Error::NoDirectory(directory.clone()));
            }
            command = command.disable_help_subcommand(true);
            command.build();
            return write_pages(&command, directory).map_err(Error::ManualPage).map(|()| exit::OK);
        }
        command.build();
        let mut page = &command;
        for name in &self.command {
            page = page.find_subcommand(name).ok_or_else(|| Error::UnknownCommand(name.clone()))?;
        }
        let mut text = Vec::new();
        clap_mangen::Man::new(page.clone()).render(&mut text).map_err(Error::ManualPage)?;
        output::bytes(&text);
        Ok(exit::OK)
    }
}

/// Writes the pages of a command and of all commands below it.
///
/// Each file replaces what has its name, so that no link of another user is followed.
fn write_pages(command: &clap::Command, directory: &Path) -> io::Result<()> {
    for below in command.get_subcommands().filter(|below| !below.is_hide_set()) {
        write_pages(below, directory)?;
    }
    let page = clap_mangen::Man::new(command.clone());
    let mut file = AtomicFile::beside(&directory.join(page.get_filename()), &Permissions::from_mode(0o644))?;
    page.render(file.file())?;
    file.commit(Durability::None, || ())
}

//! `cxnpoll man`: manual pages.

use std::fs::{self, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{self, Path, PathBuf};

use clap::Args;

use crate::cli::error::{Error, Result};
use crate::cli::reference::{self, Page};
use crate::cli::ui::output;
use crate::cli::values;
use crate::exit;
use crate::util::fs_atomic::{AtomicFile, Durability};

/// Print a manual page, or write all of them to a directory
#[derive(Args)]
#[command(
    after_help = "Examples:\n  cxnpoll man poll | man -l -\n  cxnpoll man cxnpoll.toml | man -l -\n  cxnpoll man --dir /usr/local/share/man/man1"
)]
pub(in crate::cli) struct Man {
    /// Command, such as poll or store check, or cxnpoll.toml for the configuration file
    #[arg(value_name = "COMMAND")]
    command: Vec<String>,
    /// Write all pages to this directory. If its name is man1, the page of section 5 goes to man5 beside it
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
            write_pages(&command, directory)
                .and_then(|()| write_configuration_page(directory))
                .map_err(Error::ManualPage)?;
            return Ok(exit::OK);
        }
        command.build();
        let mut text = Vec::new();
        if self.command == [reference::CONFIGURATION_PAGE] {
            reference::configuration_page(&mut text).map_err(Error::ManualPage)?;
            output::bytes(&text);
            return Ok(exit::OK);
        }
        let mut page = &command;
        for name in &self.command {
            page = page.find_subcommand(name).ok_or_else(|| Error::UnknownCommand(name.clone()))?;
        }
        Page::of(page).render(&mut text).map_err(Error::ManualPage)?;
        output::bytes(&text);
        Ok(exit::OK)
    }
}

/// Writes the pages of a command and of all commands below it.
fn write_pages(command: &clap::Command, directory: &Path) -> io::Result<()> {
    for below in command.get_subcommands().filter(|below| !below.is_hide_set()) {
        write_pages(below, directory)?;
    }
    let page = Page::of(command);
    write_page(&directory.join(page.file_name()), |to| page.render(to))
}

/// Writes the page of section 5, for a directory `man1` to `man5` beside it.
///
/// Programs look for a section only in the directory of its name.
fn write_configuration_page(directory: &Path) -> io::Result<()> {
    let mut directory = path::absolute(directory)?;
    if directory.ends_with("man1") {
        directory.set_file_name("man5");
        fs::create_dir_all(&directory)?;
    }
    let path = directory.join(format!("{}.5", reference::CONFIGURATION_PAGE));
    write_page(&path, |to| reference::configuration_page(to))
}

/// Writes a page. The file replaces what has its name, so that no link of another user is followed.
fn write_page(path: &Path, render: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> io::Result<()> {
    let mut file = AtomicFile::beside(path, &Permissions::from_mode(0o644))?;
    render(file.file())?;
    file.commit(Durability::None, || ())
}

//! `cxnpoll man`: manual pages.

use std::path::PathBuf;

use clap::Args;

use crate::cli::error::{Error, Result};
use crate::cli::ui::output;
use crate::exit;

/// Print a manual page, or write the pages of all commands
#[derive(Args)]
#[command(after_help = "Examples:\n  cxnpoll man poll | man -l -\n  cxnpoll man --dir /usr/local/share/man/man1")]
pub(in crate::cli) struct Man {
    /// Command, such as poll or store check
    #[arg(value_name = "COMMAND")]
    command: Vec<String>,
    /// Write the pages of all commands to this directory
    #[arg(long, value_name = "DIR", conflicts_with = "command")]
    dir: Option<PathBuf>,
}

impl Man {
    pub(in crate::cli) fn run(&self, mut command: clap::Command) -> Result<u8> {
        if let Some(directory) = &self.dir {
            if !directory.is_dir() {
                return Err(Error::NoDirectory(directory.clone()));
            }
            clap_mangen::generate_to(command, directory).map_err(Error::ManualPage)?;
            return Ok(exit::OK);
        }
        command.build();
        let mut page = &command;
        for name in &self.command {
            page = page.find_subcommand(name).ok_or_else(|| Error::UnknownCommand(name.clone()))?;
        }
        let mut text = Vec::new();
        clap_mangen::Man::new(page.clone()).render(&mut text).map_err(Error::ManualPage)?;
        output::bytes(&text).map(|()| exit::OK)
    }
}

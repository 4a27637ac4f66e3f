//! `cxnpoll completions` and `cxnpoll man`.

use std::io;
use std::path::PathBuf;

use clap::{Args, CommandFactory};
use clap_complete::Shell;

use super::{Cli, output};
use crate::error::{Error, Kind, Result};
use crate::exit;

/// Print what a shell needs to complete commands and options
#[derive(Args)]
#[command(
    after_help = "Examples:\n  cxnpoll completions bash > /etc/bash_completion.d/cxnpoll\n  cxnpoll completions zsh > /usr/local/share/zsh/site-functions/_cxnpoll\n  cxnpoll completions fish > ~/.config/fish/completions/cxnpoll.fish"
)]
pub(super) struct Completions {
    /// The shell
    #[arg(value_name = "SHELL")]
    shell: Shell,
}

/// Print a manual page, or write that of each command
#[derive(Args)]
#[command(after_help = "Examples:\n  cxnpoll man poll | man -l -\n  cxnpoll man --dir /usr/local/share/man/man1")]
pub(super) struct Man {
    /// The command, such as poll or store check
    #[arg(value_name = "COMMAND")]
    command: Vec<String>,
    /// Write the pages of all commands into this folder
    #[arg(long, value_name = "DIR", conflicts_with = "command")]
    dir: Option<PathBuf>,
}

impl Completions {
    pub(super) fn run(&self) -> Result<u8> {
        let mut text = Vec::new();
        clap_complete::generate(self.shell, &mut Cli::command(), "cxnpoll", &mut text);
        output::bytes(&text).map(|()| exit::OK)
    }
}

impl Man {
    pub(super) fn run(&self) -> Result<u8> {
        let mut command = Cli::command();
        let failed = |error: io::Error| Error::new(Kind::Internal, format!("can't write the manual: {error}"));
        if let Some(folder) = &self.dir {
            if !folder.is_dir() {
                return Err(Error::new(Kind::NotFound, format!("there is no folder {}", folder.display())));
            }
            clap_mangen::generate_to(command, folder).map_err(failed)?;
            return Ok(exit::OK);
        }
        command.build();
        let mut page = &command;
        for name in &self.command {
            page = page.find_subcommand(name).ok_or_else(|| {
                Error::new(Kind::Usage, format!("there is no command {name}")).hint("`cxnpoll help` lists them")
            })?;
        }
        let mut text = Vec::new();
        clap_mangen::Man::new(page.clone()).render(&mut text).map_err(failed)?;
        output::bytes(&text).map(|()| exit::OK)
    }
}

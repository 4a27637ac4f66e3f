//! `cxnpoll completions`: completions for a shell.

use clap::Args;
use clap_complete::Shell;

use crate::cli::completion;
use crate::cli::ui::output;
use crate::exit;

/// Print completions for a shell
///
/// The script of bash, zsh or fish asks cxnpoll, which must be in PATH, while a line is completed. So it also offers the apps,
/// jobs and connections of the configuration and the store. The scripts of other shells have only the options.
#[derive(Args)]
#[command(
    after_help = "Examples:\n  cxnpoll completions bash > /etc/bash_completion.d/cxnpoll\n  cxnpoll completions zsh > /usr/local/share/zsh/site-functions/_cxnpoll\n  cxnpoll completions fish > ~/.config/fish/completions/cxnpoll.fish"
)]
pub(in crate::cli) struct Completions {
    /// Shell
    #[arg(value_name = "SHELL")]
    shell: Shell,
}

impl Completions {
    pub(in crate::cli) fn run(&self, command: &mut clap::Command) -> u8 {
        output::bytes(&completion::registration(self.shell, command));
        exit::OK
    }
}

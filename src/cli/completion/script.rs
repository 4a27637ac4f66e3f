//! The scripts that make bash, zsh and fish ask the program for completions.

use std::ffi::OsString;
use std::io::{self, Write};
use std::path::Path;

use clap::Command;
use clap_complete::Shell;
use clap_complete::env::{self, EnvCompleter, Shells};

/// The variable in which a script names its shell.
pub(in crate::cli) const VARIABLE: &str = "COMPLETE";
/// How a script starts the program.
pub(super) const PROGRAM: &str = "cxnpoll";
/// The shells that can ask.
pub(super) const SHELLS: Shells<'static> = Shells(&[
    &Ours { shell: &env::Bash, script: write_bash },
    &env::Elvish,
    &env::Fish,
    &env::Powershell,
    &Ours { shell: &env::Zsh, script: write_zsh },
]);

/// The completion script of a shell, which knows the options, apps, jobs and connections.
///
/// Those of Elvish and `PowerShell` know only the options.
pub(in crate::cli) fn registration(shell: Shell, command: &mut Command) -> Vec<u8> {
    let mut text = Vec::new();
    let asking = match shell {
        Shell::Bash | Shell::Zsh | Shell::Fish => SHELLS.completer(&shell.to_string()),
        _ => None,
    };
    match asking {
        // A vector can be written.
        Some(shell) => _ = shell.write_registration(VARIABLE, PROGRAM, PROGRAM, PROGRAM, &mut text),
        None => clap_complete::generate(shell, command, PROGRAM, &mut text),
    }
    text
}

/// A shell of the library with a script of ours.
struct Ours {
    shell: &'static dyn EnvCompleter,
    script: Script,
}

/// Writes a script, with the arguments of [`EnvCompleter::write_registration`].
type Script = fn(&str, &str, &str, &str, &mut dyn Write) -> io::Result<()>;

impl EnvCompleter for Ours {
    fn name(&self) -> &'static str {
        self.shell.name()
    }

    fn is(&self, name: &str) -> bool {
        self.shell.is(name)
    }

    fn write_registration(
        &self,
        variable: &str,
        name: &str,
        binary: &str,
        program: &str,
        to: &mut dyn Write,
    ) -> io::Result<()> {
        (self.script)(variable, name, binary, program, to)
    }

    fn write_complete(
        &self,
        command: &mut Command,
        words: Vec<OsString>,
        directory: Option<&Path>,
        to: &mut dyn Write,
    ) -> io::Result<()> {
        self.shell.write_complete(command, words, directory, to)
    }
}

/// The script of bash, which joins what readline split.
///
/// Readline splits words at the characters of `COMP_WORDBREAKS`, such as `:` and `=`, and replaces only the last part.
const BASH: &str = r#"_NAME() {
    local line=${COMP_LINE:0:COMP_POINT} words=() head= last=-1 i word rest
    for ((i = 0; i <= COMP_CWORD; i++)); do
        word=${COMP_WORDS[i]}
        rest=${line#"${line%%[![:blank:]]*}"}
        if ((i == 0)) || [[ $rest != "$line" ]]; then
            words[++last]=
        fi
        line=${rest#"$word"}
        if ((i == COMP_CWORD)); then
            [[ -z $2 && $word == [:=] ]] && words[last]+=$word
            head=${words[last]}
            word=$2
        fi
        words[last]+=$word
    done
    local candidate options=()
    COMPREPLY=()
    while IFS= read -r candidate || [[ -n $candidate ]]; do
        candidate=${candidate#"$head"}
        if [[ $candidate == *[!A-Za-z0-9_@%+=:,./~-]* && ${COMP_WORDS[COMP_CWORD]} != [\"\']* ]]; then
            printf -v candidate %q "$candidate"
        fi
        if [[ -z $head$2 && $candidate == -* ]]; then
            options+=("$candidate")
        else
            COMPREPLY+=("$candidate")
        fi
    done < <(_CLAP_IFS=$'\n' _CLAP_COMPLETE_INDEX=$last VARIABLE=bash PROGRAM -- "${words[@]}" 2>/dev/null)
    if ((${#COMPREPLY[@]} == 0)); then
        COMPREPLY=("${options[@]}")
        if [[ ${words[last]} == *[\~\$\"\'\\]* || ${COMP_WORDS[COMP_CWORD - 1]} == *[\<\>]* ]]; then
            compopt -o bashdefault -o default
        fi
    elif [[ ${#COMPREPLY[@]} == 1 && $COMPREPLY == *[/=:] ]]; then
        compopt -o nospace
    fi
}
complete -o nosort -F _NAME PROGRAM 2>/dev/null || complete -F _NAME PROGRAM
"#;

/// Writes the script of bash.
///
/// That of the library splits ids at the colon, and offers options where none was begun.
fn write_bash(variable: &str, name: &str, _: &str, program: &str, to: &mut dyn Write) -> io::Result<()> {
    let script = BASH.replace("NAME", name).replace("VARIABLE", variable).replace("PROGRAM", program);
    to.write_all(script.as_bytes())
}

/// Writes a script of zsh that also completes when zsh loads it as a function from its `fpath`.
fn write_zsh(variable: &str, name: &str, binary: &str, program: &str, to: &mut dyn Write) -> io::Result<()> {
    env::Zsh.write_registration(variable, name, binary, program, to)?;
    writeln!(to, "[[ $funcstack[1] == _{name} ]] && _clap_dynamic_completer_{name} \"$@\"")
}

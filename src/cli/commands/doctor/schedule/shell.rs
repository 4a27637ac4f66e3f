//! Commands as a shell reads them, as far as that is needed to find runs in them.

use std::collections::BTreeMap;
use std::iter::Peekable;
use std::path::Path;
use std::str::Chars;

/// A command with its arguments.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Simple {
    /// The program and its arguments.
    pub(super) words: Vec<String>,
    /// The files that its output is redirected to.
    pub(super) outputs: Vec<String>,
}

/// How deep a script may be within another: `sh -c "su -c '…'"`.
const MAX_DEPTH: usize = 3;

/// The commands in a line of a shell. What cannot be read is left out.
///
/// The script of a `-c` option is read too. A command substitution becomes `$`.
pub(super) fn commands(text: &str) -> Vec<Simple> {
    commands_at(text, 0)
}

fn commands_at(text: &str, depth: usize) -> Vec<Simple> {
    let mut scan = Scan { rest: text.chars().peekable(), word: String::new(), outputs: Vec::new(), found: Vec::new() };
    scan.run();
    let mut found = scan.found;
    for at in 0..found.len() {
        let words = &found[at].words;
        let script = words.iter().skip_while(|word| *word != "-c").nth(1).filter(|_| depth < MAX_DEPTH);
        let inner = script.map(|script| commands_at(script, depth + 1)).unwrap_or_default();
        found.extend(inner);
    }
    found
}

struct Scan<'a> {
    rest: Peekable<Chars<'a>>,
    /// The text of the current command.
    word: String,
    outputs: Vec<String>,
    found: Vec<Simple>,
}

impl Scan<'_> {
    fn run(&mut self) {
        while let Some(c) = self.rest.next() {
            match c {
                '\'' | '"' => self.quoted(c),
                '\\' if self.rest.next_if_eq(&'\n').is_some() => {}
                '\\' => {
                    self.word.push(c);
                    self.word.extend(self.rest.next());
                }
                '$' if self.rest.next_if_eq(&'(').is_some() => {
                    self.skip_substitution();
                    self.word.push('$');
                }
                '&' if self.rest.peek() == Some(&'>') => {
                    self.rest.next();
                    self.redirection(true);
                }
                ';' | '|' | '&' | '\n' | '(' | ')' => self.end(),
                '>' => self.redirection(true),
                '<' => self.redirection(false),
                '#' if self.word.is_empty() || self.word.ends_with(char::is_whitespace) => {
                    while self.rest.next_if(|c| *c != '\n').is_some() {}
                }
                c => self.word.push(c),
            }
        }
        self.end();
    }

    /// Ends a command.
    fn end(&mut self) {
        let (text, outputs) = (std::mem::take(&mut self.word), std::mem::take(&mut self.outputs));
        if let Some(words) = shlex::split(&text).filter(|words| !words.is_empty()) {
            self.found.push(Simple { words, outputs });
        }
    }

    /// Copies a quoted text.
    fn quoted(&mut self, quote: char) {
        self.word.push(quote);
        while let Some(c) = self.rest.next() {
            self.word.push(c);
            if c == quote {
                break;
            }
            if c == '\\' && quote == '"' {
                self.word.extend(self.rest.next());
            }
        }
    }

    fn skip_substitution(&mut self) {
        let mut depth = 1;
        while depth > 0 {
            match self.rest.next() {
                Some('(') => depth += 1,
                Some(')') => depth -= 1,
                Some(_) => {}
                None => return,
            }
        }
    }

    /// Reads the target of a redirection, such as `2>>file` and `>&2`.
    fn redirection(&mut self, is_output: bool) {
        let digits = self.word.trim_end_matches(|c: char| c.is_ascii_digit());
        if digits.is_empty() || digits.ends_with(char::is_whitespace) {
            self.word.truncate(digits.len());
        }
        while self.rest.next_if(|c| matches!(c, '>' | '<' | '|')).is_some() {}
        if self.rest.next_if_eq(&'&').is_some() {
            // A descriptor.
            while self.rest.next_if(|c| c.is_ascii_digit() || *c == '-').is_some() {}
            return;
        }
        while self.rest.next_if(|c| *c == ' ').is_some() {}
        let before = std::mem::take(&mut self.word);
        while let Some(c) = self.rest.next_if(|c| !c.is_whitespace() && !matches!(c, ';' | '|' | '&' | '>' | ')')) {
            match c {
                '\'' | '"' => self.quoted(c),
                '$' if self.rest.next_if_eq(&'(').is_some() => {
                    self.skip_substitution();
                    self.word.push('$');
                }
                c => self.word.push(c),
            }
        }
        let target = shlex::split(&std::mem::replace(&mut self.word, before)).unwrap_or_default();
        if is_output {
            self.outputs.extend(target.into_iter().next());
        }
    }
}

/// Replaces variables in words, as a shell does without quotes; others stay.
pub(super) fn expand(words: Vec<String>, variables: &BTreeMap<String, String>) -> Vec<String> {
    let one = |word: String| match word.strip_prefix('$').and_then(|name| variables.get(name)) {
        Some(value) => shlex::split(value).unwrap_or_default(),
        None => vec![expand_word(word, variables)],
    };
    words.into_iter().flat_map(one).collect()
}

/// Replaces the variables in a word that have braces; others stay.
pub(super) fn expand_word(mut word: String, variables: &BTreeMap<String, String>) -> String {
    for (name, value) in variables {
        word = word.replace(&format!("${{{name}}}"), value);
    }
    word
}

/// The program and the arguments of the run that words start; `None` if they start none.
pub(super) fn invocation(words: &[String]) -> Option<&[String]> {
    let is_program = |word: &String| Path::new(word).file_name().is_some_and(|name| name == "cxnpoll");
    let is_command = |word: &String| word == "poll" || word == "cxn:poll";
    let end = words.iter().position(is_command).unwrap_or(words.len());
    let first = words[..end].iter().rposition(is_program)?;
    // Without an argument it is the argument of another program: `test -x /usr/bin/cxnpoll`.
    words.get(first + 1).map(|_| &words[first..])
}

/// The assignments of variables before a program: `CXNPOLL_STORE=/data cxnpoll …`.
pub(super) fn assignments(words: &[String]) -> BTreeMap<String, String> {
    let pairs = words.iter().map_while(|word| word.split_once('=').or((word == "env").then_some(("", ""))));
    pairs.filter(|(name, _)| !name.is_empty()).map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

/// The user that a program such as `sudo` changes to; `None` if there is no such program.
///
/// `Some(None)` is a user whose name is not known.
#[expect(clippy::option_option, reason = "the inner one is that of an entry")]
pub(super) fn other_user(commands: &[Simple]) -> Option<Option<String>> {
    let changes_user = |word: &String| {
        Path::new(word)
            .file_name()
            .is_some_and(|name| ["sudo", "su", "runuser", "doas", "setpriv"].iter().any(|known| name == *known))
    };
    let words = commands.iter().find_map(|command| {
        let at = command.words.iter().position(changes_user)?;
        command.words.get(at + 1..)
    })?;
    let mut named = words.iter().skip_while(|word| *word != "-u");
    Some(named.nth(1).cloned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<Vec<String>> {
        commands(text).into_iter().map(|command| command.words).collect()
    }

    #[test]
    fn commands_are_split_as_a_shell_does() {
        assert_eq!(
            words("cd /x && cxnpoll poll 'a b' | cat; true &"),
            [vec!["cd", "/x"], vec!["cxnpoll", "poll", "a b"], vec!["cat"], vec!["true"]]
        );
        assert_eq!(
            words("a --retry='20min (x6); 1day (x2)' \"b;c\" d\\;e # no | f"),
            [vec!["a", "--retry=20min (x6); 1day (x2)", "b;c", "d;e"]]
        );
        assert_eq!(words("sh -c 'cxnpoll poll a; b'")[1..], [vec!["cxnpoll", "poll", "a"], vec!["b"]]);
        assert_eq!(words("(a; b)"), [["a"], ["b"]]);
        assert_eq!(words("#!/bin/sh\na \\\n  b # c; d\n\n# e\nf"), [vec!["a", "b"], vec!["f"]]);
        assert_eq!(words("a 'open"), Vec::<Vec<String>>::new());
    }

    #[test]
    fn redirections_are_no_words() {
        for (text, outputs) in [
            ("a b >/dev/null 2>&1", &["/dev/null"][..]),
            ("a b >> /var/log/x.log 2>>'/var/log/y z'", &["/var/log/x.log", "/var/log/y z"]),
            ("a b &> x", &["x"]),
            ("a b < in", &[]),
            ("a b >> /log/$(date +%F).log", &["/log/$.log"]),
        ] {
            let found = commands(text);
            assert_eq!((found[0].words.join(" ").as_str(), found.len()), ("a b", 1), "{text}");
            assert_eq!(found[0].outputs, outputs, "{text}");
        }
    }

    #[test]
    fn a_run_is_found_among_the_words() {
        for (text, expected) in [
            ("cxnpoll poll a", Some("cxnpoll poll a")),
            ("/opt/cxnpoll --store /s cxn:poll a", Some("/opt/cxnpoll --store /s cxn:poll a")),
            ("flock -n /run/cxnpoll nice /bin/cxnpoll poll a", Some("/bin/cxnpoll poll a")),
            ("cxnpoll pol a", Some("cxnpoll pol a")),
            ("test -x /usr/bin/cxnpoll", None),
            ("php app/console cxn:poll a", None),
        ] {
            let words = shlex::split(text).unwrap();
            assert_eq!(invocation(&words).map(|words| words.join(" ")).as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn another_user_may_be_named() {
        for (text, expected) in [
            ("cxnpoll poll a", None),
            ("sudo -n -u cxnpoll cxnpoll poll a", Some(Some("cxnpoll"))),
            ("/usr/sbin/runuser -u poller -- cxnpoll poll a", Some(Some("poller"))),
            ("su -c 'cxnpoll poll a' cxnpoll", Some(None)),
        ] {
            let user = other_user(&commands(text));
            assert_eq!(user.as_ref().map(|user| user.as_deref()), expected, "{text}");
        }
    }

    #[test]
    fn variables_are_replaced() {
        let variables = BTreeMap::from([("A", "x"), ("MORE", "--limit 3")].map(|(a, b)| (a.to_owned(), b.to_owned())));
        let words = shlex::split("poll ${A} $MORE $OTHER").unwrap();
        assert_eq!(expand(words, &variables), ["poll", "x", "--limit", "3", "$OTHER"]);
        assert_eq!(assignments(&shlex::split("env A=1 B=2 cxnpoll C=3").unwrap()).len(), 2);
    }
}

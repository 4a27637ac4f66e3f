//! The fenced blocks of a page, and the commands in them.

/// A fenced block of a page.
pub struct Block {
    /// The line of the page with the first fence, from 1.
    pub line: usize,
    /// The word after the first fence; empty if there is none.
    pub language: String,
    /// The lines between the fences, without the indentation of the fence.
    pub text: String,
}

/// Returns the fenced blocks of a page, also those in lists.
pub fn blocks(page: &str) -> Vec<Block> {
    let mut blocks = Vec::new();
    let mut open: Option<(Block, usize)> = None;
    for (number, line) in (1..).zip(page.lines()) {
        let content = line.trim_start();
        match (&mut open, content.strip_prefix("```")) {
            (None, Some(language)) => {
                let block = Block { line: number, language: language.trim().to_owned(), text: String::new() };
                open = Some((block, line.len() - content.len()));
            }
            (Some(_), Some("")) => blocks.extend(open.take().map(|(block, _)| block)),
            (Some((block, indent)), _) => {
                block.text.push_str(line.get(*indent..).unwrap_or_default());
                block.text.push('\n');
            }
            (None, None) => {}
        }
    }
    assert!(open.is_none(), "a block is not closed");
    blocks
}

/// Returns the commands of a shell block.
///
/// These are its lines, joined where a quote, a here-document or a `\` goes on.
pub fn shell_commands(text: &str) -> Vec<String> {
    let mut commands: Vec<String> = Vec::new();
    let mut goes_on = false;
    for line in text.lines() {
        match commands.last_mut() {
            Some(command) if goes_on => {
                command.push('\n');
                command.push_str(line);
            }
            _ if line.is_empty() || line.starts_with('#') => continue,
            _ => commands.push(line.to_owned()),
        }
        goes_on = commands.last().is_some_and(|command| is_unfinished(command));
    }
    assert!(!goes_on, "a command is not finished: {commands:?}");
    commands
}

/// Whether a command goes on in the next line.
fn is_unfinished(command: &str) -> bool {
    if let Some((_, after)) = command.split_once("<<") {
        let word: String = after.chars().skip_while(|c| *c == '\'').take_while(char::is_ascii_alphabetic).collect();
        return !command.lines().skip(1).any(|line| line == word);
    }
    let mut quote = None;
    let mut characters = command.chars().peekable();
    while let Some(c) = characters.next() {
        match (quote, c) {
            (None, '#') => while characters.next_if(|c| *c != '\n').is_some() {},
            (None | Some('"'), '\\') if characters.next().is_none_or(|c| c == '\n' && characters.peek().is_none()) => {
                return true;
            }
            (None, '\'' | '"') => quote = Some(c),
            (Some(open), _) if open == c => quote = None,
            _ => {}
        }
    }
    quote.is_some()
}

/// A line of a crontab that starts a command.
#[derive(Debug, PartialEq, Eq)]
pub struct CronLine {
    /// The variables that are set in the lines before, as words for a shell.
    pub variables: String,
    /// The command.
    pub command: String,
}

/// Returns the lines of a crontab, checked as cron does.
///
/// A line of `/etc/cron.d` may have a user before its command, which then begins with a `/`.
pub fn cron_lines(text: &str) -> Vec<CronLine> {
    let mut variables = String::new();
    let mut lines = Vec::new();
    for line in text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let fields: Vec<&str> = line.splitn(6, ' ').collect();
        if let [first, ..] = fields[..]
            && first.starts_with(|c: char| c.is_ascii_uppercase())
            && let Some((name, value)) = line.split_once('=')
        {
            variables.extend([name, "='", value, "' "]);
            continue;
        }
        let [minute, hour, day, month, weekday, command] = fields[..] else {
            panic!("not a line of a crontab: {line}")
        };
        for field in [minute, hour, day, month, weekday] {
            assert!(field.chars().all(|c| c.is_ascii_digit() || "*/,-".contains(c)), "{line}: {field}");
        }
        assert!(!command.replace("\\%", "").contains('%'), "cron ends a command at %: {line}");
        let command = match command.split_once(' ') {
            Some((user, rest)) if rest.starts_with('/') && !user.contains('/') => rest,
            _ => command,
        };
        lines.push(CronLine { variables: variables.clone(), command: command.to_owned() });
    }
    lines
}

/// Returns the commands of a session at a terminal, each with the output that the page shows.
pub fn session(text: &str) -> Vec<(String, String)> {
    let mut commands: Vec<(String, String)> = Vec::new();
    for line in text.lines() {
        match (line.strip_prefix("$ "), commands.last_mut()) {
            (Some(command), _) => commands.push((command.to_owned(), String::new())),
            (None, Some((_, output))) => {
                output.push_str(line);
                output.push('\n');
            }
            (None, None) => panic!("a session begins with a command: {line}"),
        }
    }
    commands
}

#[test]
fn blocks_in_lists_lose_their_indentation() {
    let page = "1. One\n\n   ```sh\n   a 'b\n     c'\n\n   # no\n   d\n   ```\n```\ne\n```\n";
    let found = blocks(page);
    let found: Vec<_> = found.iter().map(|block| (block.line, &*block.language, &*block.text)).collect();
    assert_eq!(found, [(3, "sh", "a 'b\n  c'\n\n# no\nd\n"), (10, "", "e\n")]);
    assert_eq!(shell_commands(found[0].2), ["a 'b\n  c'", "d"]);
}

#[test]
fn commands_go_on_after_quotes_backslashes_and_in_here_documents() {
    let text = "a \\\n  b\nc # it's\ncat > f <<'END'\n# d\nEND\ne \"f\ng\"\nh \\' \\\\\ni\n";
    let expected = ["a \\\n  b", "c # it's", "cat > f <<'END'\n# d\nEND", "e \"f\ng\"", "h \\' \\\\", "i"];
    assert_eq!(shell_commands(text), expected);
}

#[test]
fn a_crontab_has_variables_users_and_commands() {
    let line = |variables: &str, command: &str| CronLine { variables: variables.into(), command: command.into() };
    let text = "# no\nA=b c\n*/5 * * * * d 'e f'\n0 2 * * 1-5 cxnpoll /usr/bin/g h\n";
    assert_eq!(cron_lines(text), [line("A='b c' ", "d 'e f'"), line("A='b c' ", "/usr/bin/g h")]);
}

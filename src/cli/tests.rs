use clap::ColorChoice;
use clap::error::ErrorKind;

use super::*;

#[test]
fn the_last_color_counts_also_before_the_arguments_are_parsed() {
    for (arguments, expected) in [
        (&["get"][..], ColorChoice::Auto),
        (&["--color", "never", "get"], ColorChoice::Never),
        (&["get", "--color=never", "--color=always"], ColorChoice::Always),
        (&["--color=always", "get", "--no-ansi"], ColorChoice::Never),
        (&["--no-ansi", "--ansi", "get"], ColorChoice::Always),
        (&["--ansi", "get", "--color=auto"], ColorChoice::Auto),
        (&["--ansi", "get", "--", "--no-ansi", "--color=never"], ColorChoice::Always),
    ] {
        let arguments = in_our_terms(["cxnpoll"].iter().chain(arguments).map(OsString::from));
        assert_eq!(color(&arguments), expected, "{arguments:?}");
        assert_eq!(Cli::try_parse_from(&arguments).map(|cli| cli.global.color).ok(), Some(expected), "{arguments:?}");
    }
    assert_eq!(color(&["cxnpoll", "get", "--color"].map(OsString::from)), ColorChoice::Auto);
}

#[test]
fn an_option_may_be_given_twice_to_every_command() {
    fn check(command: &clap::Command) {
        assert!(command.is_args_override_self(), "{}", command.get_name());
        command.get_subcommands().for_each(check);
    }
    let mut program = Cli::command();
    program.build();
    check(&program);
}

#[test]
fn the_last_of_an_option_counts() {
    let parse = |arguments: &str| {
        let cli = Cli::try_parse_from(arguments.split(' ')).unwrap();
        (cli.global.store_wait.as_secs(), cli.global.allow_net.len(), cli.global.verbosity())
    };
    assert_eq!(parse("cxnpoll --store-wait 1 --store-wait 2 get"), (2, 0, 0));
    assert_eq!(parse("cxnpoll --store-wait 1 get --store-wait=3"), (3, 0, 0));
    assert_eq!(parse("cxnpoll get --allow-net 10.0.0.1 -v --allow-net 10.0.0.2 --verbose"), (30, 2, 2));
    assert_eq!(parse("cxnpoll get -vvv --verbose=1 -qv"), (30, 0, 2));
}

#[test]
fn an_argument_that_is_no_option_cannot_be_given_twice() {
    let error = Cli::try_parse_from(["cxnpoll", "poll", "org.example.a", "org.example.b"]).err();
    assert_eq!(error.map(|error| error.kind()), Some(ErrorKind::UnknownArgument));
}

#[test]
fn the_arguments_of_what_starts_often_are_parsed_without_the_other_commands() {
    fn given(matches: &clap::ArgMatches) -> Vec<String> {
        let values = |id: &str| matches.try_get_raw(id).ok().flatten().map(Vec::from_iter);
        let below = matches.subcommand().into_iter().flat_map(|(_, below)| given(below));
        matches.ids().map(|id| format!("{id} {:?}", values(id.as_str()))).chain(below).collect()
    }
    let parse = |command: clap::Command, line: &str| {
        command.try_get_matches_from(line.split(' ')).map(|matches| given(&matches)).map_err(|error| error.kind())
    };
    for (line, is_alone) in [
        ("cxnpoll --config x registration", true),
        ("cxnpoll registration --log-file x --store-wait 5s", true),
        ("cxnpoll registration x", false),
        ("cxnpoll help registration", false),
        ("cxnpoll poll org.example.a", true),
        ("cxnpoll cxn:poll org.example.a --batch 0/2 --strict --strict -qq", true),
        ("cxnpoll --store x -v poll --name j --store y org.example.a -n -e prod", true),
        ("cxnpoll poll --batsch 0/2 org.example.a", false),
        ("cxnpoll poll --help", false),
        ("cxnpoll --store poll", false),
    ] {
        let program = line.split(' ').find_map(program_with).unwrap();
        let (without_others, whole) = (parse(program, line), parse(command(), line));
        assert_eq!(without_others.is_ok(), is_alone, "{line}");
        assert!(!is_alone || without_others == whole, "{line}");
    }
}

#[test]
fn the_arguments_are_consistent() {
    Cli::command().debug_assert();
}

#[test]
fn the_help_lists_every_exit_code() {
    for exit::Meaning { code, name, .. } in &exit::MEANINGS {
        let expected = if *code < 128 { format!("{code} {name}") } else { code.to_string() };
        assert!(AFTER_HELP.contains(&expected), "{expected}");
    }
}

#[test]
fn a_listener_that_cannot_be_added_ends_any_command_with_a_configuration_error() {
    let cli = Cli::try_parse_from(["cxnpoll", "--quiet", "retry", "20min (x6)"]).unwrap();
    let invalid = InvalidListener::WrongMethod("civi_cxn.poll".parse().unwrap());
    let report = Report::from(execute(cli, 0, Err(invalid)).unwrap_err());
    assert_eq!(report.exit_code, exit::CONFIG);
    assert!(report.message.ends_with("civi_cxn.poll"), "{report}");
}

//! The text of `-h`, which fits on a screen, and of `--help`, which has every detail.

use clap::builder::PossibleValue;
use clap::{Arg, Command, CommandFactory};

use super::{Cli, scope};

const SHORT_EXAMPLES: &str = "\
Examples:
  acceptd                              an echo; then: nc 127.0.0.1 17007
  acceptd --handler kv --store data    a store; then: redis-cli -p 17007
  acceptd --handler chat 0.0.0.0:6667  a chat for other machines too

Each option is a variable too (ACCEPTD_STORE=data). --help says more.";

const EXAMPLES: &str = "\
Examples:
  acceptd                              an echo on 127.0.0.1:17007; then: nc 127.0.0.1 17007
  acceptd --handler line '[::1]:0'     a command server on a free port
  acceptd --handler kv --store data    a key-value store in a file; then: redis-cli -p 17007
  acceptd --handler chat               a chat; then: nc 127.0.0.1 17007, or irssi for IRC
  acceptd --idle-timeout 30s -v 8080   an echo on 127.0.0.1:8080 that logs each connection

Times are written 250ms, 10s, 1m30s, 2h or 1d; a bare number is seconds. A time is at most a year.
Sizes are written 64KiB, 64KB or 64K (all three are 65,536 bytes), 1M, 1G or 1T; a bare number is
bytes. A size is at most 1GiB, except for --max-memory.
The command line outranks the environment, and RUST_LOG outranks -v and -q. An empty variable is as
good as an unset one.
Ctrl-C (SIGINT), SIGTERM or SIGHUP lets clients finish, then ends the program. Another signal, at
least a second later, ends it at once.";

/// The command line with its help. The first paragraph of an option's doc comment is for `-h`, and the second one, if any, is
/// for `--help`. Both show the handlers that use the option. `--help` also shows the variable that sets it.
pub(super) fn command() -> Command {
    Cli::command().after_help(SHORT_EXAMPLES).after_long_help(EXAMPLES).mut_args(|option| {
        let handlers = scope::handlers_for_help(option.get_id().as_str());
        let add_handlers = |help: String| match &handlers {
            Some(handlers) => format!("{help} ({handlers})"),
            None => help,
        };
        let short = option.get_help().map(ToString::to_string).unwrap_or_default();
        let paragraphs = option.get_long_help().map(ToString::to_string);
        let long = paragraphs.as_deref().and_then(|text| Some(text.split_once("\n\n")?.1)).unwrap_or(&short).to_owned();
        let variable = option.get_env().map(|name| format!("\n\n[env: {}]", name.display())).unwrap_or_default();
        let values = possible_values(&option);
        let long = format!("{}{values}{variable}", add_handlers(long));
        let option = option.help(add_handlers(short)).long_help(long).hide_env(true);
        if values.is_empty() { option } else { option.hide_possible_values(true) }
    })
}

/// The possible values, a line each. clap's own list would make `-h` longer than a screen.
fn possible_values(option: &Arg) -> String {
    let values = if option.get_action().takes_values() { option.get_possible_values() } else { Vec::new() };
    let line = |value: &PossibleValue| {
        let help = value.get_help().map(ToString::to_string).unwrap_or_default();
        format!("\n- {}: {help}", value.get_name())
    };
    let list: String = values.iter().map(line).collect();
    if list.is_empty() { list } else { format!("\n\nPossible values:{list}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        command().debug_assert();
    }

    #[test]
    fn every_option_has_a_variable_named_after_it() {
        for option in command().get_arguments() {
            let name = format!("ACCEPTD_{}", option.get_id().as_str().to_uppercase());
            assert_eq!(option.get_env(), Some(name.as_ref()));
        }
    }

    #[test]
    fn the_short_help_fits_on_a_screen() {
        let help = command().term_width(80).render_help().to_string();
        assert!(help.lines().count() <= 40, "{help}");
        assert!(help.lines().all(|line| line.chars().count() <= 80), "{help}");
        assert!(!help.contains("[env"), "{help}");
    }

    #[test]
    fn no_line_of_the_examples_is_wrapped() {
        assert!(SHORT_EXAMPLES.lines().all(|line| line.chars().count() <= 80));
        assert!(EXAMPLES.lines().all(|line| line.chars().count() <= 100));
    }

    #[test]
    fn the_descriptions_of_the_examples_begin_in_one_column() {
        for help in [SHORT_EXAMPLES, EXAMPLES] {
            let examples = help.lines().filter(|line| line.starts_with("  acceptd"));
            let starts: Vec<usize> = examples.map(|line| line.rfind("  ").unwrap_or_default() + 2).collect();
            assert!(starts.windows(2).all(|pair| pair[0] == pair[1]), "{starts:?}");
        }
    }
}

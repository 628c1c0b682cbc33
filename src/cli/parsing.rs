//! Parses the command line and the environment. An error names the option or the variable that it comes from, and says
//! how to correct it.
//!
//! The command line is parsed twice: first without the environment, then with it. If only the second pass fails, a variable
//! is wrong, and the error names the variable.

use std::ffi::OsString;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::parser::ValueSource;
use clap::{Arg, ArgMatches, Command, Error, FromArgMatches};

use super::{Cli, help, scope};

/// The beginning of the name of every variable.
const PREFIX: &str = "ACCEPTD_";

/// From this similarity on, an unknown variable is probably a known one that is misspelt. 1 means equal.
const MIN_SIMILARITY: f64 = 0.8;

/// The options with which other servers take their address. acceptd takes it as an argument without an option.
const ADDRESS_OPTIONS: [&str; 8] = ["--port", "-p", "--host", "--bind", "-b", "--listen", "-l", "--address"];

/// Parses the command line and the environment. Variables and options that have no effect become warnings.
///
/// # Errors
///
/// An option or a variable is wrong. clap also returns the text of `--help` and `--version` as an error.
pub(super) fn parse(arguments: &[OsString], variables: &[OsString]) -> Result<Cli, Error> {
    let command = help::command();
    let typed = ignoring_variables(command.clone(), |_| true)
        .try_get_matches_from(arguments)
        .map_err(|error| with_hint(error, &command))?;
    let matches = ignoring_variables(command.clone(), |option| is_variable_ignored(option, &typed))
        .try_get_matches_from(arguments)
        .map_err(|error| with_variable_name(error, &command))?;
    let mut cli = Cli::from_arg_matches(&matches)?;
    cli.warnings = unknown_variable_warnings(variables, &command);
    cli.warnings.extend(socket_activation_warning());
    for unused in scope::unused_options(cli.handler, |option| matches.value_source(option)) {
        if unused.is_typed {
            return Err(command.clone().error(ErrorKind::ArgumentConflict, unused.message));
        }
        cli.warnings.push(unused.message);
    }
    Ok(cli)
}

/// A warning if systemd has opened sockets for this process (sd_listen_fds(3)). The program does not use them.
fn socket_activation_warning() -> Option<String> {
    let is_for_this_process = std::env::var("LISTEN_PID").is_ok_and(|pid| pid == std::process::id().to_string());
    is_for_this_process.then(|| {
        "LISTEN_FDS is set, but sockets that systemd has opened are not used: remove the .socket unit".to_owned()
    })
}

/// Removes the variables of the options for which `is_ignored` is true.
fn ignoring_variables(command: Command, is_ignored: impl Fn(&Arg) -> bool) -> Command {
    command.mut_args(|option| if is_ignored(&option) { option.env(None::<&'static str>) } else { option })
}

/// Whether to ignore an option's variable. Compose files and systemd's units set empty variables, which mean nothing. And a
/// log level on the command line overrides both variables that set one: `-q` overrides `ACCEPTD_VERBOSE`.
fn is_variable_ignored(option: &Arg, typed: &ArgMatches) -> bool {
    let is_empty = option.get_env().is_some_and(|name| std::env::var_os(name).is_some_and(|value| value.is_empty()));
    let sets_log_level = |name: &str| ["verbose", "quiet"].contains(&name);
    let was_typed = |name: &str| typed.value_source(name) == Some(ValueSource::CommandLine);
    is_empty || (sets_log_level(option.get_id().as_str()) && (was_typed("verbose") || was_typed("quiet")))
}

/// Adds how to write an address to the error about an unknown argument.
fn with_hint(mut error: Error, command: &Command) -> Error {
    // clap suggests `--` before the argument. That does not help, because no address begins with a dash.
    error.remove(ContextKind::Suggested);
    let Some(ContextValue::String(unknown)) = error.get(ContextKind::InvalidArg) else { return error };
    if error.kind() != ErrorKind::UnknownArgument {
        return error;
    }
    let text = if ADDRESS_OPTIONS.contains(&unknown.as_str()) {
        format!("there is no option {unknown}; write the address alone, as in: acceptd 127.0.0.1:8080")
    } else if unknown.starts_with('-') {
        return error;
    } else {
        format!(
            "{unknown:?} is a second address: give one address, as HOST:PORT. A name, or [::], can stand for several"
        )
    };
    command.clone().error(ErrorKind::UnknownArgument, text)
}

/// Replaces the name of the option in an error by the name of its variable.
fn with_variable_name(mut error: Error, command: &Command) -> Error {
    let mut command = command.clone();
    // Without this, clap does not know how options are displayed.
    command.build();
    let option = match error.get(ContextKind::InvalidArg) {
        Some(ContextValue::String(shown)) => command.get_arguments().find(|option| option.to_string() == *shown),
        // clap names no option in an error about UTF-8.
        _ => command.get_arguments().find(|option| is_variable_not_utf8(option)),
    };
    let Some(name) = option.and_then(Arg::get_env) else { return error };
    if error.kind() == ErrorKind::InvalidUtf8 {
        let name = name.to_owned();
        return command.error(ErrorKind::InvalidUtf8, format!("{} is not UTF-8", name.display()));
    }
    error.insert(ContextKind::InvalidArg, ContextValue::String(name.display().to_string()));
    error
}

fn is_variable_not_utf8(option: &Arg) -> bool {
    let value = option.get_env().and_then(std::env::var_os);
    value.is_some_and(|value| value.to_str().is_none())
}

/// A warning for each variable that begins with the prefix but is unknown.
fn unknown_variable_warnings(variables: &[OsString], command: &Command) -> Vec<String> {
    let known: Vec<&str> = command.get_arguments().filter_map(|option| option.get_env()?.to_str()).collect();
    let ours = variables.iter().filter_map(|name| name.to_str()).filter(|name| name.starts_with(PREFIX));
    let unknown = ours.filter(|name| !known.contains(name));
    let warn = |name: &str| match nearest(name, &known) {
        Some(similar) => format!("{name} is ignored: there is no such variable; did you mean {similar}?"),
        None => format!("{name} is ignored: there is no such variable"),
    };
    unknown.map(warn).collect()
}

/// The known variable that the user probably meant.
fn nearest<'n>(name: &str, known: &[&'n str]) -> Option<&'n str> {
    let means_the_address = |option: &&str| name.strip_prefix(PREFIX) == Some(&option.trim_matches('-').to_uppercase());
    if ADDRESS_OPTIONS.iter().any(means_the_address) {
        return Some("ACCEPTD_ADDRESS");
    }
    let similarity = |known: &str| {
        let [name, known] = [name, known].map(|name| name.strip_prefix(PREFIX).unwrap_or(name));
        strsim::jaro_winkler(name, known)
    };
    let similar =
        known.iter().map(|known| (similarity(known), *known)).filter(|(similarity, _)| *similarity > MIN_SIMILARITY);
    similar.max_by(|one, other| one.0.total_cmp(&other.0)).map(|(_, known)| known)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_warning_about_an_unknown_variable_names_the_nearest_known_one() {
        let names =
            ["ACCEPTD_MAX_CONECTIONS", "ACCEPTD_STORE", "ACCEPTD_XYZZY", "ACCEPTD_PORT", "HOME"].map(OsString::from);
        assert_eq!(
            unknown_variable_warnings(&names, &help::command()),
            [
                "ACCEPTD_MAX_CONECTIONS is ignored: there is no such variable; did you mean ACCEPTD_MAX_CONNECTIONS?",
                "ACCEPTD_XYZZY is ignored: there is no such variable",
                "ACCEPTD_PORT is ignored: there is no such variable; did you mean ACCEPTD_ADDRESS?",
            ]
        );
    }
}

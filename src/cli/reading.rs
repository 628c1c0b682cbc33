//! Reads the command line and the environment. Of what is wrong it says where that came from, and what would be right.
//!
//! The command line is parsed first by itself: what is wrong then was typed. What is wrong only with the environment
//! came from a variable, and is told with the variable's name.

use std::ffi::OsString;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::parser::ValueSource;
use clap::{Arg, ArgMatches, Command, Error, FromArgMatches};

use super::{Cli, help, scope};

/// What all variables begin with.
const PREFIX: &str = "ACCEPTD_";

/// Variables are taken for misspelt when they are at least so similar, from 0 to 1, to one that exists.
const SIMILAR: f64 = 0.8;

/// Options of other servers, which stand for the address.
const ADDRESS_OPTIONS: [&str; 8] = ["--port", "-p", "--host", "--bind", "-b", "--listen", "-l", "--address"];

/// The command line, with warnings of what was set in vain.
///
/// # Errors
///
/// Help or the version was asked for, or something is wrong; the error says which.
pub(super) fn read(arguments: &[OsString], variables: &[OsString]) -> Result<Cli, Error> {
    let command = help::command();
    let typed = without_variables(command.clone(), |_| true)
        .try_get_matches_from(arguments)
        .map_err(|error| explain(error, &command))?;
    let matches = without_variables(command.clone(), |option| is_left_out(option, &typed))
        .try_get_matches_from(arguments)
        .map_err(|error| blame_variable(error, &command))?;
    let mut cli = Cli::from_arg_matches(&matches)?;
    cli.warnings = unknown_variables(variables, &command);
    cli.warnings.extend(unused_activation());
    for unused in scope::unused(cli.handler, |option| matches.value_source(option)) {
        if unused.is_typed {
            return Err(command.clone().error(ErrorKind::ArgumentConflict, unused.why));
        }
        cli.warnings.push(unused.why);
    }
    Ok(cli)
}

/// Whether systemd has opened sockets for this process (sd_listen_fds(3)), which are not used.
fn unused_activation() -> Option<String> {
    let is_for_this_process = std::env::var("LISTEN_PID").is_ok_and(|pid| pid == std::process::id().to_string());
    is_for_this_process.then(|| {
        "LISTEN_FDS is set, but sockets that systemd has opened are not used: remove the .socket unit".to_owned()
    })
}

fn without_variables(command: Command, is_left_out: impl Fn(&Arg) -> bool) -> Command {
    command.mut_args(|option| if is_left_out(&option) { option.env(None::<&'static str>) } else { option })
}

/// Compose files and systemd's units make empty variables; and `-q` outranks `ACCEPTD_VERBOSE`.
fn is_left_out(option: &Arg, typed: &ArgMatches) -> bool {
    let is_empty = option.get_env().is_some_and(|name| std::env::var_os(name).is_some_and(|value| value.is_empty()));
    let sets_the_log = |name: &str| ["verbose", "quiet"].contains(&name);
    let was_typed = |name: &str| typed.value_source(name) == Some(ValueSource::CommandLine);
    is_empty || (sets_the_log(option.get_id().as_str()) && (was_typed("verbose") || was_typed("quiet")))
}

/// Says what would be right, where clap can't know it.
fn explain(mut error: Error, command: &Command) -> Error {
    // That anything can follow `--`, which is true and no help: no address begins with a dash.
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

/// Names the variable instead of the option that it stands for.
fn blame_variable(mut error: Error, command: &Command) -> Error {
    let mut command = command.clone();
    // Only then does clap know how options are shown.
    command.build();
    let blamed = match error.get(ContextKind::InvalidArg) {
        Some(ContextValue::String(shown)) => command.get_arguments().find(|option| option.to_string() == *shown),
        // clap names none.
        _ => command.get_arguments().find(|option| is_not_text(option)),
    };
    let Some(name) = blamed.and_then(Arg::get_env) else { return error };
    if error.kind() == ErrorKind::InvalidUtf8 {
        let name = name.to_owned();
        return command.error(ErrorKind::InvalidUtf8, format!("{} is not UTF-8", name.display()));
    }
    error.insert(ContextKind::InvalidArg, ContextValue::String(name.display().to_string()));
    error
}

fn is_not_text(option: &Arg) -> bool {
    let value = option.get_env().and_then(std::env::var_os);
    value.is_some_and(|value| value.to_str().is_none())
}

/// A warning for each of these variables that begins like ours and is none.
fn unknown_variables(variables: &[OsString], command: &Command) -> Vec<String> {
    let known: Vec<&str> = command.get_arguments().filter_map(|option| option.get_env()?.to_str()).collect();
    let ours = variables.iter().filter_map(|name| name.to_str()).filter(|name| name.starts_with(PREFIX));
    let unknown = ours.filter(|name| !known.contains(name));
    let warn = |name: &str| match nearest(name, &known) {
        Some(similar) => format!("{name} is ignored: there is no such variable, but {similar}"),
        None => format!("{name} is ignored: there is no such variable"),
    };
    unknown.map(warn).collect()
}

fn nearest<'n>(name: &str, known: &[&'n str]) -> Option<&'n str> {
    let means_the_address = |option: &&str| name.strip_prefix(PREFIX) == Some(&option.trim_matches('-').to_uppercase());
    if ADDRESS_OPTIONS.iter().any(means_the_address) {
        return Some("ACCEPTD_ADDRESS");
    }
    let similarity = |known: &str| {
        let [name, known] = [name, known].map(|name| name.strip_prefix(PREFIX).unwrap_or(name));
        strsim::jaro_winkler(name, known)
    };
    let similar = known.iter().map(|known| (similarity(known), *known)).filter(|(similarity, _)| *similarity > SIMILAR);
    similar.max_by(|one, other| one.0.total_cmp(&other.0)).map(|(_, known)| known)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_variable_that_is_unknown_is_told_of_with_the_nearest_one() {
        let names =
            ["ACCEPTD_MAX_CONECTIONS", "ACCEPTD_STORE", "ACCEPTD_XYZZY", "ACCEPTD_PORT", "HOME"].map(OsString::from);
        assert_eq!(
            unknown_variables(&names, &help::command()),
            [
                "ACCEPTD_MAX_CONECTIONS is ignored: there is no such variable, but ACCEPTD_MAX_CONNECTIONS",
                "ACCEPTD_XYZZY is ignored: there is no such variable",
                "ACCEPTD_PORT is ignored: there is no such variable, but ACCEPTD_ADDRESS",
            ]
        );
    }
}

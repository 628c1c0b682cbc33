//! The options that each handler uses: for the help, and to find options that have no effect.

use clap::ValueEnum;
use clap::parser::ValueSource;

use super::HandlerName;

/// The id of each option in clap, and the handlers that use the option.
const SCOPES: [(&str, &[HandlerName]); 20] = [
    ("address", ALL),
    ("handler", ALL),
    ("max_connections", ALL),
    ("idle_timeout", ALL),
    // An echo has no requests.
    ("request_timeout", &[HandlerName::Line, HandlerName::Kv, HandlerName::Chat]),
    ("write_timeout", ALL),
    ("drain_timeout", ALL),
    ("max_line", &[HandlerName::Line]),
    ("kv_protocol", &[HandlerName::Kv]),
    ("store", &[HandlerName::Kv]),
    ("fsync", &[HandlerName::Kv]),
    ("password_file", &[HandlerName::Kv]),
    ("max_value", &[HandlerName::Kv]),
    ("max_memory", &[HandlerName::Kv]),
    ("max_outbox", &[HandlerName::Chat]),
    ("message_rate", &[HandlerName::Chat]),
    ("chat_protocol", &[HandlerName::Chat]),
    ("backlog", ALL),
    ("verbose", ALL),
    ("quiet", ALL),
];

const ALL: &[HandlerName] = &[HandlerName::Echo, HandlerName::Line, HandlerName::Kv, HandlerName::Chat];

/// The handlers that use an option, for its help: `kv` or `line, kv, chat`. `None` if all handlers use it.
pub(super) fn handlers_for_help(option: &str) -> Option<String> {
    let (_, handlers) = SCOPES.iter().find(|(name, _)| *name == option)?;
    let names: Vec<String> = handlers.iter().map(|handler| name(*handler)).collect();
    (names.len() < ALL.len()).then(|| names.join(", "))
}

fn name(handler: HandlerName) -> String {
    handler.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned())
}

/// An option that was set but has no effect.
pub(super) struct UnusedOption {
    /// It was set on the command line, and not by a variable.
    pub(super) is_typed: bool,
    /// The message for the user. It begins with the option or the variable.
    pub(super) message: String,
}

/// The options that were set but have no effect on the chosen handler. `source` tells where the value of an option comes
/// from.
pub(super) fn unused_options(chosen: HandlerName, source: impl Fn(&str) -> Option<ValueSource>) -> Vec<UnusedOption> {
    let is_set = |option: &str| matches!(source(option), Some(ValueSource::CommandLine | ValueSource::EnvVariable));
    let as_given = |option: &str| match source(option) {
        Some(ValueSource::EnvVariable) => format!("ACCEPTD_{}", option.to_uppercase()),
        _ => format!("--{}", option.replace('_', "-")),
    };
    let handler = match source("handler") {
        Some(ValueSource::EnvVariable) => format!("ACCEPTD_HANDLER={}", name(chosen)),
        _ => format!("--handler {}", name(chosen)),
    };
    let mut unused = Vec::new();
    let mut add = |option: &str, reason: String| {
        let is_typed = source(option) == Some(ValueSource::CommandLine);
        unused.push(UnusedOption { is_typed, message: format!("{} {reason}", as_given(option)) });
    };
    for (option, handlers) in SCOPES.iter().filter(|(option, handlers)| is_set(option) && !handlers.contains(&chosen)) {
        let names: Vec<String> = handlers.iter().map(|handler| name(*handler)).collect();
        add(option, format!("is for --handler {}; {handler} does not use it", names.join(", ")));
    }
    if chosen == HandlerName::Kv && is_set("max_memory") && is_set("store") {
        let file = as_given("store");
        add("max_memory", format!("is for a store in memory, and {file} keeps keys and values in a file"));
    }
    if chosen == HandlerName::Kv && is_set("fsync") && !is_set("store") {
        add("fsync", "is for a store in a file; add --store FILE".to_owned());
    }
    if is_set("verbose") && is_set("quiet") {
        add("quiet", format!("and {} cancel each other; leave one out", as_given("verbose")));
    }
    unused
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_scope_of_every_option_is_listed() {
        let command = super::super::Cli::command();
        let options: Vec<&str> = command.get_arguments().map(|option| option.get_id().as_str()).collect();
        let listed: Vec<&str> = SCOPES.iter().map(|(option, _)| *option).collect();
        assert_eq!(options, listed);
        assert_eq!(HandlerName::value_variants(), ALL);
    }
}

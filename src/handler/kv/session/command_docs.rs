//! COMMAND and HELP: descriptions of the commands, for client libraries and for people.

use super::{KvSession, unknown_command};
use crate::handler::kv::commands::{self, Access, COMMANDS, Command};
use crate::handler::kv::reply::Replies;

impl KvSession<'_> {
    /// HELP: a line for each command, or for each of `names`.
    pub(super) fn help(&mut self, names: &[&[u8]]) {
        let mut chosen = Vec::new();
        for name in names {
            match commands::find(name) {
                Some(command) => chosen.push(command),
                None => return self.replies.error_in_bytes(&unknown_command(&[name], true)),
            }
        }
        if chosen.is_empty() {
            chosen.extend(COMMANDS);
        }
        // Longer usages would leave no room for the summaries of the others.
        let usage_lengths = chosen.iter().map(|command| command.usage().len());
        let width = usage_lengths.filter(|length| *length < 40).max().unwrap_or(0);
        let line = |command: &&Command| format!("{:width$}  {}", command.usage(), command.summary);
        self.replies.verbatim(&chosen.iter().map(line).collect::<Vec<_>>().join("\n"));
    }

    pub(super) fn command_docs(&mut self, arguments: &[&[u8]]) {
        let replies = &mut self.replies;
        let chosen = |names: &[&[u8]]| -> Vec<Option<&'static Command>> {
            if names.is_empty() {
                COMMANDS.iter().map(Some).collect()
            } else {
                names.iter().map(|name| commands::find(name)).collect()
            }
        };
        match arguments {
            [] => reply_with_info(&chosen(&[]), replies),
            [option] if commands::is(option, "COUNT") => replies.integer(COMMANDS.len() as i64),
            [option, names @ ..] if commands::is(option, "INFO") => {
                reply_with_info(&chosen(names), replies);
            }
            [option, names @ ..] if commands::is(option, "DOCS") => {
                reply_with_docs(&chosen(names), replies);
            }
            [option] if commands::is(option, "LIST") => {
                replies.array(COMMANDS.len());
                COMMANDS.iter().for_each(|command| replies.bulk(command.name.as_bytes()));
            }
            [option, ..] => {
                let option = String::from_utf8_lossy(option);
                replies.error(&format!("ERR unknown subcommand '{option}'. Try COUNT, DOCS, INFO or LIST."));
            }
        }
    }
}

/// The reply to COMMAND INFO: for each command its name, arity, flags and key positions.
fn reply_with_info(chosen: &[Option<&'static Command>], replies: &mut Replies) {
    replies.array(chosen.len());
    for command in chosen {
        let Some(command) = command else {
            replies.nil_array();
            continue;
        };
        replies.array(10);
        replies.bulk(command.name.as_bytes());
        replies.integer(command.arity.into());
        let flags: &[&str] = match command.access {
            Access::Reads => &["readonly"],
            Access::Writes => &["write", "denyoom"],
            Access::Removes => &["write"],
            Access::Connection => &["fast"],
        };
        replies.set(flags.len());
        flags.iter().for_each(|flag| replies.simple(flag));
        let (first, last, step) = command.key_positions();
        [first, last, step].into_iter().for_each(|number| replies.integer(number));
        // No ACL categories, tips, key specifications or subcommands.
        (0..4).for_each(|_| replies.array(0));
    }
}

/// The reply to COMMAND DOCS.
fn reply_with_docs(chosen: &[Option<&'static Command>], replies: &mut Replies) {
    replies.map(chosen.iter().flatten().count());
    for command in chosen.iter().flatten() {
        replies.bulk(command.name.as_bytes());
        replies.map(3);
        for (name, value) in [("summary", command.summary), ("group", "generic")] {
            replies.bulk(name.as_bytes());
            replies.bulk(value.as_bytes());
        }
        reply_with_arguments(command.arguments, replies);
    }
}

/// Describes each word of `arguments` as an argument in Redis's sense. `redis-cli` makes its hints from these. A group
/// in brackets is one optional argument. Dots at the end mean that everything before them may be repeated.
fn reply_with_arguments(arguments: &str, replies: &mut Replies) {
    let (words, is_repeated) = match arguments.strip_suffix(" ...") {
        Some(group) => (vec![group], true),
        None => (split_outside_brackets(arguments), false),
    };
    replies.bulk(b"arguments");
    replies.array(words.len());
    for word in words {
        let optional = word.strip_prefix('[').and_then(|word| word.strip_suffix(']'));
        replies.map(3);
        for (field, value) in [("name", optional.unwrap_or(word)), ("type", "string")] {
            replies.bulk(field.as_bytes());
            replies.bulk(value.as_bytes());
        }
        let flags = [("optional", optional.is_some()), ("multiple", is_repeated)];
        let flags: Vec<_> = flags.iter().filter(|(_, is_set)| *is_set).collect();
        replies.bulk(b"flags");
        replies.set(flags.len());
        flags.iter().for_each(|(flag, _)| replies.simple(flag));
    }
}

/// Splits a text at spaces, except inside brackets.
fn split_outside_brackets(text: &str) -> Vec<&str> {
    let mut depth = 0_usize;
    let is_between = |character: char| {
        match character {
            '[' => depth += 1,
            ']' => depth = depth.saturating_sub(1),
            _ => {}
        }
        character == ' ' && depth == 0
    };
    text.split(is_between).filter(|word| !word.is_empty()).collect()
}

//! The built-in commands of the line protocol: a pure function from a line to its reply.

use jiff::{SignedDuration, Span, SpanRound, Unit};
use unicode_segmentation::UnicodeSegmentation;

use super::{AfterReply, LineContext, Reply};

/// An error message quotes at most this many characters of a client's word.
const MAX_QUOTED: usize = 40;

struct LineCommand {
    name: &'static str,
    /// How HELP shows the argument; empty if there is none.
    argument: &'static str,
    help: &'static str,
    action: Action,
}

enum Action {
    /// Replies with a function of the argument.
    Text(fn(&str) -> String),
    /// Replies with a function of the connection and the server. The command takes no argument.
    Context(fn(&LineContext) -> String),
    Help,
    Quit,
}

static COMMANDS: [LineCommand; 12] = [
    LineCommand { name: "HELP", argument: "", help: "this list", action: Action::Help },
    LineCommand { name: "ECHO", argument: "text", help: "the text", action: Action::Text(str::to_owned) },
    LineCommand { name: "UPPER", argument: "text", help: "the text in capitals", action: Action::Text(upper) },
    LineCommand {
        name: "LOWER",
        argument: "text",
        help: "the text in small letters",
        action: Action::Text(str::to_lowercase),
    },
    LineCommand {
        name: "REVERSE",
        argument: "text",
        help: "the text backwards, by grapheme",
        action: Action::Text(reverse),
    },
    LineCommand {
        name: "COUNT",
        argument: "",
        help: "lines and bytes that you have sent",
        action: Action::Context(count),
    },
    LineCommand {
        name: "TIME",
        argument: "",
        help: "the time, as RFC 3339 has it, UTC",
        action: Action::Context(time),
    },
    LineCommand {
        name: "DAYTIME",
        argument: "",
        help: "the time, as a person would write it, UTC",
        action: Action::Context(daytime),
    },
    LineCommand {
        name: "UPTIME",
        argument: "",
        help: "how long the server has been up",
        action: Action::Context(uptime),
    },
    LineCommand {
        name: "WHOAMI",
        argument: "",
        help: "your address and connection number",
        action: Action::Context(whoami),
    },
    LineCommand {
        name: "STATS",
        argument: "",
        help: "connections now, in all, and refused",
        action: Action::Context(stats),
    },
    LineCommand { name: "QUIT", argument: "", help: "close the connection", action: Action::Quit },
];

/// The reply to a line: a command in any case, and an argument after a space or tab.
pub fn reply(line: &str, context: &LineContext) -> Reply {
    let line = line.trim_start();
    let (word, rest) = line.split_once([' ', '\t']).unwrap_or((line, ""));
    let Some(command) = find(word) else { return unknown(word).into() };
    let is_alone = rest.trim().is_empty();
    if command.argument.is_empty() && !is_alone && !matches!(command.action, Action::Help) {
        return format!("ERROR {} stands alone, without {:?}", command.name, shorten(rest.trim())).into();
    }
    match command.action {
        Action::Text(reply) => reply(rest).into(),
        Action::Context(reply) => reply(context).into(),
        Action::Help if is_alone => COMMANDS.iter().map(help_line).collect::<String>().into(),
        Action::Help => find(rest.trim()).map_or_else(|| unknown(rest.trim()), help_line).into(),
        Action::Quit => Reply { text: "BYE".into(), after: AfterReply::Close },
    }
}

fn find(word: &str) -> Option<&'static LineCommand> {
    COMMANDS.iter().find(|command| command.name.eq_ignore_ascii_case(word))
}

fn unknown(word: &str) -> String {
    match word {
        "" => "ERROR no command, try HELP".to_owned(),
        _ => format!("ERROR unknown command {:?}, try HELP", shorten(word)),
    }
}

/// A command's line in HELP.
fn help_line(command: &LineCommand) -> String {
    format!("{:<14}{}\n", format!("{} {}", command.name, command.argument), command.help)
}

/// Like `str::to_uppercase`, but allocates exactly what it needs: a string that grows may keep twice that while the reply is
/// being sent.
fn upper(text: &str) -> String {
    let characters = || text.chars().flat_map(char::to_uppercase);
    let mut upper = String::with_capacity(characters().map(char::len_utf8).sum());
    upper.extend(characters());
    upper
}

/// Reverses by grapheme (UAX #29), so that what a person sees as one character stays intact.
fn reverse(text: &str) -> String {
    let mut reversed = String::with_capacity(text.len());
    reversed.extend(text.graphemes(true).rev());
    reversed
}

fn count(context: &LineContext) -> String {
    format!("lines={} bytes={}", context.lines, context.bytes)
}

fn time(context: &LineContext) -> String {
    context.now.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

fn daytime(context: &LineContext) -> String {
    context.now.strftime("%A, %-d %B %Y, %H:%M:%S UTC").to_string()
}

fn uptime(context: &LineContext) -> String {
    let whole = SignedDuration::from_secs(i64::try_from(context.uptime.as_secs()).unwrap_or(i64::MAX));
    let in_days = SpanRound::new().largest(Unit::Day).days_are_24_hours();
    let written = Span::try_from(whole).and_then(|span| span.round(in_days));
    // A span can't represent more than about 20,000 years.
    written.map_or_else(|_| format!("up {whole:#}"), |span| format!("up {span:#}"))
}

fn whoami(context: &LineContext) -> String {
    format!("{} connection={}", context.peer, context.id)
}

fn stats(context: &LineContext) -> String {
    let stats = context.stats;
    format!("now={} all={} refused={}", stats.connections, stats.served, stats.refused)
}

/// The start of a word. Counts characters, because a single grapheme can be as long as a line.
fn shorten(word: &str) -> String {
    let mut characters = word.chars();
    let start: String = characters.by_ref().take(MAX_QUOTED).collect();
    if characters.next().is_some() { start + "…" } else { start }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::Stats;

    fn context() -> LineContext {
        LineContext {
            id: 7,
            peer: "127.0.0.1:4242".parse().unwrap(),
            lines: 3,
            bytes: 42,
            now: "2026-02-03T04:05:06Z".parse().unwrap(),
            uptime: Duration::from_secs(2 * 86_400 + 5),
            stats: Stats { connections: 1, served: 12, refused: 2, ..Stats::default() },
        }
    }

    fn reply_text(line: &str) -> String {
        reply(line, &context()).text.into_owned()
    }

    #[test]
    fn every_command_replies() {
        for (line, expected) in [
            ("ECHO hello world", "hello world"),
            ("ECHO  two spaces ", " two spaces "),
            ("ECHO", ""),
            ("UPPER straße", "STRASSE"),
            ("LOWER ÀB", "àb"),
            ("COUNT", "lines=3 bytes=42"),
            ("TIME", "2026-02-03T04:05:06Z"),
            ("DAYTIME", "Tuesday, 3 February 2026, 04:05:06 UTC"),
            ("UPTIME", "up 2d 5s"),
            ("WHOAMI", "127.0.0.1:4242 connection=7"),
            ("STATS", "now=1 all=12 refused=2"),
            ("QUIT", "BYE"),
        ] {
            assert_eq!(reply_text(line), expected, "{line}");
        }
    }

    #[test]
    fn help_for_a_command_shows_its_line_of_the_list() {
        for command in &COMMANDS {
            let line = reply_text(&format!("HELP  {} ", command.name.to_lowercase()));
            assert_eq!(line.lines().count(), 1);
            assert!(reply_text("help").contains(&line), "{line}");
        }
        assert_eq!(reply_text("HELP make"), "ERROR unknown command \"make\", try HELP");
        assert!(reply_text(&format!("HELP {}", "x".repeat(60_000))).len() < 100);
    }

    #[test]
    fn help_lists_every_command() {
        let help = reply_text("HELP");
        for command in &COMMANDS {
            assert!(help.lines().any(|line| line.starts_with(command.name)), "{}", command.name);
        }
    }

    #[test]
    fn commands_are_case_insensitive() {
        for line in ["echo x", "Echo x", "eChO\tx", "  ECHO x"] {
            assert_eq!(reply_text(line), "x", "{line}");
        }
    }

    #[test]
    fn text_is_reversed_by_grapheme() {
        assert_eq!(reply_text("REVERSE abc"), "cba");
        assert_eq!(reply_text("REVERSE e\u{301}x"), "xe\u{301}", "an accent stays on its letter");
        assert_eq!(reply_text("REVERSE a👨‍👩‍👧b"), "b👨‍👩‍👧a");
    }

    #[test]
    fn errors_say_what_to_do() {
        assert_eq!(reply_text("FROB x"), "ERROR unknown command \"FROB\", try HELP");
        assert_eq!(reply_text("say \"hi\""), "ERROR unknown command \"say\", try HELP");
        assert_eq!(reply_text("\"hi\""), "ERROR unknown command \"\\\"hi\\\"\", try HELP");
        assert_eq!(reply_text("   "), "ERROR no command, try HELP");
        assert_eq!(reply_text("TIME please"), "ERROR TIME stands alone, without \"please\"");
        assert!(reply_text(&"x".repeat(60_000)).len() < 100);
        assert!(reply_text(&format!("a{}", "\u{301}".repeat(30_000))).len() < 500, "one grapheme");
    }

    #[test]
    fn only_quit_closes() {
        for command in &COMMANDS {
            let expected = if command.name == "QUIT" { AfterReply::Close } else { AfterReply::Continue };
            assert_eq!(reply(command.name, &context()).after, expected, "{}", command.name);
        }
    }

    #[test]
    fn uptimes_are_written_in_the_units_that_people_use() {
        for (seconds, expected) in
            [(0, "up 0s"), (59, "up 59s"), (60, "up 1m"), (3_661, "up 1h 1m 1s"), (90_061, "up 1d 1h 1m 1s")]
        {
            assert_eq!(uptime(&LineContext { uptime: Duration::from_secs(seconds), ..context() }), expected);
        }
    }
}

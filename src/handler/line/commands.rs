//! The built-in commands of the line protocol, as a pure function from a line to a reply.

use jiff::{SignedDuration, Span, SpanRound, Unit};
use unicode_segmentation::UnicodeSegmentation;

use super::{Facts, Reply, Then};

/// Longer words are not repeated to the client in full.
const SHOWN_AT_MOST: usize = 40;

/// A command: its name, what follows it, what it does, and what it answers.
struct Command {
    name: &'static str,
    argument: &'static str,
    help: &'static str,
    reply: Answer,
}

enum Answer {
    /// Of what follows the command.
    Text(fn(&str) -> String),
    /// Of the connection and the server; nothing may follow.
    Facts(fn(&Facts) -> String),
    Help,
    Quit,
}

static COMMANDS: [Command; 12] = [
    Command { name: "HELP", argument: "", help: "this list", reply: Answer::Help },
    Command { name: "ECHO", argument: "text", help: "the text", reply: Answer::Text(str::to_owned) },
    Command { name: "UPPER", argument: "text", help: "the text in capitals", reply: Answer::Text(str::to_uppercase) },
    Command {
        name: "LOWER",
        argument: "text",
        help: "the text in small letters",
        reply: Answer::Text(str::to_lowercase),
    },
    Command {
        name: "REVERSE",
        argument: "text",
        help: "the text backwards, by grapheme",
        reply: Answer::Text(reverse),
    },
    Command { name: "COUNT", argument: "", help: "lines and bytes that you have sent", reply: Answer::Facts(count) },
    Command { name: "TIME", argument: "", help: "the time, as RFC 3339 has it, UTC", reply: Answer::Facts(time) },
    Command {
        name: "DAYTIME",
        argument: "",
        help: "the time, as a person would write it, UTC",
        reply: Answer::Facts(daytime),
    },
    Command { name: "UPTIME", argument: "", help: "how long the server has been up", reply: Answer::Facts(uptime) },
    Command { name: "WHOAMI", argument: "", help: "your address and connection number", reply: Answer::Facts(whoami) },
    Command { name: "STATS", argument: "", help: "connections now, in all, and refused", reply: Answer::Facts(stats) },
    Command { name: "QUIT", argument: "", help: "close the connection", reply: Answer::Quit },
];

/// Answers a line: a command in capitals or small letters, then a space and the rest.
pub fn reply(line: &str, facts: &Facts) -> Reply {
    let line = line.trim_start();
    let (word, rest) = line.split_once([' ', '\t']).unwrap_or((line, ""));
    let Some(command) = find(word) else { return unknown(word).into() };
    let is_alone = rest.trim().is_empty();
    if command.argument.is_empty() && !is_alone && !matches!(command.reply, Answer::Help) {
        return format!("ERROR {} stands alone, without {:?}", command.name, shorten(rest.trim())).into();
    }
    match command.reply {
        Answer::Text(of) => of(rest).into(),
        Answer::Facts(of) => of(facts).into(),
        Answer::Help if is_alone => COMMANDS.iter().map(help).collect::<String>().into(),
        Answer::Help => find(rest.trim()).map_or_else(|| unknown(rest.trim()), help).into(),
        Answer::Quit => Reply { text: "BYE".into(), then: Then::Close },
    }
}

fn find(word: &str) -> Option<&'static Command> {
    COMMANDS.iter().find(|command| command.name.eq_ignore_ascii_case(word))
}

fn unknown(word: &str) -> String {
    match word {
        "" => "ERROR no command, try HELP".to_owned(),
        _ => format!("ERROR unknown command {:?}, try HELP", shorten(word)),
    }
}

/// A command's line in the list of all.
fn help(command: &Command) -> String {
    format!("{:<14}{}\n", format!("{} {}", command.name, command.argument), command.help)
}

/// By grapheme: what a person sees as one character stays whole (UAX #29).
fn reverse(text: &str) -> String {
    text.graphemes(true).rev().collect()
}

fn count(facts: &Facts) -> String {
    format!("lines={} bytes={}", facts.lines, facts.bytes)
}

fn time(facts: &Facts) -> String {
    facts.now.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

fn daytime(facts: &Facts) -> String {
    facts.now.strftime("%A, %-d %B %Y, %H:%M:%S UTC").to_string()
}

fn uptime(facts: &Facts) -> String {
    let whole = SignedDuration::from_secs(i64::try_from(facts.uptime.as_secs()).unwrap_or(i64::MAX));
    let in_days = SpanRound::new().largest(Unit::Day).days_are_24_hours();
    let written = Span::try_from(whole).and_then(|span| span.round(in_days));
    // No server has been up for longer than a span can tell.
    written.map_or_else(|_| format!("up {whole:#}"), |span| format!("up {span:#}"))
}

fn whoami(facts: &Facts) -> String {
    format!("{} connection={}", facts.peer, facts.id)
}

fn stats(facts: &Facts) -> String {
    let stats = facts.stats;
    format!("now={} all={} refused={}", stats.connections, stats.served, stats.refused)
}

/// The start of a word, by characters, since a single grapheme can be as long as a line.
fn shorten(word: &str) -> String {
    let mut characters = word.chars();
    let start: String = characters.by_ref().take(SHOWN_AT_MOST).collect();
    if characters.next().is_some() { start + "…" } else { start }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::Stats;

    fn facts() -> Facts {
        Facts {
            id: 7,
            peer: "127.0.0.1:4242".parse().unwrap(),
            lines: 3,
            bytes: 42,
            now: "2026-02-03T04:05:06Z".parse().unwrap(),
            uptime: Duration::from_secs(2 * 86_400 + 5),
            stats: Stats { connections: 1, served: 12, refused: 2, ..Stats::default() },
        }
    }

    fn answer(line: &str) -> String {
        reply(line, &facts()).text.into_owned()
    }

    #[test]
    fn every_command_answers() {
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
            assert_eq!(answer(line), expected, "{line}");
        }
    }

    #[test]
    fn help_with_a_command_is_its_line_of_the_list() {
        for command in &COMMANDS {
            let line = answer(&format!("HELP  {} ", command.name.to_lowercase()));
            assert_eq!(line.lines().count(), 1);
            assert!(answer("help").contains(&line), "{line}");
        }
        assert_eq!(answer("HELP make"), "ERROR unknown command \"make\", try HELP");
        assert!(answer(&format!("HELP {}", "x".repeat(60_000))).len() < 100);
    }

    #[test]
    fn help_lists_every_command() {
        let help = answer("HELP");
        for command in &COMMANDS {
            assert!(help.lines().any(|line| line.starts_with(command.name)), "{}", command.name);
        }
    }

    #[test]
    fn any_case_will_do() {
        for line in ["echo x", "Echo x", "eChO\tx", "  ECHO x"] {
            assert_eq!(answer(line), "x", "{line}");
        }
    }

    #[test]
    fn text_is_reversed_by_grapheme() {
        assert_eq!(answer("REVERSE abc"), "cba");
        assert_eq!(answer("REVERSE e\u{301}x"), "xe\u{301}", "an accent stays on its letter");
        assert_eq!(answer("REVERSE a👨‍👩‍👧b"), "b👨‍👩‍👧a");
    }

    #[test]
    fn mistakes_are_told_with_what_to_do() {
        assert_eq!(answer("FROB x"), "ERROR unknown command \"FROB\", try HELP");
        assert_eq!(answer("say \"hi\""), "ERROR unknown command \"say\", try HELP");
        assert_eq!(answer("\"hi\""), "ERROR unknown command \"\\\"hi\\\"\", try HELP");
        assert_eq!(answer("   "), "ERROR no command, try HELP");
        assert_eq!(answer("TIME please"), "ERROR TIME stands alone, without \"please\"");
        assert!(answer(&"x".repeat(60_000)).len() < 100);
        assert!(answer(&format!("a{}", "\u{301}".repeat(30_000))).len() < 500, "one grapheme");
    }

    #[test]
    fn only_quit_closes() {
        for command in &COMMANDS {
            let expected = if command.name == "QUIT" { Then::Close } else { Then::Continue };
            assert_eq!(reply(command.name, &facts()).then, expected, "{}", command.name);
        }
    }

    #[test]
    fn uptimes_are_written_in_the_units_that_people_use() {
        for (seconds, expected) in
            [(0, "up 0s"), (59, "up 59s"), (60, "up 1m"), (3_661, "up 1h 1m 1s"), (90_061, "up 1d 1h 1m 1s")]
        {
            assert_eq!(uptime(&Facts { uptime: Duration::from_secs(seconds), ..facts() }), expected);
        }
    }
}

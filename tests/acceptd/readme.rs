//! Runs every command in the README, and checks that the output is what the README shows.
//!
//! A transcript is a fenced `console` block. `$ cargo run --release -- …` starts the program, `$ nc HOST PORT` starts a
//! client, and `^C` sends SIGINT to the program that was started last. A line in `TYPED` is input to a client, unless it
//! directly follows input: every input has a reply. Numbers in the output may differ from the README.

use std::fs::{self, Permissions};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use crate::support::PATIENCE;
use crate::support::daemon::acceptd;

const README: &str = include_str!("../../README.md");

/// The lines that a person types.
const TYPED: [&str; 24] = [
    "hello",
    "HELP",
    "upper straße",
    "TIME",
    "WHOAMI",
    "make tea",
    "QUIT",
    "SET greeting \"hello world\"",
    "GET greeting",
    "INCR visits",
    "MGET greeting visits nothing",
    "SET motto \"two\\nlines\" EX 60",
    "GET motto",
    "TTL motto",
    "EXPIRE motto",
    "SET lunch \"at noon\"",
    "GET lunch",
    "AUTH \"open sesame\"",
    "/name ann",
    "/name bob",
    "anybody here?",
    "hello bob",
    "/me waves",
    "/quit bedtime",
];

/// The chat's port. Its clients run concurrently.
const CHAT_PORT: &str = "17010";

/// The output is complete when nothing more arrives for this long.
const QUIET_PERIOD: Duration = Duration::from_millis(300);

/// A program that a transcript has started, with the lines of its stdout and stderr.
struct Program {
    child: Child,
    output: Receiver<String>,
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Program {
    fn start(arguments: &str, folder: &Path) -> Program {
        let arguments: Vec<&str> = arguments.split_whitespace().collect();
        let mut command = acceptd(&arguments);
        let mut child = command.current_dir(folder).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let (line_sender, output) = mpsc::channel();
        read_lines(child.stdout.take().unwrap(), line_sender.clone());
        read_lines(child.stderr.take().unwrap(), line_sender);
        Program { child, output }
    }

    fn interrupt(&self) {
        kill_process(Pid::from_child(&self.child), Signal::INT).unwrap();
    }
}

fn read_lines(from: impl Read + Send + 'static, lines: mpsc::Sender<String>) {
    thread::spawn(move || BufReader::new(from).lines().map_while(Result::ok).try_for_each(|line| lines.send(line)));
}

/// The lines of each `console` block.
fn transcripts(readme: &str) -> Vec<Vec<String>> {
    let mut blocks = Vec::new();
    let mut lines = readme.lines();
    while lines.by_ref().any(|line| line == "```console") {
        let block = lines.by_ref().take_while(|line| *line != "```");
        // A terminal shows `^C` and the output that follows on the same line.
        let split = block.flat_map(|line| match line.strip_prefix("^C") {
            Some(rest) if !rest.is_empty() => vec!["^C", rest],
            _ => vec![line],
        });
        blocks.push(split.map(ToOwned::to_owned).collect());
    }
    blocks
}

/// Replaces each run of digits by one 0, because times, ports and counts may differ. Byte counts stay.
fn normalize(line: &str) -> String {
    let words: Vec<&str> = line.split(' ').collect();
    let is_byte_count = |index: usize| words.get(index + 1) == Some(&"bytes");
    let normalized = words.iter().enumerate().map(|(index, word)| {
        if is_byte_count(index) {
            return (*word).to_owned();
        }
        let mut text = word.replace(|character: char| character.is_ascii_digit(), "0");
        while text.contains("00") {
            text = text.replace("00", "0");
        }
        // `1 connection` and `2 connections` are the same, too.
        text.replace("connections", "connection")
    });
    normalized.collect::<Vec<_>>().join(" ")
}

fn run_client(host: &str, port: &str, lines: &[String]) -> TcpStream {
    let stream = TcpStream::connect(format!("{host}:{port}")).unwrap();
    replay(&stream, lines, || {});
    stream
}

/// Sends and reads the lines of a transcript. Calls `before_join` before each line that says that a member has joined.
fn replay(stream: &TcpStream, lines: &[String], mut before_join: impl FnMut()) {
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    // Every typed line gets a reply, so the second of two equal lines is the reply.
    let mut has_typed = false;
    for line in lines {
        if !has_typed && TYPED.contains(&line.as_str()) {
            writeln!(&*stream, "{line}").unwrap();
            has_typed = true;
            continue;
        }
        if line.ends_with(" joined") {
            before_join();
        }
        let mut received = String::new();
        reader.read_line(&mut received).unwrap_or_else(|error| panic!("{error}, instead of {line:?}"));
        assert_eq!(normalize(received.trim_end_matches('\n')), normalize(line));
        has_typed = false;
    }
    assert!(!has_typed, "{lines:?} ends without a reply");
    stream.set_read_timeout(Some(QUIET_PERIOD)).unwrap();
    let mut more = String::new();
    let _ = reader.read_line(&mut more);
    assert_eq!(more, "", "the server sends more than the README shows");
}

/// Runs the members of a chat, each in its own thread. They join one after the other. Carol, who uses irssi, joins last.
fn run_chat(port: &str, members: &[Vec<String>]) {
    let connect = || TcpStream::connect(format!("127.0.0.1:{port}")).unwrap();
    let threads: Vec<_> = members
        .iter()
        .map(|lines| {
            let (stream, lines) = (connect(), lines.clone());
            let (wait_sender, waiting) = mpsc::channel();
            let member = thread::spawn(move || replay(&stream, &lines, || wait_sender.send(()).unwrap_or_default()));
            // The next member connects when this one waits for it.
            waiting.recv_timeout(PATIENCE).unwrap();
            member
        })
        .collect();
    let mut carol = connect();
    carol
        .write_all(b"NICK carol\r\nUSER carol 0 * :Carol\r\nJOIN #lobby\r\nPRIVMSG #lobby :hello from irssi\r\n")
        .unwrap();
    threads.into_iter().for_each(|member| member.join().unwrap());
    // Carol leaves last, so that the byte counts are the same in every run.
    carol.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut lines = BufReader::new(carol.try_clone().unwrap()).lines();
    assert!(lines.any(|line| line.unwrap().starts_with(":ann!~guest1@chat QUIT")));
    carol.shutdown(std::net::Shutdown::Write).unwrap();
    assert!(lines.all(|line| line.is_ok()));
}

#[test]
fn every_command_in_the_readme_prints_what_the_readme_shows() {
    let mut readme = README.to_owned();
    let mut chat_port = String::new();
    for port in ["17007", "17008", "17009", "17011", "17012", CHAT_PORT] {
        let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        readme = readme.replace(port, &free.to_string());
        chat_port = free.to_string();
    }
    let folder = std::env::temp_dir().join(format!("acceptd-readme-{}", std::process::id()));
    fs::create_dir_all(&folder).unwrap();
    let mut members = Vec::new();
    let mut program: Option<Program> = None;
    let mut clients = Vec::new();
    let blocks = transcripts(&readme);
    assert!(blocks.len() >= 6, "the README has lost its transcripts");
    for block in blocks {
        let (command, output) = block.split_first().unwrap();
        let words: Vec<&str> = command.split(' ').collect();
        match words.as_slice() {
            ["$", "cargo", "run", "--release", "--", arguments @ ..] => {
                // The previous program holds its store's lock until it ends.
                drop(program.take());
                program = Some(Program::start(&arguments.join(" "), &folder));
            }
            ["$", "nc", _, port] if *port == chat_port => {
                members.push(output.to_vec());
                if members.len() == 2 {
                    run_chat(port, &members);
                }
                continue;
            }
            ["$", "nc", host, port] => {
                clients.push(run_client(host, port, output));
                continue;
            }
            ["$", "(umask", "077;", "echo", content @ .., ">", file] => {
                let (content, file) = (content.join(" "), folder.join(file.trim_end_matches(')')));
                fs::write(&file, format!("{}\n", content.trim_matches('"'))).unwrap();
                fs::set_permissions(file, Permissions::from_mode(0o600)).unwrap();
            }
            ["^C"] => program.as_ref().unwrap().interrupt(),
            _ => panic!("no test knows how to run {command:?}"),
        }
        let program_output = &program.as_ref().unwrap().output;
        let mut received: Vec<String> = output
            .iter()
            .map(|line| match program_output.recv_timeout(PATIENCE) {
                Ok(line) => normalize(&line),
                Err(RecvTimeoutError::Timeout) => panic!("no output instead of {line:?}"),
                Err(RecvTimeoutError::Disconnected) => panic!("the program has ended instead of printing {line:?}"),
            })
            .collect();
        let mut expected: Vec<String> = output.iter().map(|line| normalize(line)).collect();
        if command.starts_with("$ ") {
            // One line is on stdout and one in the log, in either order.
            received.sort();
            expected.sort();
        }
        assert_eq!(received, expected);
    }
    fs::remove_dir_all(folder).unwrap();
}

/// An option as `--help` shows it.
struct HelpOption {
    /// `--store <FILE>`
    name: String,
    /// `kv`, or `all`.
    handlers: String,
    /// Empty if there is none.
    default: String,
}

/// The options in `--help`, except `--help` and `--version`.
fn options(help: &str) -> Vec<HelpOption> {
    let mut options: Vec<HelpOption> = Vec::new();
    for line in help.lines() {
        let text = line.trim();
        let indentation = line.len() - line.trim_start().len();
        if indentation < 8 && (text == "[ADDRESS]" || text.starts_with('-')) {
            let name = text.find("--").map_or(text, |start| &text[start..]).trim_end_matches("...");
            options.push(HelpOption { name: name.to_owned(), handlers: "all".to_owned(), default: String::new() });
        } else if let Some(option) = options.last_mut() {
            if let Some(default) = text.strip_prefix("[default: ") {
                option.default = format!("`{}`", default.trim_end_matches(']'));
            }
            let last = text.rsplit_once('(').and_then(|(_, last)| last.strip_suffix(')'));
            let is_handler = |name: &str| ["echo", "line", "kv", "chat"].contains(&name);
            if let Some(last) = last.filter(|last| last.split(", ").all(is_handler)) {
                option.handlers = last.split(", ").map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
            }
        }
    }
    options.retain(|option| !["--help", "--version"].contains(&option.name.as_str()));
    options
}

#[test]
fn the_table_in_the_readme_matches_the_options_in_the_help() {
    let help = String::from_utf8(acceptd(&["--help"]).output().unwrap().stdout).unwrap();
    let options = options(&help);
    for HelpOption { name, handlers, default } in &options {
        let row = README.lines().find(|row| row.starts_with('|') && row.contains(&format!("`{name}`")));
        let row = row.unwrap_or_else(|| panic!("{name} is not in the README"));
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        assert_eq!(cells[3], handlers, "{name}");
        // The default of --idle-timeout depends on the handler.
        assert!(cells[4] == default || name.starts_with("--idle-timeout"), "{name}: {default}");
    }
    let rows = README.lines().filter(|row| row.starts_with("| `-") || row.starts_with("| `[")).count();
    assert_eq!(options.len(), rows);
}

/// How many lines a file has, or all files in a folder; 0 if there is no such path.
fn lines_in(path: &Path) -> usize {
    if !path.is_dir() {
        return fs::read_to_string(path).map_or(0, |text| text.lines().count());
    }
    fs::read_dir(path).unwrap().map(|entry| lines_in(&entry.unwrap().path())).sum()
}

#[test]
fn the_files_of_the_reading_order_are_as_long_as_the_readme_says() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let rows: Vec<&str> = README.lines().filter(|line| line.starts_with("| `src/")).collect();
    assert_eq!(rows.len(), 10);
    for row in rows {
        let cells: Vec<&str> = row.trim_matches('|').split('|').map(str::trim).collect();
        let files = cells[0].split('`').filter(|part| part.starts_with("src/"));
        let paths = files.map(|file| root.join(file));
        let lines: usize = paths.map(|file| lines_in(&file) + lines_in(&file.with_extension(""))).sum();
        let stated: usize = cells[2].replace(',', "").parse().unwrap();
        assert!(lines.abs_diff(stated) <= stated / 5 + 50, "{}: {lines} lines, not about {stated}", cells[0]);
    }
}

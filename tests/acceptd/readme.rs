//! Every command in the README runs, and prints what the README says.
//!
//! A transcript is a fenced block of `console`. `$ cargo run --release -- …` starts the program, `$ nc HOST PORT` is
//! a client of it, and `^C` is a signal to the program that was started last. What a person types into a client is
//! told from what the server says by listening first. Numbers may be others than in the README.

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

/// What a person types.
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

/// Where the chat is: its clients talk at the same time.
const CHAT: &str = "17010";

/// A server that says nothing for this long has said all.
const PAUSE: Duration = Duration::from_millis(300);

/// A program that a transcript has started, and what it says on both of its outputs.
struct Program {
    child: Child,
    says: Receiver<String>,
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
        let (tell, says) = mpsc::channel();
        read_lines(child.stdout.take().unwrap(), tell.clone());
        read_lines(child.stderr.take().unwrap(), tell);
        Program { child, says }
    }

    fn interrupt(&self) {
        kill_process(Pid::from_child(&self.child), Signal::INT).unwrap();
    }
}

fn read_lines(from: impl Read + Send + 'static, tell: mpsc::Sender<String>) {
    thread::spawn(move || BufReader::new(from).lines().map_while(Result::ok).try_for_each(|line| tell.send(line)));
}

/// The blocks of `console`, line by line.
fn transcripts(readme: &str) -> Vec<Vec<String>> {
    let mut blocks = Vec::new();
    let mut lines = readme.lines();
    while lines.by_ref().any(|line| line == "```console") {
        let block = lines.by_ref().take_while(|line| *line != "```");
        // A terminal shows the program's answer to Ctrl-C in the same line.
        let split = block.flat_map(|line| match line.strip_prefix("^C") {
            Some(rest) if !rest.is_empty() => vec!["^C", rest],
            _ => vec![line],
        });
        blocks.push(split.map(ToOwned::to_owned).collect());
    }
    blocks
}

/// Each run of digits as one, so that times, ports and counts may differ; but not those of bytes.
fn shape(line: &str) -> String {
    let words: Vec<&str> = line.split(' ').collect();
    let counts_bytes = |place: usize| words.get(place + 1) == Some(&"bytes");
    let shapes = words.iter().enumerate().map(|(place, word)| {
        if counts_bytes(place) {
            return (*word).to_owned();
        }
        let mut shape = word.replace(|character: char| character.is_ascii_digit(), "0");
        while shape.contains("00") {
            shape = shape.replace("00", "0");
        }
        // `1 connection` and `2 connections` are alike, too.
        shape.replace("connections", "connection")
    });
    shapes.collect::<Vec<_>>().join(" ")
}

fn converse(host: &str, port: &str, lines: &[String]) -> TcpStream {
    let stream = TcpStream::connect(format!("{host}:{port}")).unwrap();
    talk(&stream, lines, || {});
    stream
}

/// Types and reads these lines; tells when the next one says that somebody comes.
fn talk(stream: &TcpStream, lines: &[String], mut tell_waiting: impl FnMut()) {
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    // Whatever is typed is answered, so of two equal lines the second one is the answer.
    let mut has_typed = false;
    for line in lines {
        if !has_typed && TYPED.contains(&line.as_str()) {
            writeln!(&*stream, "{line}").unwrap();
            has_typed = true;
            continue;
        }
        if line.ends_with(" joined") {
            tell_waiting();
        }
        let mut heard = String::new();
        reader.read_line(&mut heard).unwrap_or_else(|error| panic!("{error}, instead of {line:?}"));
        assert_eq!(shape(heard.trim_end_matches('\n')), shape(line));
        has_typed = false;
    }
    assert!(!has_typed, "{lines:?} ends without an answer");
    stream.set_read_timeout(Some(PAUSE)).unwrap();
    let mut more = String::new();
    let _ = reader.read_line(&mut more);
    assert_eq!(more, "", "the server says more than the README");
}

/// The members of a chat, each in a thread, who come one after the other; the last one is Carol, who has irssi.
fn chat(port: &str, members: &[Vec<String>]) {
    let connect = || TcpStream::connect(format!("127.0.0.1:{port}")).unwrap();
    let talking: Vec<_> = members
        .iter()
        .map(|lines| {
            let (stream, lines) = (connect(), lines.clone());
            let (tell, waiting) = mpsc::channel();
            let member = thread::spawn(move || talk(&stream, &lines, || tell.send(()).unwrap_or_default()));
            // The next one comes when this one waits for somebody.
            waiting.recv_timeout(PATIENCE).unwrap();
            member
        })
        .collect();
    let mut carol = connect();
    carol
        .write_all(b"NICK carol\r\nUSER carol 0 * :Carol\r\nJOIN #lobby\r\nPRIVMSG #lobby :hello from irssi\r\n")
        .unwrap();
    talking.into_iter().for_each(|member| member.join().unwrap());
    // She stays to the last, so that as many bytes go out each time.
    carol.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut lines = BufReader::new(carol.try_clone().unwrap()).lines();
    assert!(lines.any(|line| line.unwrap().starts_with(":ann!~guest1@chat QUIT")));
    carol.shutdown(std::net::Shutdown::Write).unwrap();
    assert!(lines.all(|line| line.is_ok()));
}

#[test]
fn every_command_in_it_does_what_it_says() {
    let mut readme = README.to_owned();
    let mut chat_port = String::new();
    for port in ["17007", "17008", "17009", "17011", "17012", CHAT] {
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
                // The one before has its store until it has ended.
                drop(program.take());
                program = Some(Program::start(&arguments.join(" "), &folder));
            }
            ["$", "nc", _, port] if *port == chat_port => {
                members.push(output.to_vec());
                if members.len() == 2 {
                    chat(port, &members);
                }
                continue;
            }
            ["$", "nc", host, port] => {
                clients.push(converse(host, port, output));
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
        let says = &program.as_ref().unwrap().says;
        let mut said: Vec<String> = output
            .iter()
            .map(|line| match says.recv_timeout(PATIENCE) {
                Ok(said) => shape(&said),
                Err(RecvTimeoutError::Timeout) => panic!("nothing came, instead of {line:?}"),
                Err(RecvTimeoutError::Disconnected) => panic!("it has ended, instead of {line:?}"),
            })
            .collect();
        let mut expected: Vec<String> = output.iter().map(|line| shape(line)).collect();
        if command.starts_with("$ ") {
            // One line is standard output's, one the log's: which one comes first, nobody knows.
            said.sort();
            expected.sort();
        }
        assert_eq!(said, expected);
    }
    fs::remove_dir_all(folder).unwrap();
}

/// An option as `--help` shows it.
struct Shown {
    /// `--store <FILE>`
    name: String,
    /// `kv`, or `all`.
    handlers: String,
    /// Empty if there is none.
    default: String,
}

/// The options in `--help`, but for help and version themselves.
fn options(help: &str) -> Vec<Shown> {
    let mut options: Vec<Shown> = Vec::new();
    for line in help.lines() {
        let text = line.trim();
        let indentation = line.len() - line.trim_start().len();
        if indentation < 8 && (text == "[ADDRESS]" || text.starts_with('-')) {
            let name = text.find("--").map_or(text, |start| &text[start..]).trim_end_matches("...");
            options.push(Shown { name: name.to_owned(), handlers: "all".to_owned(), default: String::new() });
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
fn its_table_has_every_option_with_its_handlers_and_default_and_no_other() {
    let help = String::from_utf8(acceptd(&["--help"]).output().unwrap().stdout).unwrap();
    let options = options(&help);
    for Shown { name, handlers, default } in &options {
        let row = README.lines().find(|row| row.starts_with('|') && row.contains(&format!("`{name}`")));
        let row = row.unwrap_or_else(|| panic!("{name} is not in the README"));
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        assert_eq!(cells[3], handlers, "{name}");
        // That of --idle-timeout depends on the handler.
        assert!(cells[4] == default || name.starts_with("--idle-timeout"), "{name}: {default}");
    }
    let rows = README.lines().filter(|row| row.starts_with("| `-") || row.starts_with("| `[")).count();
    assert_eq!(options.len(), rows);
}

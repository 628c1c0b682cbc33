"""Types at redis-cli through a terminal, as a person does, and compares what it shows.

redis_cli_typed.py PORT [OPTION OF redis-cli…]: each sentence below comes with what is typed and what must be shown, which
may be a pattern, /like this/. The store is empty before.
"""

import fcntl
import os
import pty
import re
import select
import struct
import sys
import termios
import time

PORT, OPTIONS = int(sys.argv[1]), sys.argv[2:]
NAME = " ".join(["redis-cli", *OPTIONS, "in a terminal"])
IS_RESP3 = "-3" in OPTIONS


def help_of(name, arguments, summary):
    """A pattern of what is shown of a command, whatever the colours."""
    return rf"/\s*\x1b\S*{name}\x1b\S* \x1b\[90m{re.escape(arguments)}\x1b\S*\s+\S*summary:\S* {summary}\n.*/"


SESSION = [
    (
        "values are shown in quotes, numbers and nothing as such",
        [
            ('set greeting "hello world"', "OK"),
            ("get greeting", '"hello world"'),
            ("GET nothing", "(nil)"),
            ("incr n", "(integer) 1"),
            (r'set binary "\x00\xff\r\n"', "OK"),
            ("get binary", r'"\x00\xff\r\n"'),
            ("mget greeting nothing n", '1) "hello world"\n2) (nil)\n3) "1"'),
            ("keys nobody", "(empty array)"),
            ("ping", "PONG"),
            ("config get databases", '1# "databases" => "1"' if IS_RESP3 else '1) "databases"\n2) "1"'),
        ],
    ),
    (
        "errors are shown with Redis's words",
        [
            ("incr greeting", "(error) ERR value is not an integer or out of range"),
            ("nonsense 1", "(error) ERR unknown command 'nonsense', with args beginning with: '1' "),
            ("get", "(error) ERR wrong number of arguments for 'get' command"),
        ],
    ),
    (
        "a transaction changes the prompt until it ends",
        [
            ("multi", "OK"),
            ("TX: set k 1", "QUEUED"),
            ("TX: incr k", "QUEUED"),
            ("TX: exec", "1) OK\n2) (integer) 2"),
            ("multi", "OK"),
            ("TX: incr k", "QUEUED"),
            ("TX: discard", "OK"),
            ("get k", '"2"'),
            ("watch k", "OK"),
        ],
    ),
    (
        "several lines of text are shown as they are",
        [
            ("client setname me", "OK"),
            ("client list", "/id=[0-9]+ addr=127.0.0.1:[0-9]+ .*name=me .*/"),
            ("info keyspace", "# Keyspace\ndb0:keys=4,expires=0,avg_ttl=0"),
            ("3 echo again", '"again"\n"again"\n"again"'),
        ],
    ),
    (
        "its help, which it has from the server, explains commands and their arguments",
        [
            ("help getdel", help_of("GETDEL", "key", "get a value and delete the key")),
            ("help del", help_of("DEL", "key [key ...]", "delete keys")),
            ("help mset", help_of("MSET", "key value [key value ...]", "set several values at once")),
            ("help set", help_of("SET", "key value [NX|XX] [GET] [EX|PX|EXAT|PXAT time|KEEPTTL]", "set a value")),
            ("help dbsize", help_of("DBSIZE", "", "count the keys")),
        ],
    ),
    (
        "another protocol can be chosen on the way",
        [
            ("hello 3", r'/1# "server" => "redis"\n.*3# "proto" => \(integer\) 3\n.*7# "modules" => \(empty array\)/'),
            ("config get databases", '1# "databases" => "1"'),
            ("get nothing", "(nil)"),
        ],
    ),
]


class Terminal:
    """redis-cli, and the terminal that it is used in."""

    def __init__(self):
        self.shown = b""
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            environment = {**os.environ, "TERM": "xterm", "REDISCLI_HISTFILE": "/dev/null"}
            os.execvpe("redis-cli", ["redis-cli", "-p", str(PORT), *OPTIONS], environment)
        # Rows and columns, so that it need not ask the terminal for them.
        fcntl.ioctl(self.fd, termios.TIOCSWINSZ, struct.pack("HHHH", 50, 200, 0, 0))

    def read_until(self, is_enough):
        deadline = time.monotonic() + 10
        while not is_enough():
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([self.fd], [], [], left)[0]:
                raise AssertionError(f"nothing more came after {self.shown[-300:]!r}")
            self.shown += os.read(self.fd, 65536)

    def prompt(self, name=""):
        return f"127.0.0.1:{PORT}{name}> ".encode()

    def type(self, line):
        """What is shown between the line and the next prompt, which must be the right one."""
        self.shown = b""
        os.write(self.fd, line.encode())
        # It shows each letter anew, so the line is there when it stands after the prompt.
        self.read_until(lambda: line.encode() in self.shown)
        self.shown = b""
        os.write(self.fd, b"\r")
        prompt = re.compile(rb"\n((?:.*\n)?)\r?127\.0\.0\.1:%d(?:\(TX\))?> " % PORT, re.DOTALL)
        found = None

        def is_answered():
            nonlocal found
            found = prompt.search(self.shown)
            return found is not None

        self.read_until(is_answered)
        return found[1].decode("utf-8", "backslashreplace").replace("\r", ""), b"(TX)> " in self.shown[found.end(1) :]

    def end(self):
        """How it ends when it is told to."""
        os.write(self.fd, b"quit\r")
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            try:
                if not os.read(self.fd, 65536):
                    break
            except OSError:
                break
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])


def is_as_wanted(got, wanted):
    if wanted.startswith("/"):
        return re.fullmatch(wanted[1:-1], got, re.DOTALL)
    return got == wanted


def main():
    terminal = Terminal()
    failures = 0
    is_in_transaction = False
    try:
        terminal.read_until(lambda: terminal.prompt() in terminal.shown)
        for sentence, lines in SESSION:
            problems = []
            for typed, wanted in lines:
                if typed.startswith("TX: ") != is_in_transaction:
                    problems.append(f"the prompt before {typed!r} is wrong")
                typed = typed.removeprefix("TX: ")
                got, is_in_transaction = terminal.type(typed)
                if not is_as_wanted(got.strip("\n"), wanted):
                    problems.append(f"{typed!r} shows {got!r}, wanted {wanted!r}")
            failures += report(sentence, problems)
        code = terminal.end()
        failures += report("it ends with 0", [f"it ends with {code}"] if code else [])
    finally:
        try:
            os.kill(terminal.pid, 9)
            os.waitpid(terminal.pid, 0)
        except (ProcessLookupError, ChildProcessError):
            pass
    sys.exit(1 if failures else 0)


def report(sentence, problems):
    print(f"{'FAILED ' if problems else 'ok     '} {NAME}: {sentence}", flush=True)
    for problem in problems:
        print(f"        {problem}", flush=True)
    return bool(problems)


main()

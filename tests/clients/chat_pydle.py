"""Shows that pydle, a Python library for IRC, works with a chat, and talks with people who have nc.

chat_pydle.py PORT: each function below is a claim, its docstring the sentence. Each has a room of its own, in which are pia,
who uses pydle, and ned, who uses nc, and is the first there. They have a number behind their names, since those of the claim
before may still be about to leave.
"""

import asyncio
import itertools
import logging
import re
import sys
import time
import traceback

import pydle

PORT = int(sys.argv[1])
SECONDS = 10


class Complaints(logging.Handler):
    """What pydle logs when it can't make sense of what the server says."""

    def __init__(self):
        super().__init__(logging.WARNING)
        self.lines = []

    def emit(self, record):
        # No complaints are: numerics that it has no use for, and what it still waits for when the connection ends.
        if not record.getMessage().startswith(("Unknown command", "Server responded", "Task was destroyed")):
            self.lines.append(f"{record.getMessage()} {record.exc_info or ''}")


complaints = Complaints()
logging.getLogger().addHandler(complaints)


async def until(condition, what):
    deadline = time.monotonic() + SECONDS
    while not condition():
        shown = what() if callable(what) else what
        assert time.monotonic() < deadline, f"this did not come true in {SECONDS} s: {shown}"
        await asyncio.sleep(0.005)


def equal(got, wanted):
    assert got == wanted, f"got {got!r}, wanted {wanted!r}"


class Pydle(pydle.Client):
    """A user of pydle, who remembers what they were told, in its order."""

    RECONNECT_ON_ERROR = False

    def __init__(self, *args, **options):
        super().__init__(*args, **options)
        self.told = []
        self.lines = []
        self.is_welcome = False

    async def on_raw(self, message):
        self.lines.append(message)
        await super().on_raw(message)

    async def on_connect(self):
        await super().on_connect()
        self.is_welcome = True

    async def on_data_error(self, exception):
        """The server's last words, as on each connection."""
        await self.disconnect(expected=True)

    async def on_channel_message(self, target, by, message):
        self.told.append(("message", target, by, message))

    async def on_private_message(self, target, by, message):
        self.told.append(("private", target, by, message))

    async def on_channel_notice(self, target, by, message):
        self.told.append(("notice", target, by, message))

    async def on_private_notice(self, target, by, message):
        self.told.append(("private notice", target, by, message))

    async def on_ctcp_action(self, by, target, contents):
        self.told.append(("action", target, by, contents))

    async def on_join(self, channel, user):
        self.told.append(("join", channel, user))

    async def on_part(self, channel, user, message=None):
        self.told.append(("part", channel, user, message))

    async def on_kick(self, channel, target, by, reason=None):
        self.told.append(("kick", channel, target, by, reason))

    async def on_quit(self, user, message=None):
        self.told.append(("quit", user, message))

    async def on_nick_change(self, old, new):
        self.told.append(("nick", old, new))

    async def on_topic_change(self, channel, message, by):
        self.told.append(("topic", channel, by, message))

    async def on_mode_change(self, channel, modes, by):
        self.told.append(("mode", channel, tuple(modes), by))

    async def hears(self, *event):
        await until(lambda: event in self.told, lambda: f"{event} among {self.told}")

    async def gets(self, numeric):
        """The parameters of the newest such reply, without the first one, which is the name."""

        await until(lambda: self.replies(numeric), lambda: f"a reply {numeric} among {self.lines_as_text()}")
        return self.replies(numeric)[-1]

    def replies(self, numeric):
        return [message.params[1:] for message in self.lines if str(message.command).zfill(3) == numeric]

    async def asks(self, numeric, command, *parameters):
        """Sends a command, and waits for such a reply to it."""
        self.lines.clear()
        await self.rawmsg(command, *parameters)
        return await self.gets(numeric)

    def lines_as_text(self):
        return [message._raw for message in self.lines]


class Nc:
    """A user of nc."""

    async def come(self, name, room):
        self.process = await asyncio.create_subprocess_exec(
            "nc.openbsd", "127.0.0.1", str(PORT), stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
        )
        self.lines = []
        self.reader = asyncio.create_task(self.read())
        self.says(f"/name {name}", f"/join {room}")
        await self.sees(f"* you are in {room}; .*")

    async def read(self):
        while line := await self.process.stdout.readline():
            self.lines.append(line.decode().removesuffix("\n"))

    def says(self, *lines):
        self.process.stdin.write("".join(f"{line}\n" for line in lines).encode())

    async def sees(self, pattern):
        """A line is this; a star is one, and all else a regular expression."""
        pattern = pattern.replace("*", r"\*", 1) if pattern.startswith("* ") else pattern
        await until(
            lambda: any(re.fullmatch(pattern, line) for line in self.lines), lambda: f"{pattern} among {self.lines}"
        )

    async def leave(self):
        if self.process.returncode is None:
            self.process.kill()
        await self.process.wait()
        await self.reader


class Scene:
    """A room, and who is in it."""

    numbers = itertools.count(1)

    def __init__(self):
        number = next(Scene.numbers)
        self.ned_name, self.pia_name, self.pat_name = f"ned{number}", f"pia{number}", f"pat{number}"
        self.room = f"#room{number}"
        self.clients = []

    async def __aenter__(self):
        self.ned = Nc()
        await self.ned.come(self.ned_name, self.room[1:])
        self.pia = await self.connect(self.pia_name, realname="Pia Green")
        await self.join(self.pia)
        return self

    async def __aexit__(self, *_):
        for client in self.clients:
            if client.connected:
                await client.quit()
        await self.ned.leave()

    async def connect(self, *names, **options):
        client = Pydle(names[0], fallback_nicknames=list(names[1:]), **options)
        self.clients.append(client)
        await client.connect("127.0.0.1", PORT)
        # pydle handles each line in a task of its own, so it may see the end of the welcome before its own name.
        await until(
            lambda: client.is_welcome and client.nickname in names,
            lambda: f"a welcome among {client.lines_as_text()}",
        )
        return client

    async def join(self, client):
        await client.join(self.room)
        await client.gets("366")
        await self.ned.sees(f"* {client.nickname} joined")


# ---- claims


async def welcome(scene):
    """it is welcomed, and knows what the server is and can do"""
    pia = scene.pia
    equal(pia.nickname, scene.pia_name)
    equal(pia.network, "acceptd")
    equal((pia._nickname_length_limit, pia._channel_length_limit, pia._case_mapping), (20, 31, "ascii"))
    equal((set(pia._channel_prefixes), dict(pia._nickname_prefixes)), ({"#"}, {"@": "o"}))
    assert "lobby" in pia.motd, pia.motd
    equal(pia._capabilities.get("echo-message"), True)


async def messages(scene):
    """a message reaches the nc user, and one of the nc user reaches it"""
    await scene.pia.message(scene.room, "hello from pydle")
    await scene.ned.sees(f"{scene.pia_name}: hello from pydle")
    scene.ned.says("hello from nc")
    await scene.pia.hears("message", scene.room, scene.ned_name, "hello from nc")
    # With echo-message it hears itself. The nc user doesn't.
    await scene.pia.hears("message", scene.room, scene.pia_name, "hello from pydle")
    equal([line for line in scene.ned.lines if line.endswith("hello from nc")], [])


async def languages(scene):
    """text of any language arrives as it was, in both directions"""
    text = "Grüße, мир, 世界, 👩‍👩‍👧 ; : , \\ %s {}"
    await scene.pia.message(scene.room, text)
    await scene.ned.sees(re.escape(f"{scene.pia_name}: {text}"))
    scene.ned.says(text)
    await scene.pia.hears("message", scene.room, scene.ned_name, text)


async def terminals(scene):
    """colours do not reach the nc user's terminal, nor anything else that a terminal obeys"""
    await scene.pia.message(scene.room, "\x02bold\x02 \x0304,12red\x03 \x1b[2Jgone \x9b2J")
    await scene.ned.sees(f"{scene.pia_name}: bold red \ufffd\\[2Jgone \ufffd2J")


async def actions(scene):
    """an action is shown as done, on both sides"""
    await scene.pia.ctcp(scene.room, "ACTION", "waves")
    await scene.ned.sees(f"* {scene.pia_name} waves")
    scene.ned.says("/me waves back")
    await scene.pia.hears("action", scene.room, scene.ned_name, "waves back")


async def notices(scene):
    """a notice reaches the nc user, and another user of pydle as a notice"""
    pat = await scene.connect(scene.pat_name)
    await scene.join(pat)
    await scene.pia.notice(scene.room, "take note")
    await scene.ned.sees(f"{scene.pia_name}: take note")
    await pat.hears("notice", scene.room, scene.pia_name, "take note")
    await scene.pia.notice(scene.ned_name, "take note, ned")
    await scene.ned.sees(f"{scene.pia_name} \\(private\\): take note, ned")


async def in_private(scene):
    """what is said in private reaches one alone, in both directions and whatever the case of the name"""
    pat = await scene.connect(scene.pat_name)
    await scene.join(pat)
    await scene.pia.message(scene.ned_name.upper(), "psst")
    await scene.ned.sees(f"{scene.pia_name} \\(private\\): psst")
    scene.ned.says(f"/msg {scene.pia_name.upper()} psst yourself", "that is all")
    await scene.pia.hears("private", scene.pia_name, scene.ned_name, "psst yourself")
    await pat.hears("message", scene.room, scene.ned_name, "that is all")
    equal([event for event in pat.told if "psst" in str(event)], [])
    equal((await scene.pia.asks("401", "PRIVMSG", "nobody", "psst"))[0], "nobody")


async def long_messages(scene):
    """a line of 4,000 bytes of the nc user is cut into lines that IRC allows, and nothing of it is lost"""
    text = "grüße-" * 500
    scene.ned.says(text, "that is all")
    await scene.pia.hears("message", scene.room, scene.ned_name, "that is all")
    parts = [event[3] for event in scene.pia.told if event[:1] == ("message",)]
    equal("".join(parts), text + "that is all")
    longest = max(len(line._raw.encode()) + 2 for line in scene.pia.lines)
    assert longest <= 512, f"a line has {longest} bytes"


async def order(scene):
    """all see the messages of several users in the same order, and each user's in theirs"""
    pat = await scene.connect(scene.pat_name)
    await scene.join(pat)
    for number in range(12):
        await scene.pia.message(scene.room, f"number {number}")
        await pat.message(scene.room, f"number {number}")
        scene.ned.says(f"number {number}")
    heard = [f"{name}: number {number}" for name in (scene.pia_name, pat.nickname) for number in range(12)]

    def seen(client):
        # The lines as they came: pydle may hand out the messages in another order.
        lines = [line for line in client.lines if line.command == "PRIVMSG"]
        return [f"{line.source.split('!')[0]}: {line.params[-1]}" for line in lines]

    await until(lambda: len(seen(pat)) == 36 == len(seen(scene.pia)), lambda: f"{seen(pat)}, {seen(scene.pia)}")
    equal(seen(scene.pia), seen(pat))
    await until(lambda: set(heard) <= set(scene.ned.lines), lambda: scene.ned.lines)
    equal([line for line in scene.ned.lines if line in heard], [line for line in seen(pat) if line in heard])
    equal([line for line in seen(pat) if line.startswith(pat.nickname)], heard[12:])


async def new_names(scene):
    """a new name is told to the others, and theirs to it"""
    await scene.pia.set_nickname(f"{scene.pia_name}_new")
    await scene.pia.hears("nick", scene.pia_name, f"{scene.pia_name}_new")
    equal(scene.pia.nickname, f"{scene.pia_name}_new")
    await scene.ned.sees(f"* {scene.pia_name} is now {scene.pia_name}_new")
    scene.ned.says(f"/name {scene.ned_name}-new")
    await scene.pia.hears("nick", scene.ned_name, f"{scene.ned_name}-new")
    equal(scene.pia.channels[scene.room]["users"], {f"{scene.pia_name}_new", f"{scene.ned_name}-new"})
    # To change the case of one's own name is no collision.
    await scene.pia.set_nickname(f"{scene.pia_name}_NEW")
    await scene.ned.sees(f"* {scene.pia_name}_new is now {scene.pia_name}_NEW")


async def collisions(scene):
    """a name that is taken is refused, whatever its case, to members, to those who come, and to the nc user"""
    taken = scene.ned_name.upper()
    equal((await scene.pia.asks("433", "NICK", taken))[0], taken)
    pat = await scene.connect(taken, scene.pat_name)
    equal(pat.nickname, scene.pat_name)
    scene.ned.says(f"/name {scene.pia_name.upper()}")
    await scene.ned.sees(f"* {scene.pia_name.upper()} is taken; choose another name")
    for bad in ("two words", "a" * 21, "bób", "a.b", "#room"):
        await scene.pia.asks("432", "NICK", bad)
    equal(scene.pia.nickname, scene.pia_name)


async def topics(scene):
    """a topic reaches the others, and is told to who comes later"""
    await scene.pia.set_topic(scene.room, "all about tea")
    await scene.ned.sees(f"* {scene.pia_name} set the topic: all about tea")
    await scene.pia.hears("topic", scene.room, scene.pia_name, "all about tea")
    scene.ned.says("/topic all about cake")
    await scene.pia.hears("topic", scene.room, scene.ned_name, "all about cake")
    pat = await scene.connect(scene.pat_name)
    await scene.join(pat)
    await until(lambda: pat.channels[scene.room]["topic_by"], lambda: pat.channels)
    equal((pat.channels[scene.room]["topic"], pat.channels[scene.room]["topic_by"]), ("all about cake", scene.ned_name))
    age = time.time() - pat.channels[scene.room]["topic_set"].timestamp()
    assert -2 < age < 30, f"the topic is {age} s old"
    await scene.pia.rawmsg("TOPIC", scene.room, "")
    await scene.ned.sees(f"* {scene.pia_name} removed the topic")
    await scene.pia.asks("331", "TOPIC", scene.room)


async def names(scene):
    """it knows who is in the room, and who was first, when it joins and when it asks"""
    await until(lambda: len(scene.pia.channels[scene.room]["users"]) == 2, lambda: scene.pia.channels)
    equal(scene.pia.channels[scene.room]["users"], {scene.pia_name, scene.ned_name})
    equal(list(scene.pia.channels[scene.room]["modes"]["o"]), [scene.ned_name])
    equal(await scene.pia.asks("353", "NAMES", scene.room), ["=", scene.room, f"@{scene.ned_name} {scene.pia_name}"])
    scene.ned.says("/who")
    await scene.ned.sees(f"* {scene.ned_name}, {scene.pia_name}")
    await scene.pia.asks("315", "WHO", scene.room)
    found = {reply[4]: reply[5] for reply in scene.pia.replies("352")}
    equal(found, {scene.ned_name: "H@", scene.pia_name: "H"})


async def lists(scene):
    """LIST has the rooms, how many are in each, and what they are about"""
    await scene.pia.set_topic(scene.room, "all about tea")
    await scene.pia.asks("323", "LIST")
    rooms = {reply[0]: reply[1:] for reply in scene.pia.replies("322")}
    equal(rooms[scene.room], ["2", "all about tea"])
    await scene.pia.asks("323", "LIST", scene.room)
    equal([reply[0] for reply in scene.pia.replies("322")], [scene.room])
    scene.ned.says("/rooms")
    await scene.ned.sees(f"* {scene.room[1:]}, 2 people are there: all about tea")


async def about_people(scene):
    """whois, ISON and USERHOST tell of users of both kinds, and of nobody who is not here"""
    info = await scene.pia.whois(scene.ned_name)
    equal((info["hostname"], info["server"], info["away"]), ("chat", "acceptd", False))
    assert 0 <= info["idle"] < 30, info
    equal(info["channels"], {f"@{scene.room}"})
    info = await scene.pia.whois(scene.pia_name)
    equal((info["username"], info["realname"]), (f"~{scene.pia_name}", "Pia Green"))
    equal(await scene.pia.whois("nobody"), None)
    equal(await scene.pia.asks("303", "ISON", scene.ned_name, "nobody", scene.pia_name), [
        f"{scene.ned_name} {scene.pia_name}"
    ])
    (hosts,) = await scene.pia.asks("302", "USERHOST", scene.pia_name, "nobody")
    equal(hosts, f"{scene.pia_name}=+~{scene.pia_name}@chat")


async def away(scene):
    """who is away is so for users of both kinds"""
    await scene.pia.away("drinking tea")
    await scene.pia.gets("306")
    scene.ned.says(f"/msg {scene.pia_name} are you there?", "/who")
    await scene.ned.sees(f"* {scene.pia_name} is away: drinking tea")
    await scene.ned.sees(f"* {scene.ned_name}, {scene.pia_name} \\(away\\)")
    await scene.pia.back()
    await scene.pia.gets("305")
    scene.ned.says("/away eating cake")
    await scene.ned.sees("* you are away.*")
    equal(await scene.pia.asks("301", "PRIVMSG", scene.ned_name, "still there?"), [scene.ned_name, "eating cake"])
    info = await scene.pia.whois(scene.ned_name)
    equal((info["away"], info["away_message"]), (True, "eating cake"))


async def rooms(scene):
    """it can be in several rooms, hears each, and leaves them with a reason"""
    other = f"{scene.room}b"
    await scene.pia.join(other)
    await scene.pia.hears("join", other, scene.pia_name)
    scene.ned.says("in the first room", f"/join {other}", "in the second room")
    await scene.pia.hears("message", scene.room, scene.ned_name, "in the first room")
    await scene.pia.hears("part", scene.room, scene.ned_name, None)
    await scene.pia.hears("join", other, scene.ned_name)
    await scene.pia.hears("message", other, scene.ned_name, "in the second room")
    # It has been there longest now.
    await scene.pia.hears("mode", scene.room, ("+o", scene.pia_name), "acceptd")
    await scene.pia.part(other, "enough")
    await scene.ned.sees(f"* {scene.pia_name} left \\(enough\\)")
    await scene.pia.asks("442", "PART", other)
    await scene.pia.asks("404", "PRIVMSG", other, "hello?")
    for bad in ("#", "#a.b", "#" + "a" * 31, "lobby", "&local"):
        await scene.pia.asks("403", "JOIN", bad)


async def kicks(scene):
    """who was first can kick the nc user out, others can't"""
    await scene.pia.asks("482", "KICK", scene.room, scene.ned_name)
    other = f"{scene.room}b"
    await scene.pia.join(other)
    await scene.pia.hears("join", other, scene.pia_name)
    scene.ned.says(f"/join {other}")
    await scene.pia.hears("join", other, scene.ned_name)
    await scene.pia.kick(other, scene.ned_name, "out with you")
    await scene.ned.sees(f"* {scene.pia_name} kicked {scene.ned_name} \\(out with you\\)")
    await scene.pia.hears("kick", other, scene.ned_name, scene.pia_name, "out with you")
    scene.ned.says("anybody?", f"/join {other}", "back again")
    await scene.ned.sees("* you are in no room; /join lobby")
    await scene.pia.hears("message", other, scene.ned_name, "back again")
    equal([event for event in scene.pia.told if "anybody?" in event], [])
    await scene.pia.asks("441", "KICK", other, "nobody")


async def questions(scene):
    """PING, VERSION, TIME, LUSERS, MOTD and MODE are answered, and what nobody knows as well"""
    pia = scene.pia
    await pia.rawmsg("PING", "a token : of words")
    await until(lambda: any(line.command == "PONG" for line in pia.lines), pia.lines_as_text)
    equal(next(line.params for line in pia.lines if line.command == "PONG")[-1], "a token : of words")
    assert (await pia.asks("351", "VERSION"))[0].startswith("acceptd-"), "VERSION"
    assert time.strftime("%Y", time.gmtime()) in (await pia.asks("391", "TIME"))[-1], "TIME"
    assert re.fullmatch("There are [0-9]+ users on 1 server", (await pia.asks("251", "LUSERS"))[0]), "LUSERS"
    await pia.asks("376", "MOTD")
    equal(await pia.asks("324", "MODE", scene.room), [scene.room, "+n"])
    equal((await pia.asks("421", "FROBNICATE", "x"))[0], "FROBNICATE")
    equal((await pia.asks("461", "JOIN"))[0], "JOIN")
    await pia.asks("462", "USER", "again", "0", "*", "again")
    # pydle itself would not send as much.
    await pia.raw(f"PRIVMSG {scene.room} :{'x' * 600}\r\n")
    await pia.gets("417")


async def times(scene):
    """the capability server-time can be asked for at any time, and each line has its time then"""
    scene.pia.lines.clear()
    await scene.pia.rawmsg("CAP", "REQ", "server-time")
    await until(lambda: any("ACK" in line.params for line in scene.pia.lines), scene.pia.lines_as_text)
    scene.ned.says("what time is it?")
    await scene.pia.hears("message", scene.room, scene.ned_name, "what time is it?")
    tags = next(line.tags for line in scene.pia.lines if "what time is it?" in line.params)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", tags["time"]), tags
    await scene.pia.rawmsg("CAP", "REQ", "no-such-thing")
    await until(lambda: any("NAK" in line.params for line in scene.pia.lines), scene.pia.lines_as_text)


async def a_burst(scene):
    """35 messages at once all arrive in their order, although they come faster than allowed"""
    for number in range(35):
        await scene.pia.message(scene.room, f"number {number}")
    await scene.ned.sees(f"{scene.pia_name}: number 34")
    said = [line for line in scene.ned.lines if line.startswith(f"{scene.pia_name}: ")]
    equal(said, [f"{scene.pia_name}: number {number}" for number in range(35)])


async def a_flood(scene):
    """who sends a thousand lines at once is told that it is too much, and the others are"""
    await scene.pia.raw("".join(f"PRIVMSG {scene.room} :number {number}\r\n" for number in range(1000)))
    await until(lambda: any(line.command == "ERROR" for line in scene.pia.lines), scene.pia.lines_as_text)
    reason = next(line.params for line in scene.pia.lines if line.command == "ERROR")[-1]
    assert "Excess Flood" in reason, reason
    await scene.ned.sees(f"* {scene.pia_name} left \\(.*[Ff]lood\\)")


async def comes_and_goes(scene):
    """it sees the nc user quit, and is seen to quit, both with a reason"""
    pat = await scene.connect(scene.pat_name)
    await scene.join(pat)
    await pat.quit("tea is over")
    await scene.ned.sees(f"* {scene.pat_name} left \\(tea is over\\)")
    await scene.pia.hears("quit", scene.pat_name, "tea is over")
    scene.ned.says("/quit so long")
    await scene.pia.hears("quit", scene.ned_name, "so long")
    await until(lambda: scene.pia.channels[scene.room]["users"] == {scene.pia_name}, lambda: scene.pia.channels)


async def closes(scene):
    """who closes the connection without QUIT has left at once"""
    await scene.pia.disconnect(expected=True)
    await scene.ned.sees(f"* {scene.pia_name} left.*")


async def killed(scene):
    """it sees when the program of an nc user is killed"""
    scene.ned.process.kill()
    await until(
        lambda: any(event[:2] == ("quit", scene.ned_name) for event in scene.pia.told), lambda: scene.pia.told
    )


async def complained(scene):
    """pydle has had nothing to complain of in all of this"""
    equal(complaints.lines, [])


CLAIMS = [
    welcome,
    messages,
    languages,
    terminals,
    actions,
    notices,
    in_private,
    long_messages,
    order,
    new_names,
    collisions,
    topics,
    names,
    lists,
    about_people,
    away,
    rooms,
    kicks,
    questions,
    times,
    a_burst,
    a_flood,
    comes_and_goes,
    closes,
    killed,
    complained,
]


async def show(claim):
    async def played():
        async with Scene() as scene:
            await claim(scene)

    try:
        await asyncio.wait_for(played(), 3 * SECONDS)
    except Exception as error:
        place = traceback.extract_tb(error.__traceback__)
        line = next((frame.lineno for frame in place if frame.name == claim.__name__), place[-1].lineno)
        print(f"FAILED  pydle: {claim.__doc__}\n        line {line}: {type(error).__name__}: {error}", flush=True)
        return False
    print(f"ok      pydle: {claim.__doc__}", flush=True)
    return True


async def show_all():
    return [await show(claim) for claim in CLAIMS]


sys.exit(0 if all(asyncio.run(show_all())) else 1)

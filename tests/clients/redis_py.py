"""Shows that redis-py works with a store as it does with Redis.

redis_py.py PORT PROTECTED_PORT PASSWORD_FILE: the second port is that of a store which asks for the password. Each function
below is a claim, its docstring the sentence. All are shown with the protocol that redis-py chooses by itself, RESP3, and
with RESP2; before each the store is empty.
"""

import asyncio
import sys
import threading
import time
import traceback

import redis
import redis.asyncio
from redis.backoff import NoBackoff
from redis.exceptions import (
    AuthenticationError,
    ConnectionError,
    ExecAbortError,
    ResponseError,
    WatchError,
)
from redis.retry import Retry

PORT, PROTECTED_PORT = int(sys.argv[1]), int(sys.argv[2])
with open(sys.argv[3], encoding="ascii") as file:
    PASSWORD = file.readline().rstrip("\n")

ALL_BYTES = bytes(range(256))


def connect(protocol, **options):
    """A client; `None` leaves the choice of the protocol to it. Whatever hangs fails after some seconds."""
    if protocol is not None:
        options["protocol"] = protocol
    options = {"port": PORT, "socket_timeout": 10, **options}
    return redis.Redis(host="127.0.0.1", **options)


def equal(got, wanted):
    assert got == wanted, f"got {shortened(got)}, wanted {shortened(wanted)}"


def shortened(value):
    shown = repr(value)
    return shown if len(shown) < 300 else f"{shown[:300]}…"


def fails(kind, text, action):
    """The action raises exactly this kind of error, with this text in it."""
    try:
        got = action()
    except redis.RedisError as error:
        assert type(error) is kind, f"got {error!r}, wanted a {kind.__name__}"
        assert text in str(error), f"got {str(error)!r}, wanted {text!r}"
    else:
        raise AssertionError(f"got {shortened(got)}, wanted a {kind.__name__}")


def until(condition, seconds=10):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"this did not come true in {seconds} s"
        time.sleep(0.005)


# ---- claims


def handshake(r, protocol):
    """the protocol is the one that was asked for, and by default RESP3"""
    info = r.client_info()
    equal(int(info["resp"]), protocol or 3)
    equal(info["lib-name"].split("(")[0], "redis-py")
    equal(info["lib-ver"], redis.__version__)


def values(r, protocol):
    """set and get, with options, are as documented"""
    equal(r.get("k"), None)
    equal(r.set("k", "one"), True)
    equal(r.get("k"), b"one")
    equal(r.set("k", "two", nx=True), None)
    equal(r.set("none", "two", xx=True), None)
    equal(r.exists("none"), 0)
    equal(r.set("k", "two", xx=True), True)
    equal(r.set("k", "three", get=True), b"two")
    equal(r.set("k", "four", nx=True, get=True), b"three")
    equal(r.get("k"), b"three")
    equal(r.set("new", "value", get=True), None)
    equal(r.getdel("new"), b"value")
    equal(r.getset("k", ""), b"three")
    equal(r.get("k"), b"")
    equal((r.append("k", "abc"), r.strlen("k"), r.getrange("k", 1, -1)), (3, 3, b"bc"))
    equal((r.setrange("k", 5, "!"), r.get("k")), (6, b"abc\0\0!"))
    equal((r.setnx("k", "x"), r.setnx("n", 1)), (False, True))
    equal((r.incr("n"), r.incrby("n", 40), r.decr("n"), r.decrby("n", 11)), (2, 42, 41, 30))
    equal(r.incrbyfloat("n", 0.25), 30.25)


def several(r, protocol):
    """mset, mget, msetnx and delete take several keys"""
    keys = [f"key:{i}" for i in range(1000)]
    equal(r.mset({key: key.upper() for key in keys}), True)
    equal(r.mget(keys + ["none"]), [key.upper().encode() for key in keys] + [None])
    equal(r.msetnx({"key:1": "x", "other": "y"}), False)
    equal(r.exists("other"), 0)
    equal(r.msetnx({"another": "x", "other": "y"}), True)
    equal(r.dbsize(), 1002)
    equal(r.delete(*keys, "none"), 1000)
    equal(sorted(r.keys("*other")), [b"another", b"other"])
    equal(r.unlink("other", "another"), 2)
    equal(r.dbsize(), 0)


def binary(r, protocol):
    """keys and values of all 256 byte values come back as they were, also from keys and scan"""
    pairs = {bytes([byte]): ALL_BYTES[byte:] + ALL_BYTES[:byte] for byte in range(256)}
    pairs |= {ALL_BYTES: ALL_BYTES * 4096, b"": b"", b"\r\n": b"$-1\r\n", b"*1\r\n": b"+OK\r\n"}
    for key, value in pairs.items():
        equal(r.set(key, value), True)
    for key, value in pairs.items():
        equal(r.get(key), value)
    keys = list(pairs)
    equal(r.mget(keys), [pairs[key] for key in keys])
    equal(sorted(r.keys()), sorted(keys))
    equal(sorted(r.scan_iter()), sorted(keys))


def scan(r, protocol):
    """scan_iter sees every one of 5,000 keys, whatever the count, and those alone that match"""
    keys = {f"key:{i}".encode() for i in range(5000)}
    r.mset({key: 1 for key in keys})
    for count in (None, 1, 1000, 100_000):
        seen = list(r.scan_iter(count=count))
        equal((set(seen) - keys, keys - set(seen), len(seen)), (set(), set(), 5000))
    equal(set(r.scan_iter(match="key:12?", count=50)), {f"key:12{i}".encode() for i in range(10)})
    equal(len(set(r.scan_iter(_type="string"))), 5000)
    equal(list(r.scan_iter(_type="list")), [])


def scan_amid_writes(r, protocol):
    """scan_iter sees every key that is there all the time, while others come and go"""
    keys = {f"stays:{i}".encode() for i in range(2000)}
    r.mset({key: 1 for key in keys})
    is_over, other = threading.Event(), connect(protocol)
    rounds = 0

    def disturb():
        nonlocal rounds
        while not is_over.is_set():
            other.mset({f"comes:{rounds}:{i}": 1 for i in range(200)})
            other.delete(*(f"comes:{rounds}:{i}" for i in range(200)))
            rounds += 1

    thread = threading.Thread(target=disturb)
    thread.start()
    try:
        seen = [key for key in r.scan_iter(count=7) if key.startswith(b"stays:")]
    finally:
        is_over.set()
        thread.join()
        other.close()
    equal((keys - set(seen), len(seen)), (set(), 2000))
    assert rounds > 0, "nobody wrote meanwhile"


def expiry(r, protocol):
    """keys expire when they should, and tell when that is"""
    r.set("soon", 1, px=150)
    since = time.monotonic()
    assert 0 < r.pttl("soon") <= 150, "pttl"
    until(lambda: r.get("soon") is None)
    assert 0.14 <= time.monotonic() - since < 1, f"gone after {time.monotonic() - since:.3f} s"
    equal((r.ttl("soon"), r.exists("soon")), (-2, 0))
    r.set("k", 1, ex=100)
    equal(r.ttl("k"), 100)
    equal((r.set("k", 2, keepttl=True), r.ttl("k")), (True, 100))
    equal((r.persist("k"), r.ttl("k")), (True, -1))
    equal((r.expire("k", 50, xx=True), r.expire("k", 50, nx=True)), (False, True))
    equal((r.expire("k", 40, gt=True), r.expire("k", 40, lt=True), r.ttl("k")), (False, True, 40))
    at = int(time.time()) + 1000
    equal((r.expireat("k", at), r.expiretime("k"), r.pexpiretime("k")), (True, at, at * 1000))
    equal((r.getex("k", persist=True), r.ttl("k")), (b"2", -1))
    equal((r.getex("k", ex=77), r.ttl("k")), (b"2", 77))
    equal((r.set("k", 3, exat=at + 1), r.expiretime("k")), (True, at + 1))
    # Through the deprecated methods, redis-py warns.
    equal((r.execute_command("SETEX", "s", 9, "v"), r.ttl("s")), (True, 9))
    equal((r.execute_command("PSETEX", "p", 9000, "v"), r.ttl("p")), (True, 9))
    equal((r.set("k", 4), r.ttl("k")), (True, -1))
    equal((r.expire("k", -1), r.exists("k")), (True, 0))


def keys(r, protocol):
    """rename, renamenx, copy, type, touch and randomkey are as documented"""
    r.set("a", 1, ex=100)
    equal((r.type("a"), r.type("none")), (b"string", b"none"))
    equal((r.rename("a", "b"), r.get("b"), r.ttl("b"), r.exists("a")), (True, b"1", 100, 0))
    fails(ResponseError, "no such key", lambda: r.rename("a", "b"))
    r.set("a", 2)
    equal((r.renamenx("a", "b"), r.renamenx("a", "c")), (False, True))
    equal((r.copy("b", "c"), r.copy("b", "c", replace=True), r.get("c"), r.ttl("c")), (False, True, b"1", 100))
    equal(r.touch("b", "c", "none"), 2)
    assert r.randomkey() in (b"b", b"c"), "randomkey"
    equal((r.flushdb(), r.randomkey(), r.dbsize()), (True, None, 0))


def pipeline(r, protocol):
    """a pipeline without a transaction answers 10,000 commands in their order, and an error in its place"""
    pipe = r.pipeline(transaction=False)
    for i in range(5000):
        pipe.set(f"key:{i}", i).get(f"key:{i}")
    equal(pipe.execute(), [x for i in range(5000) for x in (True, str(i).encode())])
    replies = r.pipeline(transaction=False).set("k", "text").incr("k").get("k").execute(raise_on_error=False)
    equal((replies[0], type(replies[1]), replies[2]), (True, ResponseError, b"text"))
    pipe.set("k", "text").incr("k")
    fails(ResponseError, "Command # 2 (INCRBY k 1) of pipeline caused error: value is not an integer", pipe.execute)


def big_pipeline(r, protocol):
    """a pipeline of values of 1 MiB gets all of them back"""
    big = [bytes([byte]) * (1 << 20) for byte in range(16)]
    pipe = r.pipeline(transaction=False)
    for i, value in enumerate(big):
        pipe.set(f"big:{i}", value)
    for i in range(len(big)):
        pipe.get(f"big:{i}")
    equal(pipe.execute()[16:] == big, True)


def transaction(r, protocol):
    """a pipeline with a transaction executes all, also after an error of one of its commands"""
    equal(r.pipeline().set("k", 1).incr("k").get("k").mget("k", "none").execute(), [True, 2, b"2", [b"2", None]])
    replies = r.pipeline().set("k", "text").incr("k").set("k", "after").execute(raise_on_error=False)
    equal((replies[0], type(replies[1]), replies[2]), (True, ResponseError, True))
    equal(r.get("k"), b"after")
    equal(r.pipeline().execute(), [])


def aborted_transaction(r, protocol):
    """a transaction with a command that nobody knows executes nothing"""
    r.set("k", "before")
    pipe = r.pipeline().set("k", "after").execute_command("NONSENSE")
    fails(ResponseError, "unknown command 'NONSENSE'", pipe.execute)
    equal(r.get("k"), b"before")
    with r.client() as one:
        equal(one.execute_command("MULTI"), b"OK")
        fails(ResponseError, "wrong number of arguments for 'get' command", lambda: one.execute_command("GET"))
        fails(ExecAbortError, "Transaction discarded because of previous errors", lambda: one.execute_command("EXEC"))


def isolated_transaction(r, protocol):
    """nobody sees a transaction half done"""
    r.mset({"left": 0, "right": 0})
    is_over, other = threading.Event(), connect(protocol)

    def write():
        i = 0
        while not is_over.is_set():
            i += 1
            other.pipeline().set("left", i).set("right", i).execute()

    thread = threading.Thread(target=write)
    thread.start()
    try:
        seen = [r.mget("left", "right") for _ in range(2000)]
    finally:
        is_over.set()
        thread.join()
        other.close()
    equal([pair for pair in seen if pair[0] != pair[1]], [])
    assert len({pair[0] for pair in seen}) > 1, "nobody wrote meanwhile"


def watch(r, protocol):
    """a watched key that somebody else changes makes the transaction fail, any other does not"""
    r.set("k", 1)
    for change, is_conflict in (
        (lambda: connect(protocol).set("k", 1), True),
        (lambda: connect(protocol).delete("k"), True),
        (lambda: connect(protocol).expire("k", 100), True),
        (lambda: connect(protocol).flushall(), True),
        (lambda: connect(protocol).set("other", 1), False),
        (lambda: connect(protocol).get("k"), False),
    ):
        r.set("k", 1)
        with r.pipeline() as pipe:
            pipe.watch("k")
            equal(pipe.get("k"), b"1")
            change()
            pipe.multi()
            pipe.set("k", "mine")
            if is_conflict:
                fails(WatchError, "Watched variable changed", pipe.execute)
                assert r.get("k") != b"mine", "the transaction was executed"
            else:
                equal((pipe.execute(), r.get("k")), ([True], b"mine"))
    with r.pipeline() as pipe:
        pipe.watch("k")
        connect(protocol).set("k", "theirs")
        pipe.unwatch()
        equal(pipe.set("k", "mine").execute(), [True])


def optimistic(r, protocol):
    """eight threads that add to a watched number by hand, and try again when they must, lose nothing"""

    def add(pipe):
        number = int(pipe.get("n") or 0)
        pipe.multi()
        pipe.set("n", number + 1)

    def add_25():
        for _ in range(25):
            r.transaction(add, "n")

    in_threads(8, add_25)
    equal(r.get("n"), b"200")


def pool(r, protocol):
    """a pool of connections with sixteen threads counts exactly"""

    def count():
        for i in range(250):
            if i % 2:
                r.incr("n")
            else:
                r.pipeline().incr("n").incrby("m", 3).execute()

    in_threads(16, count)
    equal((r.get("n"), r.get("m")), (b"4000", b"6000"))
    clients = len(r.client_list())
    assert 2 <= clients <= 17, f"{clients} connections for 16 threads"


def in_threads(count, work):
    errors = []

    def guarded():
        try:
            work()
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=guarded) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    equal(errors, [])


def errors(r, protocol):
    """errors have Redis's words"""
    r.set("text", "abc")
    not_an_integer = "value is not an integer or out of range"
    for text, words in (
        (not_an_integer, ("INCR", "text")),
        (not_an_integer, ("INCRBY", "n", "1.5")),
        (not_an_integer, ("EXPIRE", "text", "soon")),
        ("value is not a valid float", ("INCRBYFLOAT", "text", "1")),
        ("increment or decrement would overflow", ("INCRBY", "huge", "1")),
        ("wrong number of arguments for 'get' command", ("GET",)),
        ("wrong number of arguments for 'mset' command", ("MSET", "a", "1", "b")),
        ("syntax error", ("SET", "k", "v", "NX", "XX")),
        ("syntax error", ("SET", "k", "v", "EX")),
        ("invalid expire time in 'set' command", ("SET", "k", "v", "EX", "0")),
        ("offset is out of range", ("SETRANGE", "k", "-1", "x")),
        ("DB index is out of range", ("SELECT", "1")),
        ("EXEC without MULTI", ("EXEC",)),
        ("unknown command 'NONSENSE', with args beginning with: 'a' 'b'", ("NONSENSE", "a", "b")),
    ):
        r.set("huge", 2**63 - 1)
        fails(ResponseError, text, lambda words=words: r.execute_command(*words))
    equal((r.get("text"), r.get("huge"), r.exists("k")), (b"abc", str(2**63 - 1).encode(), 0))


def client_names(r, protocol):
    """client_setname, client_getname, client_list and client_kill know the others"""
    with r.client() as one, connect(protocol, client_name="the-other").client() as other:
        one.client_setname("one")
        equal((one.client_getname(), other.client_getname()), ("one", "the-other"))
        names = {client["name"]: client for client in one.client_list()}
        assert {"one", "the-other"} <= set(names), names
        equal(names["one"]["id"], str(one.client_id()))
        equal(one.client_list(client_id=[names["the-other"]["id"]])[0]["name"], "the-other")
        fails(ResponseError, "cannot contain spaces", lambda: one.client_setname("two words"))
        old_id = other.client_id()
        equal(one.client_kill_filter(_id=old_id), 1)
        until(lambda: str(old_id) not in {client["id"] for client in one.client_list()})
        # It may try again by itself, as a new client that has to give its name anew.
        until(lambda: survives(lambda: other.client_id() != old_id))
        equal(other.client_getname(), "the-other")
        address = other.client_info()["addr"]
        equal(one.client_kill(address), True)
        fails(ResponseError, "No such client", lambda: one.client_kill("127.0.0.1:1"))


def survives(action):
    try:
        return action()
    except ConnectionError:
        return False


def server(r, protocol):
    """ping, echo, info, config_get, time and the list of commands are understood"""
    equal((r.ping(), r.echo("hello")), (True, b"hello"))
    r.mset({"a": 1, "b": 2})
    info = r.info()
    equal((info["role"], info["loading"], info["db0"]["keys"]), ("master", 0, 2))
    assert info["used_memory"] > 0 and info["redis_version"], info
    equal(set(r.info("clients")) >= {"connected_clients"}, True)
    equal(r.config_get("maxmemory*")["maxmemory"], "0")
    seconds, micros = r.time()
    assert abs(seconds + micros / 1e6 - time.time()) < 5, "time"
    commands = r.command()
    equal((commands["get"]["arity"], "readonly" in commands["get"]["flags"]), (2, True))
    equal(r.command_count(), len(commands))
    equal(r.select(0), True)


def text(r, protocol):
    """decode_responses gives text, of any language"""
    with connect(protocol, decode_responses=True) as client:
        client.set("schlüssel", "wert 🗝 值")
        equal((client.get("schlüssel"), client.keys("s*")), ("wert 🗝 值", ["schlüssel"]))
        equal(r.get("schlüssel".encode()), "wert 🗝 值".encode())


def password(r, protocol):
    """nothing goes without the password, and everything with it"""
    # What is refused is the first thing that is sent: HELLO with RESP3, GET with RESP2.
    hello = "HELLO must be called with the client already authenticated"
    refusal = hello if protocol is None else "Authentication required"
    # It would try again and again.
    options = {"port": PROTECTED_PORT, "retry": Retry(NoBackoff(), 0)}
    for nothing in (None, ""):
        client = connect(protocol, password=nothing, **options)
        fails(AuthenticationError, refusal, lambda: client.get("k"))
    for wrong in ("wrong", PASSWORD + "\n", PASSWORD[:-1], PASSWORD + "\0", PASSWORD.upper()):
        client = connect(protocol, password=wrong, **options)
        fails(AuthenticationError, "invalid username-password pair", lambda: client.get("k"))
    nobody = connect(protocol, username="nobody", password=PASSWORD, **options)
    fails(AuthenticationError, "invalid username-password pair", lambda: nobody.get("k"))
    for user in (None, "default"):
        with connect(protocol, port=PROTECTED_PORT, username=user, password=PASSWORD) as client:
            equal((client.set("k", "v"), client.get("k"), client.delete("k")), (True, b"v", 1))
            equal(client.auth(PASSWORD), True)


def asynchronous(r, protocol):
    """redis.asyncio works, with a hundred tasks at once and with pipelines"""

    async def work():
        options = {} if protocol is None else {"protocol": protocol}
        pool = redis.asyncio.BlockingConnectionPool(
            host="127.0.0.1", port=PORT, max_connections=20, timeout=10, socket_timeout=10, **options
        )
        async with redis.asyncio.Redis.from_pool(pool) as client:
            equal(sorted(await asyncio.gather(*(client.incr("n") for _ in range(100)))), list(range(1, 101)))
            async with client.pipeline(transaction=True) as pipe:
                equal(await pipe.set("k", "v").get("k").execute(), [True, b"v"])
            equal(sorted([key async for key in client.scan_iter()]), [b"k", b"n"])

    asyncio.run(asyncio.wait_for(work(), 20))


CLAIMS = [
    handshake,
    values,
    several,
    binary,
    scan,
    scan_amid_writes,
    expiry,
    keys,
    pipeline,
    big_pipeline,
    transaction,
    aborted_transaction,
    isolated_transaction,
    watch,
    optimistic,
    pool,
    errors,
    client_names,
    server,
    text,
    password,
    asynchronous,
]


def show(claim, protocol):
    sentence = f"redis-py, {f'RESP{protocol}' if protocol else 'by default'}: {claim.__doc__}"
    try:
        with connect(protocol) as r:
            r.flushall()
            claim(r, protocol)
    except Exception as error:
        place = traceback.extract_tb(error.__traceback__)
        line = next((frame.lineno for frame in place if frame.name == claim.__name__), place[0].lineno)
        print(f"FAILED  {sentence}\n        line {line}: {type(error).__name__}: {error}", flush=True)
        return False
    print(f"ok      {sentence}", flush=True)
    return True


shown = [show(claim, protocol) for protocol in (None, 2) for claim in CLAIMS]
sys.exit(0 if all(shown) else 1)

"""What a store promises, seen by clients that keep a record of it. Standard library only.

    history.py write PORT RECORD         clients of both dialects write until the server is gone; what they sent and what was
                                         acknowledged is kept in the file RECORD, also what other runs have put there
    history.py check PORT RECORD         everything that was acknowledged is there, nothing that was never sent, and what was
                                         written in one go is there as a whole or not at all

Each client has keys of its own, and writes to them in the order 1, 2, 3 …; so a key's value tells how far the server got:
not below the last acknowledged one, nor above the last one sent.
"""

import json
import os
import socket
import sys
import threading

CLIENTS = 8
# Requests that are on their way at once, for the clients that do so.
PIPELINED = 8


def main():
    what, port, record = sys.argv[1:]
    {"write": write, "check": check}[what](int(port), record)


def load(path):
    return json.load(open(path)) if os.path.exists(path) else {}


def write(port, path):
    record = load(path)
    clients = [threading.Thread(target=converse, args=(port, name, record)) for name in range(CLIENTS)]
    for client in clients:
        client.start()
    for client in clients:
        client.join()
    json.dump(record, open(path, "w"))


def converse(port, name, record):
    """One client: SET, a pair of keys by MSET, INCR, and a transaction, again and again."""
    mine = record.setdefault(str(name), {"sent": 0, "acknowledged": 0})
    is_text = name % 2 == 0
    batch = PIPELINED if name % 4 >= 2 else 1
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
            reader = connection.makefile("rb")
            while True:
                numbers = range(mine["sent"] + 1, mine["sent"] + 1 + batch)
                requests = [request(name, number, is_text) for number in numbers]
                mine["sent"] += batch
                connection.sendall(b"".join(part for part, _ in requests))
                for _, replies in requests:
                    for _ in range(replies):
                        line = reader.readline()
                        if not line:
                            return
                        if line.startswith((b"-", b"ERROR")):
                            raise SystemExit(f"refused: {line!r}")
                    mine["acknowledged"] += 1
    except OSError:
        return


def request(name, number, is_text):
    """A request, and how many lines its replies have. Text has no reply to the beginning of an array."""
    one, two, three = f"one:{name}", f"two:{name}", f"three:{name}"
    kind = number % 4
    if kind == 0:
        calls = [["MULTI"], ["SET", one, number], ["SET", two, number], ["SET", three, number], ["EXEC"]]
    elif kind == 1:
        calls = [["MSET", one, number, two, number, three, number]]
    elif kind == 2:
        calls = [["MULTI"], ["INCR", one], ["INCR", two], ["INCR", three], ["EXEC"]]
    else:
        calls = [["MSET", three, number, two, number, one, number]]
    lines = len(calls)
    if kind in (0, 2):
        lines = 1 + 3 + 3 + (0 if is_text else 1)
    return b"".join(encode([str(word) for word in call], is_text) for call in calls), lines


def encode(words, is_text):
    if is_text:
        return " ".join(words).encode() + b"\n"
    return b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(word), word.encode()) for word in words)


def check(port, path):
    wrong = 0
    with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
        reader = connection.makefile("rb")
        record = load(path)
        for name, mine in record.items():
            values = []
            for key in ("one", "two", "three"):
                connection.sendall(f"GET {key}:{name}\n".encode())
                line = reader.readline().strip()
                values.append(0 if line == b"NOT_FOUND" else int(line))
            if len(set(values)) != 1:
                print(f"client {name}: written in one go, and torn: {values}")
                wrong += 1
            elif not mine["acknowledged"] <= values[0] <= mine["sent"]:
                print(f"client {name}: {values[0]} is there, {mine['acknowledged']} was acknowledged, {mine['sent']} sent")
                wrong += 1
            # What was sent and did not arrive is as if it had never been.
            mine["sent"] = mine["acknowledged"] = values[0]
    json.dump(record, open(path, "w"))
    print(f"{len(record)} clients, {sum(mine['sent'] for mine in record.values())} writes, {wrong} wrong")
    raise SystemExit(wrong > 0)


main()

"""Clients for the scripts beside this file, where a shell is clumsy. Standard library only; each ends by itself.

    clients.py crowd PORT COUNT [listen | speak]   COUNT clients at once; prints what became of them
    clients.py stuck PORT                          HELP without end, never read, until the server ends it, or for a minute
    clients.py after-quit PORT COUNT               QUIT and then COUNT lines in one go; prints what came back
"""

import socket
import sys
import threading
import time
from collections import Counter

PATIENCE = 15


def main():
    what, port, *rest = sys.argv[1:]
    {"crowd": crowd, "stuck": stuck, "after-quit": after_quit}[what](int(port), *rest)


def crowd(port, count, manners="speak"):
    """Each client says a line and stays until all know what became of them: `served` got the line back, `refused` got
    "ERROR …" and then the end, `reset` is a reset at any moment, `silent` got nothing, `other` is everything else. Those
    who listen first wait a second for a word before they speak."""
    count = int(count)
    everybody = threading.Barrier(count, timeout=PATIENCE * 3)
    fates, words = Counter(), Counter()
    lock = threading.Lock()

    def one(number):
        client = None
        try:
            client = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE)
            fate, word = fate_of(client, f"hello, it is {number}\n".encode(), manners == "listen")
        except (ConnectionResetError, BrokenPipeError):
            fate, word = "reset", ""
        except TimeoutError:
            fate, word = "silent", ""
        except OSError as error:
            fate, word = "other", str(error)
        with lock:
            fates[fate] += 1
            words[word] += 1
        try:
            everybody.wait()
        except threading.BrokenBarrierError:
            pass
        if client:
            client.close()

    threads = [threading.Thread(target=one, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    print(*(f"{fate}={fates[fate]}" for fate in ("served", "refused", "reset", "silent", "other")))
    for word in words:
        if word:
            print(word)


def fate_of(client, line, listen_first):
    said = b""
    if listen_first:
        client.settimeout(1)
        try:
            said = client.recv(4096)
        except TimeoutError:
            client.sendall(line)
    else:
        client.sendall(line)
    client.settimeout(PATIENCE)
    if said == b"" or not said.endswith(b"\n"):
        said += until_newline(client)
    if said == line:
        return "served", ""
    if said.startswith(b"ERROR ") and said.endswith(b"\n"):
        return ("refused" if client.recv(1) == b"" else "other"), said.decode().strip()
    return "other", repr(said)


def until_newline(client):
    said = b""
    while not said.endswith(b"\n"):
        part = client.recv(4096)
        if not part:
            break
        said += part
    return said


def stuck(port):
    client = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE)
    client.setblocking(False)
    last = time.monotonic()
    # Both directions are full when nothing could be sent for a while; bounded by what the kernel's buffers hold.
    while time.monotonic() - last < 0.5:
        try:
            client.send(b"HELP\n" * 10_000)
            last = time.monotonic()
        except BlockingIOError:
            time.sleep(0.01)
    print("stuck", flush=True)
    while time.monotonic() - last < 60:
        time.sleep(0.05)
        try:
            client.send(b"HELP\n")
        except BlockingIOError:
            pass
        except OSError:
            return


def after_quit(port, count):
    client = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE)
    lines = b"UPPER a\nQUIT\n" + b"UPPER not for you\n" * int(count)
    sender = threading.Thread(target=send_quietly, args=(client, lines))
    sender.start()
    said, ending = b"", "end"
    try:
        while part := client.recv(65536):
            said += part
    except OSError as error:
        ending = type(error).__name__
    sender.join()
    print(said.decode().replace("\n", "|") + ending)


def send_quietly(client, bytes_to_send):
    try:
        client.sendall(bytes_to_send)
    except OSError:
        pass


main()

"""Clients for the scripts beside this file, where a shell is clumsy. Standard library only; each ends by itself.

    clients.py crowd PORT COUNT [listen | speak]   COUNT clients at once; prints what became of them
    clients.py stuck PORT                          HELP without end, never read, until the server ends it, or for a minute
    clients.py after-quit PORT COUNT               QUIT and then COUNT lines in one go; prints what came back
"""

import asyncio
import socket
import sys
import threading
import time
from collections import Counter

PATIENCE = 30


def main():
    what, port, *rest = sys.argv[1:]
    {"crowd": crowd, "stuck": stuck, "after-quit": after_quit}[what](int(port), *rest)


def crowd(port, count, manners="speak"):
    """Each client says a line and stays until all know what became of them: `served` got the line back, `refused` got
    "ERROR …" and then the end, `reset` is a reset at any moment, `silent` got nothing, `other` is everything else. Those
    who listen first wait a second for a word before they speak. No threads: they would count as processes, and a script
    may have made those scarce."""
    fates = asyncio.run(fates_of(port, int(count), manners == "listen"))
    count_of = Counter(fate for fate, _ in fates)
    print(*(f"{fate}={count_of[fate]}" for fate in ("served", "refused", "reset", "silent", "other")))
    for word in sorted({word for _, word in fates if word}):
        print(word)


async def fates_of(port, count, listen_first):
    writers = []
    lines = [f"hello, it is {number}\n".encode() for number in range(count)]
    fates = await asyncio.gather(*(fate_of(port, line, listen_first, writers) for line in lines))
    for writer in writers:
        writer.close()
    return fates


async def fate_of(port, line, listen_first, writers):
    try:
        return await asyncio.wait_for(converse(port, line, listen_first, writers), PATIENCE)
    except (ConnectionResetError, BrokenPipeError):
        return "reset", ""
    except asyncio.TimeoutError:
        return "silent", ""
    except OSError as error:
        return "other", str(error)


async def converse(port, line, listen_first, writers):
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writers.append(writer)
    said = asyncio.ensure_future(reader.readline())
    if listen_first:
        await asyncio.wait([said], timeout=1)
    if not said.done():
        writer.write(line)
    said = await said
    if said == line:
        return "served", ""
    if said.startswith(b"ERROR ") and said.endswith(b"\n"):
        return "refused" if await reader.read(1) == b"" else "other", said.decode().strip()
    return "other", repr(said)


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

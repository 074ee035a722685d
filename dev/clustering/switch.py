"""Passes connections between machines on loopback on, unless one of the two is cut off.

    switch.py FOLDER

It reads one JSON object a line and answers with `ok`, or with why not. `owners` has the first process of every machine,
with the number of the machine. `cut` has the machines that are cut off. `ways`, which comes once, has what is passed on: `from`
an address and a port `to` others on the machine `target`, for the machine `caller`, or for the one whose process has the socket.
While one of its two machines is cut off, nothing passes over a connection, not even its end. It is reset after a while, as the
keepalives of TCP do it, or at the end of the cut. When the input ends, the switch waits for the end of all machines, removes
FOLDER and exits.
"""

import asyncio
import json
import os
import shutil
import socket
import struct
import sys
import time
from pathlib import Path

from tree import descendants

# How often the caller of a connection is looked for.
LOOKS = 5
# How long a connection is silent in a cut: the keepalives of the programs notice it after 5 to 11 seconds.
SILENCE_S = 6


class Switch:
    def __init__(self):
        self.owners, self.cut = {}, set()
        self.connections = set()
        # The processes that have called last, with their machines. They are looked at first.
        self.recent = {}

    async def set(self, asked):
        for way in asked.get("ways", ()):
            await asyncio.get_running_loop().create_server(lambda way=way: Connection(self, way).ends[0], *way["from"], backlog=100)
        self.owners = {int(process): number for process, number in asked["owners"].items()}
        self.recent.clear()
        before, self.cut = self.cut, set(asked["cut"])
        for connection in list(self.connections):
            was_cut, is_cut = connection.is_among(before), connection.is_among(self.cut)
            if was_cut and not is_cut:
                connection.reset()
            elif is_cut and not was_cut:
                connection.be_silent()

    async def caller(self, client, server):
        """The machine of the process that has this connection; `None` if there is no such process any more."""
        for _ in range(LOOKS):
            if (inode := inode_of(client, server)) is not None:
                for process, number in self.processes():
                    if has_socket(process, inode):
                        # The newest one is the first.
                        self.recent = {process: number} | self.recent
                        return number
            await asyncio.sleep(0.01)
        return None

    def processes(self):
        yield from list(self.recent.items())
        found = descendants(self.owners)
        yield from ((process, self.owners[root]) for process, root in found.items())


def inode_of(client, server):
    """The inode of the socket whose own address is that of a client, and whose other end is the server."""
    wanted = [shown(*client), shown(*server)]
    with open("/proc/net/tcp") as table:
        for line in table:
            fields = line.split()
            if fields[1:3] == wanted:
                return fields[9]
    return None


def shown(address, port):
    """An address and a port as the kernel shows them."""
    return f"{struct.unpack('=I', socket.inet_aton(address))[0]:08X}:{port:04X}"


def has_socket(process, inode):
    folder = f"/proc/{process}/fd"
    try:
        return any(os.readlink(f"{folder}/{name}") == f"socket:[{inode}]" for name in os.listdir(folder))
    except OSError:
        return False


class Connection:
    """A connection between two machines: its end at the client, and once that is open, the one at the server."""

    def __init__(self, switch, way):
        self.switch, self.way, self.pair, self.is_reset = switch, way, None, False
        self.ends = [End(self)]

    async def begin(self):
        """Finds the caller and reaches the server. What the client has sent until then waits."""
        client = self.ends[0].transport
        caller = self.way["caller"]
        if caller is None:
            caller = await self.switch.caller(client.get_extra_info("peername"), client.get_extra_info("sockname"))
        if caller is None:
            return self.reset()
        self.pair = caller, self.way["target"]
        self.switch.connections.add(self)
        if self.is_cut():
            return self.be_silent()
        try:
            await asyncio.get_running_loop().create_connection(lambda: End(self), *self.way["to"])
        except OSError:
            return self.reset()
        if self.is_reset or client.is_closing():
            return self.reset()
        first = self.ends[0]
        if first.early:
            first.data_received(first.early)
        if first.has_ended:
            first.eof_received()
        client.resume_reading()

    def is_among(self, cut):
        return self.pair[0] != self.pair[1] and not cut.isdisjoint(self.pair)

    def is_cut(self):
        return self.is_among(self.switch.cut)

    def be_silent(self):
        """Waits for the end of a cut, but not for long."""
        asyncio.get_running_loop().call_later(SILENCE_S, self.reset)

    def reset(self):
        """Ends both sides at once with a reset, which is what a linger time of zero means."""
        self.is_reset = True
        self.switch.connections.discard(self)
        for end in self.ends:
            if not end.transport.is_closing():
                end.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            end.transport.abort()


class End(asyncio.Protocol):
    """One end of a connection. What arrives there during a cut is lost, because the connection is going to be reset."""

    def __init__(self, connection):
        self.connection, self.transport, self.has_ended, self.early = connection, None, False, b""

    def connection_made(self, transport):
        self.transport = transport
        ends = self.connection.ends
        if self is ends[0]:
            self.connection.task = asyncio.get_running_loop().create_task(self.connection.begin())
        else:
            ends.append(self)

    def other(self):
        """The end at which this one's data leaves; `None` if there is none, or during a cut."""
        ends = self.connection.ends
        if len(ends) < 2 or self.connection.is_reset or self.connection.is_cut():
            return None
        return ends[self is ends[0]]

    def data_received(self, data):
        if other := self.other():
            other.transport.write(data)
        elif len(self.connection.ends) < 2:
            self.early += data
            self.transport.pause_reading()

    def eof_received(self):
        self.has_ended = True
        if other := self.other():
            if other.has_ended:
                other.transport.close()
                return False
            if other.transport.can_write_eof():
                other.transport.write_eof()
        return True

    def connection_lost(self, error):
        if other := self.other():
            self.connection.switch.connections.discard(self.connection)
            if error is None:
                other.transport.close()
            else:
                self.connection.reset()

    def pause_writing(self):
        self.read_other(False)

    def resume_writing(self):
        self.read_other(True)

    def read_other(self, reads):
        ends = self.connection.ends
        if len(ends) == 2 and not (source := ends[self is ends[0]].transport).is_closing():
            source.resume_reading() if reads else source.pause_reading()


async def main():
    switch, lines = Switch(), asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    while line := await lines.readline():
        try:
            await switch.set(json.loads(line))
            print("ok", flush=True)
        except OSError as err:
            print(err, flush=True)
    return switch.owners


if __name__ == "__main__":
    owners = asyncio.run(main())
    while any(Path(f"/proc/{process}").exists() for process in owners):
        time.sleep(0.05)
    shutil.rmtree(sys.argv[1], ignore_errors=True)

"""Passes connections between machines on loopback on, unless one of the two is cut off.

    switch.py FOLDER

It reads one JSON object a line and answers with `ok`, or with why not. `owners` has the first process of every machine,
with the number of the machine. `cut` has the machines that are cut off. `ways`, which comes once, has what is passed on: `from`
an address and a port `to` others on the machine `target`, for the machine `caller`, or for the one whose process has the socket.
While one of its two machines is cut off, nothing passes over a connection, not even its end; afterwards it is reset. When the
input ends, the switch waits for the end of all machines, removes FOLDER and exits.
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


class Switch:
    def __init__(self):
        self.owners, self.cut = {}, set()
        self.connections = set()
        # The processes that have called last, with their machines. They are looked at first.
        self.recent = {}

    async def set(self, asked):
        for way in asked.get("ways", ()):
            await asyncio.start_server(acceptor(self, way), *way["from"])
        self.owners = {int(process): number for process, number in asked["owners"].items()}
        self.recent.clear()
        before, self.cut = self.cut, set(asked["cut"])
        for connection in list(self.connections):
            if connection.is_among(before) and not connection.is_among(self.cut):
                connection.reset()

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
    """A connection between two machines, with its two ends."""

    def __init__(self, switch, pair, *writers):
        self.switch, self.pair, self.writers, self.is_reset = switch, pair, writers, False

    def is_among(self, cut):
        return self.pair[0] != self.pair[1] and not cut.isdisjoint(self.pair)

    def reset(self):
        self.is_reset = True
        for writer in self.writers:
            inner = writer.get_extra_info("socket")
            try:
                inner.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            except OSError:
                pass
            writer.transport.abort()

    async def hold(self):
        """Waits for the end of a cut. Returns whether the connection is there then: the end of a cut resets it."""
        while self.is_among(self.switch.cut):
            await asyncio.sleep(0.05)
        return not self.is_reset

    async def run(self, reader, to):
        client, = self.writers
        if not await self.hold():
            return
        try:
            server_reader, server = await asyncio.open_connection(*to)
            self.writers = client, server
            for writer in self.writers:
                writer.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        except OSError:
            return self.reset()
        await asyncio.gather(self.pump(reader, server), self.pump(server_reader, client))

    async def pump(self, reader, writer):
        try:
            while data := await reader.read(65536):
                if not await self.hold():
                    return
                writer.write(data)
                await writer.drain()
            if await self.hold():
                writer.write_eof()
        except (OSError, RuntimeError):
            if await self.hold():
                self.reset()


def acceptor(switch, way):
    async def accept(reader, writer):
        caller = way["caller"]
        if caller is None:
            caller = await switch.caller(writer.get_extra_info("peername"), writer.get_extra_info("sockname"))
        connection = Connection(switch, (caller, way["target"]), writer)
        if caller is None:
            return connection.reset()
        switch.connections.add(connection)
        try:
            await connection.run(reader, way["to"])
        finally:
            switch.connections.discard(connection)
            for end in connection.writers:
                end.close()

    return accept


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

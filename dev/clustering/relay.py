#!/usr/bin/python3
"""Passes TCP connections on and disturbs them as a bad network does.

    relay.py CONTROL OWN_ADDRESS PORT=ADDRESS:PORT …

The Unix socket CONTROL takes one JSON object a line with some of these members, and answers with the number of its cuts:

  delay_ms  each packet arrives so much later, in both directions
  jitter    the part of the delay that is random, 0 to 1
  resets    the part of the connections that are reset at a random moment, 0 to 1
  is_silent packets are swallowed and connections stay open, old ones and new ones
  is_closed connections are reset, and new ones are refused
  cut_up, cut_down   the connections are reset when so many more bytes have passed to the server, or from it
"""

import asyncio
import json
import os
import random
import socket
import struct
import sys

RESET_BYTES_MAX = 20_000


class Relay:
    """What is done to all connections."""

    def __init__(self):
        self.settings = {"delay_ms": 0.0, "jitter": 0.0, "resets": 0.0, "is_silent": False, "is_closed": False}
        # How many bytes may still pass in each direction before everything is cut; None for any number.
        self.left = {"up": None, "down": None}
        self.connections, self.cuts = set(), 0

    def set(self, asked):
        known = {name: asked[name] for name in asked if name in self.settings}
        for direction in self.left:
            if f"cut_{direction}" in asked:
                self.left[direction] = asked[f"cut_{direction}"]
        if unknown := set(asked) - set(known) - {"cut_up", "cut_down"}:
            raise ValueError(f"unknown: {', '.join(unknown)}")
        self.settings |= known
        if self.settings["is_closed"]:
            self.reset_all()
        return {"cuts": self.cuts}

    def reset_all(self):
        for connection in list(self.connections):
            connection.reset()

    def allows(self, direction, count):
        """How many of these bytes pass. The cut is made when none are left."""
        left = self.left[direction]
        passing = count if left is None else min(left, count)
        if left is not None:
            self.left[direction] = left - passing
        return passing

    def has_cut(self):
        self.left = {"up": None, "down": None}
        self.cuts += 1
        self.reset_all()


class Connection:
    """One connection of a client and its counterpart to the server."""

    def __init__(self, relay, client, server):
        self.relay, self.writers = relay, (client, server)
        doomed = random.random() < relay.settings["resets"]
        self.bytes_left = random.randrange(RESET_BYTES_MAX) if doomed else None

    def reset(self):
        """Ends both sides at once with a reset, which is what a linger time of zero means."""
        for writer in self.writers:
            inner = writer.get_extra_info("socket")
            try:
                inner.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            except OSError:
                pass
            writer.transport.abort()

    async def read(self, reader, waiting):
        """Takes the packets of one direction and notes when each may arrive."""
        loop, settings = asyncio.get_running_loop(), self.relay.settings
        try:
            while data := await reader.read(65536):
                delay = settings["delay_ms"] / 1000
                delay += delay * settings["jitter"] * (random.random() - 0.5)
                await waiting.put((loop.time() + delay if delay else 0, data))
        except OSError:
            pass
        await waiting.put((0, None))

    async def write(self, waiting, writer, direction):
        loop, relay = asyncio.get_running_loop(), self.relay
        while True:
            due, data = await waiting.get()
            await until(due, loop)
            if data is None:
                break
            if relay.settings["is_silent"]:
                continue
            passing = relay.allows(direction, len(data))
            writer.write(data[:passing])
            await writer.drain()
            if self.bytes_left is not None:
                self.bytes_left -= passing
                if self.bytes_left < 0:
                    return self.reset()
            if relay.left[direction] == 0:
                return relay.has_cut()
        # Swallowed too: the other side never hears that this one has closed.
        while relay.settings["is_silent"]:
            await asyncio.sleep(0.05)
        if writer.can_write_eof():
            writer.write_eof()

    async def run(self, client_reader, server_reader):
        self.relay.connections.add(self)
        client, server = self.writers
        up, down = asyncio.Queue(1_000), asyncio.Queue(1_000)
        work = [self.read(client_reader, up), self.write(up, server, "up")]
        work += [self.read(server_reader, down), self.write(down, client, "down")]
        try:
            await asyncio.gather(*work, return_exceptions=True)
        finally:
            self.relay.connections.discard(self)
            for writer in self.writers:
                writer.close()


async def until(due, loop):
    """Waits for a time. The loop sleeps whole milliseconds, so the last one is waited for without sleep."""
    if due > loop.time() + 0.001:
        await asyncio.sleep(due - loop.time() - 0.001)
    while due > loop.time():
        await asyncio.sleep(0)


def acceptor(relay, address, port):
    async def accept(reader, writer):
        if relay.settings["is_closed"]:
            return Connection(relay, writer, writer).reset()
        while relay.settings["is_silent"]:
            await asyncio.sleep(0.05)
        try:
            server_reader, server = await asyncio.open_connection(address, port)
        except OSError:
            return writer.transport.abort()
        for end in (writer, server):
            end.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        await Connection(relay, writer, server).run(reader, server_reader)

    return accept


def controller(relay):
    async def control(reader, writer):
        while line := await reader.readline():
            try:
                answer = relay.set(json.loads(line))
            except (ValueError, AttributeError) as err:
                answer = {"error": str(err)}
            writer.write(json.dumps(answer).encode() + b"\n")
            await writer.drain()
        writer.close()

    return control


async def main(control, own_address, *ways):
    relay = Relay()
    for way in ways:
        own, _, target = way.partition("=")
        address, _, port = target.rpartition(":")
        await asyncio.start_server(acceptor(relay, address, int(port)), own_address, int(own))
    if os.path.exists(control):
        os.unlink(control)
    await asyncio.start_unix_server(controller(relay), control)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))

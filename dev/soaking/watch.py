"""Measures the process and its files once a second, and holds them against bounds."""

import os
import threading
import time
from pathlib import Path

from server import Violation

MB = 1 << 20
# A process has its caches and its threads after this time.
WARM_S = 60


class Watch:
    """First, last and largest value of each measure, over all processes of a run."""

    def __init__(self, soak):
        self.soak, self.server = soak, soak.server
        self.values = {}
        # Of the process that runs now: its start, when it was measured first, and its memory when it had warmed up.
        self.generation, self.seen_at, self.warm = None, 0, None
        self.ended = threading.Event()
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def run(self):
        while not self.ended.wait(1):
            self.measure()

    def bounds(self):
        """The largest values that are right, with the reason.

        Memory: a debug build needs some 45 MB, and at most 1 kB a key with all that is recorded about it; bodies, lists and
        unread answers of this load are below 32 MB, and so is what one process may gain after its first minute, with what
        the allocator keeps. Descriptors: 30 of the server, and one for
        each connection of the driver. Threads: one for each processor, 16 that may block, and a dozen with one task
        each. The write-ahead log is cut to 64 MB when it is reset, and one batch of changes may come on top.
        """
        return {
            "memory MB": 96 + len(self.soak.live) / 1000,
            "growth MB": 32 + len(self.soak.live) / 1000,
            "descriptors": 48 + self.soak.connections_max,
            "threads": 40 + (os.cpu_count() or 1),
            "write-ahead log MB": 72,
        }

    def measure(self):
        process, data = self.server.process, self.server.data
        if process is None:
            return
        found = {}
        try:
            status = Path(f"/proc/{process.pid}/status").read_text()
            lines = dict(line.split(":", 1) for line in status.splitlines() if ":" in line)
            found["memory MB"] = int(lines["VmRSS"].split()[0]) / 1024
            found["threads"] = int(lines["Threads"])
            found["descriptors"] = len(os.listdir(f"/proc/{process.pid}/fd"))
        except (OSError, KeyError):
            return
        now = time.monotonic()
        if self.generation != self.server.generation:
            self.generation, self.seen_at, self.warm = self.server.generation, now, None
        elif self.warm is None and now - self.seen_at > WARM_S:
            self.warm = found["memory MB"]
        if self.warm is not None:
            found["growth MB"] = found["memory MB"] - self.warm
        for name, file in (
            ("write-ahead log MB", "latchkey.db-wal"), ("database MB", "latchkey.db"), ("tombstones kB", "tombstones"),
        ):
            try:
                found[name] = (data / file).stat().st_size / (1000 if name.endswith("kB") else MB)
            except OSError:
                pass
        for name, value in found.items():
            first, _, largest = self.values.get(name, (value, value, value))
            self.values[name] = first, value, max(value, largest)

    def check(self):
        """Refuses a value that is, or was, above its bound."""
        for name, bound in self.bounds().items():
            first, last, largest = self.values.get(name, (0, 0, 0))
            if largest > bound:
                raise Violation(f"{name}: {first:.1f} at first, {last:.1f} now, {largest:.1f} at most; the bound is {bound:.1f}")

    def short(self):
        value = lambda name: self.values.get(name, (0, 0, 0))[1]
        return (f"{value('memory MB'):.0f} MB, {value('descriptors'):.0f} descriptors, log {value('write-ahead log MB'):.1f} MB")

    def table(self):
        bounds = self.bounds()
        lines = [f"  {'':<20}{'first':>10}{'last':>10}{'largest':>10}{'bound':>10}"]
        for name, (first, last, largest) in self.values.items():
            bound = f"{bounds[name]:.0f}" if name in bounds else "–"
            lines.append(f"  {name:<20}{first:>10.1f}{last:>10.1f}{largest:>10.1f}{bound:>10}")
        return "\n".join(lines)

    def close(self):
        self.ended.set()
        self.thread.join()

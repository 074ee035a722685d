"""What the machines of both kinds have in common. Namespaces make real machines; loopback is where there are none.

A machine lives as long as its first process (init.py), which ends with the driver at the latest, and with it everything that
runs on the machine.
"""

import json
import os
import shutil
import subprocess
import threading
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
PYTHON = "/usr/bin/python3"


class LeftOut(Exception):
    """The rig cannot be on this machine."""


class Machine:
    """One machine, and what happens to it. A kind says how its first process is started and ended, and what a cut is."""

    # What the first process is started with, and its arguments.
    prefix, arguments = (), ()

    def __init__(self, network, number):
        self.network, self.number, self.folder = network, number, network.folder / f"n{number}"
        # What its programs advertise, and where they listen.
        self.address = self.own = ""
        # The folder of the machine, as its programs see it.
        self.place = str(self.folder)
        # The first process, by its id for the driver; None while the machine is off.
        self.init = None
        # How often the machine was started. Its network is another one each time.
        self.boot = 0
        self.is_cut = False
        self.starting = threading.Lock()

    def path(self, name):
        """A file of the machine or a source of the network, as the programs of the machine see it."""
        return f"{self.place}/{name}"

    def address_from(self, number):
        """Where a program on another machine reaches this one. The driver is on number 0."""
        return self.address

    def make_folder(self, name, user):
        """A folder on the machine that only this user enters."""
        folder = self.folder / name
        folder.mkdir(mode=0o700, exist_ok=True)
        if os.geteuid() == 0:
            shutil.chown(folder, user, user)
        return folder

    def start(self):
        self.folder.mkdir(mode=0o755, parents=True, exist_ok=True)
        self.boot += 1
        command = [*self.prefix, PYTHON, HERE / "init.py", self.folder, *self.arguments]
        with open(self.folder / "init.log", "ab") as log:
            self.process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True, start_new_session=True,
            )
        if self.process.stdout.readline() != "started\n":
            raise RuntimeError(f"machine {self.number} does not start: {(self.folder / 'init.log').read_text()[-1000:]}")

    def kill(self):
        """Takes the machine off the network and ends all its processes at once: the others hear nothing of it."""
        if self.init is None:
            return
        self.cut()
        self.end()
        self.init = None

    def end(self):
        """Ends the first process and all others."""
        self.process.stdin.close()
        self.process.wait()
        self.process.stdout.close()

    def run(self, name, argv, user, environment=None):
        """Starts a program that goes on. Its output is appended to NAME.log."""
        program = {"name": name, "argv": [str(part) for part in argv], "user": user, "environment": environment or {}}
        with self.starting:
            self.process.stdin.write(json.dumps(program) + "\n")
            self.process.stdin.flush()
            answer = self.process.stdout.readline()
        if answer != "ok\n":
            raise RuntimeError(f"machine {self.number}: {name} does not start: {answer}")

    def inside(self):
        """The beginning of a command that runs on the machine."""
        return []

    def enter(self):
        """Moves the calling thread into the network of the machine."""

    def processes(self):
        """The processes of the machine without the first one, by id as the driver counts, with their commands."""
        found = {}
        for process in self.process_ids():
            try:
                command = Path(f"/proc/{process}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
            except OSError:
                continue
            # A process that has ended and a thread of the kernel have no command.
            if command:
                found[process] = command
        return found

    def signal(self, number, chosen=lambda command: True):
        """Sends a signal to the processes that are chosen by their commands."""
        for process, command in self.processes().items():
            if chosen(command):
                try:
                    os.kill(process, number)
                except ProcessLookupError:
                    pass

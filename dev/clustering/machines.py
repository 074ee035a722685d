"""Machines: network, process, mount and IPC namespaces of their own, on a bridge in the network namespace of the driver.

A machine lives as long as its first process (init.py), which ends with the driver at the latest. No namespace has a name, so
nothing is left in the system, and rigs side by side do not see each other.
"""

import ctypes
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path

HERE = Path(__file__).resolve().parent
NETWORK = "10.77.0"
BRIDGE = "lkbr"
CLONE_NEWNET = 0x40000000
LIBC = ctypes.CDLL(None, use_errno=True)
# Set for a driver that is in a network namespace of its own.
ISOLATED = "LATCHKEY_RIG_ISOLATED"
PYTHON = "/usr/bin/python3"


def why_not():
    """Why machines cannot be made here; `None` if they can."""
    if os.geteuid() != 0:
        return "machines need root"
    for program in ("ip", "mount", "nsenter", "unshare"):
        if not shutil.which(program):
            return f"there is no program {program}"
    asked = subprocess.run(["unshare", "--net", "--mount", "--pid", "--ipc", "--fork", "true"], capture_output=True, text=True)
    return f"there are no namespaces: {asked.stderr.strip()}" if asked.returncode else None


def is_isolated():
    return os.environ.get(ISOLATED) == str(os.getpid())


def isolate():
    """Starts this program again in a network namespace of its own, unless that is done. The process stays the same one."""
    if not is_isolated():
        os.environ[ISOLATED] = str(os.getpid())
        os.execvp("unshare", ["unshare", "--net", "--", PYTHON, *sys.argv])
    ip("link", "set", "lo", "up")
    ip("link", "add", BRIDGE, "type", "bridge")
    ip("addr", "add", f"{NETWORK}.1/24", "dev", BRIDGE)
    ip("link", "set", BRIDGE, "up")


def ip(*args, check=True):
    subprocess.run(["ip", *args], check=check, capture_output=not check)


class Machine:
    """One machine, and what happens to it."""

    def __init__(self, folder, number, sources):
        self.number, self.folder, self.sources = number, folder / f"n{number}", sources
        self.address, self.link = f"{NETWORK}.{10 + number}", f"lk{number}"
        # The first process as the driver's namespace counts; None while the machine is off.
        self.init = None
        # How often the machine was started. Its network is another one each time.
        self.boot = 0
        self.is_cut = False
        self.starting = threading.Lock()

    def start(self):
        self.folder.mkdir(mode=0o755, parents=True, exist_ok=True)
        self.boot += 1
        command = ["unshare", "--net", "--mount", "--pid", "--ipc", "--fork", "--mount-proc", "--", PYTHON, HERE / "init.py"]
        command += [self.folder, str(self.boot), *(f"{origin}={name}" for name, origin in self.sources.items())]
        with open(self.folder / "init.log", "ab") as log:
            self.process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True, start_new_session=True,
            )
        if self.process.stdout.readline() != "started\n":
            raise RuntimeError(f"machine {self.number} does not start")
        self.init = int(Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text())
        ip("link", "add", self.link, "type", "veth", "peer", "name", "eth0", "netns", str(self.init))
        self.heal()
        ip("link", "set", self.link, "up")
        for args in (("addr", "add", f"{self.address}/24", "dev", "eth0"), ("link", "set", "eth0", "up")):
            subprocess.run([*self.inside("net"), "ip", *args], check=True)

    def kill(self):
        """Takes the machine off the network and ends all its processes at once: the others hear nothing of it."""
        if self.init is None:
            return
        self.cut()
        os.kill(self.init, signal.SIGKILL)
        self.process.stdin.close()
        self.process.wait()
        self.process.stdout.close()
        self.init = None
        # The end of the network may have removed the link already.
        ip("link", "del", self.link, check=False)

    def run(self, name, argv, user, environment=None):
        """Starts a program that goes on; returns its process id within the machine. Its output is appended to NAME.log."""
        program = {"name": name, "argv": [str(part) for part in argv], "user": user, "environment": environment or {}}
        with self.starting:
            self.process.stdin.write(json.dumps(program) + "\n")
            self.process.stdin.flush()
            answer = self.process.stdout.readline()
        if not answer.strip().isdigit():
            raise RuntimeError(f"machine {self.number}: {name} does not start: {answer}")
        return int(answer)

    def inside(self, *namespaces):
        """The beginning of a command that runs in these namespaces of the machine."""
        return ["nsenter", f"--target={self.init}", *(f"--{name}" for name in namespaces), "--"]

    def enter(self):
        """Moves the calling thread into the network of the machine, also if that is cut off from the others."""
        network = os.open(f"/proc/{self.init}/ns/net", os.O_RDONLY)
        try:
            if LIBC.setns(network, CLONE_NEWNET):
                raise OSError(ctypes.get_errno(), "setns")
        finally:
            os.close(network)

    def cut(self):
        """Takes the machine off the bridge: packets are lost without a word in both directions."""
        ip("link", "set", self.link, "nomaster")
        self.is_cut = True

    def heal(self):
        ip("link", "set", self.link, "master", BRIDGE)
        self.is_cut = False

    def processes(self):
        """The processes of the machine without the first one, by id as the driver counts, with their commands."""
        found, own = {}, namespace_of(self.init)
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit() and int(entry.name) != self.init and namespace_of(entry.name) == own:
                try:
                    command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
                except OSError:
                    continue
                # A process that has ended and a thread of the kernel have no command.
                if command:
                    found[int(entry.name)] = command
        return found

    def signal(self, number, chosen=lambda command: True):
        """Sends a signal to the processes that are chosen by their commands; returns how many."""
        count = 0
        for process, command in self.processes().items():
            if chosen(command):
                try:
                    os.kill(process, number)
                    count += 1
                except ProcessLookupError:
                    pass
        return count


def namespace_of(process):
    try:
        return os.readlink(f"/proc/{process}/ns/pid")
    except OSError:
        return None

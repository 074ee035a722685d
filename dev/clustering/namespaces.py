"""Machines of namespaces for networks, processes, mounts and IPC, on a bridge in the network namespace of the driver.

No namespace has a name, so nothing is left in the system, and rigs side by side do not see each other.
"""

import ctypes
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import machines
from machines import PYTHON, ROOT

PREFIX = "10.77.0"
BRIDGE = "lkbr"
CLONE_NEWNET = 0x40000000
LIBC = ctypes.CDLL(None, use_errno=True)
UNSHARE = ("unshare", "--net", "--mount", "--pid", "--ipc", "--fork")
# What machines need of the kernel.
TRIED = """mount -t tmpfs tmpfs /dev/shm || exit
! command -v ip >/dev/null || { ip link add lkbr type bridge && ip link add lk0 type veth peer name lk1; }"""
# Set for a driver that is in a network namespace of its own.
ISOLATED = "LATCHKEY_RIG_ISOLATED"


def why_not():
    """Why machines cannot be made here; `None` if they can."""
    if os.geteuid() != 0:
        return "namespaces need root"
    if not shutil.which("unshare"):
        return "there is no program unshare"
    asked = subprocess.run([*UNSHARE, "sh", "-c", TRIED], capture_output=True, text=True)
    return f"there are no namespaces: {asked.stderr.strip()}" if asked.returncode else None


def is_isolated():
    return os.environ.get(ISOLATED) == str(os.getpid())


def ip(*args, check=True):
    subprocess.run(["ip", *args], check=check, capture_output=not check)


class Network:
    """The bridge between the machines."""

    # What the rules of PostgreSQL have.
    addresses = f"{PREFIX}.0/24"
    # What a fault needs that only such machines have.
    is_real = True
    packages = ("ip=iproute2",)
    about = "network namespaces"

    def __init__(self, name, sources):
        self.folder, self.sources = ROOT / "target/cluster" / name, sources

    @staticmethod
    def prepare():
        """Starts this program again in a network namespace of its own, unless that is done. The process stays the same one."""
        if not is_isolated():
            os.environ[ISOLATED] = str(os.getpid())
            os.execvp("unshare", ["unshare", "--net", "--", PYTHON, *sys.argv])

    def up(self):
        shutil.rmtree(self.folder, ignore_errors=True)
        # It stays until the driver ends.
        if subprocess.run(["ip", "link", "show", BRIDGE], capture_output=True).returncode:
            ip("link", "set", "lo", "up")
            ip("link", "add", BRIDGE, "type", "bridge")
            ip("addr", "add", f"{PREFIX}.1/24", "dev", BRIDGE)
            ip("link", "set", BRIDGE, "up")

    def down(self):
        shutil.rmtree(self.folder, ignore_errors=True)

    def machine(self, number):
        return Machine(self, number)


class Machine(machines.Machine):
    prefix = (*UNSHARE, "--mount-proc", "--")

    def __init__(self, network, number):
        super().__init__(network, number)
        self.address = self.own = f"{PREFIX}.{10 + number}"
        self.place, self.link = "/mnt", f"lk{number}"

    @property
    def arguments(self):
        return (str(self.boot), *(f"{origin}={name}" for name, origin in self.network.sources.items()))

    def start(self):
        super().start()
        self.init = int(Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text())
        ip("link", "add", self.link, "type", "veth", "peer", "name", "eth0", "netns", str(self.init))
        self.heal()
        ip("link", "set", self.link, "up")
        for args in (("addr", "add", f"{self.address}/24", "dev", "eth0"), ("link", "set", "eth0", "up")):
            subprocess.run(["nsenter", f"--target={self.init}", "--net", "--", "ip", *args], check=True)

    def end(self):
        os.kill(self.init, signal.SIGKILL)
        super().end()
        # The end of the network may have removed the link already.
        ip("link", "del", self.link, check=False)

    def inside(self):
        return ["nsenter", f"--target={self.init}", "--net", "--mount", "--pid", "--ipc", "--"]

    def enter(self):
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

    def process_ids(self):
        own = namespace_of(self.init)
        found = (int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit())
        return [process for process in found if process != self.init and namespace_of(process) == own]


def namespace_of(process):
    try:
        return os.readlink(f"/proc/{process}/ns/pid")
    except OSError:
        return None

"""Machines without namespaces: each is an address on loopback, and a tree of processes.

Programs listen on an address of their machine that only they use (127.0.77.21 to .23). The others reach them at the address
that they advertise (127.0.77.11 to .13), where a switch (switch.py) passes connections on, unless one of the two machines is cut
off. It finds the machine of a caller by the process that has the socket. Who is configured for one machine alone uses an address
that says it: 127.0.77.101 to .103 is for the driver, which is on no machine, 127.0.77.111 to .113 for machine 1, and so on. This
is needed for Latchkey, whose sockets only root can see.

What differs from a real network: a connection to a machine that is cut off is accepted and then silent, the kernel acknowledges
what was sent there, and after some seconds it is reset. Every user of this computer can reach the addresses.
"""

import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import machines
from machines import HERE, PYTHON, LeftOut
from tree import descendants

PREFIX = "127.0.77"
# etcd for clients and for its peers, Patroni, PostgreSQL, and the nodes.
PORTS = (2379, 2380, 8008, 5432, 8420)


def why_not():
    """Why machines cannot be made here; `None` if they can."""
    return None if sys.platform == "linux" else "machines need Linux"


class Network:
    """The switch between the machines, and their folder, in which every user of a program can read the programs."""

    addresses = "127.0.0.0/8"
    is_real = False
    packages = ()
    about = "addresses on loopback"

    def __init__(self, name, sources):
        self.sources, self.machines = sources, []
        self.folder = Path(tempfile.mkdtemp(prefix=f"latchkey-{name}-"))
        self.switch = None

    @staticmethod
    def prepare():
        pass

    def up(self):
        self.folder.chmod(0o755)
        for name, origin in self.sources.items():
            # The folders above the origin may be closed for the users of the programs.
            if not (self.folder / name).exists():
                subprocess.run(["cp", "-R", "--reflink=auto", origin, self.folder / name], check=True)
        if self.switch is None:
            self.switch = subprocess.Popen(
                [PYTHON, HERE / "switch.py", self.folder], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                start_new_session=True,
            )
            self.say(ways=[way for machine in self.machines for way in machine.ways()])

    def say(self, **more):
        """Says to the switch which machines there are now, and which of them are cut off."""
        owners = {machine.init: machine.number for machine in self.machines if machine.init is not None}
        state = {"owners": owners, "cut": [machine.number for machine in self.machines if machine.is_cut]}
        self.switch.stdin.write(json.dumps({**state, **more}) + "\n")
        self.switch.stdin.flush()
        answer = self.switch.stdout.readline()
        if answer != "ok\n":
            raise LeftOut(f"addresses of {PREFIX} cannot be used: {answer.strip()}")

    def down(self):
        """The switch removes the folder."""
        if self.switch is not None:
            self.switch.stdin.close()
            self.switch.wait()
            self.switch.stdout.close()
            self.switch = None
        shutil.rmtree(self.folder, ignore_errors=True)

    def machine(self, number):
        self.machines.append(made := Machine(self, number))
        return made


class Machine(machines.Machine):
    def __init__(self, network, number):
        super().__init__(network, number)
        self.address, self.own = f"{PREFIX}.{10 + number}", f"{PREFIX}.{20 + number}"

    def address_from(self, number):
        return f"{PREFIX}.{100 + 10 * number + self.number}"

    def ways(self):
        """What the switch passes on to this machine: from where, to which address, and for which machine or for any."""
        addresses = {self.address: None, **{self.address_from(number): number for number in range(len(self.network.machines) + 1)}}
        for address, caller in addresses.items():
            for port in PORTS:
                yield {"from": [address, port], "to": [self.own, port], "target": self.number, "caller": caller}

    def start(self):
        super().start()
        for name in self.network.sources:
            if not (self.folder / name).exists():
                (self.folder / name).symlink_to(self.network.folder / name)
        self.init = self.process.pid
        self.heal()

    def end(self):
        super().end()
        self.remove_shared_memory()

    def remove_shared_memory(self):
        """PostgreSQL names the segment that it has left, in the seventh line of a file."""
        try:
            lines = (self.folder / "pg/data/postmaster.pid").read_text().splitlines()
            subprocess.run(["ipcrm", "-m", lines[6].split()[1]], capture_output=True)
        except (OSError, IndexError):
            pass

    def cut(self):
        self.is_cut = True
        self.network.say()

    def heal(self):
        self.is_cut = False
        self.network.say()

    def process_ids(self):
        return descendants([self.init])

"""The nodes on the machines: Latchkey, or the plain stand-in, and the relays between them and the database."""

import json
import os
import shutil
import signal
import socket
import subprocess

from load import PORT, Client, Lost, NotSent
from machines import PYTHON
from rig import DATABASE, ROLE
from waiting import wait

# Nobody else has this user id, and no name belongs to it.
USER = 8420
RELAYED = 5500
COMMAND_MAX_S = 120
FRESH_MAX_S = 120
# A program that ends is started again, as the unit of the package has it.
AGAIN = 'while :; do "$@"; sleep 1; done'
ROUND_TRIPS = """
import statistics, sys, time, psycopg2
connection = psycopg2.connect(sys.argv[1])
cursor, times = connection.cursor(), []
for _ in range(300):
    began = time.perf_counter()
    cursor.execute("SELECT 1")
    times.append(1000 * (time.perf_counter() - began))
print(statistics.median(times))
"""
# What every node has the same of.
KEY_FILES = ("pepper", "seal-key", "sealing-key")
# The program of the next schema, beside the other one.
NEXT = "latchkey-next"


class CommandFailed(Exception):
    """A command of the program did not end well; with what it printed."""


class Nodes:
    """One node on each machine. What is common to Latchkey and the stand-in."""

    def __init__(self, rig, soft_s, hard_s):
        self.rig, self.soft_s, self.hard_s = rig, soft_s, hard_s
        self.key = ""
        # The nodes that reach the database through their relay.
        self.relayed = set()
        # More variables of the environment, by node.
        self.environment = {}
        # More options of all nodes.
        self.options = ()
        # The nodes with the program of the next schema.
        self.upgraded = set()

    def machine(self, number):
        return self.rig.machines[number]

    def addresses(self, number):
        """Where a node finds the servers of the database: their addresses and ports."""
        if number in self.relayed:
            return [(self.machine(number).own, RELAYED + other) for other in self.rig.machines]
        return [(machine.address_from(number), 5432) for machine in self.rig.machines.values()]

    def start_all(self):
        for number in self.rig.machines:
            self.start(number)
        self.wait_until_fresh()

    def run(self, number, *argv):
        self.machine(number).run("node", ["sh", "-c", AGAIN, "sh", *argv], USER, self.environment.get(number))

    def is_running(self, number):
        machine = self.machine(number)
        return machine.init is not None and any(map(self.is_node, machine.processes().values()))

    def kill(self, number):
        self.end(number, signal.SIGKILL)

    def stop(self, number):
        self.end(number, signal.SIGTERM)

    def end(self, number, how):
        self.machine(number).signal(how, self.is_node)
        wait(lambda: not self.is_running(number), COMMAND_MAX_S, lambda: f"node {number} ends")

    def use_options(self, options):
        """Starts all nodes again if they have other options than these."""
        if options != self.options:
            self.options = options
            for number in self.rig.machines:
                self.stop(number)
                self.start(number)

    def upgrade(self, number):
        """Gives a node the program of the next schema."""
        self.stop(number)
        self.upgraded.add(number)
        self.start(number)

    def is_fresh(self, number):
        """Whether a node says that it takes changes."""
        try:
            client = Client(self.machine(number), self.key, inside=False)
            status, _ = client.call("GET", "/readyz?write")
            client.close()
            return status == 200
        except (Lost, NotSent):
            return False

    def wait_until_fresh(self, limit_s=FRESH_MAX_S):
        def otherwise():
            states = {number: self.is_fresh(number) for number in self.rig.machines}
            return f"all nodes are fresh: {states}\n{self.rig.status()}\n{self.rig.logs()}"

        return wait(lambda: all(self.is_fresh(number) for number in self.rig.machines), limit_s, otherwise, pause_s=0.1)

    # Relays

    def put_relay(self, number):
        """Starts a relay between a node and every server, and the node again behind it."""
        machine = self.machine(number)
        ways = [f"{RELAYED + other.number}={other.address_from(number)}:5432" for other in self.rig.machines.values()]
        if number not in self.relayed:
            command = [PYTHON, machine.path("clustering/relay.py"), machine.path("relay.socket"), machine.own, *ways]
            machine.run("relay", command, 0)
            self.relayed.add(number)
            wait(lambda: self.has_relay(number), COMMAND_MAX_S, lambda: f"the relay of node {number} answers")
        self.stop(number)
        self.start(number)

    def has_relay(self, number):
        try:
            return bool(self.disturb(number))
        except OSError:
            return False

    def remove_relay(self, number):
        self.machine(number).signal(signal.SIGKILL, lambda command: "relay.py" in command)
        self.relayed.discard(number)
        self.stop(number)
        self.start(number)

    def round_trip_ms(self, number):
        """How long a question to the primary takes through the relay of a node: the median of many."""
        machine, leader = self.machine(number), self.rig.leader()
        place = f"host={machine.own} port={RELAYED + leader} user={ROLE} dbname={DATABASE}"
        asked = subprocess.run([*machine.inside(), PYTHON, "-c", ROUND_TRIPS, place], check=True, capture_output=True, text=True)
        return float(asked.stdout)

    def disturb(self, number, **settings):
        """Changes what the relay of a node does; returns what it has counted."""
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(str(self.machine(number).folder / "relay.socket"))
            connection.sendall(json.dumps(settings).encode() + b"\n")
            answer = json.loads(connection.makefile().readline())
        if "error" in answer:
            raise ValueError(answer["error"])
        return answer


class StandIns(Nodes):
    """The stand-in on every machine."""

    name, is_measured = "the stand-in", False

    def __init__(self, rig, soft_s, hard_s, lie=None):
        super().__init__(rig, soft_s, hard_s)
        self.lie = lie

    def create(self):
        from stand_in import SCHEMA
        with self.rig.connect(self.rig.leader()) as connection:
            connection.cursor().execute(SCHEMA)

    def start(self, number):
        hosts, ports = zip(*self.addresses(number))
        database = f"host={','.join(hosts)} port={','.join(map(str, ports))} user={ROLE} dbname={DATABASE}"
        lie = ["--lie", self.lie] if self.lie else []
        machine = self.machine(number)
        self.run(
            number, PYTHON, machine.path("clustering/stand_in.py"), "--listen", f"{machine.own}:{PORT}",
            "--database", database, "--soft", self.soft_s, "--hard", self.hard_s, *lie,
        )

    @staticmethod
    def is_node(command):
        return "stand_in.py" in command


class Latchkeys(Nodes):
    """Latchkey on every machine."""

    name, is_measured = "Latchkey", True

    def create(self):
        """The first node makes the schema and the keys; the others get its key files and join."""
        for number in self.rig.machines:
            self.machine(number).make_folder("node", USER)
        made = self.command(1, "init", "--json", *self.database(1))
        self.key = json.loads(made)["management_key"]
        first = self.machine(1).folder / "node"
        for number in list(self.rig.machines)[1:]:
            for name in KEY_FILES:
                copy = self.machine(number).folder / "node" / name
                shutil.copy(first / name, copy)
                if os.geteuid() == 0:
                    shutil.chown(copy, USER, USER)
            self.command(number, "init", "--join", *self.database(number))

    def database(self, number):
        """The options that say where the database is."""
        hosts = ",".join(f"{host}:{port}" for host, port in self.addresses(number))
        return "--database", f"postgres://{ROLE}@{hosts}/{DATABASE}", "--allow-plain-database"

    def start(self, number):
        machine = self.machine(number)
        self.run(
            number, self.program(number), "serve", "--data", machine.path("node"), "--listen", f"{machine.own}:{PORT}",
            "--allow-plain-http", *self.database(number),
            f"--database-stale-after={self.soft_s}s", f"--database-refuse-after={self.hard_s}s", *self.options,
        )

    def program(self, number):
        return self.machine(number).path(NEXT if number in self.upgraded else "latchkey")

    def command(self, number, *args):
        """Runs a command of the program on a machine; returns what it prints."""
        machine = self.machine(number)
        user = ["setpriv", f"--reuid={USER}", f"--regid={USER}", "--clear-groups", "--"] if os.geteuid() == 0 else []
        environment = ["env", "-i", "PATH=/usr/bin:/bin", f"HOME={machine.place}", "LC_ALL=C.UTF-8"]
        program = [self.program(number), *args, "--data", machine.path("node")]
        command = [*machine.inside(), *user, *environment, *program]
        ran = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=COMMAND_MAX_S, cwd="/")
        if ran.returncode:
            raise CommandFailed(f"latchkey {' '.join(args)} ends with {ran.returncode}:\n{ran.stdout[-3000:]}\n{ran.stderr[-3000:]}")
        return ran.stdout

    @staticmethod
    def is_node(command):
        return "/latchkey serve" in command or f"/{NEXT} serve" in command

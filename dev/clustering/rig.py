"""Three machines with etcd, Patroni and PostgreSQL, and what can happen to them."""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path

import loopback
import namespaces
from machines import HERE, PYTHON, ROOT, LeftOut
from waiting import wait

COUNT = 3
VERSION_MIN = 14
PATRONI = "4.1.5"
# What Patroni needs with etcd. Debian's psycopg2 is used: with the one of PyPI Patroni has hung after initdb.
PARTS = ("click==8.1.8", "dnspython==2.7.0", "prettytable==3.12.0", "psutil==7.0.0", "python-dateutil==2.9.0.post0",
         "python-etcd==0.4.5", "PyYAML==6.0.2", "six==1.17.0", "urllib3==2.3.0", "wcwidth==0.2.13", "ydiff==1.4.2")
# Seconds of Patroni: how long a leader is believed without a word from it, between two looks, and until a retry fails.
TTL_S, LOOP_S, RETRY_S = 20, 5, 5
# In a short run, in which recovery is waited for again and again.
SHORT_LOOP_S = 2
UP_MAX_S = 180
# What a primary is called, in this and earlier versions.
LEADS = ("leader", "primary", "master")
DATABASE, ROLE = "latchkey", "latchkey"


def prepare(patroni=PATRONI, is_on_loopback=False):
    """Installs what the rig needs. Returns the kind of network, of which this process is a part then, and the folder with Patroni."""
    why = "as the command says" if is_on_loopback else namespaces.why_not()
    if why and (neither := loopback.why_not()):
        raise LeftOut(f"{why}, and {neither}")
    network = (loopback if why else namespaces).Network
    try:
        site = install(patroni, network.packages)
    except subprocess.CalledProcessError as err:
        raise LeftOut(f"{Path(err.cmd[0]).name} has failed, see above") from None
    network.prepare()
    if why:
        print(f"the machines are addresses on loopback, and no network of their own: {why}", flush=True)
    return network, site


def install(patroni, packages):
    """Installs packages of Debian, and Patroni into an environment whose folder is returned."""
    system = os.environ | {"PATH": "/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin"}
    wanted = ["etcd=etcd-server", *packages]
    if programs() is None:
        wanted.append("postgres=postgresql")
    if subprocess.run([PYTHON, "-c", "import psycopg2"], capture_output=True).returncode:
        wanted.append("psycopg2=python3-psycopg2")
    subprocess.run([ROOT / "dev/packages", *wanted], env=system, check=True)
    command = [ROOT / "dev/python", f"patroni-{patroni}", "--no-deps", f"patroni=={patroni}", *PARTS]
    made = subprocess.run(command, env=system, check=True, stdout=subprocess.PIPE, text=True)
    return next(Path(made.stdout.strip()).glob("lib/python3*/site-packages"))


def programs():
    """The folder with the programs of the newest PostgreSQL of Debian; `None` if there is none that is new enough."""
    folders = [path.parent for path in Path("/usr/lib/postgresql").glob("*/bin/postgres")]
    found = [(int(folder.parent.name), folder) for folder in folders if folder.parent.name.isdigit()]
    version, folder = max(found, default=(0, None))
    return folder if version >= VERSION_MIN else None


class Rig:
    """The state of a rig. Everything in it ends with this process."""

    def __init__(self, kind, name, site, sources=None, loop_s=LOOP_S):
        self.network, self.loop_s = kind(name, {"python": site, "clustering": HERE, **(sources or {})}), loop_s
        self.machines = {number: self.network.machine(number) for number in range(1, COUNT + 1)}
        # What is started again with a machine, by a user of the rig: functions of the number of the machine.
        self.services = []

    def up(self):
        """Starts everything in an empty folder; returns the seconds until there is a synchronous standby."""
        began = time.monotonic()
        self.network.up()
        for number in self.machines:
            self.start_machine(number)
        self.wait_until_healthy(UP_MAX_S)
        with self.connect(self.leader(), "postgres", "postgres") as connection:
            connection.cursor().execute(f"CREATE ROLE {ROLE} LOGIN")
            # So that the program can see whether a standby is synchronous.
            connection.cursor().execute(f"GRANT pg_monitor TO {ROLE}")
        self.create_database()
        return time.monotonic() - began

    def down(self):
        for machine in self.machines.values():
            machine.kill()
        self.network.down()

    def create_database(self):
        """An empty database, also in the place of an earlier one."""
        with self.connect(self.leader(), "postgres", "postgres") as connection:
            cursor = connection.cursor()
            cursor.execute(f"DROP DATABASE IF EXISTS {DATABASE} WITH (FORCE)")
            cursor.execute(f"CREATE DATABASE {DATABASE} OWNER {ROLE} TEMPLATE template0 ENCODING UTF8 LOCALE 'C.UTF-8'")

    def connect(self, number, user=ROLE, database=DATABASE):
        """A connection to the server of a machine, without transactions."""
        import psycopg2
        connection = psycopg2.connect(host=self.machines[number].address_from(0), user=user, dbname=database, connect_timeout=3)
        connection.autocommit = True
        return contextlib.closing(connection)

    def work_of_nodes(self):
        """How often the nodes have sent each statement to the primary, and how many bytes of WAL that has made."""
        with self.connect(self.leader(), "postgres", "postgres") as connection:
            cursor = connection.cursor()
            cursor.execute("CREATE EXTENSION IF NOT EXISTS pg_stat_statements")
            cursor.execute("SELECT query, sum(calls)::bigint, sum(wal_bytes)::bigint FROM pg_stat_statements s"
                           " JOIN pg_roles r ON r.oid = s.userid WHERE rolname = %s GROUP BY query", (ROLE,))
            return {" ".join(query.split()): (calls, wal_bytes) for query, calls, wal_bytes in cursor.fetchall()}

    # Machines

    def start_machine(self, number):
        machine = self.machines[number]
        machine.start()
        for name, user in (("etcd", "etcd"), ("pg", "postgres"), ("socket", "postgres")):
            machine.make_folder(name, user)
        (machine.folder / "patroni.json").write_text(json.dumps(self.patroni_settings(machine), indent=1))
        self.start_etcd(number)
        self.start_patroni(number)
        for service in self.services:
            service(number)

    def start_patroni(self, number):
        """Patroni starts PostgreSQL."""
        machine = self.machines[number]
        command = [PYTHON, "-m", "patroni", machine.path("patroni.json")]
        machine.run("patroni", command, "postgres", {"PYTHONPATH": machine.path("python")})

    def start_etcd(self, number):
        machine = self.machines[number]
        peers = ",".join(f"n{other.number}=http://{other.address}:2380" for other in self.machines.values())
        own, url = f"http://{machine.own}", f"http://{machine.address}"
        machine.run("etcd", [
            "etcd", "--name", f"n{number}", "--data-dir", machine.path("etcd/data"), "--initial-cluster", peers,
            "--listen-peer-urls", f"{own}:2380", "--initial-advertise-peer-urls", f"{url}:2380",
            "--listen-client-urls", f"{own}:2379", "--advertise-client-urls", f"{url}:2379",
            "--initial-cluster-state", "new", "--logger", "zap", "--log-outputs", "stderr", "--log-level", "warn",
        ], "etcd")

    def kill_machine(self, number):
        self.machines[number].kill()

    def cut(self, number):
        self.machines[number].cut()

    def heal(self, number):
        self.machines[number].heal()

    def kill_database(self, number):
        """Kills PostgreSQL, all processes; Patroni lives."""
        self.machines[number].signal(signal.SIGKILL, is_postgres)

    def kill_etcd(self, number):
        self.machines[number].signal(signal.SIGKILL, is_etcd)

    def copy_databases(self, name):
        """Copies what PostgreSQL and etcd have on all machines, as it is while they are ended for a moment."""
        self.exchange(lambda folder: subprocess.run(["cp", "-a", folder, f"{folder}.{name}"], check=True))

    def put_back_databases(self, name):
        """Puts that copy in the place of what PostgreSQL and etcd have now, while the rest of the machines goes on."""
        def put_back(folder):
            shutil.rmtree(folder)
            Path(f"{folder}.{name}").rename(folder)

        self.exchange(put_back)

    def exchange(self, work):
        for machine in self.machines.values():
            machine.signal(signal.SIGKILL, lambda command: is_postgres(command) or is_supervisor(command) or is_etcd(command))
        for machine in self.machines.values():
            for name in ("etcd", "pg"):
                work(machine.folder / name)
        for number in self.machines:
            self.start_etcd(number)
            self.start_patroni(number)
        self.wait_until_healthy()

    def freeze(self, number, chosen=lambda command: True):
        self.machines[number].signal(signal.SIGSTOP, chosen)

    def thaw(self, number):
        self.machines[number].signal(signal.SIGCONT)

    # What Patroni says

    def ask(self, number, path, timeout=1.0):
        """The JSON of Patroni's answer on a machine, whatever its status; `None` without one."""
        if self.machines[number].init is None:
            return None
        url = f"http://{self.machines[number].address_from(0)}:8008/{path}"
        try:
            with urllib.request.urlopen(url, timeout=timeout) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as err:
            try:
                return json.load(err)
            except (OSError, ValueError):
                return None
        except (OSError, ValueError):
            return None

    def leader(self):
        """The machine whose server is the primary, by its own word; `None` if there is none."""
        for number in self.machines:
            state = self.ask(number, "patroni")
            if state and state.get("role") in LEADS and state.get("state") == "running":
                return number
        return None

    def members(self):
        """All members with their roles, by the first Patroni that answers."""
        for number in self.machines:
            found = self.ask(number, "cluster")
            if found and "members" in found:
                return found["members"]
        return []

    def is_healthy(self):
        """Whether every Patroni says the same: all members run, one leads, and one of the others is synchronous."""
        views = [(self.ask(number, "cluster") or {}).get("members", []) for number in self.machines]
        roles = [sorted((member["name"], member["role"]) for member in view) for view in views]
        if len(roles[0]) != COUNT or any(other != roles[0] for other in roles):
            return False
        leaders = [role for _, role in roles[0] if role in LEADS]
        all_run = all(member["state"] in ("running", "streaming") for view in views for member in view)
        timelines = {member.get("timeline") for view in views for member in view}
        is_synchronous = any(role == "sync_standby" for _, role in roles[0])
        if len(leaders) != 1 or not is_synchronous or not all_run or len(timelines) != 1:
            return False
        # What etcd has of a member may be of before its end.
        return all((self.ask(number, "patroni") or {}).get("state") in ("running", "streaming") for number in self.machines)

    def wait_until_healthy(self, limit_s=UP_MAX_S):
        """Returns after how many seconds everything was well."""
        return wait(self.is_healthy, limit_s, lambda: f"the members are well\n{self.status()}\n{self.logs()}", pause_s=0.2)

    def status(self):
        lines = []
        for member in self.members():
            lag = member.get("lag")
            behind = f", {lag} bytes behind" if isinstance(lag, int) and lag else ""
            timeline = member.get("timeline", "unknown")
            lines.append(f"{member['name']}: {member['role']}, {member['state']}, timeline {timeline}{behind}")
        for number, machine in self.machines.items():
            if machine.init is None:
                lines.append(f"n{number}: the machine is off")
            elif machine.is_cut:
                lines.append(f"n{number}: cut off")
        return "\n".join(lines) or "no Patroni answers"

    def logs(self, lines=15):
        """The end of every log of every machine."""
        found = []
        for machine in self.machines.values():
            for log in sorted(machine.folder.glob("*.log")):
                end = log.read_text(errors="replace").splitlines()[-lines:]
                found += [f"== n{machine.number} {log.name}", *end]
        return "\n".join(found)

    def patroni_settings(self, machine):
        parameters = {
            "max_connections": 100, "shared_buffers": "64MB", "synchronous_commit": "on", "wal_level": "replica",
            "hot_standby": "on", "wal_log_hints": "on", "fsync": "on", "full_page_writes": "on", "max_wal_senders": 10,
            "wal_keep_size": "128MB", "tcp_keepalives_idle": 5, "tcp_keepalives_interval": 2, "tcp_keepalives_count": 3,
            "tcp_user_timeout": 5000, "wal_sender_timeout": 5000, "wal_receiver_timeout": 5000,
            "client_connection_check_interval": 1000, "log_min_messages": "warning",
            "wal_retrieve_retry_interval": "500ms",
            # In the folder with the data, with which it goes.
            "dynamic_shared_memory_type": "mmap", "shared_preload_libraries": "pg_stat_statements",
        }
        common = {
            "ttl": TTL_S, "loop_wait": self.loop_s, "retry_timeout": RETRY_S, "maximum_lag_on_failover": 1048576,
            "synchronous_mode": True, "synchronous_mode_strict": True, "synchronous_node_count": 1,
            "postgresql": {"use_pg_rewind": True, "use_slots": True, "parameters": parameters},
        }
        return {
            "scope": "latchkey", "name": f"n{machine.number}",
            "restapi": {"listen": f"{machine.own}:8008", "connect_address": f"{machine.address}:8008"},
            "etcd3": {"hosts": [f"{other.address}:2379" for other in self.machines.values()]},
            "bootstrap": {
                "dcs": common,
                "initdb": [{"encoding": "UTF8"}, "data-checksums", {"locale": "C.UTF-8"}],
            },
            "postgresql": {
                "listen": f"{machine.own}:5432", "connect_address": f"{machine.address}:5432",
                "data_dir": machine.path("pg/data"), "bin_dir": str(programs()), "pgpass": machine.path("pg/pgpass"),
                "pg_hba": [f"host replication replicator {self.network.addresses} trust",
                           f"host all all {self.network.addresses} trust", "local all all trust"],
                "authentication": {"superuser": {"username": "postgres"}, "replication": {"username": "replicator"},
                                   "rewind": {"username": "postgres"}},
                "parameters": {"unix_socket_directories": machine.path("socket")},
            },
            "watchdog": {"mode": "off"},
        }


def is_postgres(command):
    return command.startswith("postgres:") or "/bin/postgres " in command


def is_supervisor(command):
    """Patroni, and the main process of PostgreSQL; not the processes that serve its connections."""
    return "-m patroni" in command or "/bin/postgres " in command


def is_etcd(command):
    return command.startswith("etcd ")

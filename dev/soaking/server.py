"""The server under test: its process, its folder, requests to it, and the faults that it is put under."""

import ctypes
import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import threading
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
LOOPBACK = "127.0.0.1"
# Longer than anything takes on a busy machine; the end of a wait, never a measurement.
PATIENCE_S = 120
DISK_MB = 128


class Lost(Exception):
    """There was no whole answer, so it is unknown whether the request had an effect."""


class Violation(Exception):
    """The server did what it must never do."""


class UnixConnection(http.client.HTTPConnection):
    """HTTP over the Unix socket of a data folder."""

    def __init__(self, path):
        super().__init__("localhost", timeout=PATIENCE_S)
        self.path = str(path)

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.path)


class Server:
    """`latchkey serve` on one data folder and one port."""

    def __init__(self, binary, data, env=None, log=None):
        self.binary, self.data, self.env = Path(binary), Path(data), dict(env or {})
        self.port = free_port()
        self.process = None
        self.management_key = None
        # Connections that are kept belong to one start of the process.
        self.generation = 0
        self.kept = threading.local()
        self.log_path = log or self.data.parent / f"{self.data.name}.log"

    def init(self):
        """Creates the data folder and takes its management key."""
        first = json.loads(self.command("init", "--json"))
        self.management_key = first["management_key"]

    def start(self, *more):
        """Starts the process and waits until it has read all keys."""
        command = [self.binary, "serve", "--json", "--data", self.data, "--listen", f"{LOOPBACK}:{self.port}", *more]
        self.generation += 1
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=log, env=self.environment(),
                preexec_fn=end_with_parent,
            )
        self.wait("ready", lambda: self.readiness() is not None and self.readiness().get("keys_loaded") is True)

    def environment(self):
        kept = {name: value for name, value in os.environ.items() if not name.startswith("LATCHKEY_")}
        return kept | self.env

    def wait(self, what, condition):
        """Waits for a condition; a server that ends in the meantime, or takes much too long, is a violation."""
        end = time.monotonic() + PATIENCE_S
        while not condition():
            if self.process.poll() is not None:
                raise Violation(f"the server ended with {self.process.returncode} before it was {what}:\n{self.log_end()}")
            if time.monotonic() > end:
                raise Violation(f"the server is not {what} after {PATIENCE_S} s:\n{self.log_end()}")
            time.sleep(0.02)

    def readiness(self):
        """The answer of `/readyz` to the administrator of the machine; `None` without an answer."""
        try:
            status, body = self.call("GET", "/readyz", unix=True)
        except Lost:
            return None
        return (body or {}) | {"status": status}

    def stop(self):
        """SIGTERM; the exit code must be 0."""
        self.process.send_signal(signal.SIGTERM)
        try:
            code = self.process.wait(PATIENCE_S)
        except subprocess.TimeoutExpired:
            raise Violation(f"SIGTERM has no effect:\n{self.log_end()}") from None
        if code != 0:
            raise Violation(f"SIGTERM ends the server with {code}:\n{self.log_end()}")

    def kill(self):
        """SIGKILL: the process cannot clean up."""
        self.process.kill()
        self.process.wait()

    def reload(self):
        self.process.send_signal(signal.SIGHUP)

    def is_running(self):
        return self.process is not None and self.process.poll() is None

    def log_end(self, lines=25):
        text = self.log_path.read_text(errors="replace") if self.log_path.exists() else ""
        return "\n".join(text.splitlines()[-lines:])

    def command(self, *args, codes=(0,), **more):
        """Runs a command of the program on this folder; returns what it prints."""
        command = [self.binary, *args, "--data", self.data]
        ran = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, env=self.environment(),
            timeout=10 * PATIENCE_S, check=False, **more,
        )
        if ran.returncode not in codes:
            shown = " ".join(map(str, args))
            raise Violation(f"latchkey {shown} ends with {ran.returncode}:\n{ran.stdout[-3000:]}\n{ran.stderr[-3000:]}")
        return ran.stdout

    def call(self, method, path, body=None, headers=None, unix=False, fresh=True, text=None):
        """One request; returns the status and the JSON of the answer. `fresh` uses a connection of its own. `text` is
        sent as it is, in the place of a body."""
        connection = self.connection(unix, fresh)
        sent = {"Latchkey-Local": "1"} if unix else {"Authorization": f"Bearer {self.management_key}"}
        sent |= headers or {}
        data = text if body is None else json.dumps(body)
        if data is not None:
            sent["Content-Type"] = "application/json"
        try:
            connection.request(method, path, data, {name: value for name, value in sent.items() if value})
            answer = connection.getresponse()
            text = answer.read()
        except (OSError, http.client.HTTPException) as err:
            connection.close()
            if not fresh and method == "GET":
                # The server has closed a connection that was idle, as the request came.
                return self.call(method, path, body, headers, unix)
            raise Lost(f"{method} {path}: {err!r}") from None
        if fresh:
            connection.close()
        try:
            return answer.status, json.loads(text) if text else None
        except ValueError:
            return answer.status, {"text": text.decode(errors="replace")}

    def connection(self, unix, fresh):
        if fresh:
            return self.new_connection(unix)
        name = "unix" if unix else "tcp"
        generation, connection = getattr(self.kept, name, (None, None))
        if generation != self.generation:
            if connection:
                connection.close()
            connection = self.new_connection(unix)
            setattr(self.kept, name, (self.generation, connection))
        return connection

    def new_connection(self, unix):
        if unix:
            return UnixConnection(self.data / "latchkey.sock")
        return http.client.HTTPConnection(LOOPBACK, self.port, timeout=PATIENCE_S)

    def ask(self, method, path, body=None, expected=200, unix=False):
        """A request that must be answered with this status; returns its JSON."""
        try:
            status, found = self.call(method, path, body, unix=unix)
        except Lost as err:
            raise Violation(f"{err}; the server runs: {self.is_running()}\n{self.log_end()}") from None
        if status != expected:
            raise Violation(f"{method} {path} is answered with {status}: {json.dumps(found)[:2000]}\n{self.log_end()}")
        return found


class Faults:
    """A disk that can be full, a disk that fails, and a wrong date; each only where this machine allows it."""

    def __init__(self, folder, binary, wanted):
        self.folder = folder
        self.left_out = []
        self.disk = self.mount() if "full" in wanted else None
        is_dynamic = b"ld-linux" in Path(binary).read_bytes()[:8192]
        self.env = {}
        preloaded = []
        for name, source, variable in (
            ("failing", "tests/server/faults/failing_disk.c", "LATCHKEY_TEST_FAULT"),
            ("clock", "tests/server/clock/wrong_date.c", "LATCHKEY_TEST_DATE"),
        ):
            if name not in wanted:
                continue
            library = folder / f"{name}.so"
            if not is_dynamic:
                self.left_out.append(f"{name}: the program is static")
            elif not compiled(ROOT / source, library):
                self.left_out.append(f"{name}: there is no C compiler")
            else:
                preloaded.append(str(library))
                self.env[variable] = str(folder / name)
        self.kinds = [name for name in ("failing", "clock") if (folder / f"{name}.so").exists()]
        self.kinds += ["full"] if self.disk else []
        if preloaded:
            self.env["LD_PRELOAD"] = ":".join(preloaded)

    def mount(self):
        """A small file system in memory."""
        disk = self.folder / "disk"
        disk.mkdir()
        command = ["mount", "-t", "tmpfs", "-o", f"size={DISK_MB}m,mode=700", "tmpfs", str(disk)]
        if shutil.which("mount") and subprocess.run(command, capture_output=True, check=False).returncode == 0:
            return disk
        self.left_out.append("full: nothing can be mounted here")
        return None

    def fill(self):
        with open(self.disk / "filler", "ab", buffering=0) as filler:
            for size in (1 << 20, 1 << 16, 4096, 512, 1):
                try:
                    while filler.write(b"\0" * size):
                        pass
                except OSError:
                    pass

    def set(self, name, value):
        """Sets a fault of a preloaded library, or ends it."""
        file = self.folder / name
        if value is None:
            file.unlink(missing_ok=True)
            return
        # Replaced whole, because the library reads it at any time.
        (self.folder / f"{name}.new").write_text(str(value))
        (self.folder / f"{name}.new").rename(file)

    def heal(self):
        if self.disk:
            (self.disk / "filler").unlink(missing_ok=True)
        self.set("failing", None)

    def close(self):
        if self.disk:
            subprocess.run(["umount", "-l", str(self.disk)], capture_output=True, check=False)


def compiled(source, library):
    command = ["cc", "-shared", "-fPIC", "-O1", "-o", str(library), str(source)]
    return bool(shutil.which("cc")) and subprocess.run(command, capture_output=True, check=False).returncode == 0


def free_port():
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        return probe.getsockname()[1]


LIBC = ctypes.CDLL(None)


def end_with_parent():
    """The server ends when the driver does, however that ends (PR_SET_PDEATHSIG)."""
    LIBC.prctl(1, signal.SIGKILL)

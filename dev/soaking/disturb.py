"""What happens to the server while it works: kills, restarts, faults of the disk, wrong dates, backups and restores."""

import os
import shutil
import socket
import sqlite3
import time

from model import text_of
from server import LOOPBACK, Server, Violation
from steps import SCOPES, Command, Slow

SLOW_MAX = 48
BACKUPS_MAX = 4
KEY_FILES = ("pepper", "seal-key", "sealing-key")
DAY_S = 86_400
BATCH = 100


class Backup:
    def __init__(self, file, round):
        self.file, self.round = file, round


class Disturbances:
    """Draws disturbances at random times, one at a time."""

    def __init__(self, soak):
        self.soak, self.rng, self.faults = soak, soak.rng, soak.faults
        seconds = soak.args.seconds
        self.every_s = soak.args.disturb_every or min(30, max(1.5, seconds / 60))
        self.check_every_s = min(60, max(5, seconds / 6))
        self.next_at = self.soak.time() + self.every_s
        self.check_at = self.soak.time() + self.check_every_s
        self.kind, self.fault, self.fault_rounds = None, None, 0
        self.deck = []
        self.offset_s, self.offset_rounds = 0, 0
        # The first and the last round of each wrong date.
        self.wrong_rounds = []
        self.backups, self.backup_number = [], 0
        self.slow = []
        self.seeded = False

    @property
    def is_within(self):
        return self.kind in ("kill", "restart")

    @property
    def is_faulty(self):
        return self.fault is not None

    def before(self):
        """Decides what happens in this round."""
        self.kind = None
        if self.fault == "full":
            self.faults.fill()
        if self.soak.time() < self.next_at:
            return
        self.next_at = self.soak.time() + self.rng.expovariate(1 / self.every_s)
        self.kind = self.draw()
        self.soak.note(f"disturbed: {self.kind}")
        self.soak.counts[self.kind] += self.kind not in ("backup", "restore")
        if self.kind in ("full", "failing"):
            self.begin_fault(self.kind)
        elif self.kind == "clock":
            self.jump()

    def draw(self):
        """The next kind of a shuffled deck, so that each occurs in a short run too. One fault of the disk at a time."""
        if not self.deck:
            self.deck = ["kill", "kill", "kill", "restart", "reload", "backup", "backup", "restore", "restore", *self.faults.kinds]
            self.rng.shuffle(self.deck)
        kind = self.deck.pop()
        if kind == "restore" and not self.backups:
            self.deck.append(kind)
            return "backup"
        return "reload" if self.fault and kind in ("full", "failing") else kind

    def begin_fault(self, kind):
        self.fault, self.fault_rounds = kind, self.rng.randint(1, 6)
        if kind == "full":
            self.faults.fill()
        else:
            how = self.rng.choice("swh")
            self.soak.note(f"failing: {how}")
            self.faults.set("failing", how)

    def jump(self):
        """Another date; the next jump, or a few rounds, correct it."""
        self.correct_clock()
        self.offset_s = self.rng.choice((90, 3 * 3_600, 40 * DAY_S, 400 * DAY_S, -90, -3 * 3_600, -40 * DAY_S))
        self.offset_rounds = self.rng.randint(1, 10)
        self.wrong_rounds.append((self.soak.round, None))
        self.faults.set("clock", self.offset_s)

    def steps(self):
        """Steps at the same time as those that were drawn."""
        if self.kind != "backup":
            return []
        self.backup_number += 1
        backup = Backup(self.soak.folder / f"backup-{self.backup_number}.db", self.soak.round)

        def settled():
            # A backup is complete or does not exist, also if something has disturbed it.
            if backup.file.exists():
                self.backups.append(backup)
            if len(self.backups) > BACKUPS_MAX:
                self.backups.pop(self.rng.randrange(BACKUPS_MAX)).file.unlink()

        return [Command(self.soak, "backup", ("backup", backup.file), settled)]

    def within(self):
        """Disturbs the steps that run."""
        server = self.soak.server
        if self.kind == "reload":
            server.reload()
        elif self.is_within:
            time.sleep(self.rng.random() ** 2 * 0.15)
            if self.kind == "kill":
                server.kill()
                return
            # A stop waits ten seconds for requests that have begun.
            if self.rng.random() < 0.9:
                self.close_slow_clients()
            server.stop()

    def after(self):
        """Starts the server again if it was stopped."""
        server = self.soak.server
        if not server.is_running():
            if not self.is_within:
                raise Violation(f"the server has ended with {server.process.returncode}:\n{server.log_end()}")
            self.heal()
            if self.kind == "kill":
                for key in self.soak.live:
                    key.is_lossy = True
            server.start("--backup-every", "1m", "--backup-keep", "2")
            self.wait_until_ready()

    def between(self):
        """Ends faults, and checks what needs a quiet server."""
        if self.fault:
            for key in self.soak.live:
                key.is_lossy = True
            self.fault_rounds -= 1
            if self.fault_rounds <= 0:
                self.heal()
                self.wait_until_ready()
                self.soak.resolve()
        if self.offset_s:
            self.offset_rounds -= 1
            if self.offset_rounds <= 0:
                self.correct_clock()
        self.slow_clients()
        if self.kind == "restore" and not self.fault:
            self.restore()
        if self.soak.time() > self.check_at and not self.fault and not self.offset_s:
            self.soak.check_all()
            self.check_at = self.soak.time() + self.check_every_s
        if self.soak.args.violate and not self.seeded and self.soak.round >= 5:
            self.seed_violation(self.soak.args.violate)

    def finish(self):
        """Ends everything that goes on, for the last check."""
        self.heal()
        self.correct_clock()
        self.wait_until_ready()
        self.soak.resolve()
        self.close_slow_clients()
        if self.soak.args.violate and not self.seeded:
            raise SystemExit("soak: the time was too short to seed the violation")

    def heal(self):
        if self.fault:
            self.soak.note(f"healed: {self.fault}")
        self.faults.heal()
        self.fault = None

    def correct_clock(self):
        if self.offset_s:
            self.wrong_rounds[-1] = (self.wrong_rounds[-1][0], self.soak.round)
        self.offset_s = 0
        self.faults.set("clock", None)

    def wait_until_ready(self):
        server = self.soak.server
        server.wait("ready for changes", lambda: (server.readiness() or {}).get("status") == 200)

    def slow_clients(self):
        if self.rng.random() < 0.2:
            for _ in range(min(self.rng.randint(1, 4), SLOW_MAX - len(self.slow))):
                self.soak.counts["slow clients"] += 1
                self.slow.append(Slow(self.soak))
        self.slow = [client for client in self.slow if self.rng.random() < 0.5 or client.go_on()]

    def close_slow_clients(self):
        for client in self.slow:
            client.socket.close()
        self.slow.clear()

    # Restoring

    def restore(self):
        """Restores a backup into a second folder, with the tombstones of now: nothing that has ended may open there."""
        server = self.soak.server
        scheduled = sorted((server.data / "backups").glob("*.db"))
        choices = self.backups + [Backup(file, 0) for file in scheduled[-1:]]
        if not choices:
            return
        backup = self.rng.choice(choices)
        second = Server(server.binary, self.soak.folder / "second", server.env)
        second.data.mkdir(mode=0o700)
        for name in (*KEY_FILES, "tombstones"):
            shutil.copy2(server.data / name, second.data / name)
        if self.rng.random() < 0.5:
            self.soak.note(f"restore of {backup.file.name}, of round {backup.round}")
            second.command("restore", backup.file, "--yes")
        else:
            self.soak.note(f"start with a copy of {backup.file.name}, of round {backup.round}")
            shutil.copy(backup.file, second.data / "latchkey.db")
            os.chmod(second.data / "latchkey.db", 0o600)
        try:
            second.start()
            self.check_restored(second, backup)
            second.command("audit", "verify")
            second.stop()
        finally:
            if second.is_running():
                second.kill()
        shutil.rmtree(second.data)
        second.log_path.unlink()
        self.soak.counts["restore"] += 1

    def check_restored(self, second, backup):
        soak = self.soak
        asked = [
            (key, secret, question)
            for key in soak.live
            for secret in (key.secret, key.previous and key.previous.secret) if secret
            for question in self.questions(key)
        ]
        asked += [(None, secret, {}) for secret in soak.graveyard.some(1_000)]
        for start in range(0, len(asked), BATCH):
            part = asked[start:start + BATCH]
            questions = [{"key": secret, **question} for _, secret, question in part]
            items = second.ask("POST", "/v1/verify/batch", {"items": questions}, unix=True)["items"]
            for (key, secret, question), item in zip(part, items):
                self.judge_restored(key, secret, question, item["code"], backup)

    def questions(self, key):
        """What a restored key is asked: all that it may do, and something that it may not."""
        fitting = {"cost": 0} | ({"ip": key.allowed_ips[0]} if key.allowed_ips else {})
        yield fitting
        if key.allowed_ips:
            yield {"cost": 0}
        missing = [scope for scope in SCOPES if scope not in key.scopes]
        if missing:
            yield fitting | {"scopes": [self.rng.choice(missing)]}

    def judge_restored(self, key, secret, question, code, backup):
        soak = self.soak
        if key is None:
            if code == "VALID":
                raise Violation(f"a secret that has ended opens after the restore of {backup.file.name}: {secret}")
            return
        times = {*soak.times, soak.read_clock()}
        right = key.verdicts(secret, times, question)
        if code == "VALID" and "VALID" not in right:
            raise Violation(f"key {key.id} opens after the restore of {backup.file.name} of round {backup.round}, and must be "
                            f"{sorted(right)}; the time is {[text_of(at) for at in times]}; {key}")
        changed = max(key.changed, key.workspace.changed, key.owner.changed if key.owner else 0, soak.rules_changed)
        # A time that was wrong is not believed by a restore, and what had ended by it, or was changed by it, is closed.
        is_plain = key.granted is None and key.expires_at is None and key.previous is None and soak.rightly_dated(key)
        if is_plain and changed < backup.round and code not in right:
            raise Violation(f"key {key.id} is {code} after the restore of {backup.file.name} of round {backup.round}, and must be "
                            f"{sorted(right)}; it has not changed since; {key}")

    # Proof that the driver notices

    def seed_violation(self, kind):
        """Does behind the model's back what the server must never do."""
        soak, server = self.soak, self.soak.server
        if kind in ("revive", "lose", "accept"):
            fits = (lambda key: key.closed_by() == "DISABLED" and soak.is_later(key.expires_at, 60_000)) if kind == "revive" else (
                lambda key: key.secret and key.closed_by() is None and key.expires_at is None and not key.granted and not key.previous)
            found = [key for key in soak.live if fits(key)]
            if not found:
                return
            if kind == "revive":
                server.ask("POST", f"/v1/keys/{found[0].id}/enable", {})
            elif kind == "lose":
                server.ask("DELETE", f"/v1/keys/{found[0].id}", expected=204)
            else:
                soak.graveyard.bury([found[0].secret])
        elif kind == "log":
            server.stop()
            with sqlite3.connect(server.data / "latchkey.db") as database:
                database.execute("DELETE FROM audit_events WHERE seq = (SELECT max(seq) - 2 FROM audit_events)")
            database.close()
            server.start()
        else:
            self.idle = [socket.create_connection((LOOPBACK, server.port)) for _ in range(300)]
        self.seeded = True
        soak.note(f"seeded: {kind}")
        soak.check_all()

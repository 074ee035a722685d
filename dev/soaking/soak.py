"""A run: rounds of steps, disturbances between and within them, and the checks of what must hold all the time."""

import json
import random
import shutil
import sys
import time
from collections import Counter, deque
from concurrent.futures import ThreadPoolExecutor

from disturb import Disturbances
from draw import Draw, catalog
from model import Graveyard, Owner, ms_of
from server import Server, Violation
from steps import CATALOG, POLICY, Verify
from watch import Watch

THREADS = 16
HISTORY = 50
# What a round counts for where rounds are counted and not seconds.
ROUND_S = 0.2
PROGRESS_S = 10
BATCH = 100
# The log is cut when it has more events, after they were checked; a longer one makes each check slower.
EVENTS_MAX = 20_000
HAPPENED = "unknown outcomes that had happened"
AUDITED = {
    "issue": "key.issue", "edit": "key.edit", "rotate": "key.rotate", "end previous": "key.rotation_complete",
    "disable": "key.disable", "enable": "key.enable", "delete": "key.delete", "user create": "user.create",
    "user delete": "user.delete", "workspace create": "workspace.create", "catalog.put": "catalog.put",
}


class StepsLog:
    """All steps in a file, for a look after a violation; the older half is dropped now and then."""

    BYTES_MAX = 32 << 20

    def __init__(self, folder):
        self.path = folder / "steps.log"
        self.file = open(self.path, "w", buffering=1)

    def write(self, line):
        self.file.write(f"{time.time():.3f} {line}\n")
        if self.file.tell() > self.BYTES_MAX:
            self.file.close()
            self.path.replace(self.path.with_suffix(".old"))
            self.file = open(self.path, "w", buffering=1)


class Soak:
    """The state of a run."""

    def __init__(self, args, folder, faults):
        self.args, self.folder, self.faults = args, folder, faults
        self.rng = random.Random(args.seed)
        self.keys_aim = args.keys
        self.counts = Counter()
        self.history = deque(maxlen=HISTORY)
        self.live, self.root = [], Owner("root")
        self.owners = {"users": [], "workspaces": []}
        self.graveyard = Graveyard(self.rng)
        self.key_number = self.owner_number = self.round = 0
        self.rules_changed = 0
        self.acknowledged_events = Counter()
        # Steps of unknown outcome, and the keys and owners that they are about.
        self.unknown, self.in_doubt = [], set()
        self.is_disturbed = self.is_faulty = self.is_unix_round = False
        self.connections_max = 2 * THREADS + 48
        data = (faults.disk or folder) / "data"
        self.server = Server(args.binary, data, faults.env, folder / "server.log")
        self.steps_log = StepsLog(folder)
        self.now, self.latest, self.times = 0, 0, [0]
        self.foreign_secret = None
        self.started = time.monotonic()

    # What steps need

    def time(self):
        """Seconds since the start; with a number of rounds, as if each took a moment of the same length."""
        return self.round * ROUND_S if self.args.rounds else time.monotonic() - self.started

    ms_of = staticmethod(ms_of)

    def is_later(self, at, margin):
        return at is None or at > self.now + margin

    def add(self, key):
        self.live.append(key)

    def bury(self, key):
        """Takes the secrets that have ended out of a key, and a deleted key out of the model."""
        if key.deleted:
            self.graveyard.bury([key.secret, key.previous and key.previous.secret])
            self.live = [other for other in self.live if other is not key]
        self.graveyard.bury(key.dead)
        key.dead.clear()

    def acknowledged(self, kind, target):
        self.counts["changes"] += 1
        if action := AUDITED.get(kind):
            self.acknowledged_events[action, target if action.startswith("key.") else None] += 1

    def note(self, text):
        """A line of the history."""
        line = f"round {self.round}: {text}"
        self.history.append(line)
        self.steps_log.write(line)

    def violate(self, text):
        raise Violation(text)

    def doubt(self, step, *names):
        self.unknown.append(step)
        self.in_doubt.update(names)

    def rightly_dated(self, key):
        """Whether neither the key nor what it depends on was changed while the date was wrong."""
        changes = {key.changed, key.workspace.changed, key.owner.changed if key.owner else 0, self.rules_changed}
        return not any(
            first <= change <= (last or self.round) for change in changes for first, last in self.disturbances.wrong_rounds
        )

    def key_named(self, name):
        """The key with exactly this name, as the server has it."""
        path = f'/v1/keys?limit=500&q={name}'
        found = [key for key in self.all_items(path) if key["name"] == name]
        if len(found) > 1:
            raise Violation(f"{len(found)} keys are named {name}")
        return found[0] if found else None

    def all_items(self, path):
        cursor, items = "", []
        while cursor is not None:
            page = self.server.ask("GET", f"{path}{'&cursor=' + cursor if cursor else ''}")
            items += page["items"]
            cursor = page["next_cursor"]
        return items

    def resolve_first_use(self, key):
        """Whether a verification without an answer has ended the old secret."""
        body = self.server.ask("GET", f"/v1/keys/{key.id}")
        if body["previous"] is None:
            key.end_previous()
            self.bury(key)

    # The run

    def begin(self):
        """A data folder with a catalog, a policy, and a first set of keys."""
        self.server.init()
        self.server.start()
        other = Server(self.args.binary, self.folder / "foreign", self.faults.env)
        other.init()
        self.foreign_secret = json.loads(other.command("key", "issue", "foreign", "--json"))["secret"]
        shutil.rmtree(other.data)
        self.server.ask("PUT", f"/v1/catalogs/{CATALOG}", catalog(self.rng), 201)
        self.server.ask("POST", "/v1/policies", {"name": POLICY, "description": "of the soak"}, 201)
        # The keys that were there before the driver are none of its own.
        self.others = {key["id"] for key in self.all_items("/v1/keys?limit=500")}
        self.watch = Watch(self)
        self.disturbances = Disturbances(self)

    def go(self):
        """Rounds until the time is over, and a last check of everything."""
        self.begin()
        pool = ThreadPoolExecutor(THREADS)
        shown = time.monotonic()
        try:
            while self.time() < self.args.seconds:
                self.one_round(pool)
                if time.monotonic() - shown >= PROGRESS_S:
                    shown = time.monotonic()
                    self.progress()
            self.disturbances.finish()
            self.check_all()
            self.server.stop()
            self.server.command("audit", "verify")
            self.doctor()
        finally:
            pool.shutdown()
            self.watch.close()

    def one_round(self, pool):
        self.round += 1
        self.disturbances.before()
        self.is_disturbed, self.is_faulty = self.disturbances.is_within, self.disturbances.is_faulty
        self.is_unix_round = self.rng.random() < 0.3
        self.now = self.read_clock()
        steps = Draw(self).round() + self.disturbances.steps()
        running = [pool.submit(step.run) for step in steps]
        self.disturbances.within()
        for future in running:
            future.result()
        self.disturbances.after()
        self.times = sorted({self.now, self.read_clock()})
        # A time that was reached before a wrong date was corrected: what ended by it may stay ended.
        self.latest = max(self.latest, self.times[-1])
        if self.latest > self.times[-1] + 1_000:
            self.times.append(self.latest)
        for step in steps:
            self.note(f"{step.describe()} → {step.result()}")
            self.counts[step.kind] += 1
        changes = [step for step in steps if not isinstance(step, Verify)]
        for step in changes:
            step.settle()
        self.resolve()
        for step in steps:
            if isinstance(step, Verify):
                step.settle()
        self.end_graces()
        self.disturbances.between()
        self.resolve()

    def read_clock(self):
        return ms_of(self.server.ask("GET", "/v1/clock", unix=True)["now"])

    def resolve(self):
        """Finds out what became of each change without an answer. While the disk is at fault, the server may not know it
        either: what it has in memory is not final before it has read the file again."""
        if self.disturbances.is_faulty:
            return
        for step in self.unknown:
            self.counts["unknown outcomes"] += 1
            before = self.counts[HAPPENED]
            step.resolve()
            self.note(f"{step.describe()} had {step.result()}, and {'happened' if self.counts[HAPPENED] > before else 'did not happen'}")
        self.unknown.clear()
        self.in_doubt.clear()

    def end_graces(self):
        """Old secrets whose time is over for certain are gone for good; a wrong date is corrected again."""
        if self.disturbances.offset_s:
            return
        for key in self.live:
            if key.previous and min(self.times) > key.previous.until + 1_000 and self.now > key.previous.until + 1_000:
                key.end_previous()
                self.bury(key)

    # What must hold

    def check_all(self):
        """Every key, every secret, the audit log and the measures, while nothing else happens."""
        self.is_disturbed = self.is_faulty = False
        self.now = self.read_clock()
        bodies = {body["id"]: body for body in self.all_items("/v1/keys?limit=500") if body["id"] not in self.others}
        self.times = sorted({self.now, self.read_clock(), max(self.now, self.latest)})
        for key in self.live:
            body = bodies.pop(key.id, None)
            if body is None:
                raise Violation(f"key {key.id}, which was acknowledged, is gone: {key}")
            if wrong := key.differences(body, self.times):
                raise Violation(f"key {key.id} differs (expected, found): {wrong}; {key}")
        if bodies:
            raise Violation(f"keys that nobody has issued, or that were deleted: {list(bodies.values())[:3]}")
        asked = [(key, key.secret, {"cost": 0}) for key in self.live if key.secret and not (key.previous and key.previous.first_use)]
        asked += [(None, secret, {}) for secret in self.graveyard.some(1_000)]
        for start in range(0, len(asked), BATCH):
            step = Verify(self, "batch", [(key, secret, self.fitting(key, question)) for key, secret, question in asked[start:start + BATCH]])
            step.run()
            self.times = sorted({*self.times, self.read_clock()})
            step.settle()
        self.check_audit()
        self.doctor()
        self.watch.measure()
        self.watch.check()
        self.counts["whole checks"] += 1

    @staticmethod
    def fitting(key, question):
        return question | {"ip": key.allowed_ips[0]} if key and key.allowed_ips else question

    def check_audit(self):
        """The chain is intact and without gaps, and has an event for each acknowledged change."""
        server = self.server
        server.command("audit", "verify")
        found, last = Counter(), None
        lines = server.command("audit", "export", "--format", "jsonl").splitlines()
        for line in lines:
            event = json.loads(line)
            if last is not None and event["seq"] != last - 1:
                raise Violation(f"event {event['seq']} follows {last}")
            last = event["seq"]
            if event["outcome"] == "allowed":
                action = event["action"]
                found[action, event["target_id"] if action.startswith("key.") else None] += 1
        for (action, target), count in self.acknowledged_events.items():
            if found[action, target] < count:
                raise Violation(f"{count} times {action} of {target} was acknowledged, and the log has {found[action, target]}")
        self.counts["events checked"] += len(lines)
        if len(lines) > EVENTS_MAX:
            server.command("audit", "prune", "--keep", "100")
            self.acknowledged_events.clear()

    def doctor(self):
        """No check fails, except for what the faults leave: a wrong date may have been recorded as passed, and a scheduled
        backup may have failed. Warnings are counted by name."""
        counts = self.counts
        excused = {"clock": counts["clock"], "backups": counts["full"] + counts["failing"]}
        try:
            found = json.loads(self.server.command("doctor", "--json", codes=(0, 1)))
        except ValueError as err:
            raise Violation(f"doctor prints no JSON: {err}") from None
        for check in found["checks"]:
            if check["finding"] == "failed" and not excused.get(check["name"]):
                raise Violation(f"doctor: {check}\n{self.server.log_end()}")
            if check["finding"] != "ok":
                counts[f"doctor reports: {check['name']}"] += 1

    # What is printed

    def progress(self):
        counts, elapsed = self.counts, time.monotonic() - self.started
        verdicts = sum(count for name, count in counts.items() if name.startswith("verdict "))
        line = (f"{elapsed:6.0f} s: {self.round} rounds, {verdicts} verdicts, {counts['changes']} changes, {len(self.live)} keys, "
                f"{counts['kill']} kills, {counts['restart']} restarts, {counts['restore']} restores, {self.watch.short()}")
        print(line, flush=True)

    def table(self):
        lines = [f"{self.round} rounds in {time.monotonic() - self.started:.0f} s, seed {self.args.seed}"]
        lines += [f"  {name:<48}{count:>9}" for name, count in sorted(self.counts.items())]
        return "\n".join(lines) + "\n" + self.watch.table()

    def report(self, violation):
        """The seed, the last steps and the end of the log."""
        print(f"soak: VIOLATION in round {self.round}: {violation}", file=sys.stderr)
        print(f"soak: seed {self.args.seed}; the last {len(self.history)} steps:", file=sys.stderr)
        for line in self.history:
            print(f"  {line[:240]}", file=sys.stderr)
        print(f"soak: the end of the server's log:\n{self.server.log_end()}", file=sys.stderr)
        self.steps_log.file.flush()

"""Writers and verifiers, which use every node over HTTP from the node's own machine, and the reading at the end."""

import http.client
import json
import random
import threading
import time
from collections import deque
from concurrent.futures import ThreadPoolExecutor

from ledger import LOST, REFUSED, UNKNOWN, WRONG

PORT = 8420
ANSWER_MAX_S = 30
BATCH = 100
# A writer ends its oldest key when it has more than this.
LIVE_MAX = 6
PAUSE_S = 0.3
# The pause of a verifier between two questions. It does not follow that of the writers, whose rate may be measured.
VERIFIER_PACE_S = 0.01
# How long a verifier asks one node about a key that has ended before it takes another.
FOLLOWED_MAX_S = 2.0
# The codes of refusals after which it is not known whether the change has happened.
UNKNOWN_CODES = {"internal", "outcome-unknown"}
# The answers to the end of a key that has ended already.
GONE = (404, 409)


class NotSent(Exception):
    """The node cannot be reached, so nothing has happened."""


class Lost(Exception):
    """The request may have arrived, and there is no whole answer."""


class Client:
    """Requests of one thread to one node. `inside` is the node's machine if the thread is to be on it."""

    def __init__(self, machine, key, inside=True):
        self.machine, self.key, self.inside = machine, key, inside
        self.connection, self.boot = None, 0

    def call(self, method, path, body=None, headers=None):
        """The status and the JSON of the answer; an empty object for an answer that is none."""
        self.connect()
        # A server on loopback refuses other names.
        sent = {"Host": f"{self.machine.own}:{PORT}", "Authorization": f"Bearer {self.key}", **(headers or {})}
        data = None
        if body is not None:
            data, sent["Content-Type"] = json.dumps(body), "application/json"
        try:
            self.connection.request(method, path, data, sent)
            answer = self.connection.getresponse()
            text = answer.read()
            is_json = "json" in answer.getheader("Content-Type", "")
            return answer.status, json.loads(text) if is_json else {}
        except (OSError, http.client.HTTPException, ValueError) as err:
            self.close()
            raise Lost(repr(err)) from None

    def connect(self):
        if self.machine.init is None:
            self.close()
            raise NotSent("the machine is off")
        try:
            if self.inside and self.boot != self.machine.boot:
                self.close()
                boot = self.machine.boot
                self.machine.enter()
                self.boot = boot
            if self.connection is None:
                address = self.machine.own if self.inside else self.machine.address_from(0)
                self.connection = http.client.HTTPConnection(address, PORT, timeout=ANSWER_MAX_S)
                self.connection.connect()
        except OSError as err:
            self.close()
            raise NotSent(repr(err)) from None

    def close(self):
        if self.connection is not None:
            self.connection.close()
            self.connection = None


class Writer:
    """Issues keys and ends them, one change after the other."""

    def __init__(self, load, machine, number):
        self.load, self.ledger, self.node = load, load.ledger, machine.number
        self.client = Client(machine, load.key)
        self.prefix = f"{self.ledger.prefix}{machine.number}w{number}x"
        self.rng = random.Random(self.prefix)
        self.live = deque()
        self.count = 0

    def run(self):
        while not self.load.is_over.is_set():
            if len(self.live) > LIVE_MAX:
                self.end(self.live.popleft())
            else:
                self.count += 1
                self.issue(self.ledger.key(f"{self.prefix}{self.count:06}"))
            self.load.is_over.wait(self.load.pace_s)
        self.client.close()

    def issue(self, key):
        status, body, was_unknown = self.ask(key, "POST", "/v1/keys", {"name": key.name}, {"Idempotency-Key": key.name})
        if status == 201:
            self.ledger.issued(key, self.node, body, was_unknown)
            self.live.append(key)
            if key.secret:
                self.load.latest[self.node] = key
        else:
            key.issued = UNKNOWN if was_unknown else REFUSED
            self.expect_refusal(key, status, body)

    def end(self, key):
        # Before the request: its effect may come before its answer.
        key.ended = UNKNOWN
        status, body, was_unknown = self.ask(key, "DELETE", f"/v1/keys/{key.id}")
        is_gone = status in GONE
        if status in (200, 204) or (is_gone and was_unknown):
            self.ledger.ended(key, self.node, was_unknown)
            self.load.tell_end(key)
        elif is_gone:
            self.ledger.violate(LOST, f"{key.name}, which was acknowledged, is gone for its writer: {status}", key.name)
        else:
            key.ended = UNKNOWN if was_unknown else REFUSED
            self.expect_refusal(key, status, body)

    def ask(self, key, method, path, body=None, headers=None):
        """Sends a change of a key until it is answered. Half of those of unknown outcome are left to the reading at the end.

        Returns the last status and body, with status 0 if there is none, and whether the outcome was unknown once."""
        was_unknown = False
        while True:
            try:
                status, answer = self.client.call(method, path, body, headers)
            except NotSent:
                status, answer = 0, {}
            except Lost:
                status, answer = None, {}
            if status is None or is_unknown(answer):
                if not was_unknown:
                    was_unknown = True
                    self.ledger.doubt(key)
                if self.rng.random() < 0.5:
                    return 0, {}, True
            elif not (status == 0 or (was_unknown and status == 503)):
                return status, answer, was_unknown
            if self.load.is_over.wait(PAUSE_S):
                return 0, {}, was_unknown

    def expect_refusal(self, key, status, body):
        """A change that was not acknowledged: only for want of the database, and never for another reason."""
        key.refusal = f"{status} {body.get('detail', '')}"
        self.ledger.counts["refused"] += status == 503
        if status not in (0, 503):
            self.ledger.violate(WRONG, f"a change is answered with {status}: {json.dumps(body)[:300]}")


class Verifier:
    """Asks one node about keys: those that have just ended until they are refused, and all others at random."""

    def __init__(self, load, machine):
        self.load, self.ledger, self.machine = load, load.ledger, machine
        self.client = Client(machine, load.key)
        self.rng = random.Random(machine.number)
        self.news = deque(maxlen=50)
        self.known = deque(maxlen=2_000)

    def run(self):
        while not self.load.is_over.is_set():
            try:
                if self.news:
                    self.follow(self.news.popleft())
                else:
                    self.ask(self.any_key())
                    self.load.is_over.wait(VERIFIER_PACE_S)
            except IndexError:
                self.load.is_over.wait(0.05)
            except (NotSent, Lost):
                self.ledger.counts["verifications without an answer"] += 1
                self.load.is_over.wait(PAUSE_S)
        self.client.close()

    def any_key(self):
        if self.rng.random() < 0.5:
            return self.rng.choice(self.known)
        return self.load.latest[self.rng.choice(list(self.load.latest))]

    def follow(self, key):
        self.known.append(key)
        until = time.monotonic() + FOLLOWED_MAX_S
        while self.ask(key):
            if time.monotonic() > until or self.load.is_over.wait(0.002):
                return
        if self.machine.number != key.ended_by:
            self.ledger.delays.append(time.monotonic() - key.ended_at)

    def ask(self, key):
        """Whether the key is valid here; without an answer the same as if it was."""
        asked_at = time.monotonic()
        status, answer = self.client.call("POST", "/v1/verify", {"key": key.secret})
        if status != 200:
            self.ledger.counts["verifications refused"] += 1
            self.load.is_over.wait(PAUSE_S)
            return True
        self.ledger.judge_verdict(key, self.machine.number, asked_at, answer)
        return answer["valid"]


class Load:
    """Verifiers on every one of these nodes while a `with` lasts, and writers on the first ones of them, by default on all."""

    def __init__(self, machines, key, ledger, writers=2, pace_s=0.01, written=None):
        self.machines, self.key, self.ledger, self.pace_s = machines, key, ledger, pace_s
        self.is_over = threading.Event()
        self.latest = {}
        self.verifiers = [Verifier(self, machine) for machine in machines]
        self.writers = [Writer(self, machine, number) for machine in machines[:written] for number in range(writers)]

    def tell_end(self, key):
        if key.secret:
            for verifier in self.verifiers:
                verifier.news.append(key)

    def __enter__(self):
        workers = self.writers + self.verifiers
        self.pool = ThreadPoolExecutor(len(workers))
        self.ledger.began = time.monotonic()
        self.running = [self.pool.submit(worker.run) for worker in workers]
        return self

    def __exit__(self, kind, *_):
        self.ledger.finished = time.monotonic()
        self.is_over.set()
        failed = [future.exception() for future in self.running]
        self.pool.shutdown()
        for err in filter(None, failed):
            if kind is None:
                raise err


def is_unknown(answer):
    return answer.get("code") in UNKNOWN_CODES


def read_node(machine, key, ledger):
    """Everything that a node has of a run: its keys as pairs of name and id, and the verdicts about all secrets by name."""
    client = Client(machine, key, inside=False)
    listed, cursor = [], ""
    while cursor is not None:
        page = ask(client, "GET", f"/v1/keys?limit=500{'&cursor=' + cursor if cursor else ''}")
        listed += [(item["name"], item["id"]) for item in page["items"]]
        cursor = page["next_cursor"]
    asked = [one for one in ledger.keys.values() if one.secret]
    answers = {}
    for start in range(0, len(asked), BATCH):
        part = asked[start:start + BATCH]
        found = ask(client, "POST", "/v1/verify/batch", {"items": [{"key": one.secret} for one in part]})
        answers |= {one.name: answer["valid"] for one, answer in zip(part, found["items"], strict=True)}
    client.close()
    return listed, answers


def ask(client, method, path, body=None):
    status, answer = client.call(method, path, body)
    if status != 200:
        raise RuntimeError(f"{method} {path} is answered with {status}: {json.dumps(answer)[:500]}")
    return answer


def judge(machines, key, ledger):
    """The reading at the end, on every node."""
    listings = []
    for machine in machines:
        try:
            listed, answers = read_node(machine, key, ledger)
        except (Lost, NotSent, RuntimeError) as err:
            ledger.violate(WRONG, f"node {machine.number} cannot be read: {err}")
            continue
        ledger.judge_node(machine.number, listed, answers)
        listings.append(listed)
    ledger.judge_agreement(listings)

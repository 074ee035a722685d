"""What the driver does to the server: verifications and changes, each a step that is drawn, run, and settled.

A step is drawn and settled by the main thread and run by another. All steps of a round run at the same time, and no two
of them are about the same key, except for verifications that race with a change and may see either state.
"""

import http.client
import socket
import string

from model import Key, Owner, text_of
from server import LOOPBACK, Lost, Violation

SCOPES = ("invoices:read", "invoices:write", "reports:read", "stock:read")
CATALOG = "shop"
POLICY = "soaked"
IPS = ("192.0.2.1", "192.0.2.7", "2001:db8::1")
ALPHABET = string.ascii_letters + string.digits
ROTATED, EDITED, ISSUED = 200, 200, 201


class Step:
    """One request and its outcome: a status and a body, or `Lost`."""

    kind = "step"

    def __init__(self, soak):
        self.soak, self.server = soak, soak.server
        self.status, self.body, self.lost = None, None, None

    def run(self):
        try:
            self.status, self.body = self.send()
        except Lost as err:
            self.lost = err

    def describe(self):
        return self.kind

    def result(self):
        return "no answer" if self.lost else f"{self.status}"

    @property
    def is_unknown(self):
        """Whether the step may have happened or not: without an answer, and with 500 while the disk is at fault. With 503 it
        certainly did not happen, and never will."""
        if self.lost and not self.soak.is_disturbed:
            raise Violation(f"{self.describe()}: an answer is missing, and nothing disturbed the server: {self.lost}")
        return self.lost is not None or (self.status == 500 and self.soak.is_faulty)

    @property
    def is_refused(self):
        return self.status == 503 and self.soak.is_faulty

    def expect(self, *statuses):
        if self.status not in statuses:
            raise Violation(f"{self.describe()} is answered with {self.status}: {short(self.body)}")


class Verify(Step):
    """One or more secrets, asked about in one of four ways."""

    kind = "verify"
    WAYS = ("verify", "batch", "forward-auth", "unix")

    def __init__(self, soak, way, asked, racing=False):
        super().__init__(soak)
        # Tuples of key (None for an unknown secret), secret, and question.
        self.way, self.asked, self.racing, self.kind = way, asked, racing, way
        # The states of racing keys before the change.
        self.before = [key.copy() for key, _, _ in asked] if racing else []

    def describe(self):
        keys = ", ".join(f"{key.id if key else 'nothing'} {question}" for key, _, question in self.asked[:4])
        return f"{self.way} {keys}{' …' if len(self.asked) > 4 else ''}"

    def send(self):
        questions = [{"key": secret, **question} for _, secret, question in self.asked]
        if self.way == "forward-auth":
            return self.server.call("GET", "/auth/nginx", headers={"Authorization": None, "X-API-Key": questions[0]["key"],
                                    "X-Original-Method": "GET", "X-Original-URI": "/"}, fresh=False)
        if self.way == "batch":
            return self.server.call("POST", "/v1/verify/batch", {"items": questions})
        return self.server.call("POST", "/v1/verify", questions[0], unix=self.way == "unix")

    def codes(self):
        """The code of each question; for forward-auth a word that stands for several codes."""
        if self.way == "forward-auth":
            return ["VALID" if self.status == 200 else "REFUSED"]
        items = self.body["items"] if self.way == "batch" else [self.body]
        for item in items:
            if item["valid"] != (item["code"] == "VALID"):
                raise Violation(f"{self.describe()}: {item}")
        return [item["code"] for item in items]

    def settle(self):
        if self.is_unknown or self.is_refused:
            for key, secret, _ in self.asked:
                if key and secret == key.secret:
                    key.is_lossy = True
                    if key.previous and key.previous.first_use:
                        self.soak.resolve_first_use(key)
            return
        self.expect(*((200, 401, 403) if self.way == "forward-auth" else (200,)))
        codes = self.codes()
        if len(codes) != len(self.asked):
            raise Violation(f"{len(self.asked)} questions, and {len(codes)} answers")
        for at, ((key, secret, question), code) in enumerate(zip(self.asked, codes)):
            self.judge(key, secret, question, code, self.before[at] if self.racing else None)

    def judge(self, key, secret, question, code, before):
        soak = self.soak
        soak.counts[f"verdict {code}"] += 1
        if key is None:
            if code not in ("MALFORMED", "NOT_FOUND", "REFUSED"):
                raise Violation(f"a secret that was never issued, or has ended, is {code} ({self.way}): {secret}")
            return
        if key.id in soak.in_doubt:
            return
        right = key.verdicts(secret, soak.times, question)
        if before is not None:
            right |= before.verdicts(secret, soak.times, question)
        shown = {"VALID" if code == "VALID" else "REFUSED" for code in right} if self.way == "forward-auth" else right
        if code not in shown:
            raise Violation(f"key {key.id} is {code} by {self.way}, and must be one of {sorted(shown)}; asked {question}, "
                            f"the server's time is {[text_of(at) for at in soak.times]}; {key}")
        if code == "VALID" and key.granted is not None:
            key.used += question.get("cost", 1)
            if key.used > key.granted:
                raise Violation(f"key {key.id} was allowed {key.used} of {key.granted} times")
        if secret == key.secret and key.previous and key.previous.first_use and question.get("cost") != 0:
            self.first_use(key, code, right)

    def first_use(self, key, code, right):
        """A use ends the old secret, also one that the key has no uses left for: its holder has the new one."""
        used = {"VALID", "USAGE_EXCEEDED"}
        if code in used or (code == "REFUSED" and right <= used):
            key.end_previous()
        elif right & used:
            self.soak.resolve_first_use(key)


class Change(Step):
    """A change of one key. `edit(key, body)` makes the state after it of a copy; `body` is the key as the server has it."""

    def __init__(self, soak, kind, key, method, path, body, statuses, edit):
        super().__init__(soak)
        self.kind, self.key, self.edit, self.statuses = kind, key, edit, statuses
        self.method, self.path, self.sent = method, f"/v1/keys/{key.id}{path}", body

    def describe(self):
        return f"{self.kind} {self.method} {self.path} {short(self.sent)}"

    def send(self):
        return self.server.call(self.method, self.path, self.sent, unix=self.soak.is_unix_round)

    def settle(self):
        self.key.changed = self.soak.round
        if self.is_unknown:
            self.soak.doubt(self, self.key.id)
        if self.is_unknown or self.is_refused:
            return
        self.expect(*self.statuses)
        if self.finish(self.body):
            self.soak.acknowledged(self.kind, self.key.id)

    def finish(self, answer):
        after = self.key.copy()
        body = answer.get("key", answer) if answer else None
        self.edit(after, body)
        if answer and "secret" in answer:
            after.secret = answer["secret"]
        if body and "id" in body and (wrong := after.differences(body, self.soak.times)):
            raise Violation(f"{self.describe()} is acknowledged, and (expected, found): {wrong}")
        # An edit to the same value changes nothing, and has no event.
        has_changed = after != self.key
        self.key.take(after)
        self.soak.bury(self.key)
        return has_changed

    def resolve(self):
        """Finds out whether the change happened. The answer is final."""
        status, body = self.server.call("GET", f"/v1/keys/{self.key.id}")
        if status not in (200, 404):
            raise Violation(f"GET of key {self.key.id} is answered with {status}: {body}")
        after = self.key.copy()
        if status == 404 or body["state"] == "deleted":
            if self.kind not in ("delete", "batch delete"):
                raise Violation(f"{self.describe()} had no answer, and the key is gone")
            self.edit(after, None)
        elif not self.key.differences(body, self.soak.times):
            return
        else:
            self.edit(after, body)
            if after.deleted or (wrong := after.differences(body, self.soak.times)):
                before = self.key.differences(body, self.soak.times)
                raise Violation(f"{self.describe()} had no answer, and is half done: not before {before}, not after {wrong}")
        self.soak.counts["unknown outcomes that had happened"] += 1
        self.key.take(after)
        self.soak.bury(self.key)


class Issue(Step):
    """A new key with a unique name."""

    kind = "issue"

    def __init__(self, soak, name, body, owner, workspace):
        super().__init__(soak)
        self.name, self.owner, self.workspace = name, owner, workspace
        self.sent = {"name": name, "workspace": workspace.name, "owner": owner.name if owner else None, **body}

    def describe(self):
        return f"issue {short(self.sent)}"

    def send(self):
        return self.server.call("POST", "/v1/keys", self.sent, unix=self.soak.is_unix_round)

    def settle(self):
        if self.is_unknown:
            self.soak.doubt(self)
        if self.is_unknown or self.is_refused:
            return
        self.expect(ISSUED)
        self.add(self.body["key"], self.body["secret"])
        self.soak.acknowledged(self.kind, self.body["key"]["id"])

    def add(self, body, secret):
        sent = self.sent
        key = Key(
            id=body["id"], name=self.name, secret=secret, hint=body["hint"], owner=self.owner, workspace=self.workspace,
            policy=sent.get("policy", "standard"), scopes=tuple(sent.get("scopes", ())), granted=sent.get("uses_left"),
            description=sent.get("description", ""), changed=self.soak.round,
            allowed_ips=tuple(sent["allowed_ips"]) if "allowed_ips" in sent else None,
            expires_at=None if "expires_at" not in sent else self.soak.ms_of(sent["expires_at"]),
        )
        if wrong := key.differences(body, self.soak.times):
            raise Violation(f"{self.describe()}: (expected, found): {wrong}")
        self.soak.add(key)

    def resolve(self):
        found = self.soak.key_named(self.name)
        if found:
            self.soak.counts["unknown outcomes that had happened"] += 1
            self.add(found, None)


class Switch(Step):
    """Enables, disables, creates or deletes a user or a workspace."""

    def __init__(self, soak, noun, kind, owner):
        super().__init__(soak)
        self.noun, self.verb, self.owner, self.kind = noun, kind, owner, f"{noun[:-1]} {kind}"

    def describe(self):
        return f"{self.kind} {self.owner.name}"

    def send(self):
        path, name = f"/v1/{self.noun}", self.owner.name
        if self.verb == "create":
            body = {"user_name": name, "workspace": "root", "roles": []} if self.noun == "users" else {"slug": name, "parent": "root"}
            return self.server.call("POST", path, body)
        if self.verb == "delete":
            return self.server.call("DELETE", f"{path}/{name}")
        return self.server.call("PATCH", f"{path}/{name}", {"enabled": self.verb == "enable"})

    def settle(self):
        self.owner.changed = self.soak.round
        if self.is_unknown:
            self.soak.doubt(self, self.owner.name, *(key.id for key in self.soak.live if self.owner in (key.owner, key.workspace)))
        if self.is_unknown or self.is_refused:
            return
        self.expect(200, 201, 204)
        self.happened()
        self.soak.acknowledged(self.kind, None)

    def happened(self):
        if self.verb == "create":
            self.soak.owners[self.noun].append(self.owner)
        elif self.verb == "delete":
            self.owner.deleted = True
        else:
            self.owner.enabled = self.verb == "enable"

    def resolve(self):
        status, body = self.server.call("GET", f"/v1/{self.noun}/{self.owner.name}")
        if status not in (200, 404):
            raise Violation(f"{self.describe()}: GET is answered with {status}")
        is_there = status == 200
        if self.verb == "create":
            has_happened = is_there
        elif self.verb == "delete":
            has_happened = not is_there
        elif not is_there:
            raise Violation(f"{self.describe()} had no answer, and it is gone")
        else:
            has_happened = body["enabled"] == (self.verb == "enable")
        if has_happened:
            self.soak.counts["unknown outcomes that had happened"] += 1
            self.happened()


class Other(Step):
    """A request without an effect on any verdict, such as an edit of a policy's description, or a list."""

    def __init__(self, soak, kind, method, path, body=None, statuses=(200,), action=None):
        super().__init__(soak)
        self.kind, self.method, self.path, self.sent = kind, method, path, body
        self.statuses, self.action = statuses, action

    def describe(self):
        return f"{self.kind} {self.method} {self.path}"

    def send(self):
        return self.server.call(self.method, self.path, self.sent)

    def settle(self):
        if self.is_unknown or self.is_refused:
            return
        self.expect(*self.statuses)
        if self.action:
            self.soak.acknowledged(self.action, None)


class Command(Step):
    """A command line, at the same time as everything else."""

    def __init__(self, soak, kind, args, settled=None):
        super().__init__(soak)
        self.kind, self.args, self.settled = kind, args, settled

    def describe(self):
        return "latchkey " + " ".join(map(str, self.args))

    def send(self):
        # A command that is disturbed may fail; it must not do so otherwise.
        codes = range(-64, 256) if self.soak.is_disturbed or self.soak.is_faulty else (0,)
        self.server.command(*self.args, codes=codes)
        return 200, None

    def settle(self):
        if self.settled:
            self.settled()


class Slow:
    """A client that sends its request slowly, or never to the end, or does not read the answer."""

    def __init__(self, soak):
        rng, self.soak = soak.rng, soak
        self.rest = (b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nX-Slow: " + b"y" * rng.randrange(400)
                     + b"\r\n\r\n")
        self.reads = rng.random() < 0.7
        self.socket = socket.create_connection((LOOPBACK, soak.server.port), timeout=10)

    def go_on(self):
        """Sends a few more bytes; returns whether the client is to be kept."""
        part, self.rest = self.rest[:37], self.rest[37:]
        try:
            self.socket.sendall(part)
            if self.rest:
                return True
            if self.reads:
                answer = http.client.HTTPResponse(self.socket)
                answer.begin()
                if answer.status not in (200, 408):
                    raise Violation(f"a slow client is answered with {answer.status}")
        except (OSError, http.client.HTTPException):
            pass
        self.socket.close()
        return False


def short(sent):
    """A body for messages, with long texts cut."""
    if isinstance(sent, dict):
        return {name: value if not isinstance(value, str) or len(value) < 200 else f"{value[:9]}…" for name, value in sent.items()}
    return sent or ""


def damaged(rng, secret):
    """A text that is almost the secret."""
    how = rng.randrange(7)
    at = rng.randrange(len(secret))
    if how == 0:
        return secret[:at] + rng.choice([c for c in ALPHABET if c != secret[at]]) + secret[at + 1:]
    if how == 1:
        return secret[:-1 - rng.randrange(8)]
    if how == 2:
        return secret + rng.choice(ALPHABET)
    if how == 3:
        return secret.swapcase()
    if how == 4:
        first, second = sorted(rng.sample(range(len(secret)), 2))
        swapped = list(secret)
        swapped[first], swapped[second] = swapped[second], swapped[first]
        return "".join(swapped) if swapped[first] != swapped[second] else secret + "0"
    if how == 5:
        return secret[:13] + "".join(rng.choice(ALPHABET) for _ in secret[13:])
    return "lk_" + "".join(rng.choice(ALPHABET) for _ in range(len(secret) - 3))


def new_owner(soak, prefix):
    soak.owner_number += 1
    return Owner(f"{prefix}{soak.owner_number}", changed=soak.round)

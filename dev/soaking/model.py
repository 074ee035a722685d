"""What the driver knows about each key, and what the server must answer because of it.

Nothing here calls the server. A change whose outcome is unknown has two states, before and after; the server must be in
one of them, entirely, and stay there.
"""

import copy
from dataclasses import dataclass, field
from datetime import datetime, timezone

# The codes of a secret that is no secret of a live key, or of one that has ended.
GONE = {"NOT_FOUND"}
ENDED = {"NOT_FOUND", "EXPIRED"}


def ms_of(text):
    """Milliseconds since 1970 of a time of the API; `None` for none."""
    if text is None:
        return None
    at = datetime.fromisoformat(text.replace("Z", "+00:00"))
    return round(at.timestamp() * 1000)


def text_of(ms):
    return datetime.fromtimestamp(ms / 1000, timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z")


@dataclass
class Previous:
    """The secret before the newest one, while it works."""

    secret: str | None
    until: int
    first_use: bool


@dataclass
class Owner:
    """A user or a workspace, as far as its keys depend on it."""

    name: str
    enabled: bool = True
    deleted: bool = False
    changed: int = 0

    @property
    def stops(self):
        return self.deleted or not self.enabled


@dataclass
class Key:
    """A key as it must be."""

    id: str
    name: str
    # None after a change of unknown outcome: the secret was in the answer that did not arrive.
    secret: str | None
    hint: str
    owner: Owner | None
    workspace: Owner
    policy: str = "standard"
    enabled: bool = True
    deleted: bool = False
    description: str = ""
    scopes: tuple = ()
    allowed_ips: tuple | None = None
    expires_at: int | None = None
    rotated_at: str | None = None
    previous: Previous | None = None
    # How many uses it was issued with, and how many requests were allowed since.
    granted: int | None = None
    used: int = 0
    # A crash may have lost uses that were reserved.
    is_lossy: bool = False
    # The number of the round in which it changed last.
    changed: int = 0
    # Secrets that have ended since they were last counted.
    dead: list = field(default_factory=list)

    def copy(self):
        """A copy that shares the owner and the workspace."""
        other = copy.copy(self)
        other.previous = copy.copy(self.previous)
        other.dead = list(self.dead)
        return other

    def take(self, other):
        """Becomes the other state."""
        self.__dict__.update(other.copy().__dict__)

    def closed_by(self):
        """The code that stands before those about times and requests; `None` if there is none."""
        if self.owner and self.owner.stops:
            return "OWNER_DISABLED"
        if self.workspace.stops:
            return "WORKSPACE_DISABLED"
        return None if self.enabled else "DISABLED"

    def verdicts(self, secret, times, question):
        """The codes that are right for the secret at one of these times of the server."""
        return set().union(*(self.verdicts_at(secret, at, question) for at in times))

    def verdicts_at(self, secret, at, question):
        if self.deleted or secret is None:
            return GONE
        if secret != self.secret:
            previous = self.previous
            if previous is None or secret != previous.secret:
                return GONE
            if at >= previous.until:
                closed = self.closed_by()
                return ENDED | ({closed} if closed else set())
        if closed := self.closed_by():
            return {closed}
        if self.expires_at is not None and at >= self.expires_at:
            return {"EXPIRED"}
        if self.allowed_ips is not None and question.get("ip") not in self.allowed_ips:
            return {"IP_NOT_ALLOWED"}
        if not set(question.get("scopes", ())) <= set(self.scopes):
            return {"INSUFFICIENT_SCOPE"}
        if self.granted is not None:
            is_free = question.get("cost") == 0
            if self.used >= self.granted and not is_free:
                return {"USAGE_EXCEEDED"}
            if self.is_lossy or is_free:
                return {"VALID", "USAGE_EXCEEDED"}
        return {"VALID"}

    def differences(self, body, times):
        """What the server's answer about the key has otherwise than the model; empty if they agree."""
        expected = {
            "name": self.name, "enabled": self.enabled, "description": self.description, "policy": self.policy,
            "workspace": self.workspace.name, "rotated_at": self.rotated_at,
        }
        found = {name: body[name] for name in expected}
        expected["scopes"], found["scopes"] = sorted(self.scopes), sorted(body["scopes"])
        expected["allowed_ips"] = sorted(self.allowed_ips) if self.allowed_ips else None
        found["allowed_ips"] = sorted(ip.split("/")[0] for ip in body["allowed_ips"]) if body["allowed_ips"] else None
        expected["expires_at"], found["expires_at"] = self.expires_at, ms_of(body["expires_at"])
        if self.owner and not self.owner.deleted:
            expected["owner"], found["owner"] = self.owner.name, body["owner"]
        if self.hint is not None:
            expected["hint"], found["hint"] = self.hint, body["hint"]
        previous, until = self.previous, body["previous"] and ms_of(body["previous"]["until"])
        is_over = previous is None or min(times) >= previous.until
        may_be_over = previous is None or max(times) >= previous.until
        if not (until is None and may_be_over) and not (previous and until == previous.until and not is_over):
            expected["previous"], found["previous"] = previous and previous.until, until
        if self.granted is not None:
            left = body["uses_left"]
            # Uses are reserved in blocks, so fewer than the true number may be shown, and never more.
            if left is None or left > self.granted - self.used:
                expected["uses_left"], found["uses_left"] = self.granted - self.used, left
        return {name: (expected[name], found[name]) for name in expected if expected[name] != found[name]}

    def learn_rotation(self, body, grace, first_use):
        """A rotation: `body` is the key after it, without its secret."""
        if self.secret is not None:
            self.dead.append(self.secret)
        if self.previous and self.previous.secret:
            self.dead.append(self.previous.secret)
        ended, self.secret, self.previous = self.secret, None, None
        shown = body["previous"]
        if shown is not None and (grace or first_use):
            self.previous = Previous(ended, ms_of(shown["until"]), first_use)
            if ended in self.dead:
                self.dead.remove(ended)
        self.hint, self.rotated_at = body["hint"], body["rotated_at"]

    def end_previous(self):
        if self.previous and self.previous.secret:
            self.dead.append(self.previous.secret)
        self.previous = None


class Graveyard:
    """Secrets that have ended for good: the latest, and a sample of all older ones."""

    KEPT = 4_000

    def __init__(self, rng):
        self.rng, self.secrets, self.seen = rng, [], 0

    def bury(self, secrets):
        for secret in filter(None, secrets):
            self.seen += 1
            if len(self.secrets) < self.KEPT:
                self.secrets.append(secret)
            elif (at := self.rng.randrange(self.seen)) < self.KEPT:
                self.secrets[at] = secret

    def some(self, count):
        return self.rng.sample(self.secrets, min(count, len(self.secrets)))

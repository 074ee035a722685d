"""What the writers were answered, and what must be true because of it.

A change is acknowledged, refused, or of unknown outcome: the request was sent, and no answer came, or one that says that it is
not known. The judgement does not depend on how the changes were made.
"""

import threading
import time
from collections import Counter
from dataclasses import dataclass

ACKNOWLEDGED, REFUSED, UNKNOWN = "acknowledged", "refused", "unknown"
# The kinds of violations.
LOST, DOUBLED, WRONG = "lost", "doubled", "wrong"
SHOWN_MAX = 10


@dataclass
class Key:
    """A key of the load. Its name is that of the operation that issued it."""

    name: str
    id: str | None = None
    secret: str | None = None
    issued: str | None = None
    ended: str | None = None
    # Whether the outcome of a change of it was unknown once, and was not found out since.
    in_doubt: bool = False
    # The answer to the change that was refused.
    refusal: str = ""
    issued_at: float = 0.0
    ended_at: float = 0.0
    # The node that acknowledged the end.
    ended_by: int = 0


class Ledger:
    """The record of one run, and its judgement."""

    def __init__(self, prefix, soft_s, hard_s):
        self.prefix, self.soft_s, self.hard_s = prefix, soft_s, hard_s
        self.lock = threading.Lock()
        self.keys = {}
        self.counts = Counter()
        # The acknowledged changes: when, and by which node.
        self.acknowledged_at = []
        self.violations, self.seen = [], set()
        # Until a key was refused by the other nodes than the one that ended it, in seconds.
        self.delays = []
        self.began = self.finished = time.monotonic()

    def violate(self, kind, text, about=None):
        """Notes a violation. What is about one key counts once, however often and on however many nodes it is seen."""
        with self.lock:
            if about is None or (kind, about) not in self.seen:
                self.seen.add((kind, about))
                self.counts[kind] += 1
                self.violations.append(f"{kind}: {text}")

    # What the writers tell

    def key(self, name):
        with self.lock:
            self.keys[name] = key = Key(name)
            return key

    def doubt(self, key):
        """A change of this key whose first outcome is unknown."""
        with self.lock:
            key.in_doubt = True
            self.counts["unknown"] += 1

    def issued(self, key, node, body, was_unknown):
        with self.lock:
            if key.id is None:
                key.id = body["key"]["id"]
            key.secret = body.get("secret")
            key.issued, key.issued_at = ACKNOWLEDGED, self.acknowledge(key, node, was_unknown)
        if body["key"]["id"] != key.id:
            self.violate(DOUBLED, f"{key.name} was issued as {key.id} and as {body['key']['id']}", key.name)

    def ended(self, key, node, was_unknown):
        with self.lock:
            key.ended_at, key.ended_by = self.acknowledge(key, node, was_unknown), node
            key.ended = ACKNOWLEDGED

    def acknowledge(self, key, node, was_unknown):
        now, key.in_doubt = time.monotonic(), False
        self.acknowledged_at.append((now, node))
        self.counts["acknowledged"] += 1
        self.counts["resolved"] += was_unknown
        return now

    # What the verifiers see

    def judge_verdict(self, key, node, asked_at, answer):
        """A verdict about a secret; `asked_at` is the time before the question was sent."""
        is_fresh = "stale_s" not in answer
        self.counts["verdicts"] += 1
        limit = self.soft_s if is_fresh else self.hard_s
        word = "fresh" if is_fresh else f"stale for {answer['stale_s']} s"
        if answer["valid"] and key.ended == ACKNOWLEDGED and asked_at > key.ended_at + limit:
            late = f"{asked_at - key.ended_at:.1f} s after its acknowledged end"
            self.violate(WRONG, f"{key.name} is {answer['code']} on node {node}, {late}; the node is {word}", key.name)
        if not answer["valid"] and key.ended is None and is_fresh and asked_at > key.issued_at + self.soft_s:
            self.violate(WRONG, f"{key.name} is {answer['code']} on node {node}, which is fresh, and was never ended", key.name)

    # The end

    def judge_node(self, node, listed, answers):
        """All keys that a node lists, as pairs of name and id, and its verdicts by name, when nothing happens any more."""
        ids = {}
        for name, key_id in listed:
            if name.startswith(self.prefix):
                ids.setdefault(name, []).append(key_id)
        for name in ids.keys() - self.keys.keys():
            self.violate(WRONG, f"{name} is on node {node}, and nobody has issued it", name)
        for key in self.keys.values():
            found = ids.get(key.name, [])
            valid = answers.get(key.name)
            if len(found) > 1 or (found and key.id and found != [key.id]):
                self.violate(DOUBLED, f"{key.name}, which is {key.id}, is on node {node} as {', '.join(found)}", key.name)
            elif found and key.issued == REFUSED:
                self.violate(WRONG, f"{key.name} is on node {node}, and was refused: {key.refusal}", key.name)
            elif found and key.ended == ACKNOWLEDGED:
                self.violate(LOST, f"{key.name} is on node {node} after its acknowledged end", key.name)
            elif not found and key.issued == ACKNOWLEDGED and key.ended is None:
                self.violate(LOST, f"{key.name}, which was acknowledged, is not on node {node}", key.name)
            elif not found and key.ended == REFUSED:
                self.violate(WRONG, f"the end of {key.name} was refused, and it is not on node {node}: {key.refusal}", key.name)
            elif valid is not None and valid != bool(found):
                word = "listed" if found else "not listed"
                self.violate(WRONG, f"{key.name} is {word} on node {node}, and verified as {valid}", key.name)

    def judge_agreement(self, listings):
        """Changes that stayed unknown have happened on all nodes or on none."""
        names = [{name for name, _ in listed} for listed in listings]
        for key in self.keys.values():
            if not key.in_doubt:
                continue
            if len({key.name in listed for listed in names}) > 1:
                self.violate(WRONG, f"{key.name} is on some nodes only", key.name)
            self.counts["resolved"] += 1

    def acknowledged_by(self, node, since, until):
        """How many changes a node has acknowledged between two times."""
        with self.lock:
            return sum(since < at < until for at, own in self.acknowledged_at if own == node)

    def longest_gap(self, since=None):
        """Seconds without an acknowledged change, while there were writers, or since a time until now."""
        first, last = (self.began, self.finished) if since is None else (since, time.monotonic())
        with self.lock:
            times = [first, *sorted(at for at, _ in self.acknowledged_at if first < at < last), last]
        return max(later - earlier for earlier, later in zip(times, times[1:]))

    def delay(self, part):
        """The delay that this part of all is below, in milliseconds."""
        ordered = sorted(self.delays)
        return 1000 * ordered[min(len(ordered) - 1, int(len(ordered) * part))] if ordered else 0.0

    def report(self):
        lines = self.violations[:SHOWN_MAX]
        if len(self.violations) > SHOWN_MAX:
            lines.append(f"and {len(self.violations) - SHOWN_MAX} more")
        return "\n".join(lines)

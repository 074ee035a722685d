"""A round: one fault under load, and its judgement. And the table of all of them."""

import random
import time

from ledger import DOUBLED, LOST, WRONG, Ledger
from load import Client, Load, Lost, NotSent, judge
from waiting import Unwell, wait

# The end of every wait, longer than anything takes on a busy machine.
PATIENCE_S = 180
# The lines of each log that are shown after a fault that took too long: those of about three minutes of Patroni.
LOG_LINES = 60
# Changes that must follow a fault before it counts as over.
CHANGES_AFTER = 10
# What the table has of every fault.
COUNTED = ("acknowledged", "unknown", "resolved", LOST, DOUBLED, WRONG)


class Round:
    """What a fault has to work with."""

    def __init__(self, rig, nodes, fault, number, is_short, seed):
        self.rig, self.nodes, self.fault, self.number, self.is_short = rig, nodes, fault, number, is_short
        self.rng = random.Random(f"{seed} {fault.name} {number}")
        self.ledger = Ledger(f"{fault.name.replace('-', '')}{number}n", nodes.soft_s, nodes.hard_s)
        self.load = None
        # Short runs are on machines that have other work, which makes everything slower.
        self.patience = 2 if is_short else 1
        # Why the machines or the nodes did not recover, so that no other round can follow on them; None if they did.
        self.broken = None

    def go(self):
        """Runs the fault and judges what came of it; returns the ledger."""
        self.rig.wait_until_healthy()
        self.place_relays()
        self.nodes.use_options(self.fault.options)
        self.nodes.wait_until_fresh()
        machines = list(self.rig.machines.values())
        fault = self.fault
        self.load = Load(machines[:fault.nodes], self.nodes.key, self.ledger, fault.writers, fault.pace_s, fault.written)
        try:
            with self.load:
                self.fault.disturb(self)
            self.rig.wait_until_healthy()
            # A node that is fresh may lack what was acknowledged so long ago, and no longer.
            time.sleep(self.nodes.soft_s)
            self.nodes.wait_until_fresh()
        except Unwell as err:
            self.ledger.violate(WRONG, "the machines or the nodes did not recover")
            self.broken = str(err)
        judge(machines, self.nodes.key, self.ledger)
        gap, limit = self.ledger.longest_gap(), self.fault.gap_max_s * self.patience
        self.expect(gap <= limit, f"there was no acknowledged change for {gap:.1f} s, and at most {limit:g} s are allowed")
        if gap > limit and not self.broken:
            # The logs are removed with the machines, and only they say what took so long.
            print(self.rig.logs(LOG_LINES), flush=True)
        return self.ledger

    def place_relays(self):
        for number in self.rig.machines:
            if self.fault.is_relayed and number not in self.nodes.relayed:
                self.nodes.put_relay(number)
            elif not self.fault.is_relayed and number in self.nodes.relayed:
                self.nodes.remove_relay(number)
            if self.fault.is_relayed:
                self.nodes.disturb(number, delay_ms=self.fault.delay_ms)
        if self.fault.delay_ms:
            print(f"    a round trip to the database takes {self.nodes.round_trip_ms(1):.2f} ms", flush=True)

    # What faults use

    now = staticmethod(time.monotonic)
    sleep = staticmethod(time.sleep)

    def work(self):
        """Some time with nothing but the load, before and after a fault."""
        time.sleep(1.5 if self.is_short else 4)

    def sleep_until(self, at):
        time.sleep(max(0.0, at - time.monotonic()))

    def happens(self, text, *args):
        print(f"    {time.monotonic() - self.ledger.began:5.1f} s: {text.format(*args)}", flush=True)

    def expect(self, condition, text):
        if not condition:
            self.ledger.violate(WRONG, text)

    def wait(self, condition, text, limit_s=PATIENCE_S):
        return wait(condition, limit_s, lambda: f"{text}\n{self.rig.status()}\n{self.rig.logs()}")

    def wait_for_changes(self):
        """Waits until changes are acknowledged again. Those of the first second may be of before the fault."""
        time.sleep(1)
        before = self.ledger.counts["acknowledged"]
        waited = self.wait(lambda: self.ledger.counts["acknowledged"] >= before + CHANGES_AFTER, "changes are acknowledged")
        self.happens("changes are acknowledged again, after {:.1f} s", waited + 1)

    def wait_until_healthy(self, limit_s):
        waited = self.rig.wait_until_healthy()
        self.happens("three members, one of them synchronous, after {:.1f} s", waited)
        limit = limit_s * self.patience
        self.expect(waited <= limit, f"the members were together again after {waited:.1f} s, and at most {limit} s are allowed")

    def wait_until_fresh(self):
        self.happens("all nodes are fresh after {:.1f} s", self.nodes.wait_until_fresh())

    def expect_verdict(self, number, at, is_right, text):
        """What a node must do from a moment on: its answer to a verification is looked at then."""
        self.sleep_until(at)
        key = next(iter(self.load.latest.values()))
        client = Client(self.rig.machines[number], self.nodes.key, inside=False)
        try:
            status, answer = client.call("POST", "/v1/verify", {"key": key.secret})
        except (Lost, NotSent) as err:
            status, answer = 0, {"error": str(err)}
        finally:
            client.close()
        self.happens("node {} answers {} {}", number, status, answer)
        self.expect(is_right(status, answer), f"by now node {number} {text}; it answers {status} {answer}")


class Table:
    """One line a fault, of all its rounds."""

    HEADS = ("fault", "runs", *COUNTED, "longest gap", "in force elsewhere p50, p99")

    def __init__(self):
        self.ledgers = {}
        # The faults that cannot be made on this rig, with the reasons.
        self.left_out = {}

    def add(self, fault, ledger):
        self.ledgers.setdefault(fault.name, []).append(ledger)

    def lines(self):
        yield "| " + " | ".join(self.HEADS) + " |"
        yield "| --- |" + " ---: |" * (len(self.HEADS) - 1)
        for name, ledgers in self.ledgers.items():
            sums = [sum(ledger.counts[kind] for ledger in ledgers) for kind in COUNTED]
            gap = max(ledger.longest_gap() for ledger in ledgers)
            delays = [max(ledger.delay(part) for ledger in ledgers) for part in (0.5, 0.99)]
            in_force = f"{delays[0]:.0f}, {delays[1]:.0f} ms" if any(delays) else "not measured"
            cells = [name, len(ledgers), *(f"{count:,}" for count in sums), f"{gap:.1f} s", in_force]
            yield f"| {' | '.join(map(str, cells))} |"

    def result(self):
        """The result as that of a test program, in which each fault is a test."""
        failed = sum(any(ledger.violations for ledger in ledgers) for ledgers in self.ledgers.values())
        word = "FAILED" if failed else "ok"
        return f"{word}. {len(self.ledgers) - failed} passed; {failed} failed; {len(self.left_out)} ignored"

    def violations(self):
        return sum(len(ledger.violations) for ledgers in self.ledgers.values() for ledger in ledgers)


def summary(ledger):
    """A line about a round that has just ended."""
    counts = ledger.counts
    shown = (*COUNTED, "refused", "verdicts", "verifications refused", "verifications without an answer")
    parts = [f"{counts[name]:,} {name}" for name in shown if counts[name] or name in (LOST, DOUBLED)]
    parts.append(f"longest gap {ledger.longest_gap():.1f} s")
    parts.append(f"{time.monotonic() - ledger.began:.0f} s in all")
    return f"{', '.join(parts)}, in force elsewhere after {ledger.delay(0.5):.0f} ms (p50), {ledger.delay(0.99):.0f} ms (p99)"

"""Faults that are about what Latchkey has and the stand-in has not: endings that survive an older database, counted uses, clocks,
several versions."""

import subprocess
import threading
import time
from math import inf

from faults import fault
from load import Client, Lost, NotSent
from rig import ROOT

ENDINGS = 50
USES = 100
HOUR_S = 3_600


def client(run, number, inside=False):
    return Client(run.rig.machines[number], run.nodes.key, inside=inside)


def issue(run, number, name, **members):
    """A key that must be issued, and that the ledger does not know; its id and its secret."""
    status, body = client(run, number).call("POST", "/v1/keys", {"name": f"of {run.ledger.prefix}{name}", **members})
    if status != 201:
        raise RuntimeError(f"a key is refused with {status}: {body}")
    return body["key"]["id"], body["secret"]


def code(run, number, secret):
    """The code of a verdict; None without one."""
    try:
        status, answer = client(run, number).call("POST", "/v1/verify", {"key": secret})
    except (Lost, NotSent):
        return None
    return answer["code"] if status == 200 else None


@fault("restored", rounds=2, short=0, gap_max_s=inf, needs_latchkey=True, writers=0)
def restored(run):
    """The database is replaced by a copy of before 50 endings; two nodes are up meanwhile, and the third comes back later."""
    keys = [issue(run, 1, f"end{number}") for number in range(ENDINGS)]
    run.rig.copy_databases("earlier")
    run.nodes.wait_until_fresh()
    for key_id, _ in keys:
        run.expect(client(run, 2).call("DELETE", f"/v1/keys/{key_id}")[0] == 204, "the key is ended")
    for number in run.rig.machines:
        run.wait(lambda: code(run, number, keys[-1][1]) == "NOT_FOUND", f"node {number} knows the endings")
    run.nodes.kill(3)
    stop, opened = threading.Event(), set()

    def watch():
        while not stop.is_set():
            for number in run.rig.machines:
                opened.update((number, key_id) for key_id, secret in keys if code(run, number, secret) == "VALID")

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        run.happens("the database is as it was before {} endings", ENDINGS)
        run.rig.put_back_databases("earlier")
        run.sleep(15)
        run.nodes.start(3)
        run.nodes.wait_until_fresh()
        run.happens("all nodes are fresh")
        run.sleep(10)
    finally:
        stop.set()
        watcher.join()
    run.expect(not opened, f"keys that had ended are valid, as node and key: {sorted(opened)[:5]} and {max(0, len(opened) - 5)} more")


@fault("uses-raced", rounds=3, short=1, gap_max_s=45, needs_latchkey=True)
def uses_raced(run):
    """Three nodes race for the 100 uses of a key while the primary is cut off; then an edit gives it ten, whatever is left."""
    key_id, secret = issue(run, 1, "counted", uses_left=USES)
    run.wait(lambda: all(code(run, number, secret) == "VALID" for number in run.rig.machines), "every node allows a use")
    stop, allowed = threading.Event(), [0, 0, 0]

    def use(number):
        own = client(run, number, inside=True)
        while not stop.wait(0.05):
            try:
                status, answer = own.call("POST", "/v1/verify", {"key": secret})
            except (Lost, NotSent):
                continue
            allowed[number - 1] += status == 200 and answer["valid"]

    users = [threading.Thread(target=use, args=(number,)) for number in run.rig.machines]
    for user in users:
        user.start()
    leader = run.rig.leader()
    run.happens("n{} is cut off", leader)
    run.rig.cut(leader)
    run.wait_for_changes()
    run.rig.heal(leader)
    run.wait_until_healthy(60)
    run.sleep(4)
    # The first use of each node was before.
    given = sum(allowed) + len(run.rig.machines)
    run.happens("{} of {} uses were given", given, USES)
    run.expect(given <= USES, f"{given} uses were given, and there were {USES}")
    before = sum(allowed)
    status, answer = client(run, 1).call("PATCH", f"/v1/keys/{key_id}", {"uses_left": 10})
    run.expect(status == 200, f"the edit is answered with {status}: {answer}")
    run.sleep(4)
    stop.set()
    for user in users:
        user.join()
    run.expect(sum(allowed) - before <= 10 + USES - given, f"{sum(allowed) - before} uses were given after the edit to ten")


@fault("rolling-restart", rounds=3, short=1, gap_max_s=5, needs_latchkey=True)
def rolling_restart(run):
    """The nodes are stopped and started one after the other, as for an upgrade; a client that asks the next node if one does not
    answer notices nothing."""
    _, secret = issue(run, 1, "steady")
    run.sleep(2)
    stop, failures, asked = threading.Event(), [], [0]

    def ask():
        turn = 0
        while not stop.wait(0.01):
            turn += 1
            asked[0] += 1
            order = [(turn + step) % 3 + 1 for step in range(3)]
            if not any(code(run, number, secret) == "VALID" for number in order):
                failures.append(time.monotonic())

    asking = threading.Thread(target=ask)
    asking.start()
    for number in run.rig.machines:
        run.nodes.stop(number)
        run.nodes.start(number)
        run.nodes.wait_until_fresh()
        run.happens("node {} is back", number)
        run.sleep(2)
    stop.set()
    asking.join()
    run.expect(not failures, f"{len(failures)} of {asked[0]} verifications failed on every node")


@fault("wrong-clock", rounds=1, short=0, gap_max_s=10, needs_latchkey=True)
def wrong_clock(run):
    """The clock of one node is an hour behind, and then 23 hours ahead: the others do not believe it."""
    source, library = ROOT / "tests/server/clock/wrong_date.c", run.rig.machines[2].folder / "wrong_date.so"
    subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-o", library, source], check=True)
    date = run.rig.machines[2].folder / "date"
    run.nodes.environment[2] = {"LD_PRELOAD": "/mnt/wrong_date.so", "LATCHKEY_TEST_DATE": "/mnt/date"}
    _, secret = issue(run, 1, "hours", expires_in_s=2 * HOUR_S)
    for offset in (-HOUR_S, 23 * HOUR_S):
        run.nodes.stop(2)
        date.write_text(str(offset))
        run.happens("the clock of node 2 is wrong by {} s", offset)
        run.nodes.start(2)
        run.sleep(10)
        for number in (1, 3):
            found = code(run, number, secret)
            run.expect(found == "VALID", f"node {number} says {found} about a key that is valid for hours")
        status, answer = client(run, 2).call("POST", "/v1/keys", {"name": f"of {run.ledger.prefix}wrong{offset}"})
        run.happens("node 2 answers an issue with {} {}", status, answer.get("code"))
        run.expect(status == 503, f"node 2 issues with a clock that is wrong by {offset} s: {status}")
    run.nodes.stop(2)
    del run.nodes.environment[2]
    run.nodes.start(2)

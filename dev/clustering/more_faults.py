"""Faults that are about what Latchkey has and the stand-in has not: endings that survive an older database, counted uses, clocks,
nodes without notifications, several versions."""

import subprocess
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from math import inf

from faults import fault
from load import Client, Lost, NotSent
from machines import ROOT
from nodes import CommandFailed

ENDINGS = 50
USES = 100
HOUR_S = 3_600


def client(run, number, inside=False):
    return Client(run.rig.machines[number], run.nodes.key, inside=inside)


def ask(run, number, method, path, body=None, inside=False):
    """One request over a connection of its own."""
    with closing(client(run, number, inside)) as asking:
        return asking.call(method, path, body)


def issue(run, number, name, **members):
    """A key that must be issued, and that the ledger does not know; its id and its secret."""
    status, body = ask(run, number, "POST", "/v1/keys", {"name": f"of {run.ledger.prefix}{name}", **members})
    if status != 201:
        raise RuntimeError(f"a key is refused with {status}: {body}")
    return body["key"]["id"], body["secret"]


def code(run, number, secret):
    """The code of a verdict; None without one."""
    try:
        status, answer = ask(run, number, "POST", "/v1/verify", {"key": secret})
    except (Lost, NotSent):
        return None
    return answer["code"] if status == 200 else None


@contextmanager
def meanwhile(*works, pause_s=0.0):
    """Repeats each of the works in a thread of its own until the end of a `with`, also if that is left by an exception."""
    is_over = threading.Event()

    def repeat(work):
        while not is_over.wait(pause_s):
            work()

    with ThreadPoolExecutor(len(works)) as pool:
        running = [pool.submit(repeat, work) for work in works]
        try:
            yield
        finally:
            is_over.set()
    for work in running:
        work.result()


@fault("restored", rounds=2, short=0, gap_max_s=inf, needs_latchkey=True, writers=0)
def restored(run):
    """The database is replaced by a copy of before 50 endings; two nodes are up meanwhile, and the third comes back later."""
    keys = [issue(run, 1, f"end{number}") for number in range(ENDINGS)]
    run.rig.copy_databases("earlier")
    run.nodes.wait_until_fresh()
    for key_id, _ in keys:
        run.expect(ask(run, 2, "DELETE", f"/v1/keys/{key_id}")[0] == 204, "the key is ended")
    for number in run.rig.machines:
        run.wait(lambda: code(run, number, keys[-1][1]) == "NOT_FOUND", f"node {number} knows the endings")
    run.nodes.kill(3)
    opened = set()

    def watch():
        for number in run.rig.machines:
            opened.update((number, key_id) for key_id, secret in keys if code(run, number, secret) == "VALID")

    with meanwhile(watch):
        run.happens("the database is as it was before {} endings", ENDINGS)
        run.rig.put_back_databases("earlier")
        run.sleep(15)
        run.nodes.start(3)
        run.nodes.wait_until_fresh()
        run.happens("all nodes are fresh")
        run.sleep(10)
    run.expect(not opened, f"keys that had ended are valid, as node and key: {sorted(opened)[:5]} and {max(0, len(opened) - 5)} more")


@fault("uses-raced", rounds=3, short=1, gap_max_s=45, needs_latchkey=True)
def uses_raced(run):
    """Three nodes race for the 100 uses of a key while the primary is cut off; then an edit gives it ten, whatever is left."""
    key_id, secret = issue(run, 1, "counted", uses_left=USES)
    # Node by node: a node that is asked until another one allows a use would spend more than one.
    for number in run.rig.machines:
        run.wait(lambda: code(run, number, secret) == "VALID", f"node {number} allows a use")
    allowed = [1, 1, 1]
    users = [client(run, number, inside=True) for number in run.rig.machines]

    def use(number):
        try:
            status, answer = users[number - 1].call("POST", "/v1/verify", {"key": secret})
        except (Lost, NotSent):
            return
        allowed[number - 1] += status == 200 and answer["valid"]

    with meanwhile(*(lambda number=number: use(number) for number in run.rig.machines), pause_s=0.05):
        leader = run.rig.leader()
        run.happens("n{} is cut off", leader)
        run.rig.cut(leader)
        run.wait_for_changes()
        run.rig.heal(leader)
        run.wait_until_healthy(60)
        run.work()
        given = sum(allowed)
        run.happens("{} of {} uses were given", given, USES)
        run.expect(given <= USES, f"{given} uses were given, and there were {USES}")
        status, answer = ask(run, 1, "PATCH", f"/v1/keys/{key_id}", {"uses_left": 10})
        run.expect(status == 200, f"the edit is answered with {status}: {answer}")
        run.sleep(4)
    later = sum(allowed) - given
    run.expect(later <= 10 + USES - given, f"{later} uses were given after the edit to ten")


@fault("rolling-restart", rounds=3, short=1, gap_max_s=5, needs_latchkey=True)
def rolling_restart(run):
    """The nodes are stopped and started one after the other, as for an upgrade; a client that asks the next node if one does not
    answer notices nothing."""
    with verified(run):
        for number in run.rig.machines:
            run.nodes.stop(number)
            run.nodes.start(number)
            run.nodes.wait_until_fresh()
            run.happens("node {} is back", number)
            run.work()


@fault("rolling-upgrade", rounds=1, short=0, gap_max_s=10, needs_latchkey=True, needs_next=True)
def rolling_upgrade(run):
    """The nodes get the program of the next schema one after the other, and then the database that schema; a client that asks the
    next node if one does not answer notices nothing."""
    before = ask_database(run, "SELECT version FROM latchkey.latchkey_schema")
    last = max(run.rig.machines)
    with verified(run):
        for number in run.rig.machines:
            run.nodes.upgrade(number)
            run.nodes.wait_until_fresh()
            run.happens("node {} has the next program", number)
            run.work()
            if number != last:
                why = refusal(run, number, "cluster", "upgrade", "--yes")
                run.expect("older program" in why, f"an upgrade beside a node with the older program is not refused: {why}")
        now = ask_database(run, "SELECT version FROM latchkey.latchkey_schema")
        run.expect(now == before, f"the schema is {now} before the upgrade of the database, and was {before}")
        run.nodes.command(last, "cluster", "upgrade", "--yes")
        now = ask_database(run, "SELECT version FROM latchkey.latchkey_schema")
        run.happens("the database has schema {}, and had {}", now, before)
        run.expect(now == before + 1, f"the schema is {now} after the upgrade of the database, and was {before}")
        run.work()
    # Nodes that run use what the next schema has.
    notes = ask_database(run, "SELECT count(*) FROM latchkey.key_notes")
    run.expect(notes > 0, "no key has what the next schema adds")


@contextmanager
def verified(run):
    """Verifies a key until the end of a `with`, at another node if one does not answer; each verification must succeed."""
    _, secret = issue(run, 1, "steady")
    run.work()
    failures, asked = [], [0]

    def asking():
        asked[0] += 1
        order = [(asked[0] + step) % 3 + 1 for step in range(3)]
        if not any(code(run, number, secret) == "VALID" for number in order):
            failures.append(time.monotonic())

    with meanwhile(asking, pause_s=0.01):
        yield
    run.happens("{} verifications, of which {} failed", asked[0], len(failures))
    run.expect(not failures, f"{len(failures)} of {asked[0]} verifications failed on every node")


def ask_database(run, sql):
    """The one value that a question to the primary has as its answer."""
    with run.rig.connect(run.rig.leader()) as connection:
        cursor = connection.cursor()
        cursor.execute(sql)
        return cursor.fetchone()[0]


def refusal(run, number, *args):
    """What a command on a node prints that must be refused; empty if it is not."""
    try:
        run.nodes.command(number, *args)
    except CommandFailed as err:
        return str(err)
    return ""


@fault("without-notify", rounds=1, short=0, gap_max_s=2, needs_latchkey=True, written=1, pace_s=0.05, options=("--no-notify",))
def without_notify(run):
    """The database notifies no node, and writers are on one node: what it ends is in force at the others within 300 ms (p99)."""
    run.sleep(60)
    found, p99 = len(run.ledger.delays), run.ledger.delay(0.99)
    run.happens("{} ends are in force at other nodes, after {:.0f} ms (p50), {:.0f} ms (p99)", found, run.ledger.delay(0.5), p99)
    run.expect(found >= 100, f"{found} ends were seen at other nodes, which is too few")
    run.expect(p99 <= 300, f"ends are in force at other nodes after {p99:.0f} ms (p99), and at most 300 ms are allowed")


@fault("wrong-clock", rounds=1, short=0, gap_max_s=10, needs_latchkey=True)
def wrong_clock(run):
    """The clock of one node is an hour behind, and then 23 hours ahead: the others do not believe it."""
    machine = run.rig.machines[2]
    source, library, date = ROOT / "tests/server/clock/wrong_date.c", machine.folder / "wrong_date.so", machine.folder / "date"
    subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-o", library, source], check=True)
    run.nodes.environment[2] = {"LD_PRELOAD": machine.path("wrong_date.so"), "LATCHKEY_TEST_DATE": machine.path("date")}
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
        status, answer = ask(run, 2, "POST", "/v1/keys", {"name": f"of {run.ledger.prefix}wrong{offset}"})
        run.happens("node 2 answers an issue with {} {}", status, answer.get("code"))
        run.expect(status == 503, f"node 2 issues with a clock that is wrong by {offset} s: {status}")
    run.nodes.stop(2)
    del run.nodes.environment[2]
    run.nodes.start(2)

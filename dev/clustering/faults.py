"""The faults, each with what must hold beside the judgement of the ledger: a function of a round, which disturbs it."""

from dataclasses import dataclass
from math import inf
from typing import Callable

from rig import is_supervisor

FAULTS = {}
# What statements begin with that only begin and end transactions.
BOUNDS = ("BEGIN", "COMMIT", "ROLLBACK", "START TRANSACTION")
# What statements begin with that may make WAL at an idle node: the lease, the mark of its clock once a minute, and questions, which
# write down that a row is final.
MAY_WRITE = ("INSERT INTO node_leases", "INSERT INTO clock ", "SELECT")
# Longer than nodes keep in memory which keys were used (usage_interval_s).
USAGE_WRITTEN_S = 15


@dataclass
class Fault:
    """A fault by its name, how often it is tried, and the longest time without an acknowledged change."""

    name: str
    disturb: Callable
    rounds: int
    # Rounds of the short set; none for a fault that is not in it.
    short: int
    gap_max_s: float
    # Whether it needs Latchkey and not the stand-in.
    needs_latchkey: bool = False
    # Whether its nodes reach the database through relays.
    is_relayed: bool = False
    # What these relays add to the way of each packet, in both directions.
    delay_ms: float = 0.0
    # Whether it needs machines with a network of their own.
    needs_network: bool = False
    # How many nodes have verifiers, how many of them have writers (None for all of them), how many writers each, and their pause
    # between two changes.
    nodes: int = 3
    written: int | None = None
    writers: int = 2
    pace_s: float = 0.01
    # More options of the nodes.
    options: tuple = ()
    # Whether it needs the program of the next schema, which leaves a database that no other round can use.
    needs_next: bool = False


def fault(name, rounds, short, gap_max_s, **more):
    def add(disturb):
        FAULTS[name] = Fault(name, disturb, rounds, short, gap_max_s, **more)
        return disturb

    return add


@fault("none", rounds=1, short=1, gap_max_s=2)
def none(run):
    """Nothing happens for ten minutes, or for eight seconds in a short run; then, ends are in force elsewhere within 20 ms (p50) and
    250 ms (p99)."""
    run.sleep(8 if run.is_short else 600)
    for part, limit in (() if run.is_short else ((0.5, 20), (0.99, 250))):
        delay = run.ledger.delay(part)
        run.expect(delay <= limit, f"{part:.0%} of all ends are in force elsewhere within {delay:.0f} ms, and {limit} ms are allowed")


@fault("database-killed", rounds=20, short=1, gap_max_s=20)
def database_killed(run):
    """PostgreSQL is killed on the primary; Patroni starts it again in its place."""
    run.work()
    run.happens("PostgreSQL is killed on n{}", leader := run.rig.leader())
    run.rig.kill_database(leader)
    run.wait_for_changes()
    run.work()


@fault("machine-killed", rounds=20, short=1, gap_max_s=45)
def machine_killed(run):
    """Everything on the machine of the primary is killed, and started again when another has taken over."""
    run.work()
    run.happens("machine n{} is killed", leader := run.rig.leader())
    run.rig.kill_machine(leader)
    run.wait_for_changes()
    run.rig.start_machine(leader)
    run.wait_until_healthy(60)
    run.work()


@fault("primary-cut", rounds=10, short=1, gap_max_s=45)
def primary_cut(run):
    """Packets from and to the primary's machine are lost for a minute, or 32 seconds in a short run; its own node is asked all the
    time."""
    run.work()
    run.happens("n{} is cut off", leader := run.rig.leader())
    run.rig.cut(leader)
    cut_at = run.now()
    run.wait_for_changes()
    run.sleep_until(cut_at + (32 if run.is_short else 60))
    # A change whose answer was on its way may still be counted.
    acknowledged = run.ledger.acknowledged_by(leader, cut_at + 0.2, run.now())
    run.expect(acknowledged == 0, f"the node beside the primary has acknowledged {acknowledged} changes while it was cut off")
    run.happens("n{} is back", leader)
    run.rig.heal(leader)
    run.wait_until_healthy(30)
    run.work()


# If the node was in the middle of a change, the server waits 15 s for it (idle_in_transaction_session_timeout), and others too.
@fault("node-cut", rounds=3, short=1, gap_max_s=20, is_relayed=True)
def node_cut(run):
    """One node does not reach the database any more, beside a primary that is well: its packets are swallowed."""
    run.work()
    node = run.rig.leader() % 3 + 1
    run.happens("node {} does not reach the database", node)
    run.nodes.disturb(node, is_silent=True)
    cut_at = run.now()
    soft, hard = run.nodes.soft_s, run.nodes.hard_s
    def is_stale(status, answer):
        return status == 200 and "stale_s" in answer

    run.expect_verdict(node, cut_at + soft + 3, is_stale, "must mark its answers as stale")
    run.expect_verdict(node, cut_at + hard + 3, lambda status, _: status == 503, "must refuse to answer")
    run.nodes.disturb(node, is_silent=False, is_closed=True)
    run.nodes.disturb(node, is_closed=False)
    run.wait_until_fresh()
    run.work()


@fault("bad-network", rounds=3, short=1, gap_max_s=25, is_relayed=True)
def bad_network(run):
    """All nodes reach the database with 200 ms of delay, some connections are reset, and all are half open for a while."""
    everywhere = list(run.rig.machines)
    run.happens("delay and resets")
    for node in everywhere:
        run.nodes.disturb(node, delay_ms=100, jitter=0.5, resets=0.05)
    run.sleep(8 if run.is_short else 20)
    for node in everywhere:
        run.nodes.disturb(node, delay_ms=0, jitter=0, resets=0.5)
    for _ in range(10):
        for node in everywhere:
            run.nodes.disturb(node, is_closed=True)
            run.nodes.disturb(node, is_closed=False)
            run.sleep(0.3)
    run.happens("half-open connections")
    for node in everywhere:
        run.nodes.disturb(node, resets=0, is_silent=True)
    run.sleep(4)
    for node in everywhere:
        run.nodes.disturb(node, is_silent=False)
    run.wait_for_changes()
    run.work()


@fault("cut-bytes", rounds=3, short=1, gap_max_s=5, is_relayed=True)
def cut_bytes(run):
    """The connections of a node are cut after a number of bytes, again and again, at every point of a change."""
    everywhere = list(run.rig.machines)
    cuts = 30 if run.is_short else 200
    for number in range(cuts):
        node = everywhere[number % len(everywhere)]
        direction = run.rng.choice(("cut_up", "cut_down"))
        before = run.nodes.disturb(node)["cuts"]
        run.nodes.disturb(node, **{direction: run.rng.randrange(3_000)})
        run.wait(lambda: run.nodes.disturb(node)["cuts"] > before, "the connections are cut")
    run.happens("{} cuts", cuts)
    run.work()


@fault("supervisor-frozen", rounds=3, short=1, gap_max_s=60)
def supervisor_frozen(run):
    """Patroni and the main process of PostgreSQL stand still on the primary, while its connections go on."""
    frozen(run, is_supervisor)


@fault("machine-frozen", rounds=3, short=0, gap_max_s=60)
def machine_frozen(run):
    """Every process of the primary's machine stands still, as a virtual machine that is paused."""
    frozen(run, lambda command: True)


def frozen(run, chosen):
    run.work()
    run.happens("n{} stands still", leader := run.rig.leader())
    run.rig.freeze(leader, chosen)
    run.sleep(28 if run.is_short else 45)
    run.happens("n{} goes on", leader)
    run.rig.thaw(leader)
    run.wait_for_changes()
    run.wait_until_healthy(60)
    run.work()


@fault("etcd-lost", rounds=3, short=0, gap_max_s=120)
def etcd_lost(run):
    """One etcd is down, which changes nothing; then two are, and no change is possible until one is back."""
    run.work()
    leader = run.rig.leader()
    first, second = (number for number in run.rig.machines if number != leader)
    run.happens("etcd is killed on n{}", first)
    run.rig.kill_etcd(first)
    began = run.now()
    run.sleep(15)
    gap = run.ledger.longest_gap(began)
    run.expect(gap < 5, f"without one etcd there was no change for {gap:.1f} s")
    run.happens("etcd is killed on n{}", second)
    run.rig.kill_etcd(second)
    run.sleep(40)
    for number in (first, second):
        run.rig.start_etcd(number)
    run.wait_for_changes()
    run.wait_until_healthy(60)
    run.work()


@fault("cold-start", rounds=3, short=1, gap_max_s=90)
def cold_start(run):
    """All machines are killed at the same time and started again."""
    run.work()
    run.happens("all machines are killed")
    for number in run.rig.machines:
        run.rig.kill_machine(number)
    run.sleep(2)
    for number in run.rig.machines:
        run.rig.start_machine(number)
    run.wait_until_healthy(60)
    run.wait_for_changes()
    run.work()


@fault("many-writers", rounds=1, short=0, gap_max_s=5, is_relayed=True, nodes=1, writers=16, pace_s=0.0, needs_network=True,
       delay_ms=0.25)
def many_writers(run):
    """Sixteen writers on one node, for which its relay makes a round trip to the database 0.8 ms long."""
    run.work()
    began = run.now()
    run.sleep(30)
    rate = run.ledger.acknowledged_by(1, began, run.now()) / 30
    run.happens("{:.0f} changes a second", rate)
    run.expect(rate >= 400 or not run.nodes.is_measured, f"there were {rate:.0f} changes a second, and at least 400 are expected")


@fault("idle", rounds=1, short=0, gap_max_s=inf, needs_latchkey=True, writers=0)
def idle(run):
    """Nothing is changed for a minute, in which each node sends at most two statements a second, without the bounds of
    transactions, and nothing but leases and the marks of clocks is written."""
    run.sleep(USAGE_WRITTEN_S)
    before, began = run.rig.work_of_nodes(), run.now()
    run.sleep(60)
    span, after = run.now() - began, run.rig.work_of_nodes()
    nodes = len(run.rig.machines)
    rates = {query: (calls - before.get(query, (0, 0))[0]) / span / nodes for query, (calls, _) in after.items()}
    written = {query: size - before.get(query, (0, 0))[1] for query, (_, size) in after.items()}
    others = [query for query, size in written.items() if size and not query.startswith(MAY_WRITE)]
    statements = sum(rate for query, rate in rates.items() if not query.startswith(BOUNDS))
    run.happens("{:.2f} statements a second and node, {:.2f} with the bounds of transactions", statements, sum(rates.values()))
    run.happens("{:.0f} bytes of WAL a second and node", sum(written.values()) / span / nodes)
    for query, rate in sorted(rates.items(), key=lambda one: -one[1])[:6]:
        run.happens("{:5.2f} a second: {}", rate, query[:90])
    run.expect(statements <= 2, f"there are {statements:.2f} statements a second and node, and at most 2 are allowed")
    run.expect(not others, f"something else than leases and marks of clocks is written: {others}")

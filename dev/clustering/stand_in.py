#!/usr/bin/python3
"""A plain server with the part of Latchkey's API that the tests of a cluster use, on the same kind of database.

It proves the rig, the load and the judge without Latchkey: it is written straight after the rules for several nodes, one change
at a time, and does what a lie says in the place of that (`--lie`), which the judge must find:

  lose    some keys are acknowledged and never saved
  double  some keys are saved twice
  revive  some ends of keys are acknowledged and never saved
  deny    some changes are saved and answered as refused
  doze    the node neither follows the others nor notices that it is cut off
"""

import argparse
import contextlib
import json
import os
import secrets
import socket
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

import psycopg2

SCHEMA = """
    CREATE TABLE head (seq bigint NOT NULL);
    INSERT INTO head VALUES (0);
    CREATE TABLE events (seq bigint PRIMARY KEY, id text NOT NULL, name text, secret text);
    CREATE TABLE retries (retry_key text PRIMARY KEY, id text NOT NULL, repeats bigint NOT NULL);
    CREATE TABLE leases (node text PRIMARY KEY, renewals bigint NOT NULL);
"""
LIES = ("lose", "double", "revive", "deny", "doze")
LIE_EVERY = 40
TRANSACTION_MAX_S = 10
FOLLOW_S, LEASE_S = 0.1, 1.0


class NotSaved(Exception):
    """The change has not happened."""


class Unknown(Exception):
    """It is not known whether the change has happened."""


class Connection:
    """A connection to the primary that is made again when it has failed."""

    def __init__(self, database):
        self.database, self.inner = database, None

    @contextlib.contextmanager
    def transaction(self):
        """A transaction that is over when a standby has it. Errors before the commit are `NotSaved`."""
        deadline = threading.Timer(TRANSACTION_MAX_S, self.interrupt)
        try:
            if self.inner is None or self.inner.closed:
                self.inner = psycopg2.connect(
                    self.database, target_session_attrs="read-write", connect_timeout=2, tcp_user_timeout=3000,
                    keepalives_idle=2, keepalives_interval=1, keepalives_count=2,
                    options="-c synchronous_commit=on -c lock_timeout=5s -c idle_in_transaction_session_timeout=15s",
                )
            deadline.start()
            yield self.inner.cursor()
            self.commit()
        except psycopg2.Error as err:
            self.drop()
            raise NotSaved(str(err)) from None
        except BaseException:
            self.drop()
            raise
        finally:
            deadline.cancel()

    def commit(self):
        try:
            self.inner.notices.clear()
            self.inner.commit()
        except psycopg2.Error as err:
            raise Unknown(str(err)) from None
        # A server that gives up the wait for a standby says so in a warning, and answers as if nothing was the matter.
        if any("WARNING" in notice for notice in self.inner.notices):
            raise Unknown("the server did not wait for a standby")

    def interrupt(self):
        with contextlib.suppress(OSError, psycopg2.Error), socket.socket(fileno=os.dup(self.inner.fileno())) as shared:
            shared.shutdown(socket.SHUT_RDWR)

    def drop(self):
        if self.inner is not None:
            with contextlib.suppress(psycopg2.Error):
                self.inner.close()
            self.inner = None


class Node:
    """What a node has in memory, and the rules of its changes."""

    def __init__(self, args):
        self.args, self.name = args, args.listen
        self.writer, self.follower, self.lessee = (Connection(args.database) for _ in range(3))
        self.one_change, self.one_install = threading.Lock(), threading.Lock()
        # Live keys by id, and the ids by secret. The number of the newest event in them.
        self.keys, self.ids, self.applied = {}, {}, 0
        self.leased_at = None
        self.changes = 0

    def install(self, events):
        with self.one_install:
            for seq, key_id, name, secret in events:
                if seq != self.applied + 1:
                    continue
                if name is None:
                    self.keys.pop(key_id, None)
                else:
                    self.keys[key_id] = {"id": key_id, "name": name}
                    self.ids[secret] = key_id
                self.applied = seq

    def read(self, cursor):
        cursor.execute("SELECT seq, id, name, secret FROM events WHERE seq > %s ORDER BY seq LIMIT 5000", (self.applied,))
        return cursor.fetchall()

    def change(self, retry_key, make):
        """Carries out a change under the lock of the head. `make` returns the id and the new events' values."""
        with self.one_change:
            self.changes += 1
            lie = self.args.lie if self.changes % LIE_EVERY == 0 else None
            with self.writer.transaction() as cursor:
                cursor.execute("SELECT seq FROM head FOR UPDATE")
                seq = cursor.fetchone()[0]
                while self.applied < seq:
                    self.install(self.read(cursor))
                if retry_key:
                    # This is a change too, so that the commit waits for a standby that has the earlier one as well.
                    cursor.execute("UPDATE retries SET repeats = repeats + 1 WHERE retry_key = %s RETURNING id", (retry_key,))
                    if found := cursor.fetchone():
                        return found[0], None
                key_id, events, secret = make(lie)
                numbered = [(seq + number, *event) for number, event in enumerate(events, 1)]
                for event in numbered:
                    cursor.execute("INSERT INTO events VALUES (%s, %s, %s, %s)", event)
                cursor.execute("UPDATE head SET seq = %s", (seq + len(events),))
                if retry_key:
                    cursor.execute("INSERT INTO retries VALUES (%s, %s, 0)", (retry_key, key_id))
                if (lie, secret is None) in (("lose", False), ("revive", True)):
                    self.writer.inner.rollback()
                    return key_id, secret
            self.install(numbered)
            if lie == "deny":
                raise NotSaved("a lie")
            return key_id, secret

    def issue(self, name, retry_key):
        def make(lie):
            made = [(secrets.token_hex(8), name, secrets.token_hex(16)) for _ in range(2 if lie == "double" else 1)]
            return made[0][0], made, made[0][2]

        return self.change(retry_key, make)

    def end(self, key_id):
        def make(_):
            if key_id not in self.keys:
                raise LookupError
            return key_id, [(key_id, None, None)], None

        self.change(None, make)

    def follow(self):
        while True:
            time.sleep(FOLLOW_S)
            with contextlib.suppress(NotSaved, Unknown):
                with self.follower.transaction() as cursor:
                    self.install(self.read(cursor))

    def renew(self):
        while True:
            sent = time.monotonic()
            with contextlib.suppress(NotSaved, Unknown):
                with self.lessee.transaction() as cursor:
                    cursor.execute(
                        "INSERT INTO leases VALUES (%s, 1) ON CONFLICT (node) DO UPDATE SET renewals = leases.renewals + 1"
                        " RETURNING (SELECT seq FROM head)", (self.name,))
                    seq = cursor.fetchone()[0]
                while self.applied < seq and time.monotonic() < sent + self.args.soft:
                    time.sleep(0.01)
                if self.applied >= seq:
                    self.leased_at = sent
            time.sleep(LEASE_S)

    def age(self):
        """Seconds since the node has proved that it knew everything; `None` if it never did."""
        if self.args.lie == "doze":
            return 0
        return None if self.leased_at is None else time.monotonic() - self.leased_at

    def verdict(self, secret):
        is_valid = self.ids.get(secret) in self.keys
        return {"valid": is_valid, "code": "VALID" if is_valid else "NOT_FOUND"}

    def begin(self):
        for work in (self.renew, *(() if self.args.lie == "doze" else (self.follow,))):
            threading.Thread(target=work, daemon=True).start()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1
    disable_nagle_algorithm = True

    def do_GET(self):
        address = urlsplit(self.path)
        if address.path == "/readyz":
            age = self.node.age()
            limit = self.node.args.soft if "write" in parse_qs(address.query, keep_blank_values=True) else self.node.args.hard
            return self.answer(200 if age is not None and age <= limit else 503, {})
        self.answer(200, {"items": list(self.node.keys.copy().values()), "next_cursor": None})

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.path == "/v1/keys":
            return self.change(lambda: self.node.issue(body["name"], self.headers["Idempotency-Key"]))
        age = self.node.age()
        if age is None or age > self.node.args.hard:
            return self.answer(503, {"code": "stale"})
        stale = {"stale_s": int(age - self.node.args.soft)} if age > self.node.args.soft else {}
        asked = [item["key"] for item in body["items"]] if "items" in body else [body["key"]]
        verdicts = [self.node.verdict(secret) | stale for secret in asked]
        self.answer(200, {"items": verdicts} if "items" in body else verdicts[0])

    def do_DELETE(self):
        self.change(lambda: self.node.end(self.path.rpartition("/")[2]))

    def change(self, make):
        try:
            made = make()
        except LookupError:
            return self.answer(404, {"code": "not-found"})
        except NotSaved as err:
            return self.answer(503, {"code": "unavailable", "detail": str(err)})
        except Unknown as err:
            return self.answer(503, {"code": "outcome-unknown", "detail": f"it is not known whether this was saved: {err}"})
        if made is None:
            return self.answer(200, {})
        self.answer(201, {"key": {"id": made[0]}} | ({"secret": made[1]} if made[1] else {}))

    def answer(self, status, body):
        sent = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(sent)))
        self.end_headers()
        self.wfile.write(sent)

    def log_message(self, *_):
        pass


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--database", required=True, help="the address as libpq takes it")
    parser.add_argument("--listen", required=True, metavar="ADDRESS:PORT")
    parser.add_argument("--soft", type=float, default=5, help="seconds until answers are marked as stale")
    parser.add_argument("--hard", type=float, default=60, help="seconds until there is no answer")
    parser.add_argument("--lie", choices=LIES)
    Handler.node = Node(parser.parse_args())
    Handler.node.begin()
    address, _, port = Handler.node.args.listen.rpartition(":")
    ThreadingHTTPServer.daemon_threads = True
    ThreadingHTTPServer.request_queue_size = 64
    ThreadingHTTPServer((address, int(port)), Handler).serve_forever()


if __name__ == "__main__":
    main()

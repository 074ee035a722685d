"""Draws the steps of a round: what is verified and what is changed is a matter of chance, and of the seed alone."""

from model import text_of
from steps import CATALOG, IPS, POLICY, ROTATED, SCOPES, Change, Issue, Other, Switch, Verify, damaged, new_owner

DAY_MS = 86_400_000
OWNERS_MAX = 12
DESCRIPTION_MAX = 500
# A time that is nearer than this to an end is left alone, because a change could come before or after it.
MARGIN_MS = 3_000


class Draw:
    """The steps of one round."""

    def __init__(self, soak):
        self.soak, self.rng = soak, soak.rng
        self.busy = set(soak.in_doubt)
        self.steps = []
        self.has_put_catalog = False

    def round(self):
        for _ in range(self.rng.randint(6, 16)):
            chance = self.rng.random()
            if chance < 0.55:
                self.verification()
            elif chance < 0.90:
                self.change()
            else:
                self.rest()
        return self.steps

    def pick(self, fits=lambda key: True):
        """A key that no step of this round is about, or `None`."""
        keys = self.soak.live
        for _ in range(min(20, 2 * len(keys))):
            key = keys[self.rng.randrange(len(keys))]
            if key.id not in self.busy and fits(key):
                self.busy.add(key.id)
                return key
        return None

    # Verifications

    def question(self, key):
        """What is asked about a key; mostly what it may do."""
        rng, question = self.rng, {}
        if key.allowed_ips and rng.random() < 0.8:
            question["ip"] = rng.choice(key.allowed_ips)
        elif rng.random() < 0.1:
            question["ip"] = rng.choice(IPS)
        if key.scopes and rng.random() < 0.5:
            question["scopes"] = [rng.choice(key.scopes)]
        elif rng.random() < 0.1:
            question["scopes"] = [rng.choice(SCOPES)]
        return question

    def asked(self):
        """A secret to ask about: mostly one that is in use, otherwise one that must be refused."""
        chance = self.rng.random()
        if chance < 0.15 and (dead := self.soak.graveyard.some(1)):
            return None, dead[0], {}
        key = self.pick(lambda key: key.secret and not (self.soak.is_faulty and key.previous and key.previous.first_use))
        if key is None:
            return None, self.soak.foreign_secret, {}
        if chance < 0.30:
            return None, damaged(self.rng, key.secret), {}
        secret = key.secret
        if key.previous and key.previous.secret and self.rng.random() < 0.5:
            secret = key.previous.secret
        return key, secret, self.question(key)

    def verification(self):
        way = self.rng.choice(Verify.WAYS)
        asked = [self.asked() for _ in range(self.rng.randint(2, 40) if way == "batch" else 1)]
        if way == "forward-auth":
            asked = [(key, secret, {}) for key, secret, _ in asked]
        self.steps.append(Verify(self.soak, way, asked))

    def race(self, key):
        """A verification at the same time as a change of the key: it sees the state before, or the one after."""
        if key.granted is not None or key.secret is None or (key.previous and key.previous.first_use) or self.rng.random() < 0.6:
            return
        for _ in range(self.rng.randint(1, 3)):
            way = self.rng.choice(("verify", "unix", "forward-auth"))
            question = {} if way == "forward-auth" else self.question(key)
            self.steps.append(Verify(self.soak, way, [(key, key.secret, question)], racing=True))

    # Changes

    def change(self):
        soak, rng = self.soak, self.rng
        if len(soak.live) < soak.keys_aim * rng.uniform(0.8, 1.2):
            return self.issue()
        kinds = (
            (self.edit, 5), (self.rotate, 5), (self.end_previous, 2), (self.switch, 6), (self.delete, 4), (self.batch, 1),
            (self.issue, 3), (self.owner, 2),
        )
        return rng.choices([kind for kind, _ in kinds], [weight for _, weight in kinds])[0]()

    def issue(self):
        soak, rng = self.soak, self.rng
        soak.key_number += 1
        body, chance = {}, rng.random()
        owner, workspace = None, soak.root
        if chance < 0.15:
            body["expires_at"] = text_of(soak.now + rng.choice((8_000, 30_000, 600_000, 90 * DAY_MS)))
        elif chance < 0.30:
            body["uses_left"] = rng.choice((1, 3, 20, 1_000))
        elif chance < 0.50:
            body |= {"catalog": CATALOG, "scopes": rng.sample(SCOPES, rng.randint(1, 3))}
        elif chance < 0.60:
            body["allowed_ips"] = rng.sample(IPS, rng.randint(1, 2))
        elif chance < 0.70:
            body["policy"] = POLICY
        elif chance < 0.85:
            owner = self.owner_of("users")
        elif chance < 1:
            workspace = self.owner_of("workspaces") or soak.root
        if rng.random() < 0.2:
            body["description"] = "x" * rng.randint(1, 200)
        self.steps.append(Issue(soak, f"key-{soak.key_number}", body, owner, workspace))

    def owner_of(self, noun):
        """A user or a workspace that can get a key in this round."""
        free = [owner for owner in self.soak.owners[noun] if not owner.stops and owner.name not in self.busy]
        if not free:
            return None
        owner = self.rng.choice(free)
        # It gets keys in this round, and so is not switched in it.
        self.busy.add(f"kept {owner.name}")
        return owner

    def add(self, kind, key, method, path, body, edit, statuses=(200,)):
        self.steps.append(Change(self.soak, kind, key, method, path, body, statuses, edit))
        self.race(key)

    def is_open(self, key):
        """Nothing stops the key, and nothing is about to."""
        return key.closed_by() is None and self.soak.is_later(key.expires_at, MARGIN_MS)

    def can_change(self, key):
        return key.closed_by() in (None, "DISABLED")

    def edit(self):
        key = self.pick(lambda key: self.is_open(key) and key.granted is None)
        if key is None:
            return
        rng, kind = self.rng, self.rng.randrange(4)
        if kind == 0:
            value = "y" * rng.randint(0, DESCRIPTION_MAX)
            sent, change = {"description": value}, lambda after, _: setattr(after, "description", value)
        elif kind == 1 and key.scopes:
            value = tuple(rng.sample(SCOPES, rng.randint(1, 4)))
            sent, change = {"scopes": list(value)}, lambda after, _: setattr(after, "scopes", value)
        elif kind == 2:
            value = tuple(rng.sample(IPS, rng.randint(1, 2))) if rng.random() < 0.6 else None
            sent, change = {"allowed_ips": value and list(value)}, lambda after, _: setattr(after, "allowed_ips", value)
        else:
            value = self.soak.now + rng.choice((8_000, 60_000, 30 * DAY_MS)) if rng.random() < 0.6 else None
            sent = {"expires_at": value and text_of(value)}
            change = lambda after, _: setattr(after, "expires_at", value)
        self.add("edit", key, "PATCH", "", sent, change)

    def rotate(self):
        soak, rng = self.soak, self.rng

        def fits(key):
            previous = key.previous
            return self.is_open(key) and (previous is None or soak.is_later(previous.until, MARGIN_MS))

        key = self.pick(fits)
        if key is None:
            return
        grace = None if key.previous or rng.random() < 0.4 else rng.choice((5, 20, 3_600))
        first_use = grace is not None and rng.random() < 0.4
        sent = {name: value for name, value in (("grace_s", grace), ("until_first_use", first_use)) if value}
        self.add("rotate", key, "POST", "/rotate", sent, lambda after, body: after.learn_rotation(body, grace, first_use), (ROTATED,))

    def end_previous(self):
        key = self.pick(lambda key: self.is_open(key) and key.previous and self.soak.is_later(key.previous.until, MARGIN_MS))
        if key:
            self.add("end previous", key, "DELETE", "/previous", None, lambda after, _: after.end_previous(), (204,))

    def switch(self):
        key = self.pick(self.can_change)
        if key is None:
            return
        on = not key.enabled
        kind = "enable" if on else "disable"
        self.add(kind, key, "POST", f"/{kind}", {}, lambda after, _: setattr(after, "enabled", on))

    def delete(self):
        if len(self.soak.live) < self.soak.keys_aim * 0.8:
            return
        if key := self.pick():
            self.add("delete", key, "DELETE", "", None, lambda after, _: setattr(after, "deleted", True), (204,))

    def batch(self):
        """Several keys in one transaction: all of them, or none."""
        chosen = [self.pick(lambda key: key.closed_by() is None) for _ in range(self.rng.randint(2, 6))]
        chosen = [key for key in chosen if key]
        if chosen:
            self.steps.append(Batch(self.soak, chosen, self.rng.choice(("disable", "disable", "delete"))))

    def owner(self):
        soak, rng = self.soak, self.rng
        noun = rng.choice(("users", "workspaces"))
        owners = [owner for owner in soak.owners[noun] if not owner.deleted]
        if len(owners) < 4 or (len(owners) < OWNERS_MAX and rng.random() < 0.2):
            self.steps.append(Switch(soak, noun, "create", new_owner(soak, noun[0])))
            return
        owner = rng.choice(owners)
        keys = [key for key in soak.live if owner in (key.owner, key.workspace)]
        if owner.name in self.busy or f"kept {owner.name}" in self.busy or any(key.id in self.busy for key in keys):
            return
        self.busy |= {owner.name, *(key.id for key in keys)}
        # Only an empty workspace can be deleted.
        if noun == "users" and rng.random() < 0.15:
            verb = "delete"
        else:
            verb = "disable" if owner.enabled else "enable"
        self.steps.append(Switch(soak, noun, verb, owner))

    # What changes no verdict

    def rest(self):
        soak, rng = self.soak, self.rng
        kind = rng.randrange(6)
        if kind == 0 and not self.has_put_catalog:
            self.has_put_catalog = True
            soak.rules_changed = soak.round
            self.steps.append(Other(soak, "catalog", "PUT", f"/v1/catalogs/{CATALOG}", catalog(rng), action="catalog.put"))
        elif kind == 1:
            soak.rules_changed = soak.round
            sent = {"description": f"as of round {soak.round}"}
            self.steps.append(Other(soak, "policy", "PATCH", f"/v1/policies/{POLICY}", sent))
        elif kind == 2:
            self.steps.append(Other(soak, "list", "GET", f"/v1/keys?limit={rng.randint(1, 500)}&q=key-{rng.randint(1, 9)}"))
        elif kind == 3:
            self.steps.append(Other(soak, "list", "GET", "/v1/audit-events?limit=100"))
        elif kind == 4:
            body = rng.choice(('{"name":', "[]", '{"name":"x","nmae":1}', '{"name":1}', '{"name":"x","scopes":["A B"]}'))
            self.steps.append(Bad(soak, body))
        else:
            self.steps.append(Other(soak, "metrics", "GET", "/metrics"))


class Batch(Change):
    """One action on several keys."""

    def __init__(self, soak, keys, action):
        def end(after, _):
            if action == "delete":
                after.deleted = True
            else:
                after.enabled = False

        super().__init__(soak, f"batch {action}", keys[0], "POST", "", {"action": action, "ids": [key.id for key in keys]}, (200,), end)
        self.path, self.keys, self.action = "/v1/keys/batch", keys, action

    def settle(self):
        for key in self.keys:
            key.changed = self.soak.round
        if self.is_unknown:
            self.soak.doubt(self, *(key.id for key in self.keys))
        if self.is_unknown or self.is_refused:
            return
        self.expect(200, 204)
        for key in self.keys:
            self.of(key).finish(None)
            self.soak.acknowledged(self.action, key.id)

    def of(self, key):
        return Change(self.soak, self.kind, key, self.method, "", self.sent, self.statuses, self.edit)

    def resolve(self):
        """All or none of the keys must have changed."""
        before = self.soak.counts["unknown outcomes that had happened"]
        for key in self.keys:
            self.of(key).resolve()
        happened = self.soak.counts["unknown outcomes that had happened"] - before
        if happened not in (0, len(self.keys)):
            self.soak.violate(f"{self.describe()} had no answer, and changed {happened} of {len(self.keys)} keys")


class Bad(Other):
    """A body that must be refused."""

    def __init__(self, soak, text):
        super().__init__(soak, "bad body", "POST", "/v1/keys", text, statuses=(400, 422))

    def send(self):
        return self.server.call(self.method, self.path, text=self.sent)


def catalog(rng):
    """The catalog of the scopes, with other operations each time."""
    operation = lambda n: {"id": f"op{n}", "method": rng.choice(("GET", "POST")), "path": f"/p{n}/{{id}}",
                           "access": rng.choice(("read", "write")), "any_of": [rng.choice(SCOPES)]}
    return {"scopes": [{"name": name} for name in SCOPES], "operations": [operation(n) for n in range(rng.randint(1, 30))]}

"""Random graphs, against a sequential model in Python.

The model knows the rules of the domain and nothing of jobs, batches, workers or
early decision: it computes all variables, then all evidences, then all events,
one after the other.  After each cycle the books must say the same.

Locally, ten graphs are one cycle, five times.  Over AMQP each graph has an agent
and cycles of its own, and fifty of them are open at once for three workers; in
all, two hundred.

A failure prints its seed; TOCSIN_SEED=n runs just that one.
"""

import json
import os
import random
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta, timezone

import pytest

from harness import wait_for
from invariants import books, check  # noqa: F401

SEEDS = [int(os.environ["TOCSIN_SEED"])] if "TOCSIN_SEED" in os.environ else [1, 2, 3, 4]
LOCALLY = {"graphs": 10, "cycles": 7}
OVER_AMQP = {"graphs": 50, "cycles": 2}
STEPS = [1, 1, 1, 1, 2, 3, 5, 0, -1]	# hours; a cycle of the past is a replay
START = datetime(2026, 5, 1, tzinfo=timezone.utc)
HOUR = timedelta(hours=1)
ALWAYS = datetime.min.replace(tzinfo=timezone.utc)

VALUES = [0, 1, 1, 2, 3, 5, -1, 2.5, True, False, "abc", "", [1, 2], [], {"a": 1}, None]
TESTS = ["{0} > 2", "{0} == 1", "{0}", "not {0}", "{0} is None", "{0} + {1} < 4", "{0} / {1} > 1",
         "{0} == 1 or {1} > 1", "{0} is not None and {1} is not None", "{0} if {1} else {2}",
         "{0} in [0, 1, 2]", "{0} in {1}", "len({0}) > 1", "max({0}, {1}, {2}) >= 3",
         "{0} < {1} < {2}", "{0} % 2 == {1} % 2", "{0} + {1} + {2} == 3"]


# The model


def kleene(node, truth):
    """True, False, or None for unknown."""
    kind, *parts = node
    if kind == "name":
        return truth[parts[0]]
    if kind == "constant":
        return parts[0]
    if kind == "if":
        then, test, other = (kleene(part, truth) for part in parts)
        if test is None:
            return then if then == other else None
        return then if test else other
    values = [kleene(part, truth) for part in parts[-1]]
    if kind == "not":
        return None if values[0] is None else not values[0]
    if kind == "and":
        return False if False in values else None if None in values else True
    if kind == "or":
        return True if True in values else None if None in values else False
    least = values.count(True)
    return True if least >= parts[0] else None if least + values.count(None) >= parts[0] else False


def text(node):
    kind, *parts = node
    if kind in ("name", "constant"):
        return str(parts[0])
    if kind == "if":
        return "({} if {} else {})".format(*map(text, parts))
    inner = [text(part) for part in parts[-1]]
    if kind == "not":
        return f"(not {inner[0]})"
    if kind == "count":
        return f"(count({', '.join(inner)}) >= {parts[0]})"
    return "(" + f" {kind} ".join(inner) + ")"


class Variable:
    def __init__(self, name, by_shell, max_age):
        self.name, self.by_shell, self.max_age = name, by_shell, max_age
        self.world, self.fails = None, False	# what there is to be measured
        self.value, self.state, self.as_of, self.stale = None, None, None, False

    def measure(self, now):
        """The state, and its reason."""
        self.stale = (self.fails and self.as_of is not None and self.max_age is not None
                      and now - self.as_of > self.max_age * HOUR)
        if self.fails:
            self.state = "failed"
            return "failed", "exit" if self.by_shell else "error"
        self.state, self.value, self.as_of = "done", self.world, now
        return "done", "ok"


class Evidence:
    def __init__(self, name, definition, variables):
        self.name, self.definition, self.upstream = name, definition, variables
        self.truth, self.state, self.unknown = None, None, False

    def evaluate(self):
        """The state, and its reason."""
        self.unknown = any(v.stale for v in self.upstream)
        if self.unknown:
            self.state = "skipped"
            return "skipped", "expired"
        if not any(v.state == "done" for v in self.upstream):
            self.state = "skipped"
            return "skipped", "upstream"
        try:
            self.truth = bool(eval(self.definition, {}, {v.name: v.value for v in self.upstream}))
            self.state = "done"
            return "done", "ok"
        except Exception:
            self.state = "failed"
            return "failed", "error"


class Event:
    def __init__(self, name, node, evidences, on_unknown, max_gap, interval, time_to_wait, recurrent):
        self.name, self.node, self.upstream = name, node, evidences
        self.on_unknown, self.as_of = on_unknown, ALWAYS
        self.max_gap = None if max_gap is None else max(max_gap, interval)
        self.interval, self.time_to_wait, self.recurrent = interval, time_to_wait, recurrent
        self.state, self.action, self.hold, self.next_call = "not_raising", "do_nothing", 0, ALWAYS

    def evaluate(self, now):
        """The job's state and its reason, the truth, and the signal."""
        truth = kleene(self.node, {e.name: None if e.unknown else e.truth for e in self.upstream})
        made = {"raise": True, "clear": False}.get(self.on_unknown)
        if not any(e.state == "done" for e in self.upstream) and (
                truth is not None or made is None):
            return "skipped", "upstream", None, None
        truth = made if truth is None else truth
        counts, gap = now > self.as_of, 3 * self.interval if self.max_gap is None else self.max_gap
        if counts and gap and self.as_of != ALWAYS and now - self.as_of > gap * HOUR:
            self.hold = 0
        self.as_of = max(now, self.as_of)
        self.next_call = now + (HOUR if self.recurrent else self.interval * HOUR)
        if truth is None:
            self.action = "do_nothing"
        elif self.recurrent:
            self.state, self.hold = ("raising" if truth else "not_raising"), 0
            self.action = "raise" if truth else "do_nothing"
        else:
            self.hold = self.hold if not counts else self.hold + 1 if truth else 0
            needed = max(1, self.time_to_wait // self.interval) if self.interval else 1
            was = self.state == "raising"
            now_raising = truth and (was or needed == 1 or self.hold >= needed)
            self.state = "raising" if now_raising else "not_raising"
            self.action = {(False, False): "do_nothing", (False, True): "raise",
                           (True, True): "continue_raising", (True, False): "stop_raising"}[
                               was, now_raising]
        return "done", "ok", truth, None if self.action == "do_nothing" else self.action


class Model:
    """Some graphs, which are the business of one agent."""

    def __init__(self, random, graphs, agent="default"):
        self.random, self.agent = random, agent
        self.variables, self.evidences, self.events = [], [], []
        for g in graphs:
            self.grow(f"g{g}_")

    def grow(self, prefix):
        r = self.random
        variables = [Variable(f"{prefix}v{i}", r.random() < 0.15, r.choice([None, None, 0, 1, 2]))
                     for i in range(r.randint(1, 6))]
        evidences = []
        for i in range(r.randint(1, 8)):
            test = r.choice(TESTS).format(*(r.choice(variables).name for _ in range(3)))
            evidences.append(Evidence(f"{prefix}e{i}", test, [
                v for v in variables if v.name in test]))
        self.variables += [v for v in variables if any(v in e.upstream for e in evidences)]
        for i in range(r.randint(1, 6)):
            node = self.decision(evidences, 3)
            upstream = [e for e in evidences if e.name in text(node)]
            if upstream:
                self.events.append(Event(f"{prefix}event{i}", node, upstream,
                                         r.choice([None, "keep", "raise", "clear"]),
                                         r.choice([None, None, 1, 2]), r.choice([0, 1, 1, 2]), r.choice([0, 0, 1, 2, 3]), r.random() < 0.15))
        self.evidences += evidences

    def decision(self, evidences, depth):
        r = self.random
        kind = r.choice(["name", "and", "or", "not", "if", "count"]) if depth else "name"
        some = [self.decision(evidences, depth - 1) for _ in range(3)] if kind != "name" else []
        if kind == "name":
            return ("constant", r.random() < 0.5) if r.random() < 0.05 else (
                "name", r.choice(evidences).name)
        if kind == "not":
            return "not", some[:1]
        if kind == "if":
            return ("if", *some)
        if kind == "count":
            return "count", r.randint(1, 3), some
        return kind, some[:r.randint(2, 3)]

    def definitions(self, world):
        lines = []
        for v in self.variables:
            lines.append(f"[variables.{v.name}]")
            lines.append(f"shell = 'cat {world}/{v.name}'" if v.by_shell else
                         "sql = \"select value from world where name = :name"
                         f" and 1 / (not fails)::int = 1\"\nargs = {{ name = '{v.name}' }}")
            if v.max_age is not None:
                lines.append(f"max_age = '{v.max_age}h'")
        for e in self.evidences:
            lines.append(f"[evidences.{e.name}]\ndefinition = \"{e.definition}\"")
        for e in self.events:
            lines.append(f"[events.{e.name}]\ndefinition = \"{text(e.node)}\"\n"
                         f"agent = '{self.agent}'")
            lines.append("rrule = 'FREQ=HOURLY'\ndtstart = 2020-01-01T00:00:00Z" if e.recurrent else
                         f"interval = '{e.interval}h'\ntime_to_wait = '{e.time_to_wait}h'" + (
                             "" if e.max_gap is None else f"\nmax_gap = '{e.max_gap}h'"))
            if e.on_unknown:
                lines.append(f"on_unknown = '{e.on_unknown}'")
        return "\n".join(lines)

    def change_the_world(self, db, world):
        for v in self.variables:
            v.fails = self.random.random() < 0.3
            v.world = self.random.choice(VALUES)
            if v.by_shell:
                path = world / v.name
                path.unlink(missing_ok=True)
                if not v.fails:
                    path.write_text(json.dumps(v.world))
        db.run("delete from world where name = any (%s)", [v.name for v in self.variables])
        for v in self.variables:
            if v.world is not None or v.fails or v.by_shell:	# else there is no row
                db.run("insert into world values (%s, %s, %s)", v.name, json.dumps(v.world), v.fails)

    def cycle(self, now):
        """What the books must say: jobs, and signals."""
        jobs, signals = {}, {}
        due = [e for e in self.events if e.next_call <= now]
        evidences = [e for e in self.evidences if any(e in event.upstream for event in due)]
        variables = [v for v in self.variables if any(v in e.upstream for e in evidences)]
        for v in variables:
            state, reason = v.measure(now)
            jobs[v.name] = (state, reason, v.value if state == "done" else None, None)
        for e in evidences:
            state, reason = e.evaluate()
            jobs[e.name] = (state, reason, None, e.truth if state == "done" else None)
        for e in due:
            state, reason, truth, signal = e.evaluate(now)
            jobs[e.name] = (state, reason, None, truth)
            if signal:
                signals[e.name] = signal
        return jobs, signals


@pytest.mark.parametrize("seed", SEEDS)
def test_the_books_agree_with_a_sequential_model(cycles, tmp_path, seed):
    dice = random.Random(seed)
    models = [Model(dice, range(LOCALLY["graphs"]))]

    def run(at):
        cycles.run_at(at, status=None, env={"TOCSIN_CONCURRENCY": dice.randint(1, 8)})
    agree(cycles, tmp_path, seed, models, LOCALLY["cycles"], run)


@pytest.mark.parametrize("seed", SEEDS)
def test_over_three_workers_too(cycles, shared_broker, tmp_path, seed, monkeypatch):
    dice = random.Random(seed)
    models = [Model(dice, [g], f"agent{g}") for g in range(OVER_AMQP["graphs"])]
    cycles.tocsin.env.update(shared_broker.env, TOCSIN_QUEUE=cycles.db.name)
    # With few hands each, so that they meet at many an evidence.
    workers = [cycles.tocsin.spawn("worker", "-c", n, "--executors", "sql,shell")
               for n in (1, 2, 3)]
    for worker in workers:
        worker.wait_for("is ready", 20)
    # A hundred agents: sanitizers would take longer to begin than these to end.
    if "TOCSIN_PLAIN" in os.environ:
        monkeypatch.setenv("TOCSIN", os.environ["TOCSIN_PLAIN"])

    def start(agent, at):
        cycles.tocsin("cycle", "--agent", agent, "--at", at, "--force")

    def run(at):
        with ThreadPoolExecutor(3) as several:
            for started in [several.submit(start, model.agent, at) for model in models]:
                started.result()
        wait_for(lambda: cycles.db.one("select bool_and(finished_at is not null) from tocsin.run"),
                 60, "the cycles do not end")
    agree(cycles, tmp_path, seed, models, OVER_AMQP["cycles"], run)
    assert cycles.db.one("select count(distinct worker) from tocsin.job") == 3


def agree(cycles, tmp_path, seed, models, times, run):
    print(f"TOCSIN_SEED={seed}")
    db, world = cycles.db, tmp_path / "world"
    world.mkdir()
    db.run("create table world (name text primary key, value jsonb, fails boolean)")
    cycles.load("\n".join(model.definitions(world) for model in models))
    cycles.due_again()
    now = START
    for n in range(times):
        now += models[0].random.choice(STEPS) * HOUR
        before = db.one("select coalesce(max(id), 0) from tocsin.run")
        for model in models:
            model.change_the_world(db, world)
        expected = {model.agent: model.cycle(now) for model in models}
        run(now.isoformat())
        where = f"TOCSIN_SEED={seed}, cycle {n}"
        found = agents_cycles(db, before)
        assert found.keys() == expected.keys(), where
        for agent, (jobs, signals) in expected.items():
            failed = any(state == "failed" for state, *_ in jobs.values())
            assert found[agent] == ("DONE_WITH_ERRORS" if failed else "DONE", jobs, signals), (
                where, agent)
        standing_is_right(db, models, where)
        check(db)


def agents_cycles(db, before):
    """agent -> state, jobs and signals of its cycle after BEFORE, of which it has one."""
    runs = db.all("select id, agent, state from tocsin.run where id > %s", before)
    assert len({agent for _, agent, _ in runs}) == len(runs)
    found = {id: (state, {}, {}) for id, _, state in runs}
    for id, name, state, reason, value, truth in db.all("""
            select run_id, name, j.state, reason,
                   case when j.kind = 'variable' and j.state = 'done' then value end,
                   case when j.state = 'done' then truth end
              from tocsin.job j where run_id > %s""", before):
        found[id][1][name] = (state, reason, value, truth)
    for id, event, action in db.all("select run_id, event, action from tocsin.signal"
                                    " where run_id > %s", before):
        found[id][2][event] = action
    return {agent: found[id] for id, agent, _ in runs}


def standing_is_right(db, models, where):
    assert dict(db.all("select name, value from tocsin.variable")) == {
        v.name: v.value for model in models for v in model.variables}, where
    assert dict(db.all("select name, bool_value from tocsin.evidence")) == {
        e.name: e.truth for model in models for e in model.evidences}, where
    assert sorted(db.all("""
        select name, state, action, hold, case when isfinite(next_call)
               then next_call else '0001-01-01T00:00:00Z' end from tocsin.event""")) == sorted(
        (e.name, e.state, e.action, e.hold, e.next_call)
        for model in models for e in model.events), where

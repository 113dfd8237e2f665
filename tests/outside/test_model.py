"""The engine against a sequential model, under every disorder of its messages.

A case is a small random graph with random values, in two cycles.  What it must come
to is computed one thing after the other by the model of test_random_graphs.py.  The
engine computes it over two workers and a shuffler, who keeps each message for a
while, so that it overtakes others or comes long after them, and brings it up to
three times.  What he does to a message is drawn from the seed of its case and from
what it says, so that a case meets the same disorder again.

Cases go together in threes, as one agent's business, and many agents at once.

What fails is run again alone and made smaller, event by event; the smallest that
still fails is printed with its seed, which TOCSIN_SEED=n runs alone.
"""

import heapq
import json
import os
import random
import re
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from cycles import BY_MESSAGE
from harness import wait_for
from invariants import books, check  # noqa: F401, F811
from test_disorder import Postman
from test_random_graphs import HOUR, START, VALUES, Model, agents_cycles

CYCLES = 2
TOGETHER = 3
BATCH = 51
FIRST = 20261122


class Case:
    """The graph of SEED with names of NUMBER; of its events only those in KEEP."""

    def __init__(self, seed, number, keep=None):
        self.seed, self.number, self.keep = seed, number, keep
        self.model = Model(random.Random(seed), [number])
        if keep is not None:
            model = self.model
            model.events = [event for i, event in enumerate(model.events) if i in keep]
            model.evidences = [e for e in model.evidences
                               if any(e in event.upstream for event in model.events)]
            model.variables = [v for v in model.variables
                               if any(v in e.upstream for e in model.evidences)]

    def events(self):
        return set(range(len(self.model.events))) if self.keep is None else self.keep

    def change_the_world(self, db, world, cycle):
        for v in self.model.variables:
            dice = random.Random(f"{self.seed} {cycle} {v.name.partition('_')[2]}")
            v.fails, v.world = dice.random() < 0.3, dice.choice(VALUES)
            path = world / v.name
            path.unlink(missing_ok=True)
            db.run("delete from world where name = %s", v.name)
            if v.by_shell:
                if not v.fails:
                    path.write_text(json.dumps(v.world))
            elif v.world is not None or v.fails:	# else there is no row
                db.run("insert into world values (%s, %s, %s)", v.name, json.dumps(v.world), v.fails)


class Shuffler(Postman):
    """Brings each message once, twice or three times, in an order of his own."""

    def __init__(self, broker, source, target):
        super().__init__(broker, source, target, 0)
        self.seeds = {}			# number of a case -> its seed
        self.due = 0
        self.overtaken = self.doubled = 0

    def whiles(self, message):
        """After how many seconds it is brought, each time."""
        said = message.headers.get("argsrepr", "")
        numbers = [int(n) for n in re.findall(r"\bg(\d+)_", said)]
        seed = self.seeds.get(numbers[0], 0) if numbers else 0
        said = re.sub(r"\bg\d+_", "g_", re.sub(r"\d{4}-\S+|[0-9a-f-]{36}", "", said))
        dice = random.Random(f"{seed} {message.headers['task']} {said}")
        latest = dice.choice([0.02, 0.3, 1.5])
        return [dice.uniform(0, latest) for _ in range(dice.choice([1, 1, 2, 3]))]

    def carry(self, channel):
        import amqp
        bag, number = [], 0		# a heap: when, a number, the message
        newest = 0
        while not self.enough.is_set():
            while message := channel.basic_get(self.source, no_ack=True):
                self.tasks[message.headers["task"]] += 1
                whiles = self.whiles(message)
                self.due += len(whiles)
                self.doubled += len(whiles) > 1
                for w in whiles:
                    number += 1
                    heapq.heappush(bag, (time.monotonic() + w, number, message))
            while bag and bag[0][0] <= time.monotonic():
                _, n, message = heapq.heappop(bag)
                self.overtaken += n < newest
                newest = max(n, newest)
                channel.basic_publish(amqp.Message(message.body, **message.properties),
                                      routing_key=self.target)
                self.brought += 1
            time.sleep(0.005)

    def has_brought_all(self):
        assert self.failure is None, self.failure
        return self.brought == self.due


class Laboratory:
    """Servers, workers, the shuffler, and a world to be measured."""

    def __init__(self, cycles, broker, directory):
        self.cycles, self.broker, self.db = cycles, broker, cycles.db
        self.world = directory / "world"
        self.world.mkdir()
        self.numbers = iter(range(10**9))
        self.patience = 90
        self.db.run("create table world (name text primary key, value jsonb, fails boolean)")
        cycles.tocsin.env.update(TOCSIN_QUEUE="sent")
        with broker.connect() as connection:
            for queue in "sent", "brought":
                connection.channel().queue_declare(queue, durable=True, auto_delete=False)
        self.shuffler = Shuffler(broker, "sent", "brought")
        self.shuffler.start()

    def start_workers(self):
        for n, env in (2, BY_MESSAGE), (5, {}):
            worker = self.cycles.tocsin.spawn(
                "worker", "-c", n, "-Q", "brought", "--executors", "sql,shell", env=env)
            worker.wait_for("worker is ready", 20)

    def case(self, seed, keep=None):
        case = Case(seed, next(self.numbers), keep)
        self.shuffler.seeds[case.number] = seed
        return case

    def failures(self, cases):
        """case -> what is wrong with it, of CASES that have not been run."""
        groups = [cases[i:i + TOGETHER] for i in range(0, len(cases), TOGETHER)]
        for group in groups:
            for case in group:
                case.model.agent = f"agent{group[0].number}"
        self.cycles.load("\n".join(case.model.definitions(self.world) for case in cases))
        self.cycles.due_again(*(event.name for case in cases for event in case.model.events))
        agents = {case.model.agent for case in cases if case.model.events}
        wrong = {}
        for n in range(CYCLES):
            now = START + n * HOUR
            before = self.db.one("select coalesce(max(id), 0) from tocsin.run")
            for case in cases:
                case.change_the_world(self.db, self.world, n)
            expected = {case: case.model.cycle(now) for case in cases}
            with ThreadPoolExecutor(3) as several:
                list(several.map(lambda agent: self.cycles.tocsin(
                    "cycle", "--agent", agent, "--at", now.isoformat(), "--force"), agents))
            open_ones = self.wait_for_the_end(before)
            for case in cases:
                if case.model.agent in open_ones:
                    wrong[case] = f"cycle {n} does not end: {open_ones[case.model.agent]}"
            if open_ones:
                return wrong
            # to the last message: those that come late change nothing either
            wait_for(lambda: not self.broker.depth("sent") and self.shuffler.has_brought_all()
                     and not self.broker.depth("brought"), 60)
            found = agents_cycles(self.db, before)
            for case in cases:
                if case.model.events and (difference := self.compare(case, expected[case], found)):
                    wrong.setdefault(case, f"cycle {n}: {difference}")
        return wrong

    def wait_for_the_end(self, before):
        """agent -> how far it is, of those whose cycle after BEFORE does not end."""
        open_ones = "select agent, unsettled || ' of ' || jobs from tocsin.run where id > %s and finished_at is null"
        try:
            wait_for(lambda: not self.db.all(open_ones, before), self.patience)
        except AssertionError:
            return dict(self.db.all(open_ones, before))
        return {}

    def compare(self, case, expected, found):
        """How the books differ from what is EXPECTED of CASE; None: they do not."""
        mine = f"g{case.number}_"

        def only(names):
            return {name: row for name, row in names.items() if name.startswith(mine)}
        _, jobs, signals = found[case.model.agent]
        model = case.model
        standing = (
            dict(self.db.all("select name, value from tocsin.variable where starts_with(name, %s)", mine)),
            dict(self.db.all("select name, bool_value from tocsin.evidence where starts_with(name, %s)", mine)),
            {name: row for name, *row in self.db.all(
                "select name, state, action, hold from tocsin.event where starts_with(name, %s)", mine)})
        wanted = ({v.name: v.value for v in model.variables},
                  {e.name: e.truth for e in model.evidences if any(e in v.upstream for v in model.events)},
                  {e.name: [e.state, e.action, e.hold] for e in model.events})
        standing = (standing[0], {k: v for k, v in standing[1].items() if k in wanted[1]}, standing[2])
        for what, is_so, should_be in (("jobs", only(jobs), expected[0]), ("signals", only(signals), expected[1]),
                                       *zip(("values", "truths", "events"), standing, wanted)):
            different = {name: (is_so.get(name), should_be.get(name))
                         for name in is_so.keys() | should_be.keys()
                         if is_so.get(name) != should_be.get(name)}
            if different:
                return f"{what}, as they are and as they should be: {different}"
        return None

    def shrink(self, seed, keep, tries=20):
        """The fewest events with which the case still fails, and how; (None, None): alone
        it does not."""
        self.patience = 15
        case = self.case(seed, keep)
        wrong = self.failures([case])
        if not wrong:
            return None, None
        for event in sorted(case.events()):
            if tries and case.events() - {event}:
                tries -= 1
                smaller = self.case(seed, case.events() - {event})
                if fails := self.failures([smaller]):
                    case, wrong = smaller, fails
        return case, wrong[case]


@pytest.fixture
def laboratory(cycles, broker, tmp_path, monkeypatch):
    lab = Laboratory(cycles, broker, tmp_path)
    lab.start_workers()
    # Agents by the dozen: sanitizers would take longer to begin than these to end.
    if "TOCSIN_PLAIN" in os.environ:
        monkeypatch.setenv("TOCSIN", os.environ["TOCSIN_PLAIN"])
    yield lab
    lab.shuffler.enough.set()
    lab.shuffler.join(20)


@pytest.mark.parametrize("cases", [51, pytest.param(1020, marks=pytest.mark.long)])
@pytest.mark.fault("F-B10", "F-B11")
def test_any_order_of_messages_comes_to_what_the_model_says(laboratory, books, cases, record_property):
    seeds = [int(os.environ["TOCSIN_SEED"])] if "TOCSIN_SEED" in os.environ else range(FIRST, FIRST + cases)
    for start in range(0, len(seeds), BATCH):
        wrong = laboratory.failures([laboratory.case(seed) for seed in seeds[start:start + BATCH]])
        if wrong:
            books.open_runs = True
            case, message = next(iter(wrong.items()))
            smallest, why = laboratory.shrink(case.seed, case.keep)
            shown = smallest or case
            pytest.fail(f"TOCSIN_SEED={case.seed} ({len(wrong)} cases fail)\n{message}\n"
                        + (f"made smaller, it fails so: {why}" if smallest else "alone it does not fail")
                        + "\n" + shown.model.definitions(laboratory.world), pytrace=False)
        check(laboratory.db)
    post = laboratory.shuffler
    print(post.tasks, post.brought, post.overtaken)
    assert post.tasks["tocsin.variable"] and post.tasks["tocsin.evidence"] and post.tasks["tocsin.event"]
    assert len(seeds) == 1 or (post.overtaken > 100 and post.doubled > 50)
    assert laboratory.broker.depth("brought.parked") in (None, 0)
    record_property("times", len(seeds))

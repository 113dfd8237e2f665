"""Other clients than Python's, other workers on the same queue, Celery's own
command line, and clients that send garbage."""

import json
import random
import re
import shutil
import subprocess
import uuid

import amqp
import pytest
from celery import chain, chord
from celery.result import AsyncResult

from celery_cases import Conversation
from celery_worlds import PYTHON, StockWorld, nothing_left, worlds  # noqa: F401
from harness import SOURCE, wait_for
from test_faults_wire import resident
from test_malformed import KINDS, Maker

pytestmark = pytest.mark.skipif("config.getoption('--record-stock')",
                                reason="only cases have outcomes to record")


@pytest.fixture
def fresh(worlds):
    """A worker of one test alone."""
    world = worlds.get("fresh")
    yield world
    world.stop()
    world.close()


# --- celery-node ---


@pytest.fixture(scope="module")
def celery_node(tmp_path_factory):
    """A directory with celery-node installed."""
    npm = shutil.which("npm")
    if not npm:
        pytest.skip("there is no npm")
    home = tmp_path_factory.mktemp("celery-node")
    for name in ("package.json", "package-lock.json", "ask.js"):
        shutil.copy(SOURCE / "tests/celery-node" / name, home)
    done = subprocess.run([npm, "ci", "--prefer-offline", "--ignore-scripts", "--no-audit",
                           "--no-fund"], cwd=home, stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=300)
    assert done.returncode == 0, done.stdout
    return home


def test_celery_node_calls_and_hears(worlds, celery_node):
    world = worlds.get("redis")
    done = subprocess.run(["node", "ask.js", world.broker.url, world.backend], cwd=celery_node,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    failed = {"error": "FAILURE", "status": "FAILURE"}
    for protocol, heard in json.loads(done.stdout).items():
        assert heard == {
            "call": {"value": 5, "status": "SUCCESS"},
            "keywords": {"value": 42, "status": "SUCCESS"},
            "unicode": {"value": {"\u00fc": ["\u2603", None, 1.5, "\U0001f514"]},
                        "status": "SUCCESS"},
            "nothing": {"value": None, "status": "SUCCESS"},
            "failure": {**failed, "type": "RuntimeError", "module": "builtins",
                        "says": ["exit status 1: it burns"]},
            "wrong call": {**failed, "type": "TypeError", "module": "builtins", "says": [
                "add() missing 1 required positional argument: 'y'"]},
            "unregistered": {**failed, "type": "NotRegistered", "module": "celery.exceptions",
                             "says": ["t.unheard_of"]},
        }, protocol


# --- a stock worker beside ours ---


def test_a_stock_worker_and_tocsin_share_a_queue(fresh, tmp_path):
    stock = StockWorld.beside(fresh)
    c = Conversation(fresh, tmp_path)
    try:
        calls = [c.call("t.sleep", 0.02) for _ in range(100)]
        sums = {n: c.call("t.add", n, n) for n in range(100)}
        chains = {n: c.apply(chain(c.sig("t.add", n, 1), *(c.sig("t.add", 1) for _ in range(4))))
                  for n in range(15)}
        chords = {n: c.apply(chord([c.sig("t.add", n, i) for i in range(6)], c.sig("t.tsum")))
                  for n in range(15)}
        failures = [c.call("t.fail", "x", link_error=c.sig("t.told", label=f"told {n}"))
                    for n in range(10)]
        assert all(c.outcome(r) == {"state": "SUCCESS", "value": 0.02} for r in calls)
        assert {n: c.outcome(r)["value"] for n, r in sums.items()} == {n: 2 * n for n in sums}
        assert {n: c.outcome(r)["value"] for n, r in chains.items()} == {n: n + 5 for n in chains}
        assert {n: c.outcome(r)["value"] for n, r in chords.items()} == \
            {n: 6 * n + 15 for n in chords}
        for n, failed in enumerate(failures):
            assert c.outcome(failed)["args"] == ["exit status 1: x"]
            assert c.outcome(c.of(f"told {n}")) == {"state": "SUCCESS", "value": failed.id}
        stats = c.app.control.inspect(destination=[fresh.node, stock.node], timeout=5).stats()
        done = {node: sum(answer["total"].values()) for node, answer in stats.items()}
        assert len(done) == 2 and all(n > 20 for n in done.values()), done
        # each chord's and chain's members are done once, by whomever
        assert sum(done.values()) == 100 + 100 + 15 * 5 + 15 * 7 + 10 + 10
        assert fresh.parked() == []
        assert "level=error" not in fresh.log(), fresh.log()
        wrong = [line for line in stock.log().splitlines()
                 if re.search(r"ERROR|CRITICAL", line) and "exit status 1: x" not in line
                 and "raised unexpected" not in line]
        assert not wrong, wrong
    finally:
        stock.stop()
        stock.close()


# --- Celery's command line ---


def celery(world, *args, timeout=60, status=0):
    done = subprocess.run(
        [PYTHON, "-m", "celery", "-b", world.broker.url, "--result-backend", world.backend, *args],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        timeout=timeout)
    assert status is None or done.returncode == status, done.stdout
    return done.stdout


def test_the_command_line_of_celery_sees_a_worker(worlds):
    world = worlds.get("redis")
    assert f"->  {world.node}: OK" in celery(world, "status")
    assert "1 node online" in celery(world, "inspect", "ping")
    stats = json.loads(celery(world, "inspect", "--json", "stats"))
    assert stats[world.node]["pool"]["max-concurrency"] == world.hands
    assert "t.add" in celery(world, "inspect", "registered")
    assert world.node in celery(world, "report") or "software ->" in celery(world, "report")
    assert "OK" in celery(world, "control", "rate_limit", "t.power", "100/m")


def test_celery_calls_a_task_from_the_command_line(worlds):
    world = worlds.get("redis")
    id = celery(world, "call", "t.add", "-a", "[2, 3]").strip()
    wait_for(lambda: AsyncResult(id, app=world.app).ready())
    assert celery(world, "result", id).strip() == "5"


def test_celery_events_shows_what_a_worker_does(worlds, tmp_path):
    world = worlds.get("redis")
    with open(tmp_path / "events", "wb") as out:
        dump = subprocess.Popen([PYTHON, "-u", "-m", "celery", "-b", world.broker.url, "events",
                                 "--dump"], stdin=subprocess.DEVNULL, stdout=out, stderr=out,
                                start_new_session=True)

    def says(what):
        text = (tmp_path / "events").read_text()
        assert dump.poll() is None, text
        return what in text
    try:
        wait_for(lambda: says("heartbeat"), 30)
        world.app.control.enable_events(reply=True)
        result = world.app.send_task("t.add", (2, 3))
        wait_for(lambda: says("task succeeded"), 10)
        assert says(result.id)
    finally:
        world.app.control.disable_events(reply=True)
        dump.kill()
        dump.wait()


# --- garbage ---


NOT_OURS = {	# kinds of test_malformed that are about tocsin's own tasks, or right for a client's
    "signatures where none may follow", "args where there are none", "eta is in the future",
    "run is no run", "jobs are no jobs", "installation is no UUID", "an unknown member",
    "of another installation", "no such run or job", "no headers that matter",
    "unregistered task", "id is no text", "huge", "args is no array"}
BITS = "a bit or two are turned"


def with_turned_bits(maker):
    body = bytearray(maker.good.body)
    for _ in range(maker.random.randrange(1, 4)):
        body[maker.random.randrange(len(body))] ^= 1 << maker.random.randrange(8)
    return maker.message(bytes(body))


def any_bytes(maker):
    return maker.message(maker.random.randbytes(maker.random.randrange(1, 300)))


GARBAGE = [(kind, words + " body" if kind == "body is not JSON" else words, make)
           for kind, words, make in KINDS if kind not in NOT_OURS] + [
    (BITS, "", with_turned_bits),
    ("any bytes", "json body", any_bytes),
    ("unregistered task", "unregistered", lambda m: m.message(
        headers={"task": "t." + m.any_text()})),
    ("arguments that are too many", "", lambda m: m.three(args=[m.anything_but()] * 4)),
    ("arguments of strange types", "", lambda m: m.three(args=[m.anything_but(), m.anything_but()])),
]


def plea(embed=None):
    """A message as a client sends it."""
    id = str(uuid.uuid4())
    return amqp.Message(
        json.dumps([[1, 2], {}, embed or {"callbacks": None, "errbacks": None, "chain": None,
                                          "chord": None}]).encode(),
        content_type="application/json", content_encoding="utf-8", delivery_mode=2,
        correlation_id=id, application_headers={
            "lang": "py", "task": "t.add", "id": id, "root_id": id, "parent_id": None,
            "group": None, "eta": None, "expires": None, "retries": 0, "timelimit": [None, None],
            "argsrepr": "(1, 2)", "kwargsrepr": "{}", "origin": "gen1@host"})


@pytest.mark.parametrize("many", [1000, pytest.param(10000, marks=pytest.mark.long)])
def test_garbage_between_good_messages_harms_nobody(fresh, many):
    seed = 20261130
    c = fresh
    seeded = random.Random(seed)
    kinds = [GARBAGE[n % len(GARBAGE)] for n in range(many)]
    seeded.shuffle(kinds)
    maker = Maker(seed, plea())
    expected, found, good = {}, {}, []
    with c.broker.connect() as connection:
        channel = connection.channel()
        channel.queue_declare("celery.parked", durable=True, auto_delete=False)

        def collect():
            while message := channel.basic_get("celery.parked", no_ack=True):
                assert message.headers["x-tocsin-error"]
                found[message.headers.get("x-number")] = message.headers["x-tocsin-reason"]
            assert c.alive(), c.log()[-3000:]
            return len(found) >= len(expected)

        def settled():
            wait_for(lambda: collect() and found.keys() >= expected.keys(), 120,
                     lambda: "not parked: " + str(sorted(
                         (kind, n) for n, (kind, _) in expected.items() if n not in found)[:20]))

        def send(first, last):
            for n in range(first, last):
                kind, words, make = kinds[n]
                message = make(maker)
                headers = dict(message.properties.get("application_headers") or {})
                if isinstance(headers.get("id"), str):
                    headers["id"] = str(uuid.uuid4())
                message.properties["application_headers"] = {**headers, "x-number": n}
                channel.basic_publish(message, routing_key="celery")
                if words:
                    expected[n] = (kind, words.split())
                if n % 20 == 0:
                    good.append(c.app.send_task("t.add", (n, 1)))
                if n % 500 == 0:
                    collect()
        early_on = many // 5
        send(0, early_on)
        settled()
        early = resident(c.spawned)
        send(early_on, many)
        settled()
        for i, result in enumerate(good):
            wait_for(result.ready, 30)
            assert result.result == 20 * i + 1
        late = resident(c.spawned)
        collect()
    wrong = {(kinds[n][0], found[n]) for n, (_, words) in expected.items() if found[n] not in words}
    assert not wrong
    assert len({kind for kind, _ in expected.values()}) >= 20 and len(expected) > many / 2
    assert late - early < 8 << 20, (early, late)
    wait_for(lambda: c.broker.depth("celery") == 0)

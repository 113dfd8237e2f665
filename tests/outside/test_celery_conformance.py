"""What a stock Celery client sees of tocsin's worker is what it sees of a stock
worker: the cases of celery_cases.py, compared with celery_stock.json.

	python3 -m pytest test_celery_conformance.py --record-stock

runs them against a stock worker instead, and writes that table anew."""

import json
import re
from pathlib import Path

import pytest

from celery_cases import CASES, Conversation
from harness import SOURCE
from celery_worlds import nothing_left, worlds  # noqa: F401

MANUAL = SOURCE / "man/tocsin-wire.7"
TABLE = Path(__file__).with_name("celery_stock.json")


@pytest.fixture(scope="module")
def table():
    return json.loads(TABLE.read_text()) if TABLE.exists() else {}


def plain(value):
    return json.loads(json.dumps(value))


def differences(seen, expected, path="outcome"):
    """What is other, a line for each."""
    if type(seen) is type(expected) is dict:
        return [line for key in sorted({*seen, *expected})
                for line in differences(seen.get(key, "(nothing)"), expected.get(key, "(nothing)"),
                                        f"{path}.{key}")]
    if type(seen) is type(expected) is list and len(seen) == len(expected):
        return [line for i, pair in enumerate(zip(seen, expected))
                for line in differences(*pair, f"{path}[{i}]")]
    if seen == expected and type(seen) is type(expected):
        return []
    return [f"{path}: {json.dumps(seen)}, not {json.dumps(expected)}"]


def record(name, outcome):
    recorded = json.loads(TABLE.read_text()) if TABLE.exists() else {}
    recorded[name] = outcome
    ordered = {name: recorded[name] for name in CASES if name in recorded}
    TABLE.write_text("{\n" + ",\n".join(
        json.dumps(name) + ": " + json.dumps(outcome, sort_keys=True)
        for name, outcome in ordered.items()) + "\n}\n")


@pytest.mark.parametrize("name", [
    pytest.param(name, marks=pytest.mark.long) if case.long else name
    for name, case in CASES.items()])
def test_a_client_sees_what_it_sees_of_celery(name, request, worlds, table, tmp_path):
    case = CASES[name]
    stock = request.config.getoption("--record-stock")
    if not stock:
        assert name in table, "no outcome of a stock worker: run with --record-stock"
    expected = None if stock else plain(case.expected(table[name]))
    world = worlds.get(case.world)
    try:
        conversation = Conversation(world, tmp_path, expected)
        outcome = plain(conversation.shown(case.function(conversation)))
        if stock:
            record(name, outcome)
            return
        other = differences(outcome, expected)
        assert not other, "\n".join([f"other than stock Celery ({case.differs}):", *other])
        if case.sees:
            case.sees(outcome, world)
    finally:
        if case.world == "fresh":
            world.stop()
            world.close()


def test_the_manual_tells_of_every_difference():
    section = re.search(r"^\.Ss Differences.*?(?=^\.Ss )", MANUAL.read_text(), re.M | re.S)[0]
    told = set(re.findall(r"^\.It (.*)", section, re.M))
    assert {case.differs for case in CASES.values() if case.differs} <= told

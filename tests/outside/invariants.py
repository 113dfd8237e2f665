"""What must hold in the books after every test, whatever has happened.

check(db) asks what sql/invariants.sql says, as "tocsin doctor" does.  A test
module gets it after each of its tests by importing the fixture:

    from invariants import books  # noqa: F401

A test that leaves a cycle open on purpose says so: books.open_runs = True.
"""

import re

import pytest

from harness import SOURCE

TEXT = (SOURCE / "sql" / "invariants.sql").read_text()

# promise -> the query that finds its breaches
ALWAYS = dict(re.findall(r"^--: (.*)\n((?:.+\n)*)", TEXT, re.M))

OPEN_RUNS = """
    select id, agent, state, unsettled from tocsin.run
     where state in ('CREATED', 'STARTED', 'ERRORED')"""


def check(db, open_runs=False):
    """Everything that must hold; OPEN_RUNS: there may be some."""
    if db.one("select to_regclass('tocsin.run')") is None:
        return
    breaches = []
    for promise, query in ALWAYS.items():
        rows = db.all(query.replace(":since", "0"))
        if rows:
            breaches.append(f"{promise}: {len(rows)} breaches: {rows[:5]}")
    if not open_runs and (rows := db.all(OPEN_RUNS)):
        breaches.append(f"a run is open: {rows[:5]}")
    assert not breaches, "\n".join(breaches)


class Books:
    open_runs = False


@pytest.fixture(autouse=True)
def books(db):
    state = Books()
    yield state
    check(db, state.open_runs)

"""The shop's ten weeks, replayed, against an oracle in plain SQL.

contrib/demo/shop.toml says in tocsin's words what tests/demo/oracle.sql
says in SQL alone.  A cycle is run at every third hour from 25 April to 5 July
2026, and what the books hold afterwards must be what the oracle computes: each
variable, each evidence, each event before its holding time.

TOCSIN_TEST_REPLAY=n replays only every n-th of the 569 instants.  Where there
is a program without sanitizers, TOCSIN_PLAIN, that one replays all of them: it
is long, and shows nothing new to the sanitizers after its first cycles.

Over AMQP sixty are replayed: those at which an event is true for the first or
the last time, and some between.
"""

import csv
import os
import random
import subprocess
from datetime import datetime, timezone
from pathlib import Path

import pytest

TOP = Path(__file__).parents[2]
DEMO = TOP / "contrib/demo"
ORACLE = TOP / "tests/demo"
STEP = int(os.environ.get("TOCSIN_TEST_REPLAY", 1))

INSTANTS = """
    select to_char(now at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"')
      from demo.v order by now"""

# What each cycle has to its name: nothing is left out, nothing is there twice.
RECORDED = """
    select r.as_of::text, h.kind::text, count(*)
      from tocsin.run r left join tocsin.history h on h.run_id = r.id
     group by 1, 2
    having (h.kind::text, count(*)) is distinct from ('variable', 24)
       and (h.kind::text, count(*)) is distinct from ('evidence', 20)
       and (h.kind::text, count(*)) is distinct from ('event', 13)"""

# numeric has become the nearest float, hence the one part in a thousand million.
VARIABLES = """
    select r.as_of::text, o.key, h.value::text as ours, o.value::text as oracle
      from tocsin.run r
      join demo.v on v.now = r.as_of
     cross join lateral jsonb_each(
           to_jsonb(v) - array['now', 'business_day', 'hour_of_day']) o
      left join tocsin.history h
        on h.run_id = r.id and h.kind = 'variable' and h.name = o.key
     where case when jsonb_typeof(h.value) = 'number'
                then abs(h.value::numeric - o.value::numeric)
                     > 1e-9 * abs(o.value::numeric)
                else true end
     order by 1, 2"""

EVIDENCES = """
    select r.as_of::text, o.key, h.truth::text as ours, o.value::text as oracle
      from tocsin.run r
      join demo.ev on ev.now = r.as_of
     cross join lateral jsonb_each(to_jsonb(ev) - 'now') o
      left join tocsin.history h
        on h.run_id = r.id and h.kind = 'evidence' and h.name = o.key
     where h.truth is distinct from o.value::boolean
     order by 1, 2"""

# The oracle has twelve events; the thirteenth is there so that revenue_down,
# which none of them needs, is computed at all.
EVENTS = """
    select r.as_of::text, o.name, h.truth::text as ours, o.x::text as oracle
      from tocsin.run r
      join (select name, now, x from demo.fire
            union all
            select 'revenue_drop', now, revenue_down and business_day
              from demo.ev) o on o.now = r.as_of
      left join tocsin.history h
        on h.run_id = r.id and h.kind = 'event' and h.name = o.name
     where h.truth is distinct from o.x
     order by 1, 2"""

SUMMARY = """
    select h.name, count(*) filter (where h.truth),
           coalesce(to_char(min(r.as_of) filter (where h.truth)
               at time zone 'UTC', 'YYYY-MM-DD HH24:MI:SS'), ''),
           coalesce(to_char(max(r.as_of) filter (where h.truth)
               at time zone 'UTC', 'YYYY-MM-DD HH24:MI:SS'), '')
      from tocsin.history h join tocsin.run r on r.id = h.run_id
     where h.kind = 'event' and h.name <> 'revenue_drop'
     group by h.name order by h.name"""


def psql(db, path):
    """As a user loads it, whatever the time zone at home."""
    subprocess.run(
        ["psql", "-X", "-q", "-v", "ON_ERROR_STOP=1", "-f", str(path)],
        env={**os.environ, **db.env}, check=True, stdout=subprocess.DEVNULL)


def expected():
    with open(ORACLE / "expected.tsv", newline="") as f:
        rows = list(csv.reader(f, delimiter="\t"))[1:]
    return [(name, int(n), first, last) for name, n, first, last in rows]


def nothing(db, deviations):
    """The query finds nothing; else the first few rows are the message."""
    rows = db.all(deviations)
    assert not rows, "%d deviations: %s" % (
        len(rows), "; ".join(map(str, rows[:8])))


@pytest.fixture
def plain(monkeypatch):
    if "TOCSIN_PLAIN" in os.environ:
        monkeypatch.setenv("TOCSIN", os.environ["TOCSIN_PLAIN"])


def instants_of_the_shop(db):
    psql(db, DEMO / "shop.sql")
    psql(db, ORACLE / "oracle.sql")
    instants = db.all(INSTANTS)
    assert len(instants) == 569
    return instants


def replay(cycles, instants):
    clock = datetime.now(timezone.utc).isoformat()
    for at in instants:
        ahead = ["--force"] if at > clock else []
        cycles.run("--at", at, *ahead)


def agrees_with_the_oracle(db, instants):
    cycles = [tuple(row) for row in db.all("""
        select to_char(as_of at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"'),
               state::text from tocsin.run order by as_of""")]
    assert cycles == [(at, "DONE") for at in instants]
    nothing(db, RECORDED)
    nothing(db, VARIABLES)
    nothing(db, EVIDENCES)
    nothing(db, EVENTS)


@pytest.mark.first
def test_a_replay_agrees_with_the_oracle_at_every_instant(plain, cycles, db):
    instants = instants_of_the_shop(db)[::STEP]
    cycles.tocsin("load", str(DEMO / "shop.toml"))
    replay(cycles, instants)
    agrees_with_the_oracle(db, instants)
    if STEP == 1:
        assert [tuple(row) for row in db.all(SUMMARY)] == expected()


def turning_points(instants, n):
    """Where an event begins or ends, and others up to N."""
    turns = {f"{time[:10]}T{time[11:]}Z" for _, _, *times in expected() for time in times if time}
    assert len(turns) > 10 and turns <= set(instants)
    rest = [at for at in instants if at not in turns]
    return sorted(turns | set(random.Random(n).sample(rest, n - len(turns))))


@pytest.mark.first
@pytest.mark.parametrize("cycles", ["amqp"], indirect=True)
def test_sixty_instants_over_two_workers_agree_with_the_oracle(plain, cycles, db):
    instants = turning_points(instants_of_the_shop(db), 60)
    cycles.tocsin("load", str(DEMO / "shop.toml"))
    replay(cycles, instants)
    agrees_with_the_oracle(db, instants)
    assert db.one("select max(attempts) from tocsin.job") == 1
    assert db.one("select count(distinct worker) from tocsin.job") == 2

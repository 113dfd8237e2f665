"""tocsin prune: what ended long ago goes, what is needed stays."""

import re

import pytest

from harness import definitions, wait_for

pytestmark = pytest.mark.commands

SHOP = """
    variables.stock.sql = "select 3"
    evidences.low.definition = "stock < 5"
    events.reorder = { definition = "low", interval = 0 }
    reactions.buy = { events = ["reorder"], notify = "buyer" }
"""


@pytest.fixture
def shop(db, tocsin, tmp_path):
    """Cycle 1 has raised, and its reaction is delivered."""
    tocsin("init")
    tocsin("load", definitions(tmp_path, SHOP))
    tocsin("cycle", "--local")
    assert counts(db) == (1, 3, 3, 1, 1, 4)
    return db


def counts(db):
    return db.one("""select (select count(*) from tocsin.run), (select count(*) from tocsin.job),
        (select count(*) from tocsin.history), (select count(*) from tocsin.signal),
        (select count(*) from tocsin.delivery), (select count(*) from tocsin.version)""")


def partitions(db):
    return db.all("select relname from pg_class where relispartition and relkind = 'r'"
                  " and relnamespace = 'tocsin'::regnamespace order by 1")


def cycle(db, days, finished=True, delivery="delivered", version=1):
    """A cycle of DAYS ago, with one job, one signal and one delivery."""
    run = db.one("""
        insert into tocsin.run (agent, state, as_of, created_at, finished_at, jobs, unsettled)
        select case when %s then 'default' else 'open' || %s end,
            case when %s then 'DONE' else 'STARTED' end, t, t, case when %s then t end, 1, 0
        from (select now() - %s * interval '1 day' as t) x returning id""",
                 finished, days, finished, finished, days)
    db.run("""
        select tocsin.history_partition(now() - %(days)s * interval '1 day');
        insert into tocsin.history (run_id, kind, name, value, at)
            values (%(run)s, 'variable', 'stock', '3', now() - %(days)s * interval '1 day');
        insert into tocsin.job (run_id, id, kind, name, version, queue, state, unsettled, finished_at)
            values (%(run)s, 1, 'variable', 'stock', %(version)s, 'q', 'done', 0, now());
        insert into tocsin.signal (run_id, event, action, version, hold, decided_by)
            values (%(run)s, 'reorder', 'raise', %(version)s, 1, '{}');
        insert into tocsin.delivery (run_id, event, reaction, version, state)
            values (%(run)s, 'reorder', 'buy', %(version)s, %(delivery)s);
        """.replace("%(days)s", str(days)).replace("%(run)s", str(run))
           .replace("%(version)s", str(version)).replace("%(delivery)s", f"'{delivery}'"))
    return run


def runs(db):
    return db.all("select id from tocsin.run order by 1")


def pruned(r):
    j = r.json()
    return tuple(j[k] for k in ("days", "runs", "jobs", "signals", "deliveries"))


def test_what_ended_before_the_age_is_removed(shop, tocsin):
    old = [cycle(shop, 400), cycle(shop, 370)]
    young = cycle(shop, 360)
    before = partitions(shop)
    r = tocsin("prune")
    day = shop.one("select (now() at time zone 'UTC' - interval '365 days')::date::text")
    assert r.stdout == (f"removed what ended before {day}: 2 days of history, 2 cycles, 2 jobs, "
                        "2 signals, 2 deliveries, 0 versions\n")
    assert runs(shop) == [1, young] and old
    assert len(partitions(shop)) == len(before) - 2
    assert counts(shop) == (2, 4, 4, 2, 2, 4)
    tocsin("show", "stock")
    tocsin("status", young)
    tocsin("cycle", "--local")


def test_days_are_whole_and_of_utc(shop, tocsin):
    """What ended at the day's first instant stays, a microsecond before goes."""
    midnight = "date_trunc('day', now() - interval '10 days', 'UTC')"
    stays, goes = cycle(shop, 10), cycle(shop, 11)
    shop.run(f"update tocsin.run set finished_at = {midnight} where id = %s", stays)
    shop.run(f"update tocsin.run set finished_at = {midnight} - interval '1 us' where id = %s", goes)
    tocsin("prune", "--older-than", "10d", env={"PGTZ": "Asia/Tokyo"})
    assert runs(shop) == [1, stays]
    tocsin("prune", "--older-than", "9d")
    assert runs(shop) == [1]


def test_a_dry_run_counts_and_removes_nothing(shop, tocsin):
    cycle(shop, 400)
    cycle(shop, 380)
    before = counts(shop), partitions(shop)
    dry = tocsin("prune", "--dry-run", "--json")
    assert (counts(shop), partitions(shop)) == before
    assert dry.json()["dry_run"] is True
    assert tocsin("prune", "-n").stdout.startswith("would remove what ended before ")
    wet = tocsin("prune", "--json")
    assert pruned(dry) == pruned(wet) == (2, 2, 2, 2, 2)
    assert wet.json()["dry_run"] is False
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT00:00:00Z", wet.json()["before"])


def test_pruning_may_be_repeated(shop, tocsin):
    cycle(shop, 400)
    tocsin("prune")
    after = counts(shop)
    assert pruned(tocsin("prune", "--json")) == (0, 0, 0, 0, 0)
    assert counts(shop) == after


def test_nothing_of_an_open_cycle_goes(shop, tocsin):
    gone, stays = cycle(shop, 400), cycle(shop, 401, finished=False)
    # an open run may have begun before the day and written at another one
    shop.run("select tocsin.history_partition(now() - interval '399 days')")
    shop.run("insert into tocsin.history (run_id, kind, name, at)"
             " values (%s, 'evidence', 'low', now() - interval '399 days')", stays)
    assert pruned(tocsin("prune", "--json")) == (1, 1, 1, 1, 1)
    assert runs(shop) == [1, stays] and gone
    assert shop.one("select count(*) from tocsin.history where run_id = %s", stays) == 2
    assert shop.one("select count(*) from tocsin.job where run_id = %s", stays) == 1


@pytest.mark.parametrize("state", ["pending", "sending"])
def test_nothing_of_a_pending_delivery_goes(shop, tocsin, state):
    stays = cycle(shop, 400, delivery=state)
    cycle(shop, 402, delivery="failed")
    assert pruned(tocsin("prune", "--json")) == (1, 1, 1, 1, 1)
    assert runs(shop) == [1, stays]
    for table in "job", "history", "signal", "delivery":
        assert shop.one(f"select count(*) from tocsin.{table} where run_id = %s", stays) == 1, table
    shop.run("update tocsin.delivery set state = 'delivered'")
    assert pruned(tocsin("prune", "--json")) == (1, 1, 1, 1, 1)


def test_versions_that_nothing_needs_go(shop, tocsin, tmp_path):
    def load(text):
        tocsin("load", definitions(tmp_path, SHOP.replace("select 3", text)))
        return shop.one("select version from tocsin.variable")
    first = shop.one("select version from tocsin.variable")
    in_old_run, in_signal, in_reactions, young, unneeded = (
        load(f"select 3{n}") for n in range(5))
    current = load("select 36")
    shop.run("update tocsin.version set loaded_at = now() - interval '500 days' where id <> %s", young)
    cycle(shop, 400, version=in_old_run)
    shop.run("update tocsin.signal set version = %s where run_id = 1", in_signal)
    shop.run("update tocsin.job set reactions = reactions || %s::bigint where kind = 'event'"
             " and run_id = 1", in_reactions)
    r = tocsin("prune", "--json")
    left = shop.all("select id from tocsin.version where name = 'stock' order by 1")
    assert left == [first, in_signal, in_reactions, young, current]
    assert r.json()["versions"] == 2 and unneeded not in left
    # the first one is in the job of cycle 1
    assert shop.one("select version from tocsin.job where name = 'stock'") == first
    tocsin("load", definitions(tmp_path, SHOP))
    tocsin("cycle", "--local")


def test_many_cycles_go_in_ranges(shop, tocsin):
    shop.run("""
        with r as (insert into tocsin.run (agent, state, as_of, created_at, finished_at)
            select 'default', 'DONE', t, t, t from (select now() - interval '400 days' as t) x,
            generate_series(1, 2500) returning id)
        insert into tocsin.job (run_id, id, kind, name, version, queue, state, unsettled)
        select id, n, 'variable', 'stock', 1, 'q', 'done', 0 from r, generate_series(1, 2) n""")
    assert pruned(tocsin("prune", "--json")) == (0, 2500, 5000, 0, 0)
    assert counts(shop)[:2] == (1, 3)


def test_two_prunes_at_once_do_no_harm(shop, tocsin):
    for n in range(400, 410):
        cycle(shop, n)
    both = [tocsin.spawn("prune") for _ in range(2)]
    ends = [p.wait(30) for p in both]
    assert 0 in ends, both
    tocsin("prune")
    assert runs(shop) == [1] and len(partitions(shop)) <= 3


def test_a_prune_that_is_killed_is_taken_up_by_the_next(shop, tocsin):
    for n in range(400, 405):
        cycle(shop, n)
    other = shop.connect()
    other.autocommit = False
    other.cursor().execute("select * from tocsin.run for update")
    prune = tocsin.spawn("prune")
    wait_for(lambda: shop.one("select count(*) from pg_stat_activity where wait_event_type = 'Lock'"
                              " and application_name = 'tocsin' and datname = current_database()"))
    prune.kill()
    wait_for(lambda: not shop.one("select count(*) from pg_stat_activity where"
                                  " application_name = 'tocsin' and datname = current_database()"))
    other.rollback()
    other.close()
    assert counts(shop)[0] == 6
    tocsin("prune")
    assert runs(shop) == [1]


def test_what_is_no_partition_of_ours_stays(shop, tocsin):
    shop.run("create table tocsin.history_20200101 (x int)")
    shop.run("create table tocsin.history_mine partition of tocsin.history"
             " for values from ('2001-01-01Z') to ('2001-01-02Z')")
    tocsin("prune", "--older-than", "1d")
    assert shop.one("select to_regclass('tocsin.history_mine') is not null"
                    " and to_regclass('tocsin.history_20200101') is not null")


def test_an_age_of_a_day_keeps_today_and_yesterday(shop, tocsin):
    assert pruned(tocsin("prune", "--older-than", "1d", "--json")) == (0, 0, 0, 0, 0)
    tocsin("prune", "--older-than", "-1d", status=2)

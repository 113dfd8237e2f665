"""show, explain and graph: what the books hold, told to people and programs,
whatever is in it."""

import json
import re
import shutil

import pytest

from harness import definitions

pytestmark = pytest.mark.commands

SHOP = """
    [variables.stock]
    description = "Screws in the store"
    sql = '''
      select 3
      where true
    '''

    [variables.broken]
    sql = "select 1/0"

    [evidences.low]
    definition = "stock"
    operator = "<"
    operand = 5

    [evidences.lost]
    definition = "broken > 1"

    [events.reorder]
    description = "Buy more"
    definition = "low or lost"
    time_to_wait = "2h"

    [events.low]
    definition = "low"
    interval = 0

    [reactions.buy]
    events = ["reorder", "low"]
    notify = "buyer"
"""
CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f]")


@pytest.fixture
def shop(db, tocsin, tmp_path):
    tocsin("init")
    tocsin("load", definitions(tmp_path, SHOP))
    return db


@pytest.fixture
def seen(shop, tocsin):
    """Cycle 1 has been."""
    tocsin("cycle", "--local", status=1)
    return shop


def values(text):
    """label -> text of the lines of show."""
    return dict(re.findall(r"^  (\S+(?: \S+)?) {2,}(.*)$", text, re.M))


# show


def test_show_tells_what_is_known_before_the_first_cycle(shop, tocsin):
    v = values(tocsin("show", "stock").stdout)
    assert v["value"] == "(none yet)" and v["computed"] == "-"
    v = values(tocsin("show", "reorder").stdout)
    assert v["next_call"] == "-infinity" and v["evaluated"] == "-"
    assert tocsin("show", "reorder", "--json").json()["next_call"] == "-infinity"


def test_show_a_variable(seen, tocsin):
    r = tocsin("show", "stock")
    v = values(r.stdout)
    assert r.lines[0] == "stock (variable)"
    assert v["value"] == "3" and v["used by"] == "low" and v["in cycle"] == "1"
    assert v["description"] == "Screws in the store"
    assert v["loaded"].endswith(" by postgres")
    assert re.search(r"^1 +\d{4}-\d\d-\d\d \d\d:\d\d:\d\dZ +3$", r.stdout, re.M), r
    assert re.search(r"^  sql +select 3\n {17,}where true\n  \S", r.stdout, re.M), r
    j = tocsin("show", "stock", "--json").json()
    assert set(j) == {"kind", "name", "active", "value", "cycle", "computed_at", "age",
                      "as_of", "stale", "definition", "version", "hash", "loaded_at", "loaded_by", "changes",
                      "used_by", "history"}
    assert (j["kind"], j["value"], j["used_by"], j["active"]) == ("variable", 3, ["low"], True)
    assert [h["value"] for h in j["history"]] == [3]


def test_show_an_evidence_and_the_event_that_shares_its_name(seen, tocsin):
    r = tocsin("show", "low")
    assert "low (evidence)\n" in r.stdout and "low (event)\n" in r.stdout
    evidence, event = tocsin("show", "low", "--json").json()
    assert set(evidence) == {"kind", "name", "active", "value", "truth", "cycle", "evaluated_at",
                             "age", "definition", "version", "hash", "loaded_at", "loaded_by",
                             "changes", "uses", "used_by", "history"}
    assert (evidence["truth"], evidence["value"]) == (True, 3)
    assert (evidence["uses"], evidence["used_by"]) == (["stock"], ["low", "reorder"])
    assert (event["state"], event["action"], event["used_by"]) == ("raising", "raise", ["buy"])


def test_show_an_event(seen, tocsin):
    v = values(tocsin("show", "reorder").stdout)
    assert v["state"] == "not_raising (do_nothing), hold 1"
    assert v["uses"] == "low, lost" and v["used by"] == "buy"
    j = tocsin("show", "reorder", "--json").json()
    assert set(j) == {"kind", "name", "active", "agent", "priority", "state", "action", "hold",
                      "next_call", "cycle", "evaluated_at", "as_of", "definition", "version", "hash",
                      "loaded_at", "loaded_by", "changes", "uses", "used_by", "signals", "history"}
    assert "signal         raise in cycle 1" in tocsin("show", "low").stdout


def test_show_a_reaction_and_its_deliveries(seen, tocsin):
    j = tocsin("show", "buy", "--json").json()
    assert (j["kind"], j["definition"]["notify"]) == ("reaction", "buyer")
    assert [(d["event"], d["state"]) for d in j["deliveries"]] == [("low", "delivered")]
    assert re.search(r"^1 +low +delivered", tocsin("show", "buy").stdout, re.M)


def test_show_tells_who_has_changed_what(shop, tocsin, tmp_path):
    changed = SHOP.replace("operand = 5", "operand = 6").replace("Screws", "Nails")
    tocsin("load", definitions(tmp_path, changed, "nails.toml"))
    told = re.findall(r"^  (added|changed) +(\S+ \S+) by (.*)$", tocsin("show", "stock").stdout, re.M)
    assert [change for change, _, _ in told] == ["changed", "added"]
    assert re.fullmatch(r"postgres, \S+@\S+, .*/nails.toml: description", told[0][2]), told
    assert re.fullmatch(r"postgres, \S+@\S+, .*/definitions.toml", told[1][2]), told
    now, before = tocsin("show", "stock", "--json").json()["changes"]
    assert now["keys"] == ["description"] and now["definition"]["description"] == "Nails in the store"
    assert before["definition"]["description"] == "Screws in the store"
    assert before["keys"] == ["description", "sql"] and before["hash"] != now["hash"]
    assert len(tocsin("show", "stock", "--json", "-n1").json()["changes"]) == 1


def test_history_is_as_long_as_wished(seen, tocsin):
    for _ in range(3):
        tocsin("cycle", "--local", "--event", "low")
    assert [h["cycle"] for h in tocsin("show", "stock", "--json").json()["history"]] == [4, 3, 2, 1]
    assert [h["cycle"] for h in tocsin("show", "stock", "--json", "-n2").json()["history"]] == [4, 3]


@pytest.mark.parametrize("args, message", [
    (["show", "stok"], "there is no variable, evidence, event or reaction 'stok'; "
     "did you mean 'stock'?"),
    (["show", "nonsense"], "there is no variable, evidence, event or reaction 'nonsense'"),
    (["show", "\033[31m\n'; drop table x; --"], "there is no variable, evidence, event or reaction "
     r"'\x1b[31m\n'; drop table x; --'"),
    (["show", ""], "there is no variable, evidence, event or reaction ''"),
    (["explain", "reoder"], "there is no event 'reoder'; did you mean 'reorder'?"),
    (["explain", "stock"], "there is no event 'stock'; it is a variable, see 'tocsin show stock'"),
    (["explain", "reorder", "--cycle", "7"], "cycle 7 did not evaluate event 'reorder'"),
    (["graph", "--cycle", "7"], "there is no cycle 7, or it had nothing to do"),
])
def test_a_name_that_nothing_bears_is_named(shop, tocsin, args, message):
    assert tocsin(*args, status=1).stderr == f"tocsin {args[0]}: {message}\n"


def test_a_name_of_any_length_is_an_answer(shop, tocsin):
    r = tocsin("show", "x" * 100000, status=1)
    assert r.stderr.count("\n") == 1 and len(r.stderr) < 1000
    assert tocsin("show", b"\xff".decode(errors="surrogateescape"), status=1).stderr


# explain


def test_explain_before_the_first_cycle(shop, tocsin):
    text = tocsin("explain", "reorder").stdout
    assert text.startswith("reorder is not_raising (do_nothing)\n  Buy more\n")
    assert "has not been evaluated yet" in text and "stock = None, never computed" in text


def test_explain_is_a_tree_down_to_the_values(seen, tocsin):
    text = tocsin("explain", "reorder").stdout
    assert re.search(r"evaluated in cycle 1 as of \S+ \S+: its definition is true\n",
                     text), text
    assert "holding time 2h, evaluated every 1h\n" in text
    assert re.search(r"^  \|- low is true: stock < 5  \(the left side is 3\)\n"
                     r"  \|   `- stock = 3  \(computed \S+ \S+, \S+ ago\)$", text, re.M), text
    assert re.search(r"^  \|- lost is unknown: broken > 1  skipped \(upstream\); it has no older value\n"
                     r"  \|   `- broken = None, never computed  failed: division by zero .*; "
                     r"it has no older value$", text, re.M), text


def test_explain_as_json_keeps_its_shape(seen, tocsin):
    j = tocsin("explain", "reorder", "--json").json()
    assert set(j) == {"event", "description", "definition", "agent", "active", "state", "action",
                      "hold", "interval", "time_to_wait", "rrule", "next_call", "evaluated_at",
                      "cycle", "as_of", "job", "reason", "error", "truth", "signal", "evidences",
                      "max_gap", "on_unknown", "note", "missing"}
    assert (j["truth"], j["signal"], j["state"], j["cycle"]) == (True, None, "not_raising", 1)
    assert [(e["name"], e["truth"], e["state"]) for e in j["evidences"]] == [
        ("lost", None, "skipped"), ("low", True, "done")]
    [stock] = j["evidences"][1]["variables"]
    assert (stock["name"], stock["value"], stock["state"]) == ("stock", 3, "done")


def test_explain_a_cycle_of_the_past_as_it_was(seen, tocsin, tmp_path):
    tocsin("load", definitions(tmp_path, SHOP.replace("select 3", "select 9")
                               .replace("operand = 5", "operand = 4")))
    tocsin("cycle", "--local", "--event", "low")
    now, then = tocsin("explain", "low").stdout, tocsin("explain", "low", "--cycle", 1).stdout
    assert "low is false: stock < 4  (the left side is 9)" in now and "stock = 9" in now
    assert "low is true: stock < 5  (the left side is 3)" in then and "stock = 3" in then


def test_explain_a_variable_that_failed_tells_how_old_its_value_is(seen, tocsin, tmp_path):
    tocsin("load", definitions(tmp_path, "variables.stock.sql = 'select 1 / 0'"))
    tocsin("cycle", "--local", "--event", "low", status=1)
    text = tocsin("explain", "low", "--cycle", 2).stdout
    assert re.search("^  not evaluated in cycle 2 as of .*: its job is skipped upstream$", text, re.M)
    assert re.search(r"stock = 3  \(computed .* ago\)  failed: division by zero.*; the older value counts",
                     text), text


# graph


def test_the_graph_of_what_is_loaded_in_every_format(shop, tocsin):
    dot = tocsin("graph").stdout
    assert dot.startswith("digraph tocsin {") and dot.count(" -> ") == 5
    j = tocsin("graph", "--format", "json").json()
    names = {n["id"]: (n["kind"], n["name"]) for n in j["nodes"]}
    assert sorted((names[e["from"]], names[e["to"]]) for e in j["edges"]) == [
        (("evidence", "lost"), ("event", "reorder")), (("evidence", "low"), ("event", "low")),
        (("evidence", "low"), ("event", "reorder")), (("variable", "broken"), ("evidence", "lost")),
        (("variable", "stock"), ("evidence", "low"))]
    mermaid = tocsin("graph", "--format", "mermaid").stdout
    assert mermaid.startswith("flowchart LR\n") and mermaid.count(" --> ") == 5


def test_the_graph_of_files_is_that_of_the_books(shop, tocsin, tmp_path):
    def edges(j):
        names = {n["id"]: (n["kind"], n["name"]) for n in j["nodes"]}
        return sorted((names[e["from"]], names[e["to"]]) for e in j["edges"])
    assert edges(tocsin("graph", "--format", "json").json()) == edges(
        tocsin("graph", tmp_path / "definitions.toml", "--format", "json",
               env={"PGHOST": "nowhere"}).json())


def test_the_graph_of_a_cycle_has_states_and_values(seen, tocsin):
    nodes = {(n["kind"], n["name"]): (n["state"], n.get("note"))
             for n in tocsin("graph", "--cycle", 1, "--format", "json").json()["nodes"]}
    assert nodes == {("variable", "stock"): ("done", "3"), ("variable", "broken"): ("failed", None),
                     ("evidence", "low"): ("done", "true"), ("evidence", "lost"): ("skipped", None),
                     ("event", "low"): ("done", "true"), ("event", "reorder"): ("done", "true")}
    assert 'class="failed"' in tocsin("graph", "--cycle", 1).stdout


@pytest.mark.skipif(not shutil.which("dot"), reason="needs graphviz")
def test_the_graph_as_a_picture(seen, tocsin):
    assert "</svg>" in tocsin("graph", "--format", "svg", "--cycle", 1).stdout


def test_without_graphviz_a_picture_is_refused(shop, tocsin, tmp_path):
    bin = tmp_path / "bin"
    bin.mkdir()
    (bin / "sh").symlink_to("/bin/sh")
    r = tocsin("graph", "--format", "svg", env={"PATH": str(bin)}, status=1)
    assert "install graphviz" in r.stderr.splitlines()[-1] and r.stdout == ""


def test_files_of_a_cycle_are_a_contradiction(shop, tocsin, tmp_path):
    r = tocsin("graph", tmp_path / "definitions.toml", "--cycle", 1, status=2)
    assert "--cycle" in r.stderr


# Hostile content


HOSTILE = "\033[31mred\x7f\u009b\n\ttwo ü𝄞 \"quotes\" \\N <b>&amp; %s -->|x|"


@pytest.fixture
def hostile(db, tocsin, tmp_path):
    tocsin("init")
    quoted = json.dumps(HOSTILE, ensure_ascii=False).replace("\x7f", r"\u007f").replace("\u009b", r"\u009b")
    tocsin("load", definitions(tmp_path, f"""
        variables.x.sql = "select :text"
        variables.x.args = {{ text = {quoted} }}
        variables.x.description = {quoted}
        evidences.e.definition = "x == 'a'"
        evidences.e.description = {quoted}
        evidences.f = {{ definition = "x", operator = "!=", operand = {quoted} }}
        evidences.g.definition = "x + 1"
        events.v.definition = "e or not f or g"
        events.v.description = {quoted}
        events.v.interval = 0
        reactions.r = {{ events = ["v"], notify = "n", description = {quoted} }}
    """))
    tocsin("cycle", "--local", status=1)
    db.run("update tocsin.job set error = %s where state = 'failed'", HOSTILE)
    return db


@pytest.mark.fault("F-E11")
def test_a_terminal_obeys_nothing_in_the_books(hostile, tocsin):
    for args in (["status"], ["status", "1"], ["show", "x"], ["show", "e"], ["show", "f"],
                 ["show", "v"], ["show", "r"], ["explain", "v"], ["explain", "v", "--cycle", "1"],
                 ["graph"], ["graph", "--cycle", "1"],
                 ["graph", "--cycle", "1", "--format", "mermaid"]):
        r = tocsin(*args)
        found = CONTROL.search(r.stdout.replace("\t", "") + r.stderr)
        assert not found, (args, found, r)
    assert r"\x1b[31mred\x7f\x9b" in tocsin("show", "x").stdout


@pytest.mark.fault("F-E11")
def test_json_says_it_exactly(hostile, tocsin):
    x = tocsin("show", "x", "--json").json()
    assert x["value"] == HOSTILE and x["definition"]["description"] == HOSTILE
    v = tocsin("explain", "v", "--json").json()
    assert v["description"] == HOSTILE
    assert v["evidences"][0]["variables"][0]["value"] == HOSTILE
    assert tocsin("graph", "--cycle", 1, "--format", "json").json()


def test_a_huge_value_is_shortened_for_people_and_whole_for_programs(shop, tocsin, tmp_path):
    tocsin("load", definitions(tmp_path, """
        variables.stock.sql = "select repeat('ä', 500000)"
        evidences.low = { definition = "len(stock)", operator = ">", operand = 5 }
    """))
    tocsin("cycle", "--local", "--event", "low")
    for args in (["show", "stock"], ["show", "low"], ["explain", "low"], ["graph", "--cycle", "1"],
                 ["status", "1"]):
        r = tocsin(*args)
        assert len(r.stdout) < 10000 and "\ufffd" not in r.stdout, args
    assert tocsin("show", "stock", "--json").json()["value"] == "ä" * 500000


def test_a_short_note_is_cut_between_characters(shop, tocsin, tmp_path):
    for n in range(33, 37):
        tocsin("load", definitions(tmp_path, f"""
            variables.stock.sql = "select repeat('x', {n}) || repeat('ä', 30)"
        """))
        cycle = tocsin("cycle", "--local", "--event", "low", "--json", status=None).json()["cycle"]
        assert "\ufffd" not in tocsin("graph", "--cycle", cycle).stdout


def test_an_inactive_object_says_so(shop, tocsin, tmp_path):
    tocsin("load", definitions(tmp_path, """
        [events.reorder]
        definition = "low"
        active = false
    """))
    assert tocsin("show", "reorder").stdout.startswith("reorder (event, not active)\n")

"""The peers' tables: made, filled, and looked at."""

import functools
import io
import operator
from pathlib import Path

COMPARE = {">": operator.gt, "<": operator.lt, "==": operator.eq}
OUTCOME = {                     # (raising before, raising now)
    (False, False): ("not_raising", "do_nothing"),
    (False, True): ("raising", "raise"),
    (True, True): ("raising", "continue_raising"),
    (True, False): ("not_raising", "stop_raising"),
}


@functools.lru_cache(maxsize=None)
def code(definition):
    return compile(definition, definition, "eval")


def compute(definition, names):
    """Definitions are expressions of Python."""
    return eval(code(definition), {"__builtins__": {}}, names)


def compare(value, how, operand):
    return bool(COMPARE[how](value, operand))


def outcome(state, truth):
    """The event's new state and action."""
    return OUTCOME[state == "raising", bool(truth)]


def copy(cursor, table, rows):
    text = io.StringIO("".join("\t".join(map(str, row)) + "\n" for row in rows))
    cursor.copy_expert(f"copy peer.{table} from stdin", text)


def fill(connection, graph, query):
    """Make the tables anew."""
    cursor = connection.cursor()
    cursor.execute("drop schema if exists peer cascade")
    cursor.execute((Path(__file__).parent / "peer_books.sql").read_text())
    copy(cursor, "variable (id, query)", ((n, query) for n in range(graph.variables)))
    copy(cursor, "evidence (id, definition, operand)",
         ((n, graph.evidence_text(n), graph.operand(n)) for n in range(graph.evidences)))
    copy(cursor, "event (id, definition)",
         ((n, graph.event_text(n)) for n in range(graph.events)))
    copy(cursor, "evidence_use", ((n, v) for n, use in enumerate(graph.uses) for v in use))
    copy(cursor, "event_use", ((n, e) for n, rule in enumerate(graph.rules) for e in rule[::2]))
    connection.commit()

"""A cycle without any queue: one process, and a few statements for all nodes.

    python3 peer_batch.py [--history]

Each line that it reads makes a cycle, and prints a line of JSON.  Nothing here runs side by side, nothing
that hangs or fails is kept from the rest, and what it had done when it died is
lost: this is what all that costs nothing would look like.
"""

import argparse
import json
import sys
import time

import psycopg2

import peer_books

AT_ONCE = 100                   # queries of variables in one statement


def measure(cursor, variables):
    values = {}
    for at in range(0, len(variables), AT_ONCE):
        some = variables[at:at + AT_ONCE]
        cursor.execute(" union all ".join(f"select {n}, ({query})::float8" for n, query in some))
        values.update(cursor.fetchall())
    return values


def read(cursor, at):
    cursor.execute("select id, definition, state, array_agg(evidence) from peer.event"
                   " join peer.event_use on event = id where next_call <= %s"
                   " group by id order by priority, id", (at,))
    events = cursor.fetchall()
    needed = list({e for event in events for e in event[3]})
    cursor.execute("select id, definition, operator, operand, array_agg(variable)"
                   " from peer.evidence join peer.evidence_use on evidence = id"
                   " where id = any(%s) group by id", (needed,))
    evidences = cursor.fetchall()
    needed = list({v for evidence in evidences for v in evidence[4]})
    cursor.execute("select id, query from peer.variable where id = any(%s)", (needed,))
    return cursor.fetchall(), evidences, events


def write(cursor, cycle, at, values, truths, outcomes):
    cursor.execute("update peer.variable x set value = u.value, cycle = %s, runs = 1"
                   " from unnest(%s::int[], %s::float8[]) u (id, value) where x.id = u.id",
                   (cycle, list(values), list(values.values())))
    cursor.execute("update peer.evidence x set value = u.value, truth = u.truth, cycle = %s,"
                   " runs = 1 from unnest(%s::int[], %s::float8[], %s::bool[]) u (id, value, truth)"
                   " where x.id = u.id",
                   (cycle, list(truths), [x[0] for x in truths.values()],
                    [x[1] for x in truths.values()]))
    cursor.execute("update peer.event x set state = u.state, action = u.action, cycle = %s,"
                   " runs = 1, next_call = %s, evaluated_at = clock_timestamp()"
                   " from unnest(%s::int[], %s::text[], %s::text[]) u (id, state, action)"
                   " where x.id = u.id",
                   (cycle, at, list(outcomes), [x[0] for x in outcomes.values()],
                    [x[1] for x in outcomes.values()]))


def write_history(cursor, cycle, values, truths, decided):
    for kind, letter, numbers, vals, bools in (
            ("variable", "v", list(values), list(values.values()), [None] * len(values)),
            ("evidence", "e", list(truths), [x[0] for x in truths.values()],
             [x[1] for x in truths.values()]),
            ("event", "x", list(decided), [None] * len(decided), list(decided.values()))):
        cursor.execute("insert into peer.history (cycle, kind, name, value, truth)"
                       " select %s, %s, %s || id, to_jsonb(value), truth"
                       " from unnest(%s::int[], %s::float8[], %s::bool[]) u (id, value, truth)",
                       (cycle, kind, letter, numbers, vals, bools))


def run_cycle(db, history):
    began = time.time()
    cursor = db.cursor()
    cursor.execute("insert into peer.cycle default values returning id, created_at")
    cycle, at = cursor.fetchone()
    variables, evidences, events = read(cursor, at)
    db.commit()
    values = measure(cursor, variables)
    db.rollback()
    truths = {}
    for n, definition, how, operand, used in evidences:
        value = peer_books.compute(definition, {f"v{v}": values[v] for v in used})
        truths[n] = value, peer_books.compare(value, how, operand)
    decided, outcomes = {}, {}
    for n, definition, before, used in events:
        decided[n] = peer_books.compute(definition, {f"e{e}": truths[e][1] for e in used})
        outcomes[n] = peer_books.outcome(before, decided[n])
    write(cursor, cycle, at, values, truths, outcomes)
    if history:
        write_history(cursor, cycle, values, truths, decided)
    cursor.execute("update peer.cycle set state = 'DONE' where id = %s", (cycle,))
    db.commit()
    return {"cycle": cycle, "seconds": time.time() - began}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--history", action="store_true")
    args = parser.parse_args()
    db = psycopg2.connect("")
    for _ in sys.stdin:         # a line asks for a cycle
        print(json.dumps(run_cycle(db, args.history)), flush=True)


if __name__ == "__main__":
    main()

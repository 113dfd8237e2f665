"""The agent of the Celery peer: each line that it reads makes a cycle.

It prints what the cycle took, from its first look into the books until the last
event was evaluated, which it learns by looking again and again.
"""

import json
import sys
import time

import psycopg2

from peer_celery import Agent

LONGEST = 3600


def run_cycle(db):
    began = time.time()
    agent = Agent(db)
    agent.send()
    sent = time.time() - began
    jobs, wanted = agent.jobs()
    cursor = db.cursor()
    while True:
        cursor.execute("select coalesce(sum(runs), 0), extract(epoch from max(evaluated_at)),"
                       " (select failed from peer.cycle where id = %s)"
                       " from peer.event where cycle = %s", (agent.cycle, agent.cycle))
        done, last, failed = cursor.fetchone()
        db.commit()
        if done >= wanted:
            break
        if failed or time.time() - began > LONGEST:
            sys.exit(f"{failed} jobs failed, {done} of {wanted} events ran")
        time.sleep(max(0.02, (time.time() - began) / 100))
    cursor.execute("update peer.cycle set state = 'DONE' where id = %s", (agent.cycle,))
    db.commit()
    return {"seconds": float(last) - began, "sent_seconds": sent, "jobs": jobs}


def main():
    db = psycopg2.connect("")
    for _ in sys.stdin:
        print(json.dumps(run_cycle(db)), flush=True)


if __name__ == "__main__":
    main()

"""A stock client: how long a trivial task takes there and back.

    python3 peer_client.py QUEUE TIMES

Prints the milliseconds of each, one at a time.
"""

import sys
import time

from peer_celery import one

queue, times = sys.argv[1], int(sys.argv[2])
for n in range(times + 10):             # the first few set things up
    began = time.perf_counter()
    if one.apply_async(queue=queue).get(timeout=30, interval=0.001) != 1:
        sys.exit("the task is not 1")
    if n >= 10:
        print(1000 * (time.perf_counter() - began))

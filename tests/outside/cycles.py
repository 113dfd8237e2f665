"""What tests of cycles have in common: load, run, and look into the books."""

from harness import definitions, wait_for

# The clocks of the engine, for tests in which something dies.
QUICK = {"TOCSIN_LEASE": "2s", "TOCSIN_SWEEP": "500ms", "TOCSIN_GRACE": "500ms"}

# Nothing is decided by the settling that made it ready: evidences and events come as
# messages, as they do where there are too many of them.
EACH_BY_MESSAGE = "settle.at_once=error"
BY_MESSAGE = {"TOCSIN_FAILPOINT": EACH_BY_MESSAGE}


class Cycles:
    """The program and its books, with definitions loaded."""

    hands = None		# how many measurements may run at once
    executors = None		# those that are allowed, if not all

    def __init__(self, tocsin, db, directory):
        self.tocsin = tocsin
        self.db = db
        self.directory = directory
        self.tocsin("init")

    def load(self, text, *flags, **options):
        return self.tocsin("load", definitions(self.directory, text), *flags, **options)

    def _way(self):
        """The flags by which a cycle is run to its end."""
        if self.hands:
            self.tocsin.env["TOCSIN_CONCURRENCY"] = str(self.hands)
        return ["--local", *(["--executors", self.executors] if self.executors else [])]

    def run(self, *args, **options):
        """A cycle, to its end."""
        return self.tocsin("cycle", *self._way(), *args, **options)

    def run_at(self, at, *args, **options):
        return self.run("--at", at, "--force", *args, **options)

    def spawn(self, *args, env=None):
        return self.tocsin.spawn("cycle", *self._way(), *args, env=env)

    def last(self):
        return self.db.one("select max(id) from tocsin.run")

    def state(self, run=None):
        return self.db.one("select state from tocsin.run where id = %s", run or self.last())

    def jobs(self, run=None):
        """name -> state, of variables and evidences, and of events as 'event NAME'."""
        return dict(self.db.all("""
            select case kind when 'event' then 'event ' else '' end || name, state
              from tocsin.job where run_id = %s""", run or self.last()))

    def job(self, name, column, run=None):
        return self.db.one(f"select {column} from tocsin.job where run_id = %s and name = %s",
                           run or self.last(), name)

    def signals(self, run=None):
        """name of the event -> action"""
        return dict(self.db.all("select event, action from tocsin.signal where run_id = %s",
                                run or self.last()))

    def event(self, name, columns="state, action, hold"):
        return self.db.one(f"select {columns} from tocsin.event where name = %s", name)

    def due_again(self, *names):
        """As a person does it by hand: every event is due at once, or these."""
        self.db.run("update tocsin.event set next_call = '-infinity'"
                    " where %s::text[] is null or name = any (%s)",
                    list(names) or None, list(names))

    def wait_for_job(self, name, *states, timeout=15):
        return wait_for(lambda: self.job(name, "state") in states, timeout,
                        lambda: f"{name} is {self.job(name, 'state')}, not {states}")


class CyclesOverAmqp(Cycles):
    """The same by way of the broker and two workers, who come with the first cycle."""

    def __init__(self, tocsin, db, directory, broker):
        tocsin.env.update(broker.env, TOCSIN_QUEUE="tocsin-" + db.name)
        super().__init__(tocsin, db, directory)
        self.workers = []

    def _way(self):
        if not self.workers:
            self.workers = [
                self.tocsin.spawn("worker", "-c", n, "--executors", self.executors or "sql,shell",
                                  env={"TOCSIN_GRACE": "500ms"})
                for n in self._shares()]
            for worker in self.workers:
                worker.wait_for("worker is ready", 20)
        return ["--wait"]

    def _shares(self):
        if self.hands is None:
            return [8, 8]
        return [n for n in (self.hands - self.hands // 2, self.hands // 2) if n]

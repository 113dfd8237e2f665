"""A relay in front of PostgreSQL that can stop passing anything on.

Nothing is closed then, and nothing refused: what a machine looks like from
afar whose power has failed, or a firewall that has forgotten a connection."""

import socket
import threading


class Relay:
    """with Relay(db) as relay: tocsin(..., env=relay.env); relay.hold()"""

    def __init__(self, database):
        self._to = (f"{database.env['PGHOST']}/.s.PGSQL.{database.env['PGPORT']}"
                    if database.env["PGHOST"].startswith("/")
                    else (database.env["PGHOST"], int(database.env["PGPORT"])))
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._lock = threading.Lock()
        self._sockets = []
        self._held = set()
        self.env = {"PGHOST": "127.0.0.1", "PGPORT": str(self._listener.getsockname()[1])}
        self.connections = 0
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        with self._lock:
            for s in [self._listener, *self._sockets]:
                try:
                    s.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass
                s.close()

    def hold(self):
        """What is connected now hears nothing more; new connections work."""
        with self._lock:
            self._held.update(self._sockets)

    def _accept(self):
        while True:
            try:
                here, _ = self._listener.accept()
            except OSError:
                return
            family = socket.AF_UNIX if isinstance(self._to, str) else socket.AF_INET
            there = socket.socket(family, socket.SOCK_STREAM)
            there.connect(self._to)
            with self._lock:
                self.connections += 1
                self._sockets += [here, there]
            for a, b in ((here, there), (there, here)):
                threading.Thread(target=self._pump, args=(a, b), daemon=True).start()

    def _pump(self, source, sink):
        try:
            while data := source.recv(65536):
                if source in self._held:
                    continue
                sink.sendall(data)
            if source not in self._held:
                sink.shutdown(socket.SHUT_WR)
        except OSError:
            pass

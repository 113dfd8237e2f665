"""Three brokers that are one cluster, each in a network namespace of its own.

    with Network() as network, Brokers(network) as brokers:
        brokers[0].env			# TOCSIN_BROKER_URL
        network.cut(0)			# the first one and the others do not meet
        network.heal(0)

The nodes have two networks: by one they hear of each other, which is the one that
is cut, and by the other they are spoken to.  Whoever is in Network.entered() is on
both, and on no other: what it starts is so, too.  Namespaces live as long as the
process that keeps them, so that nothing is left of them.
"""

import contextlib
import ctypes
import os
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path

from harness import wait_for

RABBITMQ = Path("/usr/lib/rabbitmq/bin")
CLONE_NEWNET = 0x40000000


def run(*command, timeout=60, **options):
    done = subprocess.run([*map(str, command)], stdin=subprocess.DEVNULL, capture_output=True,
                          text=True, timeout=timeout, **options)
    assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
    return done.stdout


def enter(namespace):
    """This thread, and what it starts from now on."""
    libc = ctypes.CDLL(None, use_errno=True)
    assert libc.setns(namespace, CLONE_NEWNET) == 0, os.strerror(ctypes.get_errno())


class Network:
    """A namespace in the middle, with two bridges, and one for each of N nodes."""

    def __init__(self, nodes=3):
        self.keepers = []
        self.middle = self._namespace()
        self.nodes = []
        for bridge, net in ("spoken", 1), ("heard", 2):
            self._ip(self.middle, "link", "add", bridge, "type", "bridge")
            self._ip(self.middle, "addr", "add", f"10.9.{net}.254/24", "dev", bridge)
            self._ip(self.middle, "link", "set", bridge, "up")
        for n in range(nodes):
            self.nodes.append(self._namespace())
            self._wire(n, "spoken", 1)
            self._wire(n, "heard", 2)

    def _namespace(self):
        """The pid of a process in a new one."""
        keeper = subprocess.Popen(["unshare", "--net", "sleep", "infinity"],
                                  stdin=subprocess.DEVNULL)
        self.keepers.append(keeper)
        ours = os.readlink("/proc/self/ns/net")
        wait_for(lambda: os.readlink(f"/proc/{keeper.pid}/ns/net") != ours
                 and "sleep" in Path(f"/proc/{keeper.pid}/comm").read_text())
        self._ip(keeper.pid, "link", "set", "lo", "up")
        return keeper.pid

    def _ip(self, pid, *args):
        run("nsenter", "--net", "--target", pid, "ip", *args)

    def _wire(self, n, bridge, net):
        node = self.nodes[n]
        self._ip(self.middle, "link", "add", f"{bridge}{n}", "type", "veth", "peer", "name",
                 bridge, "netns", node)
        self._ip(self.middle, "link", "set", f"{bridge}{n}", "master", bridge, "up")
        self._ip(node, "addr", "add", f"10.9.{net}.{n + 1}/24", "dev", bridge)
        self._ip(node, "link", "set", bridge, "up")

    def cut(self, n):
        self._ip(self.middle, "link", "set", f"heard{n}", "down")

    def heal(self, n):
        self._ip(self.middle, "link", "set", f"heard{n}", "up")

    @contextlib.contextmanager
    def entered(self):
        ours, theirs = (os.open(f"/proc/{pid}/ns/net", os.O_RDONLY) for pid in ("self", self.middle))
        enter(theirs)
        try:
            yield
        finally:
            enter(ours)
            os.close(ours)
            os.close(theirs)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for keeper in self.keepers:
            keeper.kill()
            keeper.wait()


class Node:
    """A broker: .env, connect(), depth() as of harness.Broker."""

    def __init__(self, network, n, cookie):
        self.namespace = network.nodes[n]
        self.name = f"rabbit@10.9.2.{n + 1}"
        self.host = f"10.9.1.{n + 1}"
        self.env = {"TOCSIN_BROKER_URL": f"amqp://guest:guest@{self.host}:5672/%2F"}
        self.home = Path(tempfile.mkdtemp(prefix="tocsin-rabbit.", dir="/tmp"))
        (self.home / "mnesia").mkdir()
        (self.home / "plugins").write_text("[].\n")
        (self.home / ".erlang.cookie").write_text(cookie)
        (self.home / ".erlang.cookie").chmod(0o400)
        # The side of the few pauses, as is good for three nodes; that they are few
        # it hears by ticks that do not come, within five quarters of a ticktime.
        (self.home / "rabbitmq.conf").write_text(
            f"listeners.tcp.1 = {self.host}:5672\nloopback_users = none\n"
            "cluster_partition_handling = pause_minority\nnet_ticktime = 4\n"
            "disk_free_limit.absolute = 50MB\n")
        self.processes = []

    def _command(self, name, *args):
        home, quiet = self.home, "+sbwt none +S 1:1"
        return ["nsenter", "--net", "--target", str(self.namespace), "env", "-i",
                f"PATH={os.environ['PATH']}", f"HOME={home}", "LANG=C.UTF-8",
                "RABBITMQ_USE_LONGNAME=true", f"RABBITMQ_NODENAME={self.name}",
                f"RABBITMQ_MNESIA_BASE={home}/mnesia", f"RABBITMQ_LOG_BASE={home}",
                "RABBITMQ_LOGS=-", f"RABBITMQ_CONFIG_FILE={home}/rabbitmq",
                "RABBITMQ_CONF_ENV_FILE=/dev/null", f"RABBITMQ_PID_FILE={home}/pid",
                f"RABBITMQ_ENABLED_PLUGINS_FILE={home}/plugins", "RABBITMQ_ALLOW_INPUT=1",
                f"RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS={quiet}", f"RABBITMQ_CTL_ERL_ARGS={quiet}",
                *(["ERL_AFLAGS=-start_epmd false"] if name != "epmd" else []),
                str(RABBITMQ / name) if name != "epmd" else name, *args]

    def launch(self):
        for command in (["epmd", "-d"], ["rabbitmq-server", "-noinput"]):
            with open(self.home / "log", "ab") as log:
                self.processes.append(subprocess.Popen(
                    self._command(*command), cwd=self.home, stdin=subprocess.DEVNULL,
                    stdout=log, stderr=log, start_new_session=True))

    def log(self):
        return (self.home / "log").read_text(errors="replace")

    def wait_for(self, text, times=1):
        def found():
            assert all(process.poll() is None for process in self.processes), self.log()
            return self.log().count(text) >= times
        wait_for(found, 90, self.log)

    def rabbitmqctl(self, *args):
        return run(*self._command("rabbitmqctl", *args), cwd=self.home, timeout=90)

    def connect(self):
        import amqp
        connection = amqp.Connection(host=f"{self.host}:5672", userid="guest", password="guest",
                                     connect_timeout=5)
        connection.connect()
        return connection

    def depth(self, queue):
        with self.connect() as connection:
            return connection.channel().queue_declare(queue, passive=True).message_count

    def end(self):
        """With all that it has started: they work in its home."""
        for pid in filter(str.isdigit, os.listdir("/proc")):
            with contextlib.suppress(OSError):
                if os.readlink(f"/proc/{pid}/cwd") == str(self.home):
                    os.kill(int(pid), signal.SIGKILL)
        for process in self.processes:
            process.wait()
        shutil.rmtree(self.home, ignore_errors=True)


class Brokers(list):
    """The nodes, joined."""

    def __init__(self, network):
        cookie = "tocsin" + os.urandom(8).hex()
        super().__init__(Node(network, n, cookie) for n in range(len(network.nodes)))

    def __enter__(self):
        try:
            for node in self:
                node.launch()
            for node in self:
                node.wait_for("Server startup complete")
            for node in self[1:]:
                for command in (["stop_app"], ["join_cluster", self[0].name], ["start_app"]):
                    node.rabbitmqctl(*command)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        for node in self:
            node.end()

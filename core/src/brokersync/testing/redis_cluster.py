"""A Redis cluster of its own for tests: three Valkeys on loopback, each with a third of the keys."""

from __future__ import annotations

import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import attrs
from redis import Redis
from redis.exceptions import RedisError

from brokersync.testing.redis_server import redis_program

_SERVERS = 3
_SLOTS = 16384
_AGREE_WITHIN = 30.0
_ASK_EVERY = 0.1
_HOST = "127.0.0.1"


@attrs.define
class ScratchNode:
    """One server of the cluster."""

    port: int
    bus: int
    process: subprocess.Popen[bytes]

    def ask(self, *words: Any) -> Any:
        """Its answer to a command. Raises the errors of redis."""
        with Redis(host=_HOST, port=self.port, decode_responses=True) as client:
            return client.execute_command(*words)

    def kill(self) -> None:
        """A crash."""
        self.process.kill()
        self.process.wait()


@attrs.frozen
class ScratchCluster:
    """A cluster that runs, and goes on without a server that is killed."""

    nodes: list[ScratchNode]

    @property
    def url(self) -> str:
        return f"redis+cluster://{_HOST}:{self.nodes[0].port}"

    def node(self, port: int) -> ScratchNode:
        """The server on this port."""
        return next(one for one in self.nodes if one.port == port)


@contextmanager
def scratch_cluster() -> Iterator[ScratchCluster]:
    """Start a cluster and kill it at the end. Raises `NoRedisError` when there is no Redis on this machine."""
    with ExitStack() as stack:
        nodes = [stack.enter_context(_node()) for _ in range(_SERVERS)]
        _wait(lambda: all(one.ask("PING") for one in nodes))
        for number, one in enumerate(nodes):
            first, after = number * _SLOTS // _SERVERS, (number + 1) * _SLOTS // _SERVERS
            one.ask("CLUSTER ADDSLOTSRANGE", first, after - 1)
        _wait(lambda: _introduced(nodes))
        yield ScratchCluster(nodes)


def _introduced(nodes: list[ScratchNode]) -> bool:
    if all(_agrees(one) for one in nodes):
        return True
    # A server that gets no processor for a second drops the introductions it has not acted on, so they are made again.
    for one in nodes[1:]:
        nodes[0].ask("CLUSTER MEET", _HOST, one.port, one.bus)
    return False


def _agrees(node: ScratchNode) -> bool:
    said = node.ask("CLUSTER INFO")
    return (said["cluster_state"], said["cluster_size"]) == ("ok", str(_SERVERS))


@contextmanager
def _node() -> Iterator[ScratchNode]:
    folder = Path(tempfile.mkdtemp(prefix="redis-"))
    port, bus = _free_port(), _free_port()
    command = [redis_program(), "--port", str(port), "--bind", _HOST, "--dir", str(folder), "--save", ""]
    command += ["--cluster-enabled", "yes", "--cluster-port", str(bus), "--cluster-node-timeout", "1000"]
    command += ["--cluster-require-full-coverage", "no"]
    with (folder / "log").open("ab") as log:
        made = ScratchNode(port, bus, subprocess.Popen(command, stdout=log, stderr=log))  # noqa: S603  the program that was found
    try:
        yield made
    finally:
        made.kill()
        shutil.rmtree(folder, ignore_errors=True)


def _free_port() -> int:
    with socket.socket() as free:
        free.bind((_HOST, 0))
        port: int = free.getsockname()[1]
        return port


def _wait(until: Any) -> None:
    ends = time.monotonic() + _AGREE_WITHIN
    while True:
        try:
            if until():
                return
        except RedisError:
            if time.monotonic() > ends:
                raise
        if time.monotonic() > ends:
            raise RuntimeError("The servers did not become a cluster.")
        time.sleep(_ASK_EVERY)

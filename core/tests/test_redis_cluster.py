"""The scratch cluster of the tests comes up on a machine that is short of processors."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import pytest

from brokersync.testing.redis_cluster import ScratchCluster, ScratchNode

_LONGER_THAN_AN_INTRODUCTION_LASTS = 1.5
_OTHERS = 2


def test_servers_that_got_no_processor_for_a_while_still_become_a_cluster(
    own_cluster: Callable[..., AbstractContextManager[ScratchCluster]], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, introduced = ScratchNode.ask, set[int]()

    def ask(node: ScratchNode, *words: Any) -> Any:
        answer = asked(node, *words)
        if words[0] != "CLUSTER MEET" or len(introduced) == _OTHERS:
            return answer
        introduced.update({int(words[2])} - {node.port})
        if len(introduced) == _OTHERS:
            os.kill(node.process.pid, signal.SIGSTOP)
            later = (node.process.pid, signal.SIGCONT)
            threading.Timer(_LONGER_THAN_AN_INTRODUCTION_LASTS, os.kill, later).start()
        return answer

    monkeypatch.setattr(ScratchNode, "ask", ask)
    with own_cluster() as cluster:
        assert len(introduced) == _OTHERS
        assert {one.ask("CLUSTER INFO")["cluster_state"] for one in cluster.nodes} == {"ok"}

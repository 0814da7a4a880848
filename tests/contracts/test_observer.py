"""The contract of `Observer` on the fake, on the playbook over SSH, and on pods whose programs really run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from threading import Event
from typing import Any

import pytest

import rollout
from rollout.adapters.ansible.hosts import AnsibleHosts
from rollout.adapters.observer import PlaybookObserver
from rollout.domain.observed import BPF_PROBES
from rollout.ports.hosts import Host
from tests.contracts.observer import ObserverContract, Scene
from tests.fakes.observer import FakeObserver, agent_document, capability_document, host_document, links_document
from tests.support import playbooks
from tests.support.kubelet import LocalKubelets, waiting
from tests.support.sshd import Sshd, free_port, sshd_fixture  # noqa: F401  a fixture
from tests.support.toolbox import toolbox_rig

PLAYBOOKS = Path(rollout.__file__).parents[1] / "playbooks"


class _Clock:
    def now(self) -> datetime:
        return datetime(2026, 11, 23, tzinfo=UTC)

    def wait(self, seconds: float, cancel: Event | None = None) -> bool:
        return False


class TestFake(ObserverContract):
    @pytest.fixture
    def scene(self) -> Scene:
        documents: Mapping[str, Mapping[str, Any]] = {
            "links": links_document(("lxc1", "veth")),
            "agent": agent_document("veth"),
            "capability": capability_document("netkit"),
            "host": host_document(),
            "programs": {"schema": 1, "devices": [], "unread": []},
            "counters": {"schema": 1, "links": [], "snmp": {}, "softnet_dropped": 0},
            "reach": {"schema": 1, "cells": [], "bursts": [], "skipped": []},
            "policy": {"schema": 1, "pairs": [], "skipped": []},
            **{name: {"failed": True, "code": "bpf-unavailable", "message": "there is no BCC"} for name in BPF_PROBES},
        }
        observer = FakeObserver(
            _Clock(), lambda node, probe: documents[probe] if node == "n1" else "cannot reach n2: connection refused"
        )
        return Scene(observer, Host("n1", "127.0.0.1"), Host("n2", "127.0.0.2"))


class TestPlaybook(ObserverContract):
    @pytest.fixture
    def scene(self, sshd: Sshd, tmp_path: Path) -> Scene:
        hosts = AnsibleHosts(playbooks.settings(sshd, tmp_path, PLAYBOOKS, become=False))
        return Scene(PlaybookObserver(hosts, _Clock()), Host("n1", "127.0.0.1"), Host("n2", "127.0.0.2", free_port()))


class TestToolbox(ObserverContract):
    @pytest.fixture
    def scene(self, tmp_path: Path) -> Iterator[Scene]:
        kubelets = LocalKubelets("n1", refuse={"n2": waiting("ImagePullBackOff", "Back-off pulling image")})
        with toolbox_rig(tmp_path, kubelets) as rig:
            yield Scene(rig.observer(), Host("n1", "127.0.0.1"), Host("n2", "127.0.0.2"))
            assert rig.pods() == []

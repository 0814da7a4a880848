"""The configuration: where values come from, and what is refused with its line."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path

import pytest

from rollout.app.world import Address
from rollout.cli.config import KEYS, Config, load, shown, without_password
from rollout.cli.policy import require_sane
from rollout.cli.typed_yaml import parse_address, parse_duration
from rollout.domain.errors import UsageError
from rollout.domain.node import DatapathMode
from rollout.domain.policy import (
    CheckLevel,
    ExternalGate,
    GateScope,
    GateSource,
    MethodChoice,
    OnFailure,
    Policy,
    ProbeRules,
    Tolerances,
    Waiver,
    WithoutBpf,
)
from tests.cli.conftest import Run

FULL = """\
kubeconfig: kube.yaml
context: prod
state: state/here.db
lease_seconds: 45
ssh:
  user: ops
  port: 2222
  private_key: ~/key
  become: false
  extra_args: ["-o", "ProxyJump=bastion"]
hosts:
  n1: 10.0.0.1:2201
  n2: {address: "fd00::2", port: 22}
  n3: "[fd00::3]:2203"
hooks:
  before_node: hooks/before.yml
api: {qps: 5, timeout: 10s}
policy:
  target: netkit-l2
  method: reboot
  nodes: [n1, n2]
  selector: {pool: web}
  max_unavailable: 10%
  on_failure: roll-back
  soak_loaded_s: 10m
  deadlines_s: {drain: 1h}
  drain: {evict_unowned: true}
  waivers:
    - {rule: agents-ready, by: ann, reason: "one is being replaced", nodes: [n9]}
"""


def test_everything_is_read(tmp_path: Path) -> None:
    file = tmp_path / "c.yaml"
    file.write_text(FULL)
    loaded = load(file, {}, {})
    config = loaded.config
    assert config.kubeconfig == tmp_path / "kube.yaml"
    assert config.state == str(tmp_path / "state/here.db")
    assert config.ssh.private_key == Path.home() / "key"
    assert (config.ssh.user, config.ssh.become, config.ssh.extra_args) == ("ops", False, ("-o", "ProxyJump=bastion"))
    expected = (Address("10.0.0.1", 2201), Address("fd00::2", 22), Address("fd00::3", 2203))
    assert tuple(config.hosts.values()) == expected
    assert config.hooks.before_node == tmp_path / "hooks/before.yml"
    assert (config.api.qps, config.api.timeout, config.api.burst) == (5, 10, 40)
    policy = config.policy
    assert (policy.target, policy.method, policy.on_failure) == (
        DatapathMode.NETKIT_L2, MethodChoice.REBOOT, OnFailure.ROLL_BACK,
    )  # fmt: skip
    assert (policy.nodes, policy.selector, policy.max_unavailable) == (("n1", "n2"), {"pool": "web"}, "10%")
    assert (policy.soak_loaded_s, policy.deadlines_s) == (600, {"drain": 3600})
    assert policy.drain.evict_unowned and policy.drain.delete_empty_dir
    assert policy.waivers == (Waiver("agents-ready", "ann", "one is being replaced", ("n9",)),)
    assert loaded.origins["ssh.port"] == f"{file}:7"


def test_checks_probes_and_gates_are_read(tmp_path: Path) -> None:
    file = tmp_path / "c.yaml"
    file.write_text("""
gates_token_file: token
policy:
  checks: {host-routing: off, agent-health: advisory}
  on_failure: hold-rollout
  on_check_failure:
    links: roll-back-wave
  probes: {image: "registry.example/python:3", window_s: 1m, without_bpf: accept}
  tolerances: {latency_us: 900}
  gates:
    - name: errors
      source: prometheus
      url: https://prom.example
      scope: node
      query: 'e{node=$node}'
      proceed_when: < 0.01
      timeout_s: 30s
""")
    loaded = load(file, {}, {})
    policy = loaded.config.policy
    assert policy.checks == {"host-routing": CheckLevel.OFF, "agent-health": CheckLevel.ADVISORY}
    assert policy.on_failure is OnFailure.HOLD_ROLLOUT
    assert policy.on_check_failure == {"links": OnFailure.ROLL_BACK_WAVE}
    assert policy.probes == ProbeRules(image="registry.example/python:3", window_s=60, without_bpf=WithoutBpf.ACCEPT)
    assert policy.tolerances == Tolerances(latency_us=900)
    assert policy.gates == (
        ExternalGate(
            "errors", GateSource.PROMETHEUS, "https://prom.example", GateScope.NODE, "e{node=$node}", "< 0.01", "", 30
        ),
    )
    assert loaded.config.gates_token_file == tmp_path / "token"
    require_sane(policy)


@pytest.mark.parametrize(
    ("text", "line", "words", "hint"),
    [
        ("kubconfig: x\n", 1, "kubconfig: there is no such key", "did you mean kubeconfig?"),
        ("api:\n  qsp: 3\n", 2, "api.qsp: there is no such key", "did you mean qps?"),
        ("policy:\n  canary: many\n", 2, "policy.canary: a whole number is wanted here, found 'many'", ""),
        ("policy:\n  canary: true\n", 2, "policy.canary: a plain value is wanted here", ""),
        ("policy:\n  target: netkitt\n", 2, "policy.target: 'netkitt' is not known", "did you mean netkit?"),
        ("policy:\n  soak_loaded_s: 5 minutes\n", 2, "policy.soak_loaded_s: '5 minutes' is not a duration", ""),
        ("policy:\n  nodes: n1\n", 2, "policy.nodes: a list is wanted here", ""),
        ("policy:\n  waivers:\n    - rule: scrub\n", 3, "policy.waivers[0]: key by is missing", ""),
        ("policy:\n  checks:\n    links: no\n", 3, "policy.checks.links: a plain value is wanted here", ""),
        ("policy:\n  checks:\n    links: of\n", 3, "policy.checks.links: 'of' is not known", "did you mean off?"),
        ("policy:\n  gates:\n    - name: a\n", 3, "policy.gates[0]: key source is missing", ""),
        ("policy:\n  gates:\n    - nam: a\n", 3, "policy.gates[0].nam: there is no such key", "did you mean name?"),
        ("policy:\n  method: off\n", 2, "policy.method: a plain value is wanted here", ""),
        ("ssh: root\n", 1, "ssh: a mapping of keys to values is wanted here", ""),
        ("ssh:\n  become: 1\n", 2, "ssh.become: true or false is wanted here", ""),
        ("context: a\n\ncontext: b\n", 3, "context: the key is there twice", ""),
        ("hosts:\n  n1: a b\n", 2, "hosts.n1: 'a b' is not address", ""),
        ("- a\n", 1, "the document: a mapping", ""),
        ("context: [a]\n", 1, "context: a plain value is wanted here, found a list", ""),
        ("ssh: {user: }\n", 1, "ssh.user: a plain value is wanted here, found nothing", ""),
    ],
)
def test_what_is_wrong_is_named_with_its_line(tmp_path: Path, text: str, line: int, words: str, hint: str) -> None:
    file = tmp_path / "c.yaml"
    file.write_text(text)
    with pytest.raises(UsageError) as caught:
        load(file, {}, {})
    assert words in caught.value.message
    assert caught.value.context == f"{file}, line {line}"
    assert hint in caught.value.hint


def test_text_that_is_no_yaml_or_no_file(tmp_path: Path) -> None:
    file = tmp_path / "c.yaml"
    file.write_text("a: [")
    with pytest.raises(UsageError, match="cannot read the configuration"):
        load(file, {}, {})
    with pytest.raises(UsageError, match="No such file"):
        load(tmp_path / "none.yaml", {}, {})
    file.write_text("")
    assert load(file, {}, {}).config.context is None


def test_the_order_flag_environment_file_default(tmp_path: Path) -> None:
    file = tmp_path / "c.yaml"
    file.write_text("state: from-file.db\ncontext: from-file\n")
    env = {"ROLLOUT_CONFIG": str(file), "ROLLOUT_STATE": str(tmp_path / "from-env.db")}
    loaded = load(None, env, {"context": "from-flag", "kubeconfig": None})
    assert loaded.config.state == str(tmp_path / "from-env.db")
    assert loaded.config.context == "from-flag"
    origins = {key: origin for key, _, origin in shown(loaded)}
    assert (origins["state"], origins["context"], origins["api.qps"]) == ("$ROLLOUT_STATE", "--context", "default")


def test_the_readmes_examples_are_read_and_make_sense(tmp_path: Path) -> None:
    readme = (Path(__file__).parents[2] / "README.md").read_text()
    blocks = [block for block in re.findall(r"```yaml\n(.*?)```", readme, re.DOTALL) if "policy:" in block]
    assert any("gates:" in block for block in blocks)
    for number, block in enumerate(blocks):
        file = tmp_path / f"{number}.yaml"
        file.write_text(block)
        require_sane(load(file, {}, {}).config.policy)


def test_every_key_is_described_and_shown() -> None:
    assert [key for key, _, _ in shown(load(None, {}, {}))] == list(KEYS)
    assert all(KEYS.values())
    assert {f.name for f in dataclasses.fields(Config)} == {key.split(".")[0] for key in KEYS}


def test_config_show_hides_a_password(run: Run) -> None:
    result = run("config", "show", "--state", "postgresql://ann:secret@db/rollout", "--output", "json")
    assert json.loads(result.stdout)["state"] == {"value": "postgresql://ann:***@db/rollout", "from": "--state"}
    assert without_password("postgresql://ann@db/x") == "postgresql://ann@db/x"


def test_durations_and_addresses() -> None:
    assert [parse_duration(t) for t in ("90", "30s", "5m", "1h30m", "2d")] == [90, 30, 300, 5400, 172800]
    for text in ("", "5", "m", "5x", "-5s"):
        if text != "5":
            with pytest.raises(ValueError, match="is not a duration"):
                parse_duration(text)
    assert parse_address("fd00::1") == Address("fd00::1")
    for text in ("", "a:b", "a:99999", "a b"):
        with pytest.raises(ValueError, match="is not"):
            parse_address(text)


WEB = ExternalGate("slo", GateSource.HTTP, "https://slo.example/check?wave=$wave")
PROM = ExternalGate(
    "errors", GateSource.PROMETHEUS, "http://prom:9090/p", GateScope.NODE, "e{node=$node}", "< 0.01", ">= 0.05"
)


def test_a_policy_with_all_of_checks_probes_and_gates_makes_sense() -> None:
    require_sane(
        Policy(
            target=DatapathMode.NETKIT,
            checks={"host-routing": CheckLevel.OFF, "links": CheckLevel.REQUIRED, "agent-health": CheckLevel.ADVISORY},
            on_check_failure={"links": OnFailure.ROLL_BACK_WAVE, "dns": OnFailure.ROLL_BACK},
            gates=(WEB, PROM),
        )
    )


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"max_unavailable": "0"}, "no node could ever move"),
        ({"max_unavailable": "0%"}, "no node could ever move"),
        ({"max_unavailable": "120%"}, "more than the whole fleet"),
        ({"max_unavailable": "some"}, "neither a count"),
        ({"max_unavailable": "-1"}, "neither a count"),
        ({"canary": 0}, "canary: 0 is too small"),
        ({"growth": 0}, "growth: 0 is too small"),
        ({"failure_budget": -1}, "failure_budget: -1 is too small"),
        ({"deadlines_s": {"drian": 5}}, "there is no step drian"),
        ({"deadlines_s": {"drain": 0}}, "deadlines_s.drain: 0 is too small"),
        ({"target": DatapathMode.AUTO}, "auto is no mode to move to"),
        ({"waivers": (Waiver("scrubb", "a", "b"),)}, "there is no preflight rule scrubb"),
        ({"waivers": (Waiver("scrub", "a", " "),)}, "says not who asked for it and why"),
        ({"checks": {"linsk": CheckLevel.ADVISORY}}, "checks: there is no check linsk"),
        ({"checks": {"links": CheckLevel.OFF}}, "checks.links: it cannot be off"),
        ({"checks": {"agent-mode": CheckLevel.ADVISORY}}, "checks.agent-mode: it cannot be advisory"),
        ({"on_check_failure": {"agent": OnFailure.HOLD}}, "on_check_failure: there is no check agent"),
        (
            {"checks": {"agent-health": CheckLevel.OFF}, "on_check_failure": {"agent-health": OnFailure.ROLL_BACK}},
            "roll-back can never happen, since the check agent-health is off",
        ),
        ({"on_check_failure": {"tcp": OnFailure.HOLD_ROLLOUT}}, "since the check tcp is advisory"),
        ({"probes": ProbeRules(namespace="No_Name")}, "probes.namespace: 'No_Name' is no name"),
        ({"probes": ProbeRules(image="")}, "probes.image: '' is no image"),
        ({"probes": ProbeRules(packets=1)}, "probes.packets: 1 is not between 20 and"),
        ({"probes": ProbeRules(window_s=0)}, "probes.window_s: 0 is not between 1 and"),
        ({"probes": ProbeRules(peers=3)}, "probes.peers: 3 is not between 0 and 2"),
        ({"tolerances": Tolerances(latency_us=-1)}, "tolerances.latency_us: -1 is not"),
        ({"tolerances": Tolerances(error_ppm=0)}, "tolerances.error_ppm: 0 is not"),
        ({"tolerances": Tolerances(loss_ppm=1_000_001)}, "tolerances.loss_ppm: 1000001 is not"),
        ({"gates": (WEB, WEB)}, "gates[0].name: 2 gates are called slo"),
        ({"gates": (dataclasses.replace(WEB, name="My gate"),)}, "gates[0].name: 'My gate' is no name"),
        ({"gates": (WEB, dataclasses.replace(WEB, name="b", url="ftp://h/"))}, "gates[1].url: 'ftp://h/' is no http"),
        ({"gates": (dataclasses.replace(WEB, url="https://"),)}, "gates[0].url: 'https://' is no http"),
        ({"gates": (dataclasses.replace(WEB, url="https://a:b@h/"),)}, "a user or password does not belong"),
        ({"gates": (dataclasses.replace(WEB, url="https://$wave.h/"),)}, "variable host"),
        ({"gates": (dataclasses.replace(WEB, url="https://h/a b"),)}, "has blanks"),
        ({"gates": (dataclasses.replace(WEB, url="https://h:port/"),)}, "is no URL"),
        ({"gates": (dataclasses.replace(WEB, url="https://h/$node"),)}, "gates[0].scope: $node is known only"),
        ({"gates": (dataclasses.replace(WEB, query="up"),)}, "gates[0].query: an HTTP check has none"),
        ({"gates": (dataclasses.replace(WEB, timeout_s=0),)}, "gates[0].timeout_s: 0 is not between"),
        ({"gates": (dataclasses.replace(PROM, query=" "),)}, "a Prometheus gate needs a query"),
        ({"gates": (dataclasses.replace(PROM, proceed_when=""),)}, "could never proceed"),
        (
            {"gates": (dataclasses.replace(PROM, roll_back_when="above 5"),)},
            "roll_back_when: 'above 5' is no comparison",
        ),
        ({"gates": (dataclasses.replace(PROM, url="http://p/?query=up"),)}, "ends before /api/v1/query"),
    ],
)
def test_a_policy_that_makes_no_sense_is_refused(change: dict[str, object], words: str) -> None:
    policy = dataclasses.replace(Policy(target=DatapathMode.NETKIT), **change)  # type: ignore[arg-type]
    with pytest.raises(UsageError) as caught:
        require_sane(policy)
    assert words in caught.value.message


def test_near_misses_of_a_step() -> None:
    with pytest.raises(UsageError) as caught:
        require_sane(Policy(target=DatapathMode.NETKIT, deadlines_s={"drian": 5}))
    assert caught.value.hint == "did you mean drain?"

"""The merge of the agent's configuration: who wins, and what the log says."""

import io
from collections.abc import Callable

import buildconfig
import pytest
from buildconfig import Overrides, Source
from logline import Log

CONFIG_MAP = Source("config-map", "kube-system", "cilium-config", {"datapath-mode": "veth", "debug": "false"})


def node_config(name: str, selector: dict[str, object] | None, **defaults: str) -> dict[str, object]:
    values = {key.replace("_", "-"): value for key, value in defaults.items()}
    return {"metadata": {"name": name}, "spec": {"nodeSelector": selector, "defaults": values}}


def quiet() -> Log:
    return Log(io.StringIO())


@pytest.mark.parametrize(
    ("selector", "expected"),
    [
        (None, False),
        ({}, True),
        ({"matchLabels": {"mode": "netkit"}}, True),
        ({"matchLabels": {"mode": "netkit", "zone": "a"}}, False),
        ({"matchExpressions": [{"key": "mode", "operator": "In", "values": ["netkit", "x"]}]}, True),
        ({"matchExpressions": [{"key": "mode", "operator": "NotIn", "values": ["netkit"]}]}, False),
        ({"matchExpressions": [{"key": "zone", "operator": "NotIn", "values": ["a"]}]}, True),
        ({"matchExpressions": [{"key": "mode", "operator": "Exists"}]}, True),
        ({"matchExpressions": [{"key": "mode", "operator": "DoesNotExist"}]}, False),
    ],
)
def test_selector(selector: dict[str, object] | None, expected: bool) -> None:
    assert buildconfig.selects(selector, {"mode": "netkit"}) is expected


def test_node_config_beats_config_map_and_later_name_wins() -> None:
    chosen = buildconfig.pick_node_configs(
        [
            node_config("zz-last", {}, datapath_mode="netkit"),
            node_config("aa-first", {}, datapath_mode="netkit-l2", extra="1"),
            node_config("elsewhere", {"matchLabels": {"other": "node"}}, datapath_mode="auto"),
        ],
        {"mode": "netkit"},
    )
    source = buildconfig.combine_node_configs("kube-system", chosen, quiet())
    merged = buildconfig.merge([CONFIG_MAP, source], Overrides(), quiet())
    assert merged == {"datapath-mode": "netkit", "debug": "false", "extra": "1"}


@pytest.mark.parametrize(
    ("argv", "mode"),
    [
        (["--deny-config-keys=datapath-mode"], "veth"),
        (["--allow-config-keys", "debug"], "veth"),
        (["--allow-config-keys=datapath-mode", "--deny-config-keys=datapath-mode"], "netkit"),
        ([], "netkit"),
    ],
)
def test_guarded_keys_keep_the_first_source(argv: list[str], mode: str) -> None:
    second = Source("cilium-node-config", "kube-system", "", {"datapath-mode": "netkit"})
    merged = buildconfig.merge([CONFIG_MAP, second], buildconfig.parse_overrides(argv), quiet())
    assert merged["datapath-mode"] == mode


def test_override_is_logged_in_the_recorded_words(recorded: Callable[[str], str]) -> None:
    expected = next(line for line in recorded("agent-config-init-netkit.log").splitlines() if "overrides key" in line)
    output = io.StringIO()
    second = Source("cilium-node-config", "kube-system", "", {"datapath-mode": "netkit"})
    buildconfig.merge([CONFIG_MAP, second], Overrides(), Log(output, subsys="cilium-dbg"))
    assert output.getvalue().strip().partition(" ")[2] == expected.partition(" ")[2]

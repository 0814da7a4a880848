"""Settings before and after, with their sources, against the plain merge of the domain."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from rollout.domain.inventory import NodeConfig, effective_config
from rollout.domain.node import LABEL_MODE, NODE_CONFIG_NAME
from rollout.domain.plan import PlannedNodeConfig
from rollout.domain.scheduling import LabelRequirement
from rollout.planning.effective import CONFIG_MAP, EffectiveConfigs
from rollout.planning.facts import is_ours
from tests.builders import agent_install, node_config

KEYS = st.sampled_from(["datapath-mode", "enable-host-firewall", "mtu"])
SETTINGS = st.dictionaries(KEYS, st.sampled_from(["veth", "netkit", "true"]), max_size=3)
ROWS = st.lists(
    st.builds(
        LabelRequirement,
        st.sampled_from([LABEL_MODE, "pool"]),
        st.sampled_from(["In", "NotIn", "Exists", "DoesNotExist"]),
        st.just(("netkit",)),
    ),
    max_size=2,
).map(tuple)
NAMES = st.sampled_from(["a", "b", "zz-other", "zzz", NODE_CONFIG_NAME])
CONFIGS = st.lists(
    st.builds(
        lambda name, settings, rows, where: node_config(name, settings, match_expressions=rows, namespace=where),
        NAMES, SETTINGS, ROWS, st.sampled_from(["kube-system", "other"]),
    ),
    max_size=4, unique_by=lambda c: c.name,
).map(tuple)  # fmt: skip
LABELS = st.dictionaries(st.sampled_from([LABEL_MODE, "pool"]), st.sampled_from(["netkit", "veth"]))
ALLOWED = st.sampled_from(
    [{}, {"deny_keys": ("datapath-mode",)}, {"allow_keys": ("mtu",)}, {"merges_node_configs": False}]
)


@given(CONFIGS, LABELS, ALLOWED, st.booleans())
def test_as_the_domain_merges(
    configs: tuple[NodeConfig, ...], labels: dict[str, str], allowed: dict[str, object], labelled: bool
) -> None:
    agent = agent_install(**allowed)
    ours = PlannedNodeConfig(NODE_CONFIG_NAME, "kube-system", "v2", "netkit", {"datapath-mode": "netkit"})
    merged = EffectiveConfigs(agent, configs)
    for _ in range(2):  # the second answer is the kept one
        found = merged.change(labels, ours if labelled else None)
        before = effective_config(agent, configs, labels)
        mine = node_config(NODE_CONFIG_NAME, ours.defaults, match_labels={LABEL_MODE: "netkit"})
        foreign = tuple(c for c in configs if not is_ours(c))
        after_labels = {k: v for k, v in labels.items() if k != LABEL_MODE}
        after_labels |= {LABEL_MODE: "netkit"} if labelled else {}
        after = effective_config(agent, (*foreign, mine) if labelled else foreign, after_labels)
        keys = {k for k in before.keys() | after.keys() if before.get(k) != after.get(k)}
        assert found.values == {k: (before.get(k, ""), after.get(k, "")) for k in keys}
        assert found.sources.keys() == keys
        for key, sources in found.sources.items():
            for settings, source in zip((before, after), sources, strict=True):
                assert (key in settings) == bool(source)
                assert source in ("", CONFIG_MAP) or source.startswith("CiliumNodeConfig ")

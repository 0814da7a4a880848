"""An agent's effective settings before and after the plan, and the object each of them comes from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rollout.domain.inventory import AgentInstall, NodeConfig, overridable
from rollout.domain.node import LABEL_MODE
from rollout.domain.plan import PlannedNodeConfig
from rollout.planning.facts import is_ours

CONFIG_MAP = "ConfigMap cilium-config"
_UNSET = ("", "")

Sourced = Mapping[str, tuple[str, str]]
"""Setting to its value and the object that gives it."""


@dataclass(frozen=True, slots=True)
class ConfigChange:
    """Settings that differ: key to (before, after), and key to the objects they come from."""

    values: Mapping[str, tuple[str, ...]]
    sources: Mapping[str, tuple[str, ...]]


class EffectiveConfigs:
    """Merged settings by which CiliumNodeConfigs select a node: a fleet has few such sets, so each is merged once."""

    def __init__(self, agent: AgentInstall, configs: Sequence[NodeConfig]) -> None:
        self._agent = agent
        self._merged: dict[tuple[NodeConfigKey, ...], Sourced] = {}
        self._changes: dict[tuple[tuple[NodeConfigKey, ...], tuple[NodeConfigKey, ...]], ConfigChange] = {}
        used = configs if agent.merges_node_configs else ()
        self._configs = tuple(sorted((c for c in used if c.namespace == agent.namespace), key=lambda c: c.name))

    def change(self, labels: Mapping[str, str], ours: PlannedNodeConfig | None) -> ConfigChange:
        """What the agent's restart changes once our label is as planned.

        `ours`: the CiliumNodeConfig that the label will select, None when the label goes. Foreign ones are judged by
        the labels as they will be, since they may select on ours.
        """
        after = {key: value for key, value in labels.items() if key != LABEL_MODE}
        if ours is not None:
            after[LABEL_MODE] = ours.label_value
        was = tuple(_key(c) for c in self._configs if c.selects(labels))
        will = [_key(c) for c in self._configs if not is_ours(c) and c.selects(after)]
        if ours is not None and self._agent.merges_node_configs:
            will.append((ours.name, tuple(sorted(ours.defaults.items()))))
        key = (was, tuple(sorted(will)))
        if key not in self._changes:
            self._changes[key] = _difference(self._merge(key[0]), self._merge(key[1]))
        return self._changes[key]

    def _merge(self, selecting: tuple[NodeConfigKey, ...]) -> Sourced:
        """As `domain.inventory.effective_config`, with the object that each value comes from."""
        if selecting not in self._merged:
            merged = {key: (value, CONFIG_MAP) for key, value in self._agent.config.items()}
            for name, defaults in selecting:
                source = f"CiliumNodeConfig {name}"
                merged |= {k: (v, source) for k, v in defaults if overridable(self._agent, k)}
            self._merged[selecting] = merged
        return self._merged[selecting]


NodeConfigKey = tuple[str, tuple[tuple[str, str], ...]]
"""A CiliumNodeConfig's name and settings: what a merge depends on."""


def _key(config: NodeConfig) -> NodeConfigKey:
    return config.name, tuple(sorted(config.defaults.items()))


def _difference(before: Sourced, after: Sourced) -> ConfigChange:
    keys = sorted(k for k in before.keys() | after.keys() if before.get(k, _UNSET)[0] != after.get(k, _UNSET)[0])
    return ConfigChange(
        {k: (before.get(k, _UNSET)[0], after.get(k, _UNSET)[0]) for k in keys},
        {k: (before.get(k, _UNSET)[1], after.get(k, _UNSET)[1]) for k in keys},
    )

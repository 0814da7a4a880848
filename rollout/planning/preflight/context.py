"""What rows look up again and again, worked out once for the whole cluster."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from rollout.domain.inventory import Inventory, NodeConfig, effective_config
from rollout.domain.node import DaemonSet, DatapathMode, Node, Pod, PodDisruptionBudget
from rollout.domain.observed import PROBE_AGENT, parse_agent
from rollout.domain.policy import Policy
from rollout.planning.drain import evictable
from rollout.planning.facts import is_ours
from rollout.planning.preflight.neighbours_known import NEIGHBOURS, Neighbour
from rollout.planning.preflight.programs_known import EBPF_USERS, Known, recognise
from rollout.planning.versions import Version, parse_image_version, parse_version

MODE_KEY = "datapath-mode"


@dataclass(frozen=True)  # no slots: what is looked up is kept, since every node asks
class Context:
    """The inventory with indexes, the policy, and the nodes that are judged."""

    inventory: Inventory
    policy: Policy
    nodes: tuple[Node, ...]

    @cached_property
    def version(self) -> Version | None:
        """The agent's version by its image tag, else the oldest that an agent tells; None when nobody tells."""
        install = self.inventory.cluster.agent
        tagged = parse_image_version(install.image) if install else None
        if tagged is not None:
            return tagged
        agents = (parse_agent(self.inventory.observation(node.name, PROBE_AGENT)) for node in self.nodes)
        told = [version for agent in agents if agent and (version := parse_version(agent.version))]
        return min(told, default=None)

    @cached_property
    def foreign_configs(self) -> tuple[NodeConfig, ...]:
        """CiliumNodeConfigs of others in the agent's namespace, in name order."""
        return tuple(c for c in self._in_force if not is_ours(c))

    @cached_property
    def _in_force(self) -> tuple[NodeConfig, ...]:
        install = self.inventory.cluster.agent
        namespace = install.namespace if install else ""
        own = (c for c in self.inventory.cluster.node_configs if c.namespace == namespace)
        return tuple(sorted(own, key=lambda c: c.name))

    @cached_property
    def _merged(self) -> dict[tuple[str, ...], Mapping[str, str]]:
        return {}

    def effective(self, node: Node) -> Mapping[str, str]:
        """The settings that the node's agent would start with; nodes that the same objects select share one map."""
        install = self.inventory.cluster.agent
        if install is None:
            return {}
        selecting = tuple(c for c in self._in_force if c.selects(node.labels))
        key = tuple(c.name for c in selecting)
        if key not in self._merged:
            self._merged[key] = effective_config(install, selecting, node.labels)
        return self._merged[key]

    @cached_property
    def mode_rivals(self) -> tuple[NodeConfig, ...]:
        """CiliumNodeConfigs of others that set the mode."""
        return tuple(c for c in self.foreign_configs if MODE_KEY in c.defaults)

    @cached_property
    def running(self) -> Mapping[str, DatapathMode]:
        """The mode each judged node's agent tells that it runs in; nodes without an answer are missing."""
        found = {}
        for node in self.nodes:
            agent = parse_agent(self.inventory.observation(node.name, PROBE_AGENT))
            try:
                found[node.name] = DatapathMode(agent.mode if agent else "")
            except ValueError:
                continue
        return found

    @cached_property
    def machines(self) -> Mapping[str, int]:
        """KubeVirt's running virtual machines by node."""
        found = self.inventory.cluster.of_kind("VirtualMachineInstance")
        return Counter(one.traits["node"] for one in found if one.traits.get("node"))

    @cached_property
    def claims(self) -> Mapping[str, str]:
        """What stands for a node in its pool, by node: a Machine of Cluster API, a NodeClaim of Karpenter."""
        found = self.inventory.cluster.of_kind("Machine", "NodeClaim")
        return {one.traits["node"]: f"{one.kind} {one.name}" for one in found if one.traits.get("node")}

    @cached_property
    def handlers(self) -> Mapping[str, str]:
        """The runtime handler of each RuntimeClass."""
        return {one.name: one.traits.get("handler", "") for one in self.inventory.cluster.of_kind("RuntimeClass")}

    @cached_property
    def neighbours(self) -> Mapping[str, Neighbour]:
        """Other networking programs that run as DaemonSets, by the DaemonSet's UID."""
        own = self.inventory.cluster.agent
        rows = ((d.uid, recognise(d, NEIGHBOURS)) for d in self.inventory.cluster.daemonsets if d.desired)
        return {uid: found for uid, found in rows if found and (own is None or uid != own.daemonset_uid)}

    @cached_property
    def ebpf_users(self) -> tuple[tuple[DaemonSet, Known], ...]:
        """DaemonSets of programs that use eBPF on nodes."""
        rows = ((d, recognise(d, EBPF_USERS)) for d in self.inventory.cluster.daemonsets if d.desired)
        return tuple((daemonset, found) for daemonset, found in rows if found)

    @cached_property
    def daemonset_names(self) -> Mapping[str, str]:
        """DaemonSets by UID, as namespace/name."""
        return {d.uid: f"{d.namespace}/{d.name}" for d in self.inventory.cluster.daemonsets}

    @cached_property
    def leaving(self) -> Mapping[str, tuple[Pod, ...]]:
        """Pods that a drain of each judged node must see gone."""
        rules = self.policy.drain
        return {node.name: evictable(self.inventory.pods_on(node.name), rules) for node in self.nodes}

    @cached_property
    def free(self) -> tuple[int, int] | None:
        """Unrequested allocatable CPU (thousandths) and memory (bytes) on schedulable, Ready nodes; None: not told."""
        nodes = [n for n in self.inventory.cluster.nodes if n.ready and not n.unschedulable]
        if not any(node.cpu_millis for node in nodes):
            return None
        rooms = [self.room(node) for node in nodes]
        return sum(max(0, cpu) for cpu, _ in rooms), sum(max(0, memory) for _, memory in rooms)

    def room(self, node: Node) -> tuple[int, int]:
        """CPU and memory of a node that no pod on it requests; below zero when more is requested than there is."""
        pods = [p for p in self.inventory.pods_on(node.name) if not p.finished]
        cpu = node.cpu_millis - sum(p.cpu_millis for p in pods)
        return cpu, node.memory_bytes - sum(p.memory_bytes for p in pods)

    @cached_property
    def bound(self) -> tuple[tuple[Pod, tuple[PodDisruptionBudget, ...]], ...]:
        """Pods that must leave and are under budgets, with those."""
        index = self.inventory.cluster.budget_index
        rows = ((pod, index.of(pod)) for pods in self.leaving.values() for pod in pods)
        return tuple((pod, budgets) for pod, budgets in rows if budgets)

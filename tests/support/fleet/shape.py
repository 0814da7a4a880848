"""How large a made-up cluster is and what is in it: parameters, nodes and workloads, all counted, nothing drawn."""

from __future__ import annotations

from dataclasses import dataclass, field

ZONES = ("eu-west-1a", "eu-west-1b", "eu-west-1c")
INSTANCES = (("m6i.2xlarge", 8, 32), ("c6i.4xlarge", 16, 32), ("r6i.2xlarge", 8, 64))
"""Name, cores, memory in GiB."""
KERNELS = ("6.12.107+deb13-cloud-amd64", "6.8.0-1021-aws")
OLD_KERNEL = "6.1.0-18-cloud-amd64"
INGRESS_LABEL = "node-role.example.com/ingress"
_SIZES = (2, 3, 4, 5, 8, 12, 3, 20, 4, 30)
_CPU = (50, 100, 100, 250, 50, 500)
_MEMORY = (64, 128, 256, 128, 512, 1024)
_NAMES = ("web", "api", "0-cache", "worker-with-a-name-as-long-as-people-give-them-in-charts", "queue.v2", "billing")
_TRAITS = ("", "", "", "spread", "", "anti", "", "selector", "", "soft", "zonal", "")
"""What binds every n-th workload: hard zone spread, anti-affinity by host, a node selector, scratch data, volumes."""
_BUDGETS = ("max:1", "min:-1", "max:25%", "min:50%")


@dataclass(frozen=True)
class Shape:
    """Parameters. `pods` counts all pods, those of DaemonSets included; `budgets` all PodDisruptionBudgets."""

    nodes: int
    pods: int
    budgets: int
    deadlocks: int = 1
    """Deployments of one pod behind a budget that keeps that one."""
    bare: int = 1
    """Pods without a controller, on the second busy node and those after it."""
    old_kernels: int = 1
    """Nodes whose kernel has no netkit, from the first on."""
    finished_jobs: int = 2
    empty_percent: int = 5
    """Share of nodes with DaemonSet pods only."""
    uniform_zones: bool = False
    """All nodes of a zone have one instance type and kernel: as many cohorts as zones."""


@dataclass(frozen=True)
class Machine:
    """A node to be."""

    index: int
    name: str
    zone: str
    instance: str
    kernel: str
    cores: int
    gib: int
    ingress: bool
    empty: bool

    @property
    def ip(self) -> str:
        """InternalIP."""
        return f"10.{self.index >> 16}.{(self.index >> 8) & 255}.{self.index & 255}"


@dataclass(frozen=True)
class App:
    """A workload to be."""

    index: int
    namespace: str
    name: str
    kind: str
    replicas: int
    cpu: int
    memory: int
    trait: str = ""
    budget: str = ""
    """`max:` or `min:`, then a count, a share, or `-1`: one less than all."""
    labels: dict[str, str] = field(default_factory=dict)


def word(number: int, length: int) -> str:
    """Letters as Kubernetes uses them in made-up names."""
    alphabet = "bcdfghjklmnpqrstvwxz2456789"
    mixed = (number * 2654435761 + 97) % 4294967296
    return "".join(alphabet[(mixed // 27**place) % 27] for place in range(length))


def machines(shape: Shape) -> list[Machine]:
    """The nodes, in the order of their making. The last ones are nearly empty."""
    busy = shape.nodes - shape.nodes * shape.empty_percent // 100
    ingress = _ingress_count(shape)
    return [_machine(shape, i, ingress=i < ingress, empty=i >= busy) for i in range(shape.nodes)]


def _ingress_count(shape: Shape) -> int:
    return min(shape.nodes, max(4, shape.nodes // 100))


def _machine(shape: Shape, index: int, *, ingress: bool, empty: bool) -> Machine:
    zone = index % len(ZONES)
    kind = zone if shape.uniform_zones else (index // len(ZONES)) % len(INSTANCES)
    kernel = kind % len(KERNELS) if shape.uniform_zones else (index // 7) % len(KERNELS)
    # Old kernels behind the ingress nodes: an ingress set of which no node can move is another story.
    old = _ingress_count(shape) <= index < _ingress_count(shape) + shape.old_kernels
    instance, cores, gib = INSTANCES[kind]
    return Machine(
        index=index,
        name=_node_name(index, kind),
        zone=ZONES[zone],
        instance=instance,
        kernel=OLD_KERNEL if old else KERNELS[kernel],
        cores=cores,
        gib=gib,
        ingress=ingress,
        empty=empty,
    )


def _node_name(index: int, kind: int) -> str:
    if kind == 0:
        return f"ip-10-{index >> 16}-{(index >> 8) & 255}-{index & 255}.eu-west-1.compute.internal"
    if kind == 1:
        return f"gke-prod-pool-2-{word(index // 97, 8)}-{word(index, 4)}{index:x}"
    return f"{index:05}.rack-{index % 40:02}.dc1.example.net"


def apps(shape: Shape, left: int) -> list[App]:
    """Workloads of `left` pods in all: the fixed sets first, then ordinary ones until the pods are used up."""
    made = _fixed(shape)
    left -= sum(app.replicas for app in made)
    while left > 0:
        made.append(_ordinary(shape, len(made), left))
        left -= made[-1].replicas
    return [_with_budget(app, number < shape.budgets) for number, app in enumerate(made)]


def _fixed(shape: Shape) -> list[App]:
    ingress = max(2, _ingress_count(shape) - 1)
    made = [
        App(0, "data", "etcd", "StatefulSet", 3 if shape.nodes < 500 else 5, 100, 512, "quorum", "max:1",
            {"app.kubernetes.io/name": "etcd"}),
        App(1, "ingress", "ingress-nginx-controller", "Deployment", ingress, 100, 256, "ingress", "max:1",
            {"app.kubernetes.io/name": "ingress-nginx", "app.kubernetes.io/component": "controller"}),
        App(2, "data", "localdb", "StatefulSet", 3, 250, 1024, "local", "max:1"),
        App(3, "data", "postgres", "StatefulSet", 3, 250, 1024, "zonal", "max:1"),
        App(4, "kube-system", "coredns", "Deployment", 3, 100, 128, "spread", "max:1", {"k8s-app": "kube-dns"}),
    ]  # fmt: skip
    for number in range(shape.deadlocks):
        made.append(App(len(made), "legacy", f"ledger-{number}", "Deployment", 1, 100, 256, "", "min:1"))
    return made


def _ordinary(shape: Shape, index: int, left: int) -> App:
    teams = max(3, shape.budgets // 10)
    trait = _TRAITS[index % len(_TRAITS)]
    name = f"{_NAMES[index % len(_NAMES)]}-{index}".replace(".", "-" if index % 12 else ".")[-52:].strip("-.")
    return App(
        index=index,
        namespace=f"team-{index % teams:03}",
        name=name,
        kind="StatefulSet" if trait in ("zonal", "local") else "Deployment",
        replicas=min(left, _SIZES[index % len(_SIZES)]),
        cpu=_CPU[index % len(_CPU)],
        memory=_MEMORY[index % len(_MEMORY)],
        trait=trait,
    )


def _with_budget(app: App, wanted: bool) -> App:
    """Its budget. One of a single pod is spared: that would be a deadlock nobody asked for."""
    budget = app.budget or ("max:1" if app.replicas == 1 else _BUDGETS[app.index % len(_BUDGETS)])
    # A share of two pods that rounds down to none keeps both.
    if app.replicas < 4 and budget.endswith("%"):
        budget = "max:1"
    labels = app.labels or {"app": app.name[:63], "team": app.namespace}
    return App(
        app.index, app.namespace, app.name, app.kind, app.replicas, app.cpu, app.memory, app.trait,
        budget if wanted else "", labels,
    )  # fmt: skip

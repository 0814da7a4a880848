"""Which resources are served: the built-in table, and the registry that custom resources join while running."""

from collections.abc import Iterator
from dataclasses import dataclass, field

from rollout.lab.apiserver.errors import group_resource
from rollout.lab.apiserver.objects import Obj

ALL_VERBS = ("create", "delete", "deletecollection", "get", "list", "patch", "update", "watch")
CREATE_ONLY = ("create",)


@dataclass(frozen=True)
class Subresource:
    """A path below an object, with the kind that is sent there when it is not the object's own."""

    name: str
    verbs: tuple[str, ...]
    kind: str = ""
    group: str = ""
    version: str = ""


STATUS = Subresource("status", ("get", "patch", "update"))
SCALE = Subresource("scale", ("get", "patch", "update"), "Scale", "autoscaling", "v1")


@dataclass(frozen=True, eq=False)
class ResourceType:
    """One served resource in one version. `columns` and `schema` are set for custom resources only."""

    group: str
    version: str
    plural: str
    kind: str
    namespaced: bool
    short_names: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    subresources: tuple[Subresource, ...] = ()
    verbs: tuple[str, ...] = ALL_VERBS
    singular: str = ""
    custom: bool = False
    schema: Obj | None = None
    columns: tuple[Obj, ...] = ()
    has_generation: bool = False
    # What a version renders from: events are one storage under two groups.
    storage_id: str = ""

    @property
    def id(self) -> str:
        """Storage key, shared by every version of the resource."""
        return self.storage_id or group_resource(self.group, self.plural)

    @property
    def api_version(self) -> str:
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def list_kind(self) -> str:
        return f"{self.kind}List"

    @property
    def has_status(self) -> bool:
        return any(sub.name == "status" for sub in self.subresources)

    def subresource(self, name: str) -> Subresource | None:
        return next((sub for sub in self.subresources if sub.name == name), None)


_POD_SUBRESOURCES = (
    Subresource("binding", CREATE_ONLY, "Binding"),
    Subresource("eviction", CREATE_ONLY, "Eviction", "policy", "v1"),
    Subresource("log", ("get",)),
    STATUS,
)
_WORKLOAD = (SCALE, STATUS)
_ALL = ("all",)
_NETWORKING = "networking.k8s.io"

_CORE = (
    ResourceType("", "v1", "bindings", "Binding", True, verbs=CREATE_ONLY),
    ResourceType("", "v1", "configmaps", "ConfigMap", True, ("cm",)),
    ResourceType("", "v1", "endpoints", "Endpoints", True, ("ep",), singular="endpoints"),
    ResourceType("", "v1", "events", "Event", True, ("ev",)),
    ResourceType("", "v1", "namespaces", "Namespace", False, ("ns",), (), (STATUS,)),
    ResourceType("", "v1", "nodes", "Node", False, ("no",), (), (STATUS,)),
    ResourceType("", "v1", "persistentvolumeclaims", "PersistentVolumeClaim", True, ("pvc",), (), (STATUS,)),
    ResourceType("", "v1", "persistentvolumes", "PersistentVolume", False, ("pv",), (), (STATUS,)),
    ResourceType("", "v1", "pods", "Pod", True, ("po",), _ALL, _POD_SUBRESOURCES, has_generation=True),
    ResourceType(
        "", "v1", "replicationcontrollers", "ReplicationController", True, ("rc",), _ALL, _WORKLOAD, has_generation=True
    ),
    ResourceType("", "v1", "secrets", "Secret", True),
    ResourceType("", "v1", "serviceaccounts", "ServiceAccount", True, ("sa",)),
    ResourceType("", "v1", "services", "Service", True, ("svc",), _ALL, (STATUS,)),
)  # fmt: skip
_APPS = (
    ResourceType("apps", "v1", "controllerrevisions", "ControllerRevision", True),
    ResourceType("apps", "v1", "daemonsets", "DaemonSet", True, ("ds",), _ALL, (STATUS,), has_generation=True),
    ResourceType("apps", "v1", "deployments", "Deployment", True, ("deploy",), _ALL, _WORKLOAD, has_generation=True),
    ResourceType("apps", "v1", "replicasets", "ReplicaSet", True, ("rs",), _ALL, _WORKLOAD, has_generation=True),
    ResourceType("apps", "v1", "statefulsets", "StatefulSet", True, ("sts",), _ALL, _WORKLOAD, has_generation=True),
)
_AUTHORIZATION = "authorization.k8s.io"
_OTHERS = (
    ResourceType("batch", "v1", "jobs", "Job", True, (), _ALL, (STATUS,), has_generation=True),
    ResourceType(
        "policy", "v1", "poddisruptionbudgets", "PodDisruptionBudget", True, ("pdb",), (), (STATUS,),
        has_generation=True,
    ),
    ResourceType("discovery.k8s.io", "v1", "endpointslices", "EndpointSlice", True, has_generation=True),
    ResourceType("coordination.k8s.io", "v1", "leases", "Lease", True),
    ResourceType("events.k8s.io", "v1", "events", "Event", True, ("ev",), storage_id="events"),
    ResourceType(
        "apiextensions.k8s.io", "v1", "customresourcedefinitions", "CustomResourceDefinition", False,
        ("crd", "crds"), ("api-extensions",), (STATUS,), has_generation=True,
    ),
    ResourceType(_AUTHORIZATION, "v1", "selfsubjectaccessreviews", "SelfSubjectAccessReview", False, verbs=CREATE_ONLY),
    ResourceType(_AUTHORIZATION, "v1", "selfsubjectrulesreviews", "SelfSubjectRulesReview", False, verbs=CREATE_ONLY),
    ResourceType("authentication.k8s.io", "v1", "selfsubjectreviews", "SelfSubjectReview", False, verbs=CREATE_ONLY),
    ResourceType(_NETWORKING, "v1", "networkpolicies", "NetworkPolicy", True, ("netpol",), has_generation=True),
    ResourceType(_NETWORKING, "v1", "ingresses", "Ingress", True, ("ing",), (), (STATUS,), has_generation=True),
    ResourceType(_NETWORKING, "v1", "ingressclasses", "IngressClass", False, has_generation=True),
    ResourceType("node.k8s.io", "v1", "runtimeclasses", "RuntimeClass", False),
    ResourceType("scheduling.k8s.io", "v1", "priorityclasses", "PriorityClass", False, ("pc",), has_generation=True),
    ResourceType("storage.k8s.io", "v1", "storageclasses", "StorageClass", False, ("sc",)),
)  # fmt: skip


@dataclass
class Registry:
    """Every served resource. Lookups are by path, by kind and by storage key."""

    _by_path: dict[tuple[str, str, str], ResourceType] = field(default_factory=dict)
    _by_kind: dict[tuple[str, str], ResourceType] = field(default_factory=dict)
    _by_id: dict[str, ResourceType] = field(default_factory=dict)
    generation: int = 0

    @classmethod
    def builtin(cls) -> "Registry":
        registry = cls()
        for resource in (*_CORE, *_APPS, *_OTHERS):
            registry.add(resource)
        return registry

    def add(self, resource: ResourceType) -> None:
        self.generation += 1
        self._by_path[resource.group, resource.version, resource.plural] = resource
        self._by_kind[resource.api_version, resource.kind] = resource
        if not resource.storage_id:
            self._by_id[resource.id] = resource

    def remove_custom(self, group: str, plural: str) -> None:
        self.generation += 1
        for resource in [r for r in self if r.custom and (r.group, r.plural) == (group, plural)]:
            del self._by_path[resource.group, resource.version, resource.plural]
            del self._by_kind[resource.api_version, resource.kind]
            self._by_id.pop(resource.id, None)

    def __iter__(self) -> Iterator[ResourceType]:
        return iter(list(self._by_path.values()))

    def by_path(self, group: str, version: str, plural: str) -> ResourceType | None:
        return self._by_path.get((group, version, plural))

    def by_kind(self, api_version: str, kind: str) -> ResourceType | None:
        return self._by_kind.get((api_version, kind))

    def by_id(self, storage_id: str) -> ResourceType:
        return self._by_id[storage_id]

    def stored_ids(self) -> list[str]:
        return [key for key, resource in self._by_id.items() if "list" in resource.verbs]

    def group_versions(self) -> dict[str, list[str]]:
        """Groups in the order they were added, each with its served versions."""
        groups: dict[str, list[str]] = {}
        for resource in self:
            versions = groups.setdefault(resource.group, [])
            if resource.version not in versions:
                versions.append(resource.version)
        return groups

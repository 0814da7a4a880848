"""The agent's endpoints: kept on disk, so that a restarted agent finds them again."""

import ipaddress
import json
import random
import shutil
import threading
import zlib
from dataclasses import asdict, dataclass, field
from pathlib import Path

# Everything above is the kernel's and the API's; these two are always there.
HOST_IDENTITY, HEALTH_IDENTITY = 1, 4
_STATE_FILE = "ep_config.json"
_HIGHEST_ID = 4095


@dataclass(frozen=True)
class Endpoint:
    """A pod's attachment. The device's type is not stored: the kernel is asked for it."""

    id: int
    attachment: str
    namespace: str
    pod: str
    uid: str
    service_account: str
    link: str
    index: int
    address: str
    mac: str
    host_mac: str
    labels: dict[str, str] = field(default_factory=dict)

    @property
    def is_pod(self) -> bool:
        return bool(self.namespace and self.pod)

    @property
    def identity_labels(self) -> list[str]:
        fixed = {
            "io.cilium.k8s.namespace.labels.kubernetes.io/metadata.name": self.namespace,
            "io.cilium.k8s.policy.cluster": "default",
            "io.cilium.k8s.policy.serviceaccount": self.service_account,
            "io.kubernetes.pod.namespace": self.namespace,
        }
        own = {key: value for key, value in self.labels.items() if not is_derived(key)}
        return sorted(f"k8s:{key}={value}" for key, value in (own | fixed).items())

    @property
    def derived_labels(self) -> list[str]:
        return sorted(f"k8s:{key}={value}" for key, value in self.labels.items() if is_derived(key))

    @property
    def identity(self) -> int:
        """The same for the same labels on every node, as allocated identities are."""
        return 256 + zlib.crc32("\n".join(self.identity_labels).encode()) % 65000


def is_derived(label: str) -> bool:
    """Labels that controllers put on, which make no identity."""
    return label in ("pod-template-hash", "controller-revision-hash", "pod-template-generation")


class EndpointStore:
    """Thread-safe. One directory per endpoint id."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock = threading.Lock()
        self._endpoints: dict[int, Endpoint] = {}

    def load(self) -> list[Endpoint]:
        """What an earlier agent left, in the order of the ids."""
        self._folder.mkdir(parents=True, exist_ok=True)
        for file in self._folder.glob(f"*/{_STATE_FILE}"):
            endpoint = Endpoint(**json.loads(file.read_text()))
            self._endpoints[endpoint.id] = endpoint
        return self.all()

    def all(self) -> list[Endpoint]:
        with self._lock:
            return [self._endpoints[key] for key in sorted(self._endpoints)]

    def find(self, attachment: str) -> Endpoint | None:
        return next((each for each in self.all() if each.attachment == attachment), None)

    def free_id(self, reserved: set[int]) -> int:
        with self._lock:
            taken = reserved | self._endpoints.keys()
        return random.choice([each for each in range(1, _HIGHEST_ID) if each not in taken])

    def put(self, endpoint: Endpoint) -> None:
        folder = self._folder / str(endpoint.id)
        folder.mkdir(parents=True, exist_ok=True)
        # Whole or not at all: an agent killed here must not leave half a file.
        fresh = folder / f"{_STATE_FILE}.new"
        fresh.write_text(json.dumps(asdict(endpoint)))
        fresh.rename(folder / _STATE_FILE)
        with self._lock:
            self._endpoints[endpoint.id] = endpoint

    def remove(self, endpoint: Endpoint) -> None:
        with self._lock:
            self._endpoints.pop(endpoint.id, None)
        shutil.rmtree(self._folder / str(endpoint.id), ignore_errors=True)


class AddressPool:
    """The node's pod addresses: .1 the router, .2 the health endpoint, the rest for pods in turn."""

    def __init__(self, cidr: str) -> None:
        self.network = ipaddress.IPv4Network(cidr)
        hosts = list(self.network.hosts())
        self.router, self.health = str(hosts[0]), str(hosts[1])
        self._free = [str(each) for each in hosts[2:]]
        self._lock = threading.Lock()
        # An address comes back into use as late as possible: peers may still remember its last owner.
        self._next = random.randrange(len(self._free))
        self._taken: set[str] = set()

    @property
    def size(self) -> int:
        return len(self._free) + 2

    def reserve(self, address: str) -> None:
        with self._lock:
            self._taken.add(address)

    def allocate(self) -> str:
        with self._lock:
            for step in range(len(self._free)):
                candidate = self._free[(self._next + step) % len(self._free)]
                if candidate not in self._taken:
                    self._next = (self._next + step + 1) % len(self._free)
                    self._taken.add(candidate)
                    return candidate
        raise OSError(f"cannot allocate an address: all of {self.network} are in use")

    def release(self, address: str) -> None:
        with self._lock:
            self._taken.discard(address)

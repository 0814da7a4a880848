"""The CNI plugin stand-in: gives a pod its link as the running agent wants it, and takes it back.

The link's kind is the agent's at this moment; no later change of the agent's mode touches it.
"""

import hashlib
import json
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import labpaths
import podlinks
from agentserver import UnixClient

_ADD_SECONDS = 30.0
# Recorded: deleting a pod without an agent took 49 s, then the deletion was queued.
_DEL_SECONDS = 49.0
_ANSWER_SECONDS = 120.0
_RETRY_SECONDS = 0.5


class PluginFailed(Exception):
    """The message is the plugin's, as it appears in the pod's event."""


@dataclass(frozen=True)
class Pod:
    namespace: str
    name: str
    uid: str
    service_account: str = "default"
    labels: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Attachment:
    """What ADD made."""

    container: str
    netns: str
    link: str
    address: str
    mode: str


def link_name(container: str) -> str:
    return "lxc" + hashlib.sha256(f"{container}:{podlinks.POD_LINK}".encode()).hexdigest()[:12]


def attachment_id(container: str) -> str:
    return f"{container}:{podlinks.POD_LINK}"


class PodNet:
    """`time_scale` shortens the waits; texts keep the real figures."""

    def __init__(self, time_scale: float) -> None:
        self._scale = time_scale
        self._agent = UnixClient(labpaths.agent_socket(), _ANSWER_SECONDS)

    def add(self, container: str, netns: Path, pod: Pod, cancelled: threading.Event) -> Attachment:
        """Raises PluginFailed; nothing is left behind then."""
        mode = self._ask_mode(cancelled)
        name = link_name(container)
        address = ""
        try:
            address, router = self._allocate()
            self._connect(Attachment(container, str(netns), name, address, mode), router, pod)
        except (OSError, podlinks.LinkError, KeyError) as error:
            podlinks.delete(name)
            self._release(address)
            raise PluginFailed(f"unable to create endpoint: {error}") from error
        return Attachment(container, str(netns), name, address, mode)

    def delete(self, container: str) -> None:
        """Always succeeds: an absent agent finds the deletion in its queue. Repeat-safe."""
        attachment = attachment_id(container)
        deadline = time.monotonic() + _DEL_SECONDS * self._scale
        while True:
            try:
                self._agent.request("DELETE", f"/v1/endpoint/cni-attachment-id:{attachment}")
                break
            except OSError:
                if time.monotonic() >= deadline:
                    self._queue_deletion(attachment)
                    break
                time.sleep(_RETRY_SECONDS * min(1.0, self._scale))
        podlinks.delete(link_name(container))

    def _ask_mode(self, cancelled: threading.Event) -> str:
        deadline = time.monotonic() + _ADD_SECONDS * self._scale
        while True:
            try:
                status, answer = self._agent.request("GET", "/v1/config")
                if status == 200:
                    return str(answer["status"]["datapathMode"])
                raise ConnectionError(f"status {status}")
            except OSError as error:
                if time.monotonic() >= deadline or cancelled.is_set():
                    raise PluginFailed(_no_agent(error)) from error
            cancelled.wait(_RETRY_SECONDS * min(1.0, self._scale))

    def _allocate(self) -> tuple[str, str]:
        status, answer = self._agent.request("POST", "/v1/ipam")
        if status != 201:
            raise OSError(f"unable to allocate IP via local cilium agent: {answer}")
        return answer["ipv4"], answer["router"]

    def _release(self, address: str) -> None:
        if address:
            try:
                self._agent.request("DELETE", f"/v1/ipam/{address}")
            except OSError:
                # A restarted agent takes its addresses from its endpoints, so this one is free again.
                return

    def _connect(self, made: Attachment, router: str, pod: Pod) -> None:
        netns = Path(made.netns)
        link, mac = podlinks.create_pair(made.mode, made.link, netns)
        podlinks.configure_pod(netns, made.address, router, link.mac if mac else "")
        podlinks.expose_pod(made.link, made.address, mac)
        body: dict[str, Any] = {
            "namespace": pod.namespace,
            "pod": pod.name,
            "uid": pod.uid,
            "service_account": pod.service_account,
            "labels": pod.labels,
            "link": made.link,
            "index": link.index,
            "address": made.address,
            "mac": mac,
            "host_mac": link.mac if mac else "",
        }
        status, answer = self._agent.request(
            "PUT", f"/v1/endpoint/cni-attachment-id:{attachment_id(made.container)}", body
        )
        if status not in (201, 409):
            raise OSError(f"[PUT /endpoint/{{id}}][{status}] putEndpointId: {answer}")

    def _queue_deletion(self, attachment: str) -> None:
        folder = labpaths.delete_queue()
        folder.mkdir(parents=True, exist_ok=True)
        name = hashlib.sha256(attachment.encode()).hexdigest()[:16]
        fresh = folder / f"{name}.new"
        fresh.write_text(json.dumps({"attachment": attachment}))
        fresh.rename(folder / f"{name}.delete")


def _no_agent(error: OSError) -> str:
    reason = (error.strerror or str(error)).lower()
    return (
        f"unable to connect to Cilium agent: failed to create cilium agent client after {_ADD_SECONDS:.6f} seconds "
        f'timeout: Get "http://localhost/v1/config": dial unix /var/run/cilium/cilium.sock: connect: {reason}\n'
        "Is the agent running?"
    )

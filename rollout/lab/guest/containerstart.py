"""A container's environment, and the end of its log."""

from pathlib import Path

from kubeapi import Json
from podstate import PodState


def pod_environment(pod: Json, container: Json, state: PodState, host_address: str) -> dict[str, str]:
    """Declared variables, with the pod's own fields resolved, and what the lab's programs read."""
    fields = _fields(pod, state, host_address)
    environment = {
        "POD_NAME": fields["metadata.name"],
        "NODE_NAME": fields["spec.nodeName"],
        "LAB_POD_DIR": str(state.folder),
    }
    for each in container.get("env") or []:
        if "value" in each:
            environment[each["name"]] = each["value"]
            continue
        reference = ((each.get("valueFrom") or {}).get("fieldRef") or {}).get("fieldPath", "")
        if reference in fields:
            environment[each["name"]] = fields[reference]
    return environment


def _fields(pod: Json, state: PodState, host_address: str) -> dict[str, str]:
    meta, spec = pod["metadata"], pod["spec"]
    return {
        "metadata.name": meta["name"],
        "metadata.namespace": meta["namespace"],
        "metadata.uid": meta["uid"],
        "spec.nodeName": spec.get("nodeName", ""),
        "spec.serviceAccountName": spec.get("serviceAccountName", "default"),
        "status.podIP": state.address,
        "status.hostIP": host_address,
    }


def log_tail(file: Path, characters: int) -> str:
    """The last characters of a log; empty if there is none."""
    try:
        return file.read_text(errors="replace")[-characters:]
    except OSError:
        return ""

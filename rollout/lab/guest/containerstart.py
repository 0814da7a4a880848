"""What starting a container takes: its command, its environment; and the words for what goes wrong."""

from pathlib import Path

from kubeapi import Json
from podstate import PodState


def command_of(container: Json) -> list[str]:
    return [*(container.get("command") or []), *(container.get("args") or [])]


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


def sandbox_message(sandbox: str, failure: Exception) -> str:
    """The kubelet's words around the plugin's."""
    return (
        "Failed to create pod sandbox: rpc error: code = Unknown desc = failed to setup network for sandbox "
        f'"{sandbox}": plugin type="cilium-cni" name="cilium" failed (add): {failure}'
    )


def go_duration(seconds: float) -> str:
    """As Go prints it: 40s, 1m20s, 5m0s."""
    whole = int(seconds)
    return f"{whole}s" if whole < 60 else f"{whole // 60}m{whole % 60}s"

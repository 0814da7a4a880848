"""What DELETE means: preconditions, grace periods, finalizers and foreground deletion."""

import datetime
from typing import Any

from rollout.lab.apiserver import errors
from rollout.lab.apiserver.objects import Obj, parse_time, time_text, utc_now
from rollout.lab.apiserver.resources import ResourceType

FOREGROUND = "foregroundDeletion"
_DEFAULT_GRACE_SECONDS = 30


def check_preconditions(resource: ResourceType, obj: Obj, options: Obj) -> None:
    """409 when the caller meant another object or another version of it."""
    wanted = options.get("preconditions") or {}
    metadata = obj["metadata"]
    if wanted.get("uid") and wanted["uid"] != metadata["uid"]:
        detail = (
            f"the UID in the precondition ({wanted['uid']}) does not match the UID in record ({metadata['uid']}). "
            "The object might have been deleted and then recreated"
        )
        raise errors.conflict(resource.group, resource.kind, metadata["name"], detail)
    version = wanted.get("resourceVersion")
    if version and version != metadata["resourceVersion"]:
        detail = (
            f"the ResourceVersion in the precondition ({version}) does not match the ResourceVersion in record "
            f"({metadata['resourceVersion']}). The object might have been modified"
        )
        raise errors.conflict(resource.group, resource.kind, metadata["name"], detail)


def _grace_seconds(pod: Obj, options: Obj) -> int:
    """A pod that no kubelet runs, or that has finished, needs no grace."""
    if not pod["spec"].get("nodeName") or pod["status"].get("phase") in ("Succeeded", "Failed"):
        return 0
    asked = options.get("gracePeriodSeconds")
    if asked is None:
        asked = pod["spec"].get("terminationGracePeriodSeconds", _DEFAULT_GRACE_SECONDS)
    return max(int(asked), 0)


def mark(resource_id: str, obj: Obj, options: Obj) -> Obj | None:
    """The object as it lives on while it is being deleted; None if it goes at once."""
    metadata: Obj = {**obj["metadata"]}
    finalizers = list(metadata.get("finalizers") or ())
    if options.get("propagationPolicy") == "Foreground" and FOREGROUND not in finalizers:
        finalizers.append(FOREGROUND)
    grace = _grace_seconds(obj, options) if resource_id == "pods" else 0
    if resource_id == "namespaces" and obj.get("spec", {}).get("finalizers"):
        return _terminating_namespace(obj, metadata)
    if not finalizers and grace == 0:
        return None
    already = metadata.get("deletionTimestamp")
    if (
        already
        and grace >= metadata.get("deletionGracePeriodSeconds", 0)
        and finalizers == metadata.get("finalizers", [])
    ):
        return obj
    if finalizers:
        metadata["finalizers"] = finalizers
    _stamp(metadata, grace, already)
    return {**obj, "metadata": metadata}


def _stamp(metadata: Obj, grace: int, already: Any) -> None:
    start = utc_now()
    if already:
        # A second deletion may only shorten: the clock started with the first one.
        old_grace = metadata.get("deletionGracePeriodSeconds", 0)
        grace = min(grace, old_grace)
        began = parse_time(already)
        start = (began or start) - datetime.timedelta(seconds=old_grace)
    metadata["deletionTimestamp"] = time_text(start + datetime.timedelta(seconds=grace))
    metadata["deletionGracePeriodSeconds"] = grace
    if not already and metadata.get("generation"):
        metadata["generation"] += 1


def _terminating_namespace(obj: Obj, metadata: Obj) -> Obj:
    if metadata.get("deletionTimestamp"):
        return obj
    metadata["deletionTimestamp"] = time_text(utc_now())
    return {**obj, "metadata": metadata, "status": {**(obj.get("status") or {}), "phase": "Terminating"}}


def is_finished(resource_id: str, obj: Obj) -> bool:
    """Whether an object being deleted has nothing left that keeps it."""
    metadata = obj["metadata"]
    if not metadata.get("deletionTimestamp") or metadata.get("finalizers"):
        return False
    if resource_id == "namespaces" and obj["spec"].get("finalizers"):
        return False
    return not metadata.get("deletionGracePeriodSeconds")

"""What becomes of a toolbox pod, in words: our errors from the kubelet's and the API's."""

from __future__ import annotations

import json
from typing import Any

from rollout.adapters.toolbox.port import PodLog, PodReport
from rollout.domain.errors import NotFound, RolloutError, StepFailed

_SHOWN = 600
_ALARM = (142, 14)
"""Exit code of a program that SIGALRM ended, as a runtime reports it."""
_IMAGE_HOPELESS = ("ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull")
_START_HOPELESS = ("CreateContainerConfigError", "CreateContainerError", "RunContainerError", "CrashLoopBackOff")
_NO_PROGRAM = ("executable file not found", "no such file or directory")

IMAGE_HINT = "check toolbox.image and toolbox.pull_secret, and that the nodes reach its registry"
BUILD_HINT = "build the image from toolbox/Dockerfile and name it in toolbox.image"


def refused(error: RolloutError, node: str, namespace: str) -> RolloutError:
    """Why the API did not create the pod: with what to do about the usual reasons."""
    text = f"cannot observe {node}: {error.message}"
    if "PodSecurity" in error.message:
        hint = (
            f"the pod is privileged: kubectl label namespace {namespace} pod-security.kubernetes.io/enforce=privileged"
            " --overwrite, or name another namespace in toolbox.namespace"
        )
        return StepFailed("toolbox-denied", text, hint=hint)
    if "admission" in error.message or "denied the request" in error.message:
        hint = f"let the admission policy except privileged pods of ours in namespace {namespace}"
        return StepFailed("toolbox-denied", text, hint=hint)
    if isinstance(error, NotFound):
        hint = f"create the namespace (kubectl create namespace {namespace}), or name another one in toolbox.namespace"
        return StepFailed("toolbox-namespace", text, hint=hint)
    return StepFailed(error.code, text, hint=error.hint)


def hopeless(pod: PodReport) -> StepFailed | None:
    """Why a pod that waits will never start; None while it may."""
    said = _said(pod.waiting_reason, pod.waiting_message)
    if pod.waiting_reason in _IMAGE_HOPELESS:
        return _failed(pod, "toolbox-image", f"its image cannot be pulled: {said}", IMAGE_HINT)
    if pod.waiting_reason in _START_HOPELESS:
        return _failed(pod, "toolbox-start", f"its container does not start: {said}", _describe(pod))
    if pod.leaving and not pod.over:
        return gone(pod)
    return None


def gone(pod: PodReport) -> StepFailed:
    """Somebody took the pod away."""
    text = "it was deleted before it had finished, and not by this run"
    return _failed(pod, "toolbox-gone", text, "try again; a node that is gone or a policy that removes pods does this")


def not_taken(pod: PodReport, seconds: int) -> StepFailed:
    """The node's kubelet does not look at the pod."""
    text = f"the kubelet of {pod.node} has not taken it in {seconds} s"
    return _failed(pod, "toolbox-not-taken", text, f"is the node up? kubectl get node {pod.node}")


def too_late(pod: PodReport, seconds: int, warning: str) -> StepFailed:
    """The time given to all nodes is over."""
    if pod.phase == "Running":
        return _failed(pod, "wall-timeout", f"it was still running after {seconds} s", "raise observe_timeout")
    said = _said(pod.waiting_reason, pod.waiting_message) or "its container was not started"
    text = f"it was still pending after {seconds} s: {said}" + (f"; {warning}" if warning else "")
    return _failed(pod, "toolbox-pending", text, _describe(pod))


def no_document(pod: PodReport, log: PodLog) -> StepFailed:
    """The pod has ended and its log holds no document."""
    ended = _said(pod.ended_reason, pod.ended_message)
    if pod.reason == "DeadlineExceeded":
        return _failed(pod, "program-timeout", "its deadline passed", "the node is very slow, or something hangs there")
    if pod.phase == "Failed" and pod.exit_code is None:
        text = f"the kubelet of {pod.node} ended it: {_said(pod.reason, pod.message) or 'it does not say why'}"
        return _failed(pod, "toolbox-refused", text, _describe(pod))
    if pod.exit_code in _ALARM:
        hint = "the node is very slow, or something hangs there"
        return _failed(pod, "program-timeout", "the program's time limit passed", hint)
    if any(words in ended for words in _NO_PROGRAM):
        return _failed(pod, "python-missing", f"its image has no python3: {ended}", BUILD_HINT)
    if log.cut:
        hint = "this is a bug of netkit-rollout: a document should not be so long"
        return _failed(pod, "toolbox-log-cut", "its log is longer than what is read of it", hint)
    words = f"it printed no document (exit code {pod.exit_code}{', ' + ended if ended else ''})"
    tail = " ".join(log.text.split())[-_SHOWN:]
    return _failed(pod, "program-error", f"{words}: {tail or 'its log is empty'}", "read the node's own words")


def document_of(log: PodLog) -> dict[str, Any] | None:
    """The last line that is a document. Others may follow: an interpreter's last words go to the same log."""
    for line in reversed(log.text.splitlines()):
        if not line.startswith("{"):
            continue
        try:
            found = json.loads(line)
        except ValueError:
            continue
        if isinstance(found, dict) and "schema" in found:
            return found
    return None


def _failed(pod: PodReport, code: str, text: str, hint: str) -> StepFailed:
    return StepFailed(code, f"cannot observe {pod.node} by pod {pod.ref.namespace}/{pod.ref.name}: {text}", hint=hint)


def _describe(pod: PodReport) -> str:
    """The pod is deleted when this is read; its events stay for an hour."""
    ref = pod.ref
    return f"see its events: kubectl -n {ref.namespace} get events --field-selector involvedObject.name={ref.name}"


def _said(reason: str, message: str) -> str:
    return ": ".join(part for part in (reason, " ".join(message.split())[:_SHOWN]) if part)

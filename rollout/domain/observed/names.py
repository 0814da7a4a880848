"""Names of the probes."""

from __future__ import annotations

PROBE_LINKS = "links"
PROBE_AGENT = "agent"
PROBE_CAPABILITY = "capability"
PROBE_HOST = "host"
PROBE_PROGRAMS = "programs"
PROBE_COUNTERS = "counters"
PROBE_REACH = "reach"
PROBE_POLICY = "policy"
PROBE_PATH = "path"
PROBE_DROPS = "drops"
PROBE_TCP = "tcp"
BPF_PROBES = (PROBE_PATH, PROBE_DROPS, PROBE_TCP)
"""Probes that load eBPF programs: they need BCC on the node."""
ALL_PROBES = (
    PROBE_LINKS,
    PROBE_AGENT,
    PROBE_CAPABILITY,
    PROBE_HOST,
    PROBE_PROGRAMS,
    PROBE_COUNTERS,
    PROBE_REACH,
    PROBE_POLICY,
    *BPF_PROBES,
)

BPF_UNAVAILABLE = "bpf-unavailable"
"""Code of an observation that has no document because eBPF programs cannot be loaded on the node."""

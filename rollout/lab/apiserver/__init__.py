"""A Kubernetes API server stand-in that real clients accept.

Rules of this package: the store is the only state; everything that changes an object goes through `Store`, which
knows the rules; nothing here waits while holding half a write. Where a real server is unkind (a bound pod only gets a
deletion time, two budgets on one pod answer 500), so is this one.
"""

from rollout.lab.apiserver.auth import Identity, Rule, admin, viewer
from rollout.lab.apiserver.errors import ApiError
from rollout.lab.apiserver.faults import Fault, Faults
from rollout.lab.apiserver.request_info import load_documents
from rollout.lab.apiserver.server import ApiServer, ServerSettings, ServerTls
from rollout.lab.apiserver.store import Store

__all__ = [
    "ApiError",
    "ApiServer",
    "Fault",
    "Faults",
    "Identity",
    "Rule",
    "ServerSettings",
    "ServerTls",
    "Store",
    "admin",
    "load_documents",
    "viewer",
]

"""netkit-rollout: move live Kubernetes nodes running Cilium from veth to netkit, and back.

Floors, from the bottom: domain; planning and checks; engine and ports; app; adapters; cli. A floor imports only
from floors below it; import-linter guards this (see `[tool.importlinter]` in pyproject.toml).
"""

__version__ = "0.1.0"

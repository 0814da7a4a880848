"""What else changes because of the labels, taints and objects that a plan writes, and what that costs the API.

Only what is written can change what an object selects: our label on the nodes of the plan, our taints, the cordon, and
our CiliumNodeConfigs. Nothing in Kubernetes or Cilium selects on annotations; pods' labels are never written. So an
object whose node selector does not name our label selects the same nodes before and after: it is counted as compared,
and nothing is worked out for it.
"""

from rollout.planning.blast.radius import blast_radius
from rollout.planning.blast.watch import require_watchable

__all__ = ["blast_radius", "require_watchable"]

"""The Kubernetes API behind the Cluster port. The only package that imports `kubernetes`.

Rules of this package:
- The official client gives us kubeconfig, credentials and the connection pool; requests and answers are ours. Its typed
  models cost 50 times a partial struct per object and refuse whole lists over one odd object, its Watch loses 410 and
  the resourceVersion, and its informer retries without a pause.
- Every request is a `Request` value, so that every error can say which verb on which resource failed.
- Nothing above `cluster.py` sees a JSON object; nothing raised here is foreign.
- An answer that did not come, or cannot be read, is `Unavailable`: nothing is concluded from it.
"""

from rollout.adapters.kubernetes.cluster import KubernetesCluster
from rollout.adapters.kubernetes.connection import ClusterSettings

__all__ = ["ClusterSettings", "KubernetesCluster"]

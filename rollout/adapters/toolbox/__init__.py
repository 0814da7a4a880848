"""Observers without SSH: one privileged pod per node, made through the Kubernetes API and deleted afterwards.

`port` is what is asked of the API (`rollout.adapters.kubernetes.toolbox` gives it); `manifest` the pod; `runs` one
batch of pods from their creation to their removal; `words` what a pod's end means; `observer` the port `Observer`.

Decisions:
- The pod runs the same program text with the same request as a node's Python does over SSH; only the way there differs.
  Nothing is built into the image but Python and BCC, so an old image serves a newer program.
- The API's objects and the container's log are the whole protocol: no exec, whose streams break with the connection,
  and no rights but on pods.
- A pod names its node itself, past the scheduler: a cordoned, tainted or full node is where it is needed most.
- Nothing is left behind: pods are deleted whatever happens; the pods of a process that was killed end by their own
  deadline, and the next run deletes them by label and age.
"""

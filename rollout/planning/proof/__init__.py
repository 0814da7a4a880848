"""The drain proof: what happens to every pod when its node is emptied, in the order of the plan."""

from rollout.planning.proof.deadlock import freeing_change
from rollout.planning.proof.prove import ASSUMPTIONS, DrainProof, PodProof, never_empties, prove

__all__ = ["ASSUMPTIONS", "DrainProof", "PodProof", "freeing_change", "never_empties", "prove"]

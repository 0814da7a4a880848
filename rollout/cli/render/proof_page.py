"""What was seen on nodes, judged."""

from __future__ import annotations

from rollout.app.verify import NodeProof
from rollout.cli.render.blocks import Block, Heading, Page, Para, Table, Tone
from rollout.domain.verdict import Status

TONES = {
    Status.PASS: Tone.GOOD,
    Status.FAIL: Tone.BAD,
    Status.INCONCLUSIVE: Tone.CARE,
    Status.SKIPPED: Tone.FAINT,
}


def proofs_page(proofs: tuple[NodeProof, ...]) -> Page:
    """A line per node, then every verdict that is not a pass."""
    if not proofs:
        return [Heading("Verify", 1), Para("no node was looked at")]
    page: list[Block] = [
        Heading("Verify", 1),
        Table(
            ("node", "expected", "verdict", "endpoint links by the kernel"),
            tuple((p.node, p.expected.value, p.status.value, _links(p)) for p in proofs),
            tuple(TONES[p.status] for p in proofs),
        ),
    ]
    verdicts = [v for p in proofs for v in p.verdicts]
    page.append(Heading("Checks"))
    page.append(
        Table(
            ("node", "check", "verdict", "what was found"),
            tuple((v.node, v.check, v.status.value, v.message) for v in verdicts),
            tuple(TONES[v.status] for v in verdicts),
        )
    )
    return page


def _links(proof: NodeProof) -> str:
    if proof.links is None:
        return "could not be read"
    return ", ".join(f"{kind}: {number}" for kind, number in proof.links.counts().items()) or "none"

"""The agent's start-up guard: it refuses to start over pods whose links are of another mode than its own."""

from collections.abc import Callable, Iterable

from endpointstore import Endpoint

# The real agent ends with os.Exit(-1): recorded as exit code 255.
REFUSED_EXIT_CODE = 255


def refusal(mode: str, endpoints: Iterable[Endpoint], link_mode: Callable[[str], str | None]) -> str | None:
    """The agent's words if it must not start, else None.

    `link_mode` reads the kernel; an endpoint whose link is gone does not count, nor does one that is no pod's.
    """
    wrong: list[Endpoint] = []
    modes: list[str] = []
    for endpoint in endpoints:
        found = link_mode(endpoint.link) if endpoint.is_pod else None
        if found is None or found == mode:
            continue
        wrong.append(endpoint)
        if found not in modes:
            modes.append(found)
    if not wrong:
        return None
    affected = ", ".join(f"{each.namespace}/{each.pod} (endpoint-{each.id})" for each in wrong)
    return (
        f"Cannot start cilium-agent with datapath-mode={mode}: detected {len(wrong)} existing endpoint(s) using "
        f"incompatible datapath-modes. Affected endpoints: {affected}. Detected incompatible datapath-modes: "
        f"{', '.join(modes)}. Please delete these pods or correct the cilium-agent operational datapath-mode."
    )

"""The refusal: the recorded words, and who counts."""

import re
from collections.abc import Callable

import logline
import startguard
from endpointstore import Endpoint


def endpoint(identifier: int, pod: str, link: str = "lxc1") -> Endpoint:
    return Endpoint(
        identifier, f"c{identifier}:eth0", "default" if pod else "", pod, "", "default", link, 1, "", "", ""
    )


def test_words_are_the_recorded_ones(recorded: Callable[[str], str]) -> None:
    expected = recorded("refusal.log").strip()
    pods = [endpoint(int(number), name) for name, number in re.findall(r"default/(\S+) \(endpoint-(\d+)\)", expected)]
    words = startguard.refusal("netkit", pods, lambda _: "veth")
    message = f"unable to run agent: failed to start: daemon configuration failed: {words}"
    time = expected.split(" ")[0].removeprefix("time=")
    assert logline.render("fatal", message, {"subsys": "daemon"}, at=time) == expected


def test_equal_missing_and_nameless_endpoints_do_not_count() -> None:
    modes = {"same": "netkit", "gone": None, "health": "veth"}
    pods = [endpoint(1, "a", "same"), endpoint(2, "b", "gone"), endpoint(3, "", "health")]
    assert startguard.refusal("netkit", pods, modes.get) is None


def test_netkit_layers_differ() -> None:
    words = startguard.refusal("netkit-l2", [endpoint(7, "a")], lambda _: "netkit")
    assert words is not None
    assert "datapath-mode=netkit-l2: detected 1 existing" in words
    assert "default/a (endpoint-7)" in words

"""ansible-playbook, tied to the life of the process that starts it.

The parent-death signal is the second line of defence: should the executor be killed before it could end its children,
the kernel sends SIGTERM here, and ansible-playbook takes its workers along.
"""

import ctypes
import gc
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1


def main() -> None:
    """Arguments: the executor's process id, then those of ansible-playbook."""
    executor = int(sys.argv[1])
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
    if os.getppid() != executor:
        sys.exit("the executor ended before ansible-playbook started")
    gc.disable()  # nothing of what is imported is garbage: looking for it costs a tenth of the start
    from ansible.cli.playbook import main as playbook  # type: ignore[import-untyped]

    gc.freeze()
    gc.enable()
    sys.argv[:2] = ["ansible-playbook"]
    playbook(sys.argv)


if __name__ == "__main__":
    main()

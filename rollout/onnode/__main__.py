"""`python3 -m onnode PROGRAM [REQUEST]`: run one program where this folder has been copied to."""

from __future__ import annotations

import importlib
import json
import sys

from . import entry

if __name__ == "__main__":
    name = sys.argv[1] if len(sys.argv) > 1 else "observe"
    request = json.loads(sys.argv[2]) if len(sys.argv) > 2 else {"probes": ["agent", "links", "capability", "host"]}
    entry.run(name, importlib.import_module("." + name, __package__).main, request)

"""The text of the probes' C sources, by path. In a checkout or an installed package they are files.

A node is sent this module with the texts in place of the code below (adapters/ansible/bundle.py).
"""

from __future__ import annotations

from pathlib import Path

_HERE = Path(__file__).resolve()
_FOLDERS = (_HERE.parents[2] / "bpf", _HERE.parents[1] / "_data" / "bpf")


def read(folder: Path | None = None) -> dict[str, str]:
    """Every source below `folder`, by its path from there. Raises FileNotFoundError when there is none."""
    root = folder or next((one for one in _FOLDERS if (one / "common.h").is_file()), _FOLDERS[0])
    found = {
        path.relative_to(root).as_posix(): path.read_text(encoding="utf-8") for path in sorted(root.rglob("*.[ch]"))
    }
    if not found:
        raise FileNotFoundError(2, "cannot find the probes' C sources", str(root))
    return found


SOURCES: dict[str, str] = read()

"""The lab's certificate authority, its API server's certificate, and kubeconfig files."""

import base64
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import trustme
import yaml

# Loopback for programs on this machine, the bridge address for the guests.
SERVER_NAMES = ("127.0.0.1", "192.168.77.1", "10.96.0.1", "localhost", "kubernetes.default.svc")


@dataclass(frozen=True)
class ServerFiles:
    """Where the server's certificate chain, key and CA were written."""

    certificate: Path
    key: Path
    ca: Path


def write_private(path: Path, content: bytes) -> None:
    """Write a file that only its owner may read; never by others, not even for a moment, and never half."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    partial.unlink(missing_ok=True)
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
    partial.replace(path)


def create_pki(directory: Path, names: Sequence[str] = SERVER_NAMES) -> ServerFiles:
    """Make a CA and a server certificate for `names` (addresses or host names)."""
    authority = trustme.CA(organization_name="netkit-rollout lab")
    server = authority.issue_cert(*names)
    files = ServerFiles(directory / "server.crt", directory / "server.key", directory / "ca.crt")
    write_private(files.certificate, b"".join(blob.bytes() for blob in server.cert_chain_pems))
    write_private(files.key, server.private_key_pem.bytes())
    write_private(files.ca, authority.cert_pem.bytes())
    return files


def kubeconfig_document(url: str, token: str, ca: bytes | None, name: str = "lab") -> dict[str, Any]:
    """A kubeconfig with one cluster, one user and one context, the CA embedded."""
    cluster: dict[str, Any] = {"server": url}
    if ca is not None:
        cluster["certificate-authority-data"] = base64.b64encode(ca).decode()
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": name, "cluster": cluster}],
        "users": [{"name": name, "user": {"token": token} if token else {}}],
        "contexts": [{"name": name, "context": {"cluster": name, "user": name, "namespace": "default"}}],
        "current-context": name,
    }


def write_kubeconfig(path: Path, url: str, token: str, ca: Path | None = None, name: str = "lab") -> Path:
    """Write a kubeconfig with mode 0600: it holds a token."""
    document = kubeconfig_document(url, token, ca.read_bytes() if ca else None, name)
    write_private(path, yaml.safe_dump(document, sort_keys=False).encode())
    return path

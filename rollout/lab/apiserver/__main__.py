"""Run the API stand-in alone: `python -m rollout.lab.apiserver --port 6443 --kubeconfig lab.yaml`."""

import argparse
import asyncio
import contextlib
import secrets
import signal
import sys
import tempfile
from pathlib import Path

from rollout.lab.apiserver.auth import admin, viewer
from rollout.lab.apiserver.request_info import load_documents
from rollout.lab.apiserver.server import ApiServer, ServerSettings, ServerTls
from rollout.lab.apiserver.threaded import bind_loopback
from rollout.lab.controllers import Controllers
from rollout.lab.pki import create_pki, write_kubeconfig


def _parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m rollout.lab.apiserver", description=__doc__)
    parser.add_argument("--port", type=int, default=0, help="loopback port; 0 takes a free one")
    parser.add_argument("--kubeconfig", type=Path, required=True, help="where to write the administrator's kubeconfig")
    parser.add_argument("--viewer-kubeconfig", type=Path, help="where to write one that may only read")
    parser.add_argument("--fixture", type=Path, action="append", default=[], help="YAML or JSON objects to start with")
    parser.add_argument("--node-config-version", choices=("v2", "v2alpha1"), default="v2")
    parser.add_argument("--no-controllers", action="store_true", help="serve the API only")
    return parser.parse_args(arguments)


async def _serve(options: argparse.Namespace, directory: Path) -> None:
    files = create_pki(directory)
    admin_token, viewer_token = secrets.token_urlsafe(24), secrets.token_urlsafe(24)
    server = ApiServer(
        tls=ServerTls(files.certificate, files.key, files.ca),
        tokens={admin_token: admin(), viewer_token: viewer()},
        settings=ServerSettings(node_config_version=options.node_config_version),
    )
    for fixture in options.fixture:
        server.store.seed(load_documents(fixture.read_text()))
    bound = bind_loopback(options.port)
    url = f"https://127.0.0.1:{bound.getsockname()[1]}"
    await server.start([bound])
    controllers = Controllers(server.store)
    if not options.no_controllers:
        await controllers.start()
    write_kubeconfig(options.kubeconfig, url, admin_token, files.ca)
    if options.viewer_kubeconfig:
        write_kubeconfig(options.viewer_kubeconfig, url, viewer_token, files.ca)
    sys.stderr.write(f"serving {url}; kubeconfig {options.kubeconfig}\n")
    stopping = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stopping.set)
    await stopping.wait()
    if not options.no_controllers:
        await controllers.stop()
    await server.stop()


def main() -> None:
    options = _parse(sys.argv[1:])
    with tempfile.TemporaryDirectory(prefix="apiserver-") as directory, contextlib.suppress(KeyboardInterrupt):
        asyncio.run(_serve(options, Path(directory)))


if __name__ == "__main__":
    main()

"""A JupyterLab of its own for a test: a free port, a token, settings that nobody else sees."""

from __future__ import annotations

import os
import secrets
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event

import psutil


@contextmanager
def jupyter_lab(folder: Path, settings: Path) -> Iterator[str]:
    """Serve a folder, and yield the address of `PATH` as `address.format(path=PATH)`.

    The server and its kernels end with the context, whatever happens in it.

    Args:
        folder: whose notebooks can be opened; they can be changed, so give a copy.
        settings: an empty folder for everything that Jupyter writes.
    """
    token, port = secrets.token_hex(16), _free_port()
    own = {
        f"JUPYTER_{kind}_DIR": str(settings / kind.lower())
        for kind in ("CONFIG", "DATA", "RUNTIME")
    }
    options = [
        "--no-browser", "--ip=127.0.0.1", f"--port={port}", "--ServerApp.port_retries=0",
        f"--IdentityProvider.token={token}", f"--ServerApp.root_dir={folder}", "--allow-root",
        f"--LabApp.workspaces_dir={settings / 'workspaces'}",
        f"--LabApp.user_settings_dir={settings / 'settings'}",
    ]  # fmt: skip
    _ask_no_questions(settings / "settings")
    log = settings / "log"
    with log.open("wb") as said:
        server = subprocess.Popen(
            [sys.executable, "-m", "jupyterlab", *options],
            env={**os.environ, **own, "IPYTHONDIR": str(settings / "ipython")},
            stdout=said,
            stderr=subprocess.STDOUT,
        )
    try:
        _wait_until_it_serves(server, port, log)
        yield f"http://127.0.0.1:{port}/doc/tree/{{path}}?token={token}"
    finally:
        _end(server)


def _ask_no_questions(user_settings: Path) -> None:
    """Answer beforehand what JupyterLab asks a new user about news, so that nothing is covered."""
    file = user_settings / "@jupyterlab" / "apputils-extension" / "notification.jupyterlab-settings"
    file.parent.mkdir(parents=True)
    file.write_text('{"fetchNews": "false", "checkForUpdates": false}')


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait_until_it_serves(server: subprocess.Popen[bytes], port: int, log: Path) -> None:
    # NOTE: it says that it runs before it listens, so its log is no sign
    for _ in range(600):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        if server.poll() is not None:
            break
        Event().wait(0.1)
    raise AssertionError(f"JupyterLab did not start:\n{log.read_text()}")


def _end(server: subprocess.Popen[bytes]) -> None:
    # Kernels have sessions of their own, so they are ended one by one if the server does not.
    processes = [*psutil.Process(server.pid).children(recursive=True), psutil.Process(server.pid)]
    server.terminate()
    _, left = psutil.wait_procs(processes, timeout=5)
    for process in left:
        process.kill()
    server.wait()

"""A JupyterLab of its own for a test: a free port, a token, settings that nobody else sees."""

from __future__ import annotations

import os
import secrets
import socket
import subprocess
import sys
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Thread

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
    server = subprocess.Popen(
        [sys.executable, "-m", "jupyterlab", *options],
        env={**os.environ, **own, "IPYTHONDIR": str(settings / "ipython")},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        _wait_until_it_serves(server)
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


def _wait_until_it_serves(server: subprocess.Popen[str]) -> None:
    assert server.stdout is not None
    said = []
    for line in server.stdout:
        said.append(line)
        if "is running at" in line:
            # What else it says has to go somewhere, or it would stop when the pipe is full.
            Thread(target=deque, args=(server.stdout, 0), daemon=True).start()
            return
    raise AssertionError(f"JupyterLab did not start:\n{''.join(said)}")


def _end(server: subprocess.Popen[str]) -> None:
    # Kernels have sessions of their own, so they are ended one by one if the server does not.
    processes = [*psutil.Process(server.pid).children(recursive=True), psutil.Process(server.pid)]
    server.terminate()
    _, left = psutil.wait_procs(processes, timeout=5)
    for process in left:
        process.kill()
    server.wait()

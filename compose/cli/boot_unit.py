"""The systemd unit that brings containers back at boot, and stops them before the machine goes down."""

from __future__ import annotations

import contextlib
import os
import sys
from typing import TYPE_CHECKING

from compose.errors import ComposeError
from compose.runtime.cgroups.systemd import BOOT_UNIT, is_running
from compose.state.files import replace
from compose.state.paths import unit_directory

if TYPE_CHECKING:
    from compose.state.paths import Paths

_TEXT = """\
# Written by `pycompose boot enable`; `pycompose boot disable` removes it.
[Unit]
Description=Containers of pycompose that ran before
After=network-online.target
Wants=network-online.target

[Service]
Type=oneshot
RemainAfterExit=yes
{environment}ExecStart={program} boot start
ExecStop={program} boot stop
TimeoutStartSec=10min
TimeoutStopSec=5min

[Install]
WantedBy={target}
"""


class Unit:
    """The unit of root, or of an ordinary user."""

    def __init__(self, directory: str, *, user: bool, systemctl: str = "systemctl") -> None:
        self.path = f"{directory}/{BOOT_UNIT}"
        self._user = user
        self._systemctl = systemctl

    @classmethod
    def of_user(cls) -> Unit:
        """That of whoever runs this command."""
        directory, user = unit_directory()
        return cls(directory, user=user)

    @property
    def lingering_hint(self) -> str:
        """What an ordinary user has to type besides, or ""."""
        return "loginctl enable-linger" if self._user else ""

    def is_installed(self) -> bool:
        return os.path.exists(self.path)

    def text(self, paths: Paths, program: list[str]) -> str:
        """The unit file; `program` is how this program is called, with absolute paths."""
        roots = {"PYCOMPOSE_DATA_DIR": paths.data, "PYCOMPOSE_RUN_DIR": paths.run}
        environment = "".join(f"Environment={quoted(f'{name}={value}')}\n" for name, value in roots.items())
        target = "default.target" if self._user else "multi-user.target"
        command = " ".join(quoted(word).replace("$", "$$") for word in program)
        return _TEXT.format(environment=environment, program=command, target=target)

    def install(self, paths: Paths) -> None:
        """Write, enable and start it: only what was started is stopped when the machine goes down.

        Raises `ComposeError` where there is no systemd, or it refuses.
        """
        if not is_running():
            raise ComposeError(
                "systemd does not run here, so that nothing can be enabled",
                hint="have your init run 'pycompose boot start', and 'pycompose boot stop' at the end",
            )
        os.makedirs(os.path.dirname(self.path), exist_ok=True)
        text = self.text(paths, _program())
        replace(self.path, text.encode("utf-8", "surrogateescape"), mode=0o644)
        try:
            self._call("daemon-reload")
            self._call("enable", BOOT_UNIT)
        except ComposeError:
            os.unlink(self.path)
            raise
        self._call("start", BOOT_UNIT)

    def remove(self) -> bool:
        """Disable and remove it; whether it was there. What runs goes on."""
        if not self.is_installed():
            return False
        if is_running():
            self._call("disable", BOOT_UNIT)
        os.unlink(self.path)
        if is_running():
            self._call("daemon-reload")
            with contextlib.suppress(ComposeError):  # it is not loaded unless it was started
                self._call("stop", BOOT_UNIT)  # not earlier: its file said what that would do
        return True

    def _call(self, *arguments: str) -> None:
        import subprocess

        command = [self._systemctl, *(["--user"] if self._user else []), *arguments]
        try:
            done = subprocess.run(command, capture_output=True, text=True, errors="replace")
        except OSError as error:
            raise ComposeError(f"{command[0]}: {error.strerror}") from None
        if done.returncode:
            last = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
            raise ComposeError(f"{' '.join(command)}: {last}")


def _program() -> list[str]:
    """How this program was called, with an absolute path."""
    own = os.path.abspath(sys.argv[0])
    if os.access(own, os.X_OK) and not own.endswith(".py"):
        return [own]
    return [sys.executable, "-m", "compose"]


def quoted(text: str) -> str:
    """A word of a unit file: quoted, and without specifiers (systemd.unit(5))."""
    plain = text.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%")
    return f'"{plain}"'

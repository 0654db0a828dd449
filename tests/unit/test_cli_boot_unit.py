"""The unit that brings containers back at boot."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from compose.cli import boot_unit
from compose.cli.boot_unit import Unit, quoted
from compose.errors import ComposeError
from compose.state.paths import Paths

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def unit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Unit:
    """A unit for a systemctl that writes down what it is asked."""
    monkeypatch.setattr(boot_unit, "is_running", lambda: True)
    program = tmp_path / "systemctl"
    program.write_text(
        f'#!/bin/sh\necho "$@" >> {tmp_path}/asked\ntest ! -e {tmp_path}/refuse || {{\n'
        "echo it is masked >&2\nexit 1\n}\n"
    )
    program.chmod(0o755)
    return Unit(str(tmp_path / "units"), user=False, systemctl=str(program))


def test_it_is_written_enabled_and_removed(unit: Unit, tmp_path: Path) -> None:
    assert not unit.remove()
    unit.install(Paths("/data", "/run/x"))
    text = (tmp_path / "units" / "pycompose-boot.service").read_text()
    assert 'Environment="PYCOMPOSE_DATA_DIR=/data"\n' in text
    assert "boot start\n" in text
    assert "WantedBy=multi-user.target" in text
    assert unit.is_installed()
    assert unit.remove()
    assert not unit.is_installed()
    assert (tmp_path / "asked").read_text().splitlines() == [
        "daemon-reload",
        "enable pycompose-boot.service",
        "start pycompose-boot.service",
        "disable pycompose-boot.service",
        "daemon-reload",
        "stop pycompose-boot.service",
    ]


def test_a_refusal_leaves_nothing(unit: Unit, tmp_path: Path) -> None:
    (tmp_path / "refuse").touch()
    with pytest.raises(ComposeError, match="daemon-reload: it is masked"):
        unit.install(Paths("/data", "/run/x"))
    assert not unit.is_installed()


def test_without_systemd_nothing_is_written(
    unit: Unit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(boot_unit, "is_running", lambda: False)
    with pytest.raises(ComposeError, match="systemd does not run here"):
        unit.install(Paths("/data", "/run/x"))
    assert not unit.is_installed()
    assert not (tmp_path / "asked").exists()


def test_words_mean_themselves(unit: Unit) -> None:
    assert quoted('a "b" 100%') == '"a \\"b\\" 100%%"'
    assert 'ExecStart="/opt/$$x/pycompose" boot start\n' in unit.text(
        Paths("/d", "/r"), ["/opt/$x/pycompose"]
    )


def test_an_ordinary_user_has_one_too(tmp_path: Path) -> None:
    unit = Unit(str(tmp_path), user=True)
    assert "WantedBy=default.target" in unit.text(Paths("/d", "/r"), ["/x"])
    assert unit.lingering_hint == "loginctl enable-linger"

"""``security_opt`` in words, what this host cannot do of it, and what is written for security modules."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from compose.engine.embedded.spec import security
from compose.engine.embedded.spec.namespaces import useless
from compose.engine.embedded.spec.security import Security
from compose.errors import ContainerError
from compose.runtime import modules

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ([], Security()),
        (["seccomp=unconfined"], Security(seccomp="unconfined")),
        (["seccomp:unconfined"], Security(seccomp="unconfined")),
        (["seccomp=builtin"], Security()),
        (["seccomp=./a:b=c.json"], Security(seccomp="./a:b=c.json")),
        (["no-new-privileges"], Security(no_new_privileges=True)),
        (["no-new-privileges:true"], Security(no_new_privileges=True)),
        (["no-new-privileges=false"], Security()),
        (["apparmor:docker-default"], Security(apparmor="docker-default")),
        (["label=type:svirt_t"], Security(selinux="system_u:system_r:svirt_t:s0")),
        (["label:level:s0:c1,c2", "label:user:u"], Security(selinux="u:system_r:container_t:s0:c1,c2")),
        (["label=type:t", "label=disable"], Security()),
        (["systempaths=unconfined"], Security(unconfined_paths=True)),
        (["writable-cgroups=true"], Security(writable_cgroups=True)),
    ],
)
def test_options(options: list[str], expected: Security) -> None:
    assert security.security({"security_opt": options}) == expected


@pytest.mark.parametrize(
    "option",
    [
        "",
        "nosuch",
        "seccomp",
        "seccomp=",
        "apparmor",
        "label=",
        "label=type",
        "label=kind:x",
        "systempaths=x",
    ],
)
def test_what_is_no_option(option: str) -> None:
    with pytest.raises(ContainerError, match="security_opt: there is no option"):
        security.security({"security_opt": [option]})


def test_a_host_without_modules(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(security, "has_apparmor", lambda: False)
    monkeypatch.setattr(security, "has_selinux", lambda: False)
    assert security.missing(Security(apparmor="unconfined")) == []
    first, second = security.missing(Security(apparmor="mine", selinux="a:b:c:d"))
    assert "no AppArmor: apparmor=mine" in first and "no SELinux: label a:b:c:d" in second


def test_what_is_written_for_the_next_execve(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old, new, selinux = (tmp_path / name for name in ("old", "new", "selinux"))
    monkeypatch.setattr(modules, "_APPARMOR", (str(new), str(old)))
    monkeypatch.setattr(modules, "_SELINUX", str(selinux))
    for file in (old, selinux):
        file.touch()
    modules.confine({})
    assert (old.read_text(), selinux.read_text()) == ("", "")
    modules.confine({"apparmorProfile": "mine", "selinuxLabel": "a:b:c:d"})
    assert (old.read_text(), selinux.read_text()) == ("exec mine", "a:b:c:d")
    new.touch()
    modules.confine({"apparmorProfile": "other"})
    assert new.read_text() == "exec other"  # kernels with several modules have a file for each


def test_keys_without_effect() -> None:
    assert [key for key, _ in useless({"network_mode": "host", "ports": [{}]})] == ["ports"]
    assert [key for key, _ in useless({"network_mode": "service:a", "dns_opt": ["x"]})] == ["dns_opt"]
    assert useless({"ports": [{}], "dns_opt": ["x"]}) == []

"""``security_opt`` in words, what this host cannot do of it, and what is written for security modules."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from compose.engine.embedded.spec import build, security
from compose.engine.embedded.spec.namespaces import useless
from compose.engine.embedded.spec.security import Security
from compose.errors import ContainerError
from compose.runtime.container import apparmor, modules

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


def test_the_default_profile_is_loaded_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded, given, parser = (tmp_path / name for name in ("profiles", "given", "parser"))
    loaded.write_text("docker-default-2 (enforce)\n")
    script = f"echo $* >>{given}; cat >>{given}; echo '{apparmor.NAME} (enforce)' >>{loaded}"
    parser.write_text(f"#!/bin/sh\n{script}\n")
    parser.chmod(0o755)
    monkeypatch.setattr(apparmor, "_LOADED", str(loaded))
    monkeypatch.setattr(apparmor, "_parser", lambda: None)
    monkeypatch.setattr(apparmor, "has_apparmor", lambda: True)
    assert apparmor.default() == "" and not apparmor.is_loaded("docker-default")
    with pytest.raises(ContainerError, match="there is no apparmor_parser"):
        apparmor.load()
    monkeypatch.setattr(apparmor, "_parser", lambda: str(parser))
    assert apparmor.default() == apparmor.NAME
    apparmor.make_ready({"apparmorProfile": "mine"})
    assert not given.exists()
    for _each in range(2):
        apparmor.make_ready({"apparmorProfile": apparmor.NAME})
    assert given.read_text().startswith(f"-Kr\nprofile {apparmor.NAME} ")
    assert given.read_text().count("-Kr") == 1
    parser.write_text("#!/bin/sh\necho no room >&2; exit 1\n")
    loaded.write_text("")
    with pytest.raises(ContainerError, match="apparmor_parser: no room"):
        apparmor.load()


@pytest.mark.parametrize(
    ("service", "dockers", "expected"),
    [
        ({}, False, "ours"),
        ({"privileged": True}, False, None),
        ({"privileged": True, "security_opt": ["apparmor=mine"]}, False, "mine"),
        ({"security_opt": ["apparmor=unconfined"]}, False, "unconfined"),
        ({"security_opt": ["apparmor=docker-default"]}, False, "ours"),
        ({"security_opt": ["apparmor=docker-default"]}, True, "docker-default"),
    ],
)
def test_which_profile_a_container_has(
    monkeypatch: pytest.MonkeyPatch, service: dict[str, Any], dockers: bool, expected: str | None
) -> None:
    monkeypatch.setattr(build, "has_apparmor", lambda: True)
    monkeypatch.setattr(apparmor, "is_loaded", lambda _name: dockers)
    config: Any = {"process": {}, "linux": {}, "mounts": []}
    build._apply(config, security.security(service), "" if service.get("privileged") else "ours")
    assert config["process"].get("apparmorProfile") == expected


def test_keys_without_effect() -> None:
    assert [key for key, _ in useless({"network_mode": "host", "ports": [{}]})] == ["ports"]
    assert [key for key, _ in useless({"network_mode": "service:a", "dns_opt": ["x"]})] == ["dns_opt"]
    assert useless({"ports": [{}], "dns_opt": ["x"]}) == []

"""``pycompose config``: the canonical form, the lists, the switches."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
import yaml

from compose.cli.main import main

if TYPE_CHECKING:
    from pathlib import Path

FILE = """\
name: demo
services:
  web:
    build: .
    image: "web:${TAG:-1}"
    depends_on: [db]
    environment: {PRICE: "5$$"}
    volumes: [data:/data]
  db:
    image: mariadb
    networks: [back]
  debug:
    image: busybox
    profiles: [debug]
networks: {back: }
volumes: {data: }
"""


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory with a compose file, and places of its own for data."""
    (tmp_path / "compose.yaml").write_text(FILE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYCOMPOSE_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("PYCOMPOSE_RUN_DIR", str(tmp_path / "run"))
    monkeypatch.delenv("TAG", raising=False)
    return tmp_path


def output(capfd: pytest.CaptureFixture[str], *arguments: str) -> str:
    """What a command prints, when it succeeds."""
    assert main(arguments) == 0
    return capfd.readouterr().out


def test_config_prints_a_compose_file(project: Path, capfd: pytest.CaptureFixture[str]) -> None:
    text = output(capfd, "config")
    shown = yaml.safe_load(text)
    assert list(shown) == ["name", "services", "networks", "volumes"]
    assert shown["services"]["web"]["environment"] == {"PRICE": "5$$"}
    assert shown["services"]["web"]["build"] == {"context": str(project), "dockerfile": "Dockerfile"}
    (project / "again.yaml").write_text(text)
    assert output(capfd, "-f", "again.yaml", "config") == text


def test_config_prints_json(project: Path, capfd: pytest.CaptureFixture[str]) -> None:
    shown = json.loads(output(capfd, "config", "--format", "json"))
    assert shown["services"]["web"]["image"] == "web:1"
    assert shown["volumes"] == {"data": {"name": "demo_data"}}


@pytest.mark.parametrize(
    ("arguments", "lines"),
    [
        (["config", "--services"], ["db", "web"]),
        (["--profile", "debug", "config", "--services"], ["db", "debug", "web"]),
        (["config", "--volumes"], ["data"]),
        (["config", "--networks"], ["back", "default"]),
        (["config", "--images"], ["mariadb", "web:1"]),
        (["config", "--profiles"], ["debug"]),
        (["config", "-q"], []),
    ],
)
def test_lists(
    project: Path, capfd: pytest.CaptureFixture[str], arguments: list[str], lines: list[str]
) -> None:
    assert output(capfd, *arguments).splitlines() == lines


def test_hashes_are_those_of_the_services(project: Path, capfd: pytest.CaptureFixture[str]) -> None:
    everything = output(capfd, "config", "--hash", "*").splitlines()
    assert [line.split()[0] for line in everything] == ["db", "web"]
    assert all(len(line.split()[1]) == 64 for line in everything)
    assert output(capfd, "config", "--hash", "db").splitlines() == everything[:1]


def test_output_goes_to_a_file(project: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert output(capfd, "config", "-o", "out.yaml") == ""
    assert (project / "out.yaml").read_text() == output(capfd, "config")


def test_without_interpolation_variables_stay(project: Path, capfd: pytest.CaptureFixture[str]) -> None:
    shown = yaml.safe_load(output(capfd, "config", "--no-interpolate"))
    assert shown["services"]["web"]["image"] == "web:${TAG:-1}"
    assert shown["services"]["web"]["environment"] == {"PRICE": "5$$"}


def test_without_interpolation_empty_resolvers_are_left_out(
    project: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (project / "compose.yaml").write_text("services: {a: {image: x, dns: ['', 1.1.1.1]}}\n")
    assert "    dns:\n      - 1.1.1.1\n" in output(capfd, "config", "--no-interpolate")


def test_a_resource_with_an_empty_name_has_none(project: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (project / "compose.yaml").write_text(
        "services: {a: {image: x, networks: [net]}}\nnetworks: {net: {name: ''}}\n"
    )
    assert output(capfd, "config").endswith("networks:\n  net: {}\n")


def test_only_some_services_and_what_they_need(project: Path, capfd: pytest.CaptureFixture[str]) -> None:
    shown = yaml.safe_load(output(capfd, "config", "db"))
    assert list(shown["services"]) == ["db"]
    assert list(shown["networks"]) == ["back"]
    assert "volumes" not in shown
    assert list(yaml.safe_load(output(capfd, "config", "web"))["services"]) == ["db", "web"]
    assert list(yaml.safe_load(output(capfd, "config", "debug"))["services"]) == ["debug"]


def test_paths_and_names_may_stay_as_they_are(project: Path, capfd: pytest.CaptureFixture[str]) -> None:
    shown = yaml.safe_load(output(capfd, "config", "--no-path-resolution"))
    assert shown["services"]["web"]["build"]["context"] == "."


def test_variables_with_their_defaults(project: Path, capfd: pytest.CaptureFixture[str]) -> None:
    lines = output(capfd, "config", "--variables").splitlines()
    assert lines == [
        "NAME                REQUIRED            DEFAULT VALUE       ALTERNATE VALUE",
        "TAG                 false               1                   ",
    ]
    shown = json.loads(output(capfd, "config", "--variables", "--format", "json"))
    assert shown["TAG"] == {"Name": "TAG", "DefaultValue": "1", "PresenceValue": "", "Required": False}


def test_images_of_some_services_and_what_they_need(project: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert output(capfd, "config", "--images", "db") == "mariadb\n"
    assert main(["config", "--images", "nope"]) == 2


def test_without_normalisation_nothing_is_implied(project: Path, capfd: pytest.CaptureFixture[str]) -> None:
    shown = json.loads(output(capfd, "config", "--no-normalize", "--format", "json"))
    assert shown["networks"] == {"back": {"ipam": {}}}
    assert shown["volumes"] == {"data": {}}
    assert "networks" not in shown["services"]["web"]


def test_compatibility_names_with_underscores(
    project: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (project / "compose.yaml").write_text("name: demo\nservices: {web: {build: .}}\n")
    usual = output(capfd, "config")
    assert output(capfd, "config", "--images") == "demo-web\n"
    assert output(capfd, "--compatibility", "config", "--images") == "demo_web\n"
    assert output(capfd, "--compatibility", "config") == output(capfd, "config", "--no-normalize") != usual
    (project / ".env").write_text("COMPOSE_COMPATIBILITY=true\n")
    monkeypatch.setenv("COMPOSE_COMPATIBILITY", "yes")  # no boolean of Go's: it counts as false
    assert output(capfd, "config", "--images") == "demo-web\n"
    monkeypatch.delenv("COMPOSE_COMPATIBILITY")
    assert output(capfd, "config", "--images") == "demo_web\n"
    assert output(capfd, "config") == usual


def test_environment_is_what_interpolation_sees(project: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (project / ".env").write_text("FROM_FILE=yes\n")
    lines = output(capfd, "config", "--environment").splitlines()
    assert {"FROM_FILE=yes", "COMPOSE_PROJECT_NAME=demo"} <= set(lines)


def test_explain_prints_candidates_and_the_winner(
    project: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (project / ".env").write_text("TAG=2\n")
    monkeypatch.setenv("TAG", "3")
    assert output(capfd, "config", "--explain", "TAG") == (
        "TAG\n"
        "  wins   environment        3\n"
        "  loses  .env:1:1           2\n"
        "  loses  compose.yaml:5:12  1  default in services.web.image\n"
    )
    shown = json.loads(output(capfd, "config", "--format", "json", "--explain", "TAG"))
    assert shown[0]["candidates"][1]["place"] == ".env:1:1"


def test_explain_of_what_stops_the_load_is_printed_before_the_error(
    project: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (project / "compose.yaml").write_text("services: {a: {image: '${X?why}'}}\n")
    assert main(["config", "--explain", "X"]) == 1
    shown = capfd.readouterr()
    assert shown.out == "X\n  wins  compose.yaml:1:23  -  needed in services.a.image\n"
    assert "compose.yaml:1:23: services.a.image: the variable X is needed: why" in shown.err


def test_explain_and_origin_of_nothing_are_usage_errors(
    project: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert main(["config", "--explain", "NOBODY"]) == 2
    assert main(["config", "--origin", "services.wbe"]) == 2
    assert "did you mean `web`?" in capfd.readouterr().err


def test_origin_prints_where_a_value_comes_from(project: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (project / "compose.override.yaml").write_text("services: {web: {image: other}}\n")
    assert output(capfd, "config", "--origin", "services.web.image") == (
        "services.web.image\n"
        "  wins   compose.override.yaml:1:25  other\n"
        "  loses  compose.yaml:5:12           web:1\n"
    )


def test_supported_says_of_every_key_what_becomes_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    rows = {row["key"]: row for row in json.loads(output(capfd, "config", "--supported", "--format", "json"))}
    assert len(rows) > 300
    assert rows["services.*.image"] == {"key": "services.*.image", "support": "full", "reason": ""}
    assert rows["services.*.isolation"]["support"] == "no"
    assert rows["services.*.deploy.resources"]["reason"].startswith("without reservations.")
    assert all(row["reason"] for row in rows.values() if row["support"] != "full")
    text = output(capfd, "config", "--supported").splitlines()
    assert text[0].split() == ["KEY", "SUPPORT", "REASON"]
    assert len(text) == len(rows) + 1


def test_digest_of_what_is_not_in_the_store_is_one_clear_error(
    project: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert main(["config", "--resolve-image-digests", "db"]) == 1
    assert capfd.readouterr().err == (
        "pycompose: compose.yaml:10:5: services.db.image: mariadb:latest has no digest: "
        "it is not in the local store, and registries are not asked yet\n"
    )


def test_images_that_have_digests_are_written_in_full(
    project: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    digest = f"sha256:{'a' * 64}"
    (project / "compose.yaml").write_text(f"services: {{a: {{image: 'x:1@{digest}'}}, b: {{build: .}}}}\n")
    locked = f"services:\n  a:\n    image: docker.io/library/x@{digest}\n  b: {{}}\n"
    assert output(capfd, "config", "--lock-image-digests") == locked
    assert output(capfd, "config", "--lock-image-digests", "--no-interpolate") == locked


def test_wrong_names_of_images_have_their_place(project: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (project / "compose.yaml").write_text("services: {a: {image: 'x:${T}'}}\n")
    assert main(["config", "--lock-image-digests", "--no-interpolate"]) == 1
    assert "services.a.image: image name 'x:${T}'" in capfd.readouterr().err
    (project / "compose.yaml").write_text("services: {a: {image: UPPER}}\n")
    assert main(["config", "--lock-image-digests"]) == 1
    assert "compose.yaml:1:16: services.a.image: image name 'UPPER' is not valid" in capfd.readouterr().err


def test_unknown_service_is_an_error(project: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["config", "wbe"]) == 2
    assert "no such service: wbe" in capfd.readouterr().err


def test_strict_makes_errors_of_warnings(project: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["config", "-q", "--strict"]) == 0
    (project / "compose.yaml").write_text("services: {a: {image: x, isolation: hyperv}}\n")
    assert main(["config", "-q"]) == 0
    assert main(["config", "-q", "--strict"]) == 1
    assert "compose.yaml:1:26: services.a.isolation: not supported yet" in capfd.readouterr().err


def test_lists_need_no_files_of_variables(project: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (project / "compose.yaml").write_text("services: {a: {image: x, env_file: none.env}, b: {image: x}}")
    assert output(capfd, "config", "--images") == "x\nx\n"
    assert output(capfd, "config", "--hash", "b").startswith("b ")
    assert main(["config"]) == 1
    assert main(["config", "--environment"]) == 1


def test_variables_of_included_and_extended_files(project: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (project / "compose.yaml").write_text(
        "include: [more.yaml]\nservices: {a: {extends: {file: base.yaml, service: b}}}"
    )
    (project / "more.yaml").write_text("services: {c: {image: '${MORE?needed}'}}")
    (project / "base.yaml").write_text("services: {b: {image: 'x:${BASE:-1}'}}")
    shown = yaml.safe_load(output(capfd, "config", "--variables", "--format", "yaml"))
    assert {name: (one["required"], one["defaultvalue"]) for name, one in shown.items()} == {
        "BASE": (False, "1"),
        "MORE": (True, ""),
    }
    (project / "base.yaml").write_text("services: {b: {imag: x}}")
    assert main(["config", "--variables"]) == 1


def test_what_is_not_active_is_left_out_where_services_are_named(
    project: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (project / "compose.yaml").write_text(
        "services:\n"
        "  a: {image: x, depends_on: {b: {condition: service_started, required: false}}}\n"
        "  b: {image: x, profiles: [more]}\n"
    )
    everything = json.loads(output(capfd, "config", "--format", "json"))
    assert list(everything["services"]["a"]["depends_on"]) == ["b"]
    named = json.loads(output(capfd, "config", "--format", "json", "a"))
    assert "depends_on" not in named["services"]["a"]


def test_what_no_service_uses_is_printed_on_request(project: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (project / "compose.yaml").write_text("services: {a: {image: x}}\nvolumes: {v: }\nnetworks: {n: }\n")
    assert "volumes" not in yaml.safe_load(output(capfd, "config"))
    for _ in range(2):  # made, and from the cache
        shown = yaml.safe_load(output(capfd, "--all-resources", "config", "a"))
        assert (list(shown["networks"]), list(shown["volumes"])) == (["default", "n"], ["v"])
    assert output(capfd, "--all-resources", "config", "--volumes") == "v\n"


def test_bytes_that_are_not_utf_8_are_binary_in_yaml_and_replaced_in_json(
    project: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (project / "compose.yaml").write_text("services: {a: {image: x, environment: {A: '${V}'}}}\n")
    monkeypatch.setenv("V", "a\udcff")
    printed = output(capfd, "config")
    assert "      A: !!binary Yf8=\n" in printed
    (project / "again.yaml").write_text(printed)
    assert output(capfd, "-f", "again.yaml", "config") == printed
    shown = json.loads(output(capfd, "config", "--format", "json"))
    assert shown["services"]["a"]["environment"] == {"A": "a\ufffd"}
    assert json.loads(output(capfd, "config", "--explain", "V", "--format", "json"))[0]["value"] == "a\ufffd"


def test_dates_in_keys_of_ones_own_are_written_in_full(
    project: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    times = "[2024-1-2 3:4:05, 2024-01-02T03:04:05.50+02:00, 2024-01-02T03:04:05.500+00:00, 2024-13-01]"
    (project / "compose.yaml").write_text(
        f"x-day: !!timestamp 2024-01-02\nx-own: {{x-times: {times}}}\nservices: {{a: {{image: x}}}}\n"
    )
    for arguments in (("--format", "json"), ("--format", "yaml"), ("--no-interpolate",)):
        shown = yaml.safe_load(output(capfd, "config", *arguments))
        assert shown["x-day"] == "2024-01-02T00:00:00Z"
        assert shown["x-own"]["x-times"] == [
            *("2024-01-02T03:04:05Z", "2024-01-02T03:04:05.5+02:00", "2024-01-02T03:04:05.5Z", "2024-13-01"),
        ]


def test_tabs_may_indent_comments(project: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (project / "compose.yaml").write_text(
        "# first\n\t# second\n \t # third\nservices:\n\t#\n  a:\n    image: x\n    labels:\n"
        "      one: |\n        text\n        \t# more\n      two: b\n\t\t# last\n      # of all\n"
    )
    shown = yaml.safe_load(output(capfd, "config"))
    assert shown["services"]["a"]["labels"] == {"one": "text\n\t# more\n", "two": "b"}
    for text, message in (
        ("services:\n\ta: {image: x}\n", "compose.yaml:2:1: is not YAML: a tab is used for indentation"),
        ("services:\n  a:\n    image: |\n     \t# x\n", "compose.yaml:4:6: is not YAML"),
    ):
        (project / "compose.yaml").write_text(text)
        assert main(["config"]) == 1
        assert message in capfd.readouterr().err


@pytest.mark.parametrize("switch", [(), ("--no-interpolate",)])
def test_what_is_no_number_is_not_written_as_json(
    project: Path, capfd: pytest.CaptureFixture[str], switch: tuple[str, ...]
) -> None:
    (project / "compose.yaml").write_text("services: {a: {image: x}}\nx-own: {deep: [1, .nan]}\n")
    assert main(["config", *switch]) == 0
    capfd.readouterr()
    assert main(["config", "--format", "json", *switch]) == 1
    shown = capfd.readouterr()
    assert (shown.out, "JSON has no number such as NaN" in shown.err) == ("", True)
    place = "" if switch else "compose.yaml:2:19: "
    assert shown.err.startswith(f"pycompose: {place}x-own.deep[1]: ")

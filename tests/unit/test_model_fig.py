"""fig.yml: a file of 2014 becomes the Compose file that means the same."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from compose.cli.targets import target
from compose.errors import ComposeError, UsageError
from compose.model import default_file, load
from compose.model.present import presented

if TYPE_CHECKING:
    from pathlib import Path

    from compose.model import Project

DJANGO = """\
db:
  image: orchardup/postgresql
  ports:
    - "5432"
web:
  build: .
  command: python manage.py runserver 0.0.0.0:8000
  volumes:
    - .:/code
  ports:
    - "8000:8000"
  links:
    - db
"""


def fig(directory: Path, text: str, **options: Any) -> Project:
    """The project of a fig.yml in a directory called `app`."""
    directory = directory / "app"
    directory.mkdir(exist_ok=True)
    (directory / "fig.yml").write_text(text)
    options.setdefault("environment", {"HOME": "/root"})
    return load(cwd=str(directory), **options)


def service(directory: Path, text: str, **options: Any) -> dict[str, Any]:
    """The canonical form of the only service of a file."""
    return dict(fig(directory, f"web:\n  image: x\n  {text}\n", **options).services["web"])


def failure(directory: Path, text: str) -> str:
    """The error and its hint."""
    with pytest.raises(ComposeError) as caught:
        fig(directory, text)
    return f"{caught.value.message}; {caught.value.hint}"


def test_file_from_the_documentation_of_fig(tmp_path: Path) -> None:
    project = fig(tmp_path, DJANGO)
    assert project.name == "app"
    assert project.order == ["db", "web"]
    web: Any = project.services["web"]
    assert web["image"] == "app_web"
    assert web["build"] == {"context": str(tmp_path / "app"), "dockerfile": "Dockerfile"}
    assert web["command"] == ["python", "manage.py", "runserver", "0.0.0.0:8000"]
    assert web["volumes"][0]["source"] == str(tmp_path / "app")
    assert web["links"] == ["db", "db:db_1"]
    assert web["depends_on"]["db"]["condition"] == "service_started"
    assert web["environment"]["DB_PORT_5432_TCP_ADDR"] == "db"
    assert web["environment"]["APP_DB_1_PORT_5432_TCP"] == "tcp://db:5432"
    assert [port["published"] for port in web["ports"]] == ["8000"]
    assert "published" not in project.services["db"]["ports"][0]
    assert project.networks == {"default": {"name": "app_default", "ipam": {}}}
    assert project.warnings == []


def test_containers_are_named_with_underscores(tmp_path: Path) -> None:
    names = [one.container("app", 2) for one in target(fig(tmp_path, DJANGO)).services]
    assert names == ["app_db_2", "app_web_2"]


def test_what_config_prints_is_a_compose_file_of_the_same_meaning(tmp_path: Path) -> None:
    project = fig(tmp_path, DJANGO)
    printed = presented(project, "yaml")
    assert yaml.safe_load(printed)["x-pycompose"] == {"separator": "_"}
    (tmp_path / "compose.yaml").write_text(printed)
    again = load(["compose.yaml"], cwd=str(tmp_path), environment={})
    assert presented(again, "yaml") == printed
    assert json.loads(presented(again, "json")) == json.loads(presented(project, "json"))
    assert again.separator == "_"


# -- how it is found --------------------------------------------------------------------------------------


def test_it_is_found_in_the_working_directory_only(tmp_path: Path) -> None:
    fig(tmp_path, DJANGO)
    inner = tmp_path / "app" / "inner"
    inner.mkdir()
    assert default_file(str(tmp_path / "app"))
    assert not default_file(str(inner))
    with pytest.raises(UsageError):
        load(cwd=str(inner), environment={})


def test_compose_yaml_comes_first(tmp_path: Path) -> None:
    fig(tmp_path, DJANGO)
    (tmp_path / "app" / "compose.yaml").write_text("services: {new: {image: x}}\n")
    assert list(load(cwd=str(tmp_path / "app"), environment={}).services) == ["new"]


def test_other_spelling_gives_a_warning(tmp_path: Path) -> None:
    (tmp_path / "fig.yaml").write_text("web: {image: x}\n")
    project = load(cwd=str(tmp_path), environment={})
    assert project.warnings == ["fig.yaml:1:1: should be named fig.yml"]


def test_variable_names_the_file_and_paths_start_from_the_working_directory(tmp_path: Path) -> None:
    (tmp_path / "conf").mkdir()
    (tmp_path / "conf" / "dev.yml").write_text("web: {build: src, volumes: ['data:/d']}\n")
    web: Any = load(cwd=str(tmp_path), environment={"FIG_FILE": "conf/dev.yml"}).services["web"]
    assert web["build"]["context"] == str(tmp_path / "src")
    assert web["volumes"][0]["source"] == str(tmp_path / "data")
    (tmp_path / "conf" / "fig.yml").write_text("web: {build: src}\n")
    project = load(["conf/fig.yml"], cwd=str(tmp_path), environment={})
    assert (project.name, project.directory) == ("conf", str(tmp_path))


def test_it_stands_alone(tmp_path: Path) -> None:
    for name in ("fig.yml", "more.yml"):
        (tmp_path / name).write_text("web: {image: x}\n")
    with pytest.raises(UsageError, match=r"fig\.yml cannot be merged"):
        load(["fig.yml", "more.yml"], cwd=str(tmp_path), environment={})


def test_dotenv_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "app").mkdir()
    (tmp_path / "app" / ".env").write_text("not a variable!\n")
    assert fig(tmp_path, DJANGO).name == "app"


@pytest.mark.parametrize(
    ("directory", "environment", "given", "name"),
    [
        ("My-App_2", {}, None, "myapp2"),
        ("app", {"FIG_PROJECT_NAME": "From-Env"}, None, "fromenv"),
        ("app", {"FIG_PROJECT_NAME": "env"}, "gi-ven", "given"),
        ("__", {}, None, "default"),
    ],
)
def test_name(
    tmp_path: Path, directory: str, environment: dict[str, str], given: str | None, name: str
) -> None:
    (tmp_path / directory).mkdir()
    (tmp_path / directory / "fig.yml").write_text("web: {image: x}\n")
    project = load(cwd=str(tmp_path / directory), environment=environment, project_name=given)
    assert project.name == name


# -- what the keys mean -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("net: bridge", {"networks": {"default": None}}),
        ("net: none", {"network_mode": "none"}),
        ("net: 'container:other'", {"network_mode": "container:other"}),
        ("hostname: a.b.c", {"hostname": "a", "domainname": "b.c"}),
        ("hostname: a.b\n  domainname: z", {"hostname": "a.b", "domainname": "z"}),
        ("mem_limit: 1073741824", {"mem_limit": "1073741824"}),
        ("dns: 8.8.8.8", {"dns": ["8.8.8.8"]}),
        ("detach: true\n  tty: true", {"tty": True}),
        (
            "log_driver: syslog\n  log_opt: {tag: x}",
            {"logging": {"driver": "syslog", "options": {"tag": "x"}}},
        ),
        ("log_driver: none", {"logging": {"driver": "none"}}),
        ("environment: {A: , B: , C: $5}", {"environment": {"A": "", "B": "b", "C": "$5"}}),
        ("environment: [A, B, 'C=${X:-1}']", {"environment": {"A": "", "B": "b", "C": "${X:-1}"}}),
        ("command: echo $HOME ${A:-b}", {"command": ["echo", "$HOME", "${A:-b}"]}),
        ("expose: [80]\n  ports: [22:22]", {"expose": ["80"]}),
        ("volumes_from: [foreign]", {"volumes_from": ["container:foreign"]}),
    ],
)
def test_key_becomes_that_of_today(tmp_path: Path, text: str, expected: dict[str, Any]) -> None:
    found = service(tmp_path, text, environment={"B": "b"})
    assert {key: found.get(key) for key in expected} == expected
    assert not {"net", "log_driver", "log_opt", "detach"} & set(found)


@pytest.mark.parametrize(
    ("volume", "source"),
    [
        ("data:/d", "HERE/data"),
        ("../data:/d:ro", "HERE/../data"),
        ("/abs:/d", "/abs"),
        ("~/x:/d", "/root/x"),
        ("$DATA/y:/d", "/srv/y"),
        ("${DATA}y:/d:rw", "/srvy"),
        ("$NOT_SET/y:/d", "HERE/$NOT_SET/y"),
    ],
)
def test_volume_of_the_host(tmp_path: Path, volume: str, source: str) -> None:
    text = f"volumes: ['{volume}']"
    (mount,) = service(tmp_path, text, environment={"HOME": "/root", "DATA": "/srv"})["volumes"]
    here = tmp_path / "app"
    wanted = source.replace("HERE/..", str(here.parent)).replace("HERE", str(here))
    assert (mount["type"], mount["source"]) == ("bind", wanted)
    assert mount.get("read_only", False) is volume.endswith(":ro")


def test_volume_of_the_container_alone(tmp_path: Path) -> None:
    assert service(tmp_path, "volumes: [/var/lib]")["volumes"][0]["type"] == "volume"


def test_volume_of_a_driver(tmp_path: Path) -> None:
    project = fig(tmp_path, "a: {image: x, volume_driver: flocker, volumes: ['data:/d', './e:/e']}\n")
    assert project.volumes == {"data": {"name": "data", "driver": "flocker"}}
    assert [one["type"] for one in project.services["a"]["volumes"]] == ["volume", "bind"]


def test_env_file_has_no_quotes(tmp_path: Path) -> None:
    (tmp_path / "app").mkdir()
    (tmp_path / "app" / "a.env").write_text("A='x'\n# no\nB=$HOME\n")
    assert service(tmp_path, "env_file: a.env")["environment"] == {"A": "'x'", "B": "$HOME"}


def test_network_of_another_service(tmp_path: Path) -> None:
    project = fig(tmp_path, "a: {image: x, net: 'container:b'}\nb: {image: y}\n")
    assert project.services["a"]["network_mode"] == "service:b"
    assert project.order == ["b", "a"]


def test_dockerfile_belongs_to_the_build(tmp_path: Path) -> None:
    project = fig(tmp_path, "Web: {build: src, dockerfile: Other}\n")
    assert project.services["Web"]["build"] == {"context": str(tmp_path / "app/src"), "dockerfile": "Other"}
    assert project.services["Web"]["image"] == "app_web"


def test_links_to_what_names_no_port_are_warned_of_once(tmp_path: Path) -> None:
    project = fig(tmp_path, "a: {image: x, links: [b, 'b:c']}\nb: {image: y}\n")
    assert project.services["a"]["links"] == ["b", "b:c", "b:b_1"]
    assert project.warnings == [
        "fig.yml:1:23: a.links: b has neither `expose` nor `ports`, so no variables such as "
        "B_PORT_80_TCP_ADDR are set; the host name b leads there"
    ]


def test_own_variables_win_over_those_of_a_link(tmp_path: Path) -> None:
    project = fig(
        tmp_path,
        "a: {image: x, links: ['b:c'], environment: [C_PORT_53_UDP_ADDR=me]}\n"
        "b: {image: y, expose: [53/udp]}\n",
    )
    environment = project.services["a"]["environment"]
    assert environment["C_PORT_53_UDP_ADDR"] == "me"
    assert environment["B_1_PORT_53_UDP_PROTO"] == "udp"
    assert not {"C_PORT", "C_NAME"} & set(environment)


def test_runtime_warnings_are_the_usual_ones(tmp_path: Path) -> None:
    found = fig(tmp_path, "a: {image: x, command: 'run | tee log'}\n").warnings
    assert len(found) == 1
    assert found[0].startswith("fig.yml:1:15: services.a.command: `| tee log` is left out")


# -- extends ----------------------------------------------------------------------------------------------


def test_extended_file_is_of_the_same_format(tmp_path: Path) -> None:
    (tmp_path / "app" / "sub").mkdir(parents=True)
    (tmp_path / "app" / "sub" / "common.yml").write_text(
        "base: {build: src, environment: [A=1, B=1], ports: ['80'], volumes: ['data:/d']}\n"
    )
    text = "web: {extends: {file: sub/common.yml, service: base}, environment: {B: 2}, ports: ['81']}\n"
    web: Any = fig(tmp_path, text).services["web"]
    assert web["environment"] == {"A": "1", "B": "2"}
    assert [port["target"] for port in web["ports"]] == [80, 81]
    assert web["build"]["context"] == str(tmp_path / "app/sub/src")
    assert web["volumes"][0]["source"] == str(tmp_path / "app/sub/data")
    assert web["image"] == "app_web"


def test_image_replaces_an_inherited_build(tmp_path: Path) -> None:
    project = fig(tmp_path, "a: {build: .}\nb: {extends: {service: a}, image: y}\n")
    assert "build" not in project.services["b"]
    assert project.services["b"]["image"] == "y"


@pytest.mark.parametrize("key", ["links: [c]", "volumes_from: [c]", "net: 'container:c'"])
def test_what_leads_to_others_is_not_inherited(tmp_path: Path, key: str) -> None:
    text = f"a: {{image: x, {key}}}\nb: {{extends: {{service: a}}}}\nc: {{image: y}}\n"
    name = key.partition(":")[0]
    expected = f"fig.yml:2:14: services.b.extends: that service has `{name}`, which cannot be inherited"
    assert failure(tmp_path, text).startswith(expected)


# -- errors -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a: {image: x, build: .}", "fig.yml:1:5: a.image: cannot stand beside `build`; keep one of them"),
        ("a: {ports: ['80']}", "fig.yml:1:1: a: has neither `image` nor `build`; add `image: NAME`"),
        ("a_b: {image: x}", "fig.yml:1:1: `a_b` cannot be a name; use letters and digits"),
        ("a: {image: x, links: [a]}", "fig.yml:1:23: a.links[0]: a service cannot link to itself"),
        ("a: {image: x, links: [dbs]}\ndb: {image: y}", "there is no service `dbs`; did you mean `db`?"),
        (
            "a: {image: x, links: [b]}\nb: {image: y, links: [a]}",
            "the services depend on each other in a circle: a (fig.yml:1:23) -> b (fig.yml:2:23) -> a",
        ),
        ("a: {image: x, dockerfile: y}", "a.dockerfile: needs `build`; add `build: .`"),
        ("services: {a: {image: x}}", "fig.yml:1:12: services.a: unknown key"),
        ("- a", "fig.yml:1:1: a fig.yml is a mapping of services; write `web:` and its keys below it"),
        ("a: x", "fig.yml:1:4: a: must be a mapping, is a string"),
    ],
)
def test_mistake_has_its_place_and_its_hint(tmp_path: Path, text: str, words: str) -> None:
    assert words in failure(tmp_path, text)


@pytest.mark.parametrize(
    ("wrong", "right"),
    [
        ("link", "links"),
        ("port", "ports"),
        ("privilege", "privileged"),
        ("priviliged", "privileged"),
        ("privilige", "privileged"),
        ("volume", "volumes"),
        ("workdir", "working_dir"),
    ],
)
def test_misspelt_keys_that_fig_knew(tmp_path: Path, wrong: str, right: str) -> None:
    assert failure(tmp_path, f"a: {{image: x, {wrong}: y}}\n") == (
        f"fig.yml:1:15: a.{wrong}: unknown key; did you mean `{right}`?"
    )

"""Formats as docker's users write them, sizes as docker prints them, keys that detach."""

from __future__ import annotations

from typing import Any

import pytest

from compose.errors import UsageError
from compose.ui.keys import Detacher, parse
from compose.ui.sizes import binary, decimal
from compose.ui.template import label_of, render

COLUMNS = {"Name": "NAME", "State": "STATE"}
ROW: dict[str, Any] = {
    "Name": "web-1",
    "State": "running",
    "Code": 0,
    "Ports": [{"Target": 80, "Open": True}, {"Target": 53, "Open": False}],
    "None": [],
    "Label": label_of({"a.b": "c"}),
}


@pytest.mark.parametrize(
    ("form", "text"),
    [
        ("table", "NAME      STATE\nweb-1     running\n"),
        ("{{.Name}} is {{ .State }}", "web-1 is running\n"),
        (r"{{.Name}}\t{{.Code}}", "web-1\t0\n"),
        (
            r"table {{.Name}}\t{{upper .State}}\t{{.Code}}",
            "NAME      STATE     CODE\nweb-1     RUNNING   0\n",
        ),
        ("{{json .Ports}}", '[{"Target":80,"Open":true},{"Target":53,"Open":false}]\n'),
        ("{{.Ports}}", "[{80 true} {53 false}]\n"),
        ("{{.Name | upper | printed}}", ""),
        ('{{join (split .Name "-") "."}}', "web.1\n"),
        ('{{.Name | printf "%-8s|%3d%%" | upper}}', "WEB-1   |%!D(MISSING)%\n"),
        ('{{printf "%-8s|%3d %q" .Name .Code .State}}', 'web-1   |  0 "running"\n'),
        ('{{if eq .State "running" "paused"}}up{{else}}down{{end}}', "up\n"),
        ('{{if ne .State "running"}}x{{else if .Code}}y{{else}}z{{end}}', "z\n"),
        ("{{if and .Name (not .Code) (or .None (gt (len .Ports) 1))}}all{{end}}", "all\n"),
        ("{{range .Ports}}{{.Target}}{{if .Open}}+{{end}} {{$.Name}};{{end}}", "80+ web-1;53 web-1;\n"),
        ("{{range $i, $p := .Ports}}{{$i}}={{$p.Target}},{{end}}", "0=80,1=53,\n"),
        ("{{range .None}}x{{else}}none{{end}}", "none\n"),
        ("{{with index .Ports 1}}{{.Target}}{{end}}", "53\n"),
        ("{{with .None}}x{{else}}{{.Name}}{{end}}", "web-1\n"),
        ("{{$n := .Name}}{{/* a remark */}}{{$n}}", "web-1\n"),
        ('{{.Label "a.b"}}{{.Label "no"}}.', "c.\n"),
        ('{{print "}}" `{{`}}', "}}{{\n"),
        ("{{$x}}", ""),
        ("{{eq .Code .Name}}", ""),
        ("{{index .Ports 9}}", ""),
        ("{{range .Name}}{{end}}", ""),
        ("{{if .Name}}x", ""),
        ("{{end}}", ""),
        ("{{(len .Name}}", ""),
        ("{{template `x`}}", ""),
        ("{{truncate .State 3}}{{len .Name}}", "run5\n"),
        ("{{.Name -}}   !", "web-1!\n"),
        ("plain", "plain\n"),
        ("{{.Nope}}", ""),
        ("{{.Name.More}}", ""),
        ("{{range .Ports}}x{{end}}", "xx\n"),
        ("{{.Name", ""),
        ("{{}}", ""),
    ],
)
def test_a_template_is_rendered_or_refused(form: str, text: str) -> None:
    """An empty text stands for a refusal."""
    if text:
        assert render(form, [ROW], COLUMNS) == text
    else:
        with pytest.raises(UsageError):
            render(form, [ROW], COLUMNS)


def test_json_has_a_line_a_row() -> None:
    assert render("json", [{"Name": "a"}, {"Name": "b"}], COLUMNS) == '{"Name":"a"}\n{"Name":"b"}\n'


@pytest.mark.parametrize(
    ("size", "two", "ten"),
    [
        (0, "0B", "0B"),
        (846, "846B", "846B"),
        (1040, "1.016KiB", "1.04kB"),
        (401408, "392KiB", "401kB"),
        (1446000, "1.379MiB", "1.45MB"),
        (115700631, "110.3MiB", "116MB"),
        (25276000000, "23.54GiB", "25.3GB"),
    ],
)
def test_sizes_are_printed_as_docker_prints_them(size: int, two: str, ten: str) -> None:
    assert (binary(size), decimal(size)) == (two, ten)


@pytest.mark.parametrize(
    ("text", "keys"), [("ctrl-p,ctrl-q", b"\x10\x11"), ("a", b"a"), ("ctrl-[,q", b"\x1bq"), ("-", b"-")]
)
def test_detach_keys_are_letters_and_control_keys(text: str, keys: bytes) -> None:
    assert parse(text) == keys


@pytest.mark.parametrize("text", ["", "ctrl-", "ctrl-pq", "alt-p", "ctrl-1", "ä"])
def test_other_detach_keys_are_refused(text: str) -> None:
    with pytest.raises(UsageError):
        parse(text)


def test_keys_that_detach_may_come_one_by_one() -> None:
    detacher = Detacher(b"\x10\x11")
    assert detacher.look(b"ab\x10") == (b"ab", False)
    assert detacher.look(b"c\x10") == (b"\x10c", False)
    assert detacher.look(b"\x10\x11rest") == (b"\x10", True)

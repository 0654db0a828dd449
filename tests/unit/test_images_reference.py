"""Names of images."""

from __future__ import annotations

import pytest

from compose.errors import ImageError
from compose.images.reference import parse

DIGEST = "sha256:" + "a" * 64


@pytest.mark.parametrize(
    ("text", "full", "familiar"),
    [
        ("debian", "docker.io/library/debian:latest", "debian:latest"),
        ("library/debian", "docker.io/library/debian:latest", "debian:latest"),
        ("docker.io/debian:12", "docker.io/library/debian:12", "debian:12"),
        ("me/app", "docker.io/me/app:latest", "me/app:latest"),
        ("localhost/app", "localhost/app:latest", "localhost/app:latest"),
        ("localhost:5000/app:v1", "localhost:5000/app:v1", "localhost:5000/app:v1"),
        ("Registry/app", "Registry/app:latest", "Registry/app:latest"),
        ("[::1]:5000/a/b", "[::1]:5000/a/b:latest", "[::1]:5000/a/b:latest"),
        (f"debian@{DIGEST}", f"docker.io/library/debian@{DIGEST}", f"debian@{DIGEST}"),
        (f"debian:12@{DIGEST}", f"docker.io/library/debian:12@{DIGEST}", f"debian:12@{DIGEST}"),
        ("a__b/c.d-e---f", "docker.io/a__b/c.d-e---f:latest", "a__b/c.d-e---f:latest"),
    ],
)
def test_names_are_normalised(text: str, full: str, familiar: str) -> None:
    found = parse(text)
    assert str(found) == full
    assert found.familiar == familiar
    assert parse(full) == parse(familiar) == found


@pytest.mark.parametrize(
    "text",
    [
        *(
            "",
            " ",
            "Debian",
            "a b",
            "debian:",
            "debian:-x",
            "../x",
            "a/../b",
            "a//b",
            "/a",
            "a/",
            "-rf",
            "a..b",
        ),
        *(
            "a@sha256:12",
            "a@md5:" + "a" * 32,
            "a" * 64,
            "a" * 300,
            "a:" + "t" * 129,
            "ä",
            "a\nb",
            "http://x/y",
        ),
    ],
)
def test_what_is_no_name_is_refused(text: str) -> None:
    with pytest.raises(ImageError):
        parse(text)

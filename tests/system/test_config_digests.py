"""`config --resolve-image-digests` with images in a real store."""

from __future__ import annotations

from typing import TYPE_CHECKING

import yaml

from compose.cli.main import main
from compose.images.store import ImageStore
from tests.support.images import store_image

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

    from compose.state.paths import Paths


def output(capfd: pytest.CaptureFixture[str], *arguments: str) -> str:
    """What a command prints, when it succeeds."""
    assert main(arguments) == 0
    return capfd.readouterr().out


def test_digests_are_those_of_the_local_store(
    paths: Paths, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "compose.yaml").write_text(
        "services:\n  web: {image: 'web:1', depends_on: [db]}\n  db: {image: mariadb}\n"
    )
    layer = tmp_path / "layer"
    layer.mkdir()
    store_image(paths, "web:1", str(layer))
    store_image(paths, "mariadb", str(layer))
    digest = ImageStore(paths).digest("web:1")
    assert digest is not None
    image = f"docker.io/library/web:1@{digest}"
    shown = yaml.safe_load(output(capfd, "config", "--resolve-image-digests"))
    assert shown["services"]["web"]["image"] == image
    assert shown["services"]["web"]["depends_on"]
    locked = yaml.safe_load(output(capfd, "config", "--lock-image-digests"))
    assert locked["services"]["web"] == {"image": image}
    assert list(locked) == ["services"]
    assert yaml.safe_load(output(capfd, "config", "--lock-image-digests", "--no-interpolate")) == locked
    found = ImageStore(paths).find(image)
    assert found is not None
    assert "docker.io/library/web:1" in found.names
    assert ImageStore(paths).find(image[:-1] + ("0" if image[-1] != "0" else "1")) is None

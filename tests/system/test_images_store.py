"""The image store: names, removal, leases, and what is left when a command is killed at any moment."""

from __future__ import annotations

import json
import os
import shutil
import signal
import stat
import threading
from typing import TYPE_CHECKING

import pytest

from compose.errors import ImageError
from compose.images import bootstrap
from compose.images.acquire import acquire
from compose.images.bootstrap import Bootstrapped
from compose.images.content import copy_content
from compose.images.store import ImageStore
from compose.images.unpack import OPAQUE
from compose.linux.mount import MNT_DETACH, mount, umount2
from tests.support.images import add_directory, silent, store_image
from tests.support.patience import MOMENT

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from compose.state.paths import Paths


@pytest.fixture
def tree(tmp_path: Path) -> str:
    root = tmp_path / "tree"
    (root / "data").mkdir(parents=True)
    (root / "data" / "file").write_text("content")
    return str(root)


def changed(tree: str, text: str) -> str:
    with open(f"{tree}/data/file", "w", encoding="utf-8") as file:
        file.write(text)
    return tree


def layers_in(paths: Paths) -> list[str]:
    return sorted(os.listdir(f"{paths.images}/layers"))


def test_an_image_is_found_by_name_and_id(nothing_left: None, paths: Paths, tree: str) -> None:
    image = store_image(paths, "me/app:1", tree, config={"Cmd": ["x"]})
    store = ImageStore(paths)
    for reference in ("me/app:1", "docker.io/me/app:1", image.id, image.id[:19], image.id[7:19]):
        assert store.find(reference) == image
    for reference in ("me/app", "other", image.id[:-1] + "g", "sha256:", "0" * 12, "Not A Name"):
        assert store.find(reference) is None
    assert image.names == ["docker.io/me/app:1"]
    assert image.settings == {"Cmd": ["x"]}
    with open(f"{image.layers[0]}/data/file", encoding="utf-8") as file:
        assert file.read() == "content"


def test_the_store_is_an_oci_layout(nothing_left: None, paths: Paths, tree: str) -> None:
    image = store_image(paths, "app", tree)
    with open(f"{paths.images}/oci-layout", encoding="utf-8") as file:
        assert json.load(file) == {"imageLayoutVersion": "1.0.0"}
    with open(f"{paths.images}/index.json", encoding="utf-8") as file:
        (descriptor,) = json.load(file)["manifests"]
    with open(f"{paths.images}/blobs/sha256/{descriptor['digest'][7:]}", encoding="utf-8") as file:
        text = file.read()
    manifest = json.loads(text)
    assert descriptor["size"] == len(text)
    assert manifest["config"]["digest"] == image.id
    assert [layer["digest"] for layer in manifest["layers"]] == image.diff_ids
    for path in (paths.images, f"{paths.images}/layers", f"{paths.images}/blobs"):
        assert stat.S_IMODE(os.stat(path).st_mode) & 0o077 == 0


def test_a_name_moves_and_its_former_image_stays(nothing_left: None, paths: Paths, tree: str) -> None:
    first = store_image(paths, "app", tree)
    second = store_image(paths, "app", changed(tree, "other"))
    store = ImageStore(paths)
    store.tag("app", "backup")
    assert {image.id: image.names for image in store.images()} == {
        first.id: [],
        second.id: ["docker.io/library/app:latest", "docker.io/library/backup:latest"],
    }
    store.prune()
    assert [image.id for image in store.images()] == [second.id]
    assert layers_in(paths) == [second.diff_ids[0][7:]]


def test_the_same_content_is_stored_once(nothing_left: None, paths: Paths, tree: str) -> None:
    assert store_image(paths, "a", tree).layers == store_image(paths, "b", tree).layers
    assert len(layers_in(paths)) == 1


def test_removal_takes_what_nothing_else_names(nothing_left: None, paths: Paths, tree: str) -> None:
    store_image(paths, "app", tree)
    store = ImageStore(paths)
    store.tag("app", "other")
    assert store.remove("app") == ["docker.io/library/app:latest"]
    assert store.find("other") is not None
    store.remove("other")
    assert store.images() == []
    assert layers_in(paths) == os.listdir(f"{paths.images}/blobs/sha256") == []
    with pytest.raises(ImageError, match="no image other"):
        store.remove("other")


@pytest.mark.parametrize("what", ["a container's record", "an image's manifest", "an image's config"])
def test_what_is_damaged_may_need_any_layer(nothing_left: None, paths: Paths, tree: str, what: str) -> None:
    kept = store_image(paths, "kept", tree)
    store_image(paths, "gone", changed(tree, "2"))
    store = ImageStore(paths)
    path = f"{paths.containers}/{'a' * 64}/spec.json"
    if what == "an image's manifest":
        path = f"{paths.images}/blobs/sha256/{store.manifest_of(kept.id)['digest'][7:]}"
    elif what == "an image's config":
        path = f"{paths.images}/blobs/sha256/{kept.id[7:]}"
    os.makedirs(os.path.dirname(path), exist_ok=True)
    shutil.copyfile(path, f"{path}.whole") if os.path.exists(path) else None
    with open(path, "w", encoding="utf-8") as file:
        file.write("{")
    before = layers_in(paths)
    said: list[str] = []
    store.remove("gone", force=True, warn=said.append)
    assert layers_in(paths) == before and len(before) == 2
    assert len(said) == 1 and ("kept" if "image" in what else path) in said[0], said
    if os.path.exists(f"{path}.whole"):
        os.rename(f"{path}.whole", path)
        assert store.find("kept") == kept
    shutil.rmtree(paths.containers, ignore_errors=True)
    store.prune()
    assert len(layers_in(paths)) == 1


def test_removal_by_id_takes_all_names(nothing_left: None, paths: Paths, tree: str) -> None:
    image = store_image(paths, "a", tree)
    store = ImageStore(paths)
    store.tag("a", "b")
    assert store.remove(image.id)[:2] == ["docker.io/library/a:latest", "docker.io/library/b:latest"]
    assert store.images() == []


def test_an_image_that_a_container_uses_stays(nothing_left: None, paths: Paths, tree: str) -> None:
    image = store_image(paths, "app", tree)
    directory = f"{paths.containers}/{'a' * 64}"
    os.makedirs(directory)
    with open(f"{directory}/spec.json", "w", encoding="utf-8") as file:
        spec = {"version": 1, "name": "proj-web-1", "image": image.id, "oci": {"process": {}}}
        json.dump({**spec, "rootfs": {"lower": image.layers}}, file)
    os.makedirs(f"{paths.containers}/{'b' * 64}")  # one without a spec must not be in the way
    store = ImageStore(paths)
    with pytest.raises(ImageError, match="used by container proj-web-1"):
        store.remove("app")
    store.remove("app", force=True)
    store.prune()
    assert os.path.exists(f"{image.layers[0]}/data/file")
    assert [found.names for found in store.images()] == [[]]
    shutil.rmtree(paths.containers)


def test_layers_in_use_by_a_session_stay_until_it_ends(nothing_left: None, paths: Paths, tree: str) -> None:
    store_image(paths, "app", tree)
    store = ImageStore(paths)
    with store.session() as session:
        image = session.find("app")
        assert image is not None
        store.remove("app")
        assert os.path.exists(f"{image.layers[0]}/data/file")
        assert session.lease(image.diff_ids)
    store.prune()
    assert not os.path.exists(image.layers[0])
    with store.session() as session:
        assert not session.lease(image.diff_ids)


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b'{"manifests": [{"digest": "sha256:../../x"}]}', b"\xff"]
)
def test_a_damaged_index_is_an_error_with_a_hint(
    nothing_left: None, paths: Paths, tree: str, content: bytes
) -> None:
    store_image(paths, "app", tree)
    with open(f"{paths.images}/index.json", "wb") as file:
        file.write(content)
    with pytest.raises(ImageError) as caught:
        ImageStore(paths).find("app")
    assert "\n" not in caught.value.message


def test_a_damaged_image_does_not_hide_others(nothing_left: None, paths: Paths, tree: str) -> None:
    whole = store_image(paths, "whole", tree)
    other = store_image(paths, "other", changed(tree, "2"))
    with open(f"{paths.images}/blobs/sha256/{other.id[7:]}", "ab") as file:
        file.write(b" ")
    store = ImageStore(paths)
    assert [image.id for image in store.images()] == [whole.id]
    assert len(store.damaged()) == 1
    with pytest.raises(ImageError, match="damaged"):
        store.find("other")
    store.remove("other")
    assert store.damaged() == []


def test_a_lost_layer_is_named(nothing_left: None, paths: Paths, tree: str) -> None:
    image = store_image(paths, "app", tree)
    os.unlink(f"{os.path.dirname(image.layers[0])}/layer.json")
    with pytest.raises(ImageError, match="lost its layer"):
        ImageStore(paths).find("app")
    again = store_image(paths, "app", tree)  # what is damaged is replaced by the next one who makes it
    assert again == image


def _killed_at(step: int, work: Callable[[], None]) -> bool:
    """Run `work` in a child that dies by SIGKILL before its `step`-th rename, link or removal; whether it
    did."""
    pid = os.fork()
    if not pid:
        count = 0

        def counting(function: Callable[..., None]) -> Callable[..., None]:
            def call(*arguments: object, **options: object) -> None:
                nonlocal count
                count += 1
                if count == step:
                    os.kill(os.getpid(), signal.SIGKILL)
                function(*arguments, **options)

            return call

        for name in ("rename", "unlink", "rmdir", "mkdir", "fsync"):
            setattr(os, name, counting(getattr(os, name)))
        try:
            work()
        finally:
            os._exit(0)
    return os.WIFSIGNALED(os.waitpid(pid, 0)[1])


def test_kill_at_any_step_leaves_whole_images_and_no_scratch(
    nothing_left: None, paths: Paths, tree: str
) -> None:
    store_image(paths, "first", tree)
    changed(tree, "second")
    store = ImageStore(paths)

    def work() -> None:
        store_image(paths, "app", tree)
        store.remove("first")

    step = 1
    while _killed_at(step, work):
        assert store.damaged() == []
        for image in store.images():
            assert all(os.path.exists(f"{layer}/data/file") for layer in image.layers)
        with store.session():
            assert len(os.listdir(f"{paths.images}/scratch")) == 1
        store_image(paths, "first", changed(tree, "content"))
        changed(tree, "second")
        store.prune()
        step += 1
    assert step > 10
    assert store.find("app") is not None and store.find("first") is None
    store.prune()  # the one that had the name before
    assert os.listdir(f"{paths.images}/scratch") == []
    assert len(layers_in(paths)) == 1


def test_scratch_of_another_boot_is_swept(nothing_left: None, paths: Paths, tree: str) -> None:
    store_image(paths, "app", tree)
    for name in (f"000000000000-{os.getpid()}-1-0", "garbage", f"{'0' * 12}-1-1"):
        os.makedirs(f"{paths.images}/scratch/{name}/1/layer/tree")
    with ImageStore(paths).session() as session:
        assert os.listdir(f"{paths.images}/scratch") == [os.path.basename(session.path)]


def test_many_at_once_make_one_copy(nothing_left: None, paths: Paths, tree: str) -> None:
    os.makedirs(paths.images)
    found: list[str] = []
    errors: list[BaseException] = []

    def work(number: int) -> None:
        try:
            found.append(store_image(paths, f"app{number}", tree).id)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert len(set(found)) == 1
    assert len(layers_in(paths)) == 1
    assert len(ImageStore(paths).images()[0].names) == 8


def test_a_full_disk_is_one_error_and_leaves_nothing(
    nothing_left: None, paths: Paths, tmp_path: Path
) -> None:
    small = tmp_path / "big"
    small.mkdir()
    (small / "zeros").write_bytes(b"\0" * (6 << 20))
    os.makedirs(paths.images)
    mount("tmpfs", paths.images, "tmpfs", 0, "size=4m,mode=700")
    try:
        with pytest.raises((ImageError, OSError)):
            store_image(paths, "app", str(small))
        store = ImageStore(paths)
        assert store.images() == []
        assert os.listdir(f"{paths.images}/scratch") == []
        (small / "zeros").write_bytes(b"\0" * 4096)
        assert store.find(store_image(paths, "app", str(small)).id) is not None
    finally:
        umount2(paths.images, MNT_DETACH)


def test_unknown_names_say_what_to_do(nothing_left: None, paths: Paths) -> None:
    os.makedirs(paths.images)
    with pytest.raises(ImageError, match="is not in the store") as caught:
        acquire(ImageStore(paths), "no/such:image", silent)
    assert caught.value.hint


def test_a_known_distribution_is_made_once_by_many(
    nothing_left: None, paths: Paths, monkeypatch: pytest.MonkeyPatch
) -> None:
    os.makedirs(paths.images)
    made: list[str] = []
    waiting = threading.Event()

    def fake(reference: str, into: str, **options: object) -> Bootstrapped:
        made.append(reference)
        assert waiting.wait(MOMENT)
        with open(f"{into}/made", "w", encoding="utf-8") as file:
            file.write(reference)
        return Bootstrapped(
            {"architecture": "amd64", "os": "linux", "config": {"Cmd": ["bash"]}}, "Debian", 1, 1
        )

    def progress(what: str, status: str, fraction: float | None) -> None:
        if "waiting" in status:
            waiting.set()

    monkeypatch.setattr(bootstrap, "bootstrap", fake)
    store = ImageStore(paths)
    found: list[str] = []
    threads = [
        threading.Thread(target=lambda name=name: found.append(acquire(store, name, progress).id))
        for name in ("debian:bookworm", "docker.io/library/debian:bookworm")
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert made == ["docker.io/library/debian:bookworm"]
    assert len(found) == 2 and len(set(found)) == 1
    image = store.find("debian:bookworm")
    assert image is not None and image.settings == {"Cmd": ["bash"]}
    assert os.listdir(image.layers[0]) == ["made"]


def test_a_bootstrap_that_fails_leaves_nothing(
    nothing_left: None, paths: Paths, monkeypatch: pytest.MonkeyPatch
) -> None:
    os.makedirs(paths.images)

    def fake(reference: str, into: str, **options: object) -> Bootstrapped:
        os.mkdir(f"{into}/half")
        raise ImageError("the mirror is gone")

    monkeypatch.setattr(bootstrap, "bootstrap", fake)
    store = ImageStore(paths)
    with pytest.raises(ImageError, match="the mirror is gone"):
        acquire(store, "debian:trixie", silent)
    assert store.images() == []
    assert os.listdir(f"{paths.images}/scratch") == os.listdir(f"{paths.images}/layers") == []


# The content of a new volume


def layered(paths: Paths, tmp_path: Path) -> ImageStore:
    """An image of three layers: files, then whiteouts and an opaque directory, then links."""
    low, middle, top = (tmp_path / name for name in ("low", "middle", "top"))
    for directory in (low / "data" / "old", low / "data" / "keep", middle / "data" / "old", top):
        directory.mkdir(parents=True)
    (low / "data" / "old" / "a").write_text("hidden by opaque")
    (low / "data" / "gone").write_text("whited out")
    (low / "data" / "keep" / "b").write_text("kept")
    os.chown(low / "data" / "keep" / "b", 33, 34)
    os.chmod(low / "data" / "keep" / "b", 0o4640)
    os.setxattr(low / "data" / "keep" / "b", "user.note", b"1")
    os.link(low / "data" / "keep" / "b", low / "data" / "keep" / "c")
    (middle / "data" / "old" / "new").write_text("new")
    os.chown(middle / "data", 33, 33)
    os.chmod(middle / "data", 0o750)
    os.symlink("/etc/passwd", middle / "data" / "link")
    os.symlink("/data", top / "absolute")
    os.symlink("../../../../../../../..", top / "up")
    os.symlink("loop", top / "loop")
    os.makedirs(paths.images)
    store = ImageStore(paths)
    with store.session() as session:
        layers = [add_directory(session, str(low))]
        made = session.directory()
        target = f"{made}/layer/tree"
        os.rmdir(target)
        os.rename(middle, target)
        os.mknod(f"{target}/data/gone", stat.S_IFCHR, 0)
        os.setxattr(f"{target}/data/old", OPAQUE, b"y")
        layers.append(session.add_layer(made))
        layers.append(add_directory(session, str(top)))
        session.add_image({"architecture": "amd64", "os": "linux"}, layers, ["layered"])
    return store


@pytest.mark.parametrize("path", ["/data", "data/", "/absolute", "/up/data", "/data/keep/../../data"])
def test_content_is_that_of_the_merged_tree(
    nothing_left: None, paths: Paths, tmp_path: Path, path: str
) -> None:
    store = layered(paths, tmp_path)
    image = store.find("layered")
    assert image is not None
    volume = tmp_path / "volume"
    volume.mkdir(mode=0o700)
    assert copy_content(store, image, path, str(volume))
    found = {str(item.relative_to(volume)) for item in volume.rglob("*")}
    assert found == {"old", "old/new", "keep", "keep/b", "keep/c", "link"}
    kept = (volume / "keep" / "b").stat()
    assert (kept.st_uid, kept.st_gid, stat.S_IMODE(kept.st_mode), kept.st_nlink) == (33, 34, 0o4640, 2)
    assert os.getxattr(volume / "keep" / "b", "user.note") == b"1"
    assert os.readlink(volume / "link") == "/etc/passwd"
    own = volume.stat()
    assert (own.st_uid, stat.S_IMODE(own.st_mode)) == (33, 0o750)


@pytest.mark.parametrize("path", ["/nothing", "/data/keep/b", "/loop", "/data/link"])
def test_there_is_nothing_to_copy(nothing_left: None, paths: Paths, tmp_path: Path, path: str) -> None:
    store = layered(paths, tmp_path)
    image = store.find("layered")
    assert image is not None
    volume = tmp_path / "volume"
    volume.mkdir()
    assert not copy_content(store, image, path, str(volume))
    assert os.listdir(volume) == []


def test_links_that_lead_up_end_at_the_images_root(nothing_left: None, paths: Paths, tmp_path: Path) -> None:
    store = layered(paths, tmp_path)
    image = store.find("layered")
    assert image is not None
    volume = tmp_path / "volume"
    volume.mkdir()
    assert copy_content(store, image, "/up", str(volume))
    assert sorted(os.listdir(volume)) == ["absolute", "data", "loop", "up"]


def test_a_volume_directory_that_is_a_link_is_refused(
    nothing_left: None, paths: Paths, tmp_path: Path
) -> None:
    store = layered(paths, tmp_path)
    image = store.find("layered")
    assert image is not None
    (tmp_path / "outside").mkdir()
    os.symlink("outside", tmp_path / "volume")
    with pytest.raises(ImageError):
        copy_content(store, image, "/data", str(tmp_path / "volume"))
    assert os.listdir(tmp_path / "outside") == []


def test_more_layers_than_one_page_of_paths_holds(nothing_left: None, paths: Paths, tmp_path: Path) -> None:
    os.makedirs(paths.images)
    store = ImageStore(paths)
    with store.session() as session:
        layers = []
        for number in range(130):
            directory = tmp_path / str(number)
            (directory / "data").mkdir(parents=True)
            (directory / "data" / str(number)).write_text("")
            layers.append(add_directory(session, str(directory)))
        image = session.add_image({"architecture": "amd64", "os": "linux"}, layers, ["many"])
    volume = tmp_path / "volume"
    volume.mkdir()
    assert copy_content(store, image, "/data", str(volume))
    assert len(os.listdir(volume)) == 130

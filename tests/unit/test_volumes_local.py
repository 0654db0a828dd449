"""`driver_opts` as the words of mount(2)."""

from __future__ import annotations

import pytest

from compose.errors import VolumeError
from compose.linux import mount as m
from compose.volumes.local import Local, is_mounted


def local(**options: str) -> Local:
    return Local("data", options)


def test_words_become_flags_and_the_rest_is_for_the_file_system() -> None:
    found = local(type="ext4", device="/dev/sdb1", o="ro,noatime,rw,data=ordered,defaults,discard")
    assert found.flags == m.MS_RDONLY | m.MS_NOATIME
    assert found.data == "data=ordered,discard"
    assert found.read_only and not found.is_bind


@pytest.mark.parametrize(
    ("options", "data"),
    [
        ({"type": "nfs", "device": ":/x", "o": "addr=localhost,nolock"}, "addr=127.0.0.1,nolock"),
        ({"type": "nfs", "device": ":/x", "o": "addr=192.0.2.1"}, "addr=192.0.2.1"),
        ({"type": "cifs", "device": "//127.0.0.1/share", "o": "user=me"}, "user=me,addr=127.0.0.1"),
        ({"type": "tmpfs", "device": "tmpfs", "o": "addr=kept"}, "addr=kept"),
    ],
)
def test_names_of_servers_are_looked_up(options: dict[str, str], data: str) -> None:
    assert local(**options)._resolved() == data


def test_a_server_without_an_address_is_named() -> None:
    with pytest.raises(VolumeError, match=r"volume data: addr=192\.0\.2\.300: "):
        local(type="nfs", device=":/x", o="addr=192.0.2.300")._resolved()


def test_what_is_mounted_is_known_by_its_whole_path() -> None:
    assert is_mounted("/proc")
    assert not is_mounted("/proc/self")

"""Devices by name: what is kept, and what is refused."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from armlet.errors import ArmletError, SettingError, UnknownDeviceError
from armlet.rpc.registry import Entry, add, address, entries, entry, remove


@pytest.fixture(autouse=True)
def file(tmp_path, monkeypatch):
    path = tmp_path / "config" / "devices.toml"
    monkeypatch.setenv("ARMLET_DEVICES", str(path))
    return path


def test_devices_are_added_changed_and_removed(file):
    assert entries() == {}
    pixel = Entry("pixel", "adb", "0A1B2C", port=9191, key='/home/é "me"/key')
    board = Entry("board.2", "ssh", "pi@board")
    add(board)
    add(pixel)
    assert entries() == {"board.2": board, "pixel": pixel}
    add(Entry("pixel", "tcp", "[::1]:9090"))
    assert entry("pixel").place == "[::1]:9090"
    remove("pixel")
    assert [*entries()] == ["board.2"]
    assert [p.name for p in file.parent.iterdir()] == ["devices.toml"]


def test_devices_that_are_added_at_the_same_time_all_stay():
    added = [Entry(f"phone{i}", "adb", str(i)) for i in range(24)]
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(add, added))
    assert [*entries().values()] == sorted(added, key=lambda e: e.name)


def test_an_unknown_name_is_told_with_its_neighbour():
    add(Entry("pixel", "adb", "0A1B2C"))
    with pytest.raises(UnknownDeviceError, match="did you mean 'pixel'"):
        entry("pixle")
    with pytest.raises(UnknownDeviceError, match="known are: pixel"):
        remove("unlike")


@pytest.mark.parametrize(
    "text",
    [
        'pixel = "adb"', "[pixel]\nadb = 3", '[pixel]\nadb = "a"\nssh = "b"', "[pixel]",
        '[pixel]\nadb = "a"\nport = "b"', '[pixel]\nadb = "a"\nother = 1', '["a/b"]\nadb = "a"',
        '[pixel]\nssh = "-oProxyCommand=true"', '[pixel]\ntcp = "host"', '[p]\ntcp = "h:99999"',
        '[pixel]\ntracker = "host:9190"', '[pixel]\nadb = ""', "[pixel",
        '[pixel]\nadb = "a\\u0000"',
    ],
)  # fmt: skip
def test_a_file_that_makes_no_sense_is_one_sentence(file, text):
    file.parent.mkdir()
    file.write_text(text)
    with pytest.raises(ArmletError) as caught:
        entries()
    assert isinstance(caught.value, (SettingError, UnknownDeviceError)) and caught.value.way_out


def test_addresses():
    assert address("board:9090") == ("board", 9090)
    assert address("[fe80::1]:1") == ("fe80::1", 1)

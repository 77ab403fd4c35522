"""The write-ahead file: what was appended is read back, a torn tail is skipped, orphans are adopted."""

from __future__ import annotations

from pathlib import Path

import pytest

from service.spool import Spool


def test_what_was_appended_is_read_back_in_order_by_another_process(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "0.spool")
    for command in (b"first", b"", b"third" * 1000):
        spool.append(command)
    spool.close()

    again = Spool(tmp_path / "0.spool")

    assert list(again.read()) == [b"first", b"", b"third" * 1000]
    again.close()


@pytest.mark.parametrize("lost", [1, 5, 9, 13])
def test_a_torn_tail_is_skipped_and_counted_and_the_rest_is_kept(tmp_path: Path, lost: int) -> None:
    """Failure table row 16."""
    path = tmp_path / "0.spool"
    spool = Spool(path)
    spool.append(b"whole")
    spool.append(b"torn!")
    spool.close()
    path.write_bytes(path.read_bytes()[:-lost])

    again = Spool(path)

    assert list(again.read()) == [b"whole"]
    assert again.torn == (lost < 13)  # 13 bytes are the whole record: nothing is torn then
    again.close()


def test_a_flipped_bit_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "0.spool"
    spool = Spool(path)
    spool.append(b"abc")
    spool.close()
    path.write_bytes(path.read_bytes()[:-1] + b"X")

    again = Spool(path)

    assert list(again.read()) == []
    assert again.torn == 1
    again.close()


def test_clearing_leaves_nothing(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "0.spool")
    spool.append(b"abc")

    spool.clear()

    assert spool.is_empty
    assert list(spool.read()) == []
    spool.close()


def test_two_living_processes_get_files_of_their_own(tmp_path: Path) -> None:
    first, second = Spool.claim(tmp_path), Spool.claim(tmp_path)

    first.append(b"one")
    second.append(b"two")

    assert list(first.read()) == [b"one"]
    assert list(second.read()) == [b"two"]
    first.close()
    second.close()


def test_the_files_of_dead_processes_are_adopted(tmp_path: Path) -> None:
    first, second = Spool.claim(tmp_path), Spool.claim(tmp_path)
    first.append(b"one")
    second.append(b"two")
    first.close()
    second.close()

    heir = Spool.claim(tmp_path)

    assert sorted(heir.read()) == [b"one", b"two"]
    heir.close()

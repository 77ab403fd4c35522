"""The Open Bandit Dataset as it is shipped."""

from __future__ import annotations

import gzip
import hashlib
import re
from importlib.resources import files
from itertools import pairwise
from pathlib import Path

import pytest

from service.demo.open_bandit_data import read_items, read_logged

FOLDER = Path(str(files("service.demo"))) / "data" / "open_bandit"
SUMS = re.findall(r"(\w+/\w+\.csv) +([0-9a-f]{64})", (FOLDER / "NOTICE").read_text())


@pytest.mark.parametrize(("name", "sha256"), SUMS)
def test_the_bytes_are_the_publishers(name: str, sha256: str) -> None:
    path = FOLDER / name
    content = (
        path.read_bytes() if path.exists() else gzip.decompress(Path(f"{path}.gz").read_bytes())
    )

    assert hashlib.sha256(content).hexdigest() == sha256


def test_the_notice_covers_every_file() -> None:
    shipped = {str(path.relative_to(FOLDER)).removesuffix(".gz") for path in FOLDER.glob("*/*")}

    assert {name for name, _ in SUMS} == shipped


def test_the_catalog_has_80_items_with_their_features() -> None:
    items = read_items()

    assert [item.id for item in items] == [str(number) for number in range(80)]
    assert all(item.features and set(item.features) == _FEATURES for item in items)


_FEATURES = {"number", "feature_1", "feature_2", "feature_3"}


def test_half_of_the_decisions_come_from_each_log_in_the_order_of_time() -> None:
    logged = read_logged(1001)

    assert [one.logger for one in logged].count("random") == 501
    assert all(earlier.at <= later.at for earlier, later in pairwise(logged))
    assert len({one.decision_id for one in logged}) == 1001


def test_the_uniform_logger_chose_each_of_80_items_alike() -> None:
    random = [one for one in read_logged(200) if one.logger == "random"]

    assert {one.propensity for one in random} == {1 / 80}
    assert {one.click for one in random} <= {0.0, 1.0}
    assert set(random[0].observation) == {"user", "position"}

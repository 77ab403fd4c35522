"""The dashboard is what its script writes, and Prometheus understands every line of it."""

from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

import yaml

from deploy.grafana.dashboard import FILE, ROWS, dashboard, text
from tests.support.compose import load_compose
from tests.support.promtool import DEPLOY, complaints, plotted

PANELS: list[dict[str, Any]] = dashboard()["panels"]
PROVISIONING = DEPLOY / "grafana/provisioning"


def test_the_committed_dashboard_is_the_one_that_the_script_writes() -> None:
    assert FILE.read_text("utf-8") == text(), "run: python -m deploy.grafana.dashboard"


def test_prometheus_accepts_every_expression(tmp_path: Path) -> None:
    named = [{"record": f"plot:{at}", "expr": one} for at, one in enumerate(plotted())]
    file = tmp_path / "plots.yml"
    file.write_text(json.dumps({"groups": [{"name": "plots", "rules": named}]}))

    assert len(named) > 60
    assert complaints("check", "rules", "--lint=none", file) == ""


def test_panels_fill_lines_of_24_columns_and_none_covers_another() -> None:
    cells = Counter(
        (x, y)
        for place in (panel["gridPos"] for panel in PANELS)
        for x in range(place["x"], place["x"] + place["w"])
        for y in range(place["y"], place["y"] + place["h"])
    )

    assert max(cells.values()) == 1
    assert max(x for x, _ in cells) == 23
    assert [panel["title"] for panel in PANELS if panel["type"] == "row"] == list(ROWS)


def test_panels_have_ids_and_lines_have_letters_of_their_own() -> None:
    ids = [panel["id"] for panel in PANELS]
    letters = [[line["refId"] for line in panel.get("targets", [])] for panel in PANELS]

    assert len(set(ids)) == len(ids)
    assert all(len(set(one)) == len(one) for one in letters)


def test_every_panel_explains_itself_and_labels_its_lines_with_what_it_keeps_apart() -> None:
    for panel in PANELS:
        for line in panel.get("targets", []):
            kept = set(re.findall(r"\w+", "".join(re.findall(r"by \(([^)]*)\)", line["expr"])[:1])))
            shown = set(re.findall(r"{{(\w+)}}", line["legendFormat"]))
            assert shown <= kept or not kept, line
    assert [
        panel["title"] for panel in PANELS if "targets" in panel and not panel["description"]
    ] == []


def test_every_variable_that_is_used_can_be_chosen() -> None:
    chosen = {variable["name"] for variable in dashboard()["templating"]["list"]}
    used = set(re.findall(r"\$\{?(\w+)", text())) - {"__rate_interval", "__all"}

    assert used == chosen


def test_grafana_finds_the_dashboard_and_prometheus_where_compose_puts_them() -> None:
    services = load_compose(DEPLOY / "compose/monitoring.yml")["services"]
    (provider,) = yaml.safe_load((PROVISIONING / "dashboards/nacre.yml").read_text())["providers"]
    (source,) = yaml.safe_load((PROVISIONING / "datasources/prometheus.yml").read_text())[
        "datasources"
    ]
    mounts = dict(volume.split(":")[:2] for volume in services["grafana"]["volumes"])

    assert mounts["./deploy/grafana/nacre.json"].startswith(provider["options"]["path"] + "/")
    assert mounts["./deploy/grafana/provisioning"] == "/etc/grafana/provisioning"
    assert source["url"] == "http://prometheus:9090"

"""Prometheus, Alertmanager and Grafana beside Nacre: the same care as for Nacre itself, and files that fit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from service.settings import Settings
from tests.support.compose import load_compose
from tests.support.promtool import DEPLOY

ROOT = Path(__file__).resolve().parents[2]
BASE = load_compose(ROOT / "docker-compose.yml")
ADDED = load_compose(DEPLOY / "compose/monitoring.yml")
NEW: dict[str, dict[str, Any]] = {
    name: service for name, service in ADDED["services"].items() if name not in BASE["services"]
}
CHANGED: dict[str, dict[str, Any]] = {
    name: service for name, service in ADDED["services"].items() if name in BASE["services"]
}

each_service = pytest.mark.parametrize("name", sorted(NEW))


@each_service
def test_a_service_has_no_more_rights_than_it_needs(name: str) -> None:
    service = NEW[name]

    assert service["user"].split(":")[0] not in ("root", "0")
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["deploy"]["resources"]["limits"].keys() == {"cpus", "memory", "pids"}
    assert service["logging"]["options"].keys() == {"max-size", "max-file"}


@each_service
def test_a_service_is_watched_pinned_to_a_version_and_reached_from_this_machine_only(
    name: str,
) -> None:
    service = NEW[name]
    (port,) = service["ports"]
    outside, inside = port.removeprefix("127.0.0.1:").split(":")

    assert port.startswith("127.0.0.1:")
    assert outside == inside
    assert f"http://127.0.0.1:{inside}/" in service["healthcheck"]["test"][-1]
    assert service["image"].partition(":")[2] not in ("", "latest")
    assert service["restart"] == "unless-stopped"


@each_service
def test_what_a_service_mounts_exists_and_cannot_be_written_there(name: str) -> None:
    volumes = [volume.split(":") for volume in NEW[name]["volumes"]]
    bound = [volume for volume in volumes if volume[0].startswith(".")]

    assert all((ROOT / source).exists() for source, *_ in bound)
    assert all(rights == ["ro"] for _, _, *rights in bound)
    assert {volume[0] for volume in volumes if volume not in bound} <= ADDED["volumes"].keys()
    assert set(NEW[name].get("secrets", [])) <= ADDED["secrets"].keys()
    assert set(NEW[name]["networks"]) <= BASE["networks"].keys()


@pytest.mark.parametrize(
    ("name", "option"),
    [("prometheus", "--config.file"), ("alertmanager", "--config.file")],
)
def test_a_service_is_told_of_a_file_that_is_mounted(name: str, option: str) -> None:
    (inside,) = [
        word.partition("=")[2] for word in NEW[name]["command"] if word.startswith(f"{option}=")
    ]
    source, folder, _ = NEW[name]["volumes"][0].split(":")

    assert (ROOT / source / inside.removeprefix(f"{folder}/")).is_file()


def test_what_is_scraped_is_what_listens_where_it_is_scraped() -> None:
    config = yaml.safe_load((DEPLOY / "prometheus/prometheus.yml").read_text("utf-8"))
    targets = {
        job["job_name"]: job["static_configs"][0]["targets"][0] for job in config["scrape_configs"]
    }
    manager = config["alerting"]["alertmanagers"][0]["static_configs"][0]["targets"]
    listens = {
        name: service["environment"]["NACRE_METRICS_PORT"] for name, service in CHANGED.items()
    }

    assert targets["nacre-api"] == f"api:{BASE['services']['api']['environment']['NACRE_PORT']}"
    assert targets["nacre-worker"] == f"worker:{listens['worker']}"
    assert targets["nacre-learner"] == f"learner:{listens['learner']}"
    assert [manager] == [[f"alertmanager:{NEW['alertmanager']['ports'][0].rpartition(':')[2]}"]]


def test_worker_and_learners_show_their_metrics_to_the_network_and_change_in_nothing_else() -> None:
    known = {f"NACRE_{field.upper()}" for field in Settings.model_fields}

    assert CHANGED.keys() == {"worker", "learner", "learner-gpu"}
    for service in CHANGED.values():
        assert service.keys() == {"environment"}
        assert service["environment"].keys() == {"NACRE_HOST", "NACRE_METRICS_PORT"} <= known
    assert all("ports" not in BASE["services"][name] for name in CHANGED)

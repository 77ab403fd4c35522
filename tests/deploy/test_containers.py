"""The image and the compose file: linted, checked, and their services run for real."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import tomllib
from pathlib import Path
from typing import Any

import httpx
import pytest

from service.redis_server import check_server
from service.settings import Settings
from tests.support.compose import LocalCompose, dockerfile_instructions, load_compose
from tests.support.policies import bandit
from tests.support.processes import Children

ROOT = Path(__file__).resolve().parents[2]
DOCKERFILE = ROOT / "Dockerfile"
COMPOSE = load_compose(ROOT / "docker-compose.yml")
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]

# The keys of the Compose Specification that this file uses. A misspelt key is ignored by some engines.
KNOWN_KEYS = {
    "": {"services", "networks", "volumes", "secrets", "x-hardened", "x-nacre", "x-environment", "x-heartbeat"},
    "service": {
        "build", "cap_drop", "command", "depends_on", "deploy", "environment", "healthcheck", "image",
        "init", "logging", "networks", "ports", "profiles", "read_only", "restart", "secrets",
        "security_opt", "stop_grace_period", "tmpfs", "user", "volumes",
    },
    "build": {"context", "target", "args"},
    "healthcheck": {"test", "interval", "timeout", "start_period", "retries"},
    "deploy": {"resources"},
    "resources": {"limits", "reservations"},
    "limits": {"cpus", "memory", "pids"},
    "reservations": {"devices"},
}  # fmt: skip

each_service = pytest.mark.parametrize("name", sorted(SERVICES))


def unknown_keys(value: dict[str, Any], kind: str = "service") -> list[str]:
    """Keys of `value`, and of the parts below it that have a list of their own, that nobody knows."""
    here = [f"{kind}.{key}" for key in value.keys() - KNOWN_KEYS[kind]]
    parts = [(key, part) for key, part in value.items() if key in KNOWN_KEYS and key]
    return here + [unknown for key, part in parts for unknown in unknown_keys(part, key)]


def megabytes(size: str) -> float:
    """Compose and Redis sizes: 512m, 2g, 1gb, 2500m."""
    number, unit = re.fullmatch(r"(\d+)([mg])b?", size).groups()  # type: ignore[union-attr]
    return float(number) * {"m": 1, "g": 1024}[unit]


def redis_options() -> dict[str, str]:
    words = SERVICES["redis"]["command"][1:]
    return {
        name.removeprefix("--"): value for name, value in zip(words[::2], words[1::2], strict=True)
    }


# --- the Dockerfile


def test_the_dockerfile_passes_its_linter() -> None:
    linter = Path(sys.executable).with_name("hadolint")

    found = subprocess.run([linter, DOCKERFILE], capture_output=True, text=True, check=False)

    assert (found.returncode, found.stdout) == (0, "")


def test_the_image_runs_as_a_user_without_privileges_and_serves_by_default() -> None:
    last = dict(dockerfile_instructions(DOCKERFILE))

    uid, gid = last["USER"].split(":")
    assert int(uid) >= 1000
    assert int(gid) >= 1000
    assert json.loads(last["ENTRYPOINT"]) == ["nacre"]
    assert json.loads(last["CMD"]) == ["serve"]
    assert "/healthz" in last["HEALTHCHECK"]


def test_the_image_installs_every_dependency_of_the_project_but_its_own_client(
    tmp_path: Path,
) -> None:
    steps = [arguments for name, arguments in dockerfile_instructions(DOCKERFILE) if name == "RUN"]
    (extract,) = (step.split("&&")[0] for step in steps if "tomllib" in step)
    (tmp_path / "pyproject.toml").write_bytes((ROOT / "pyproject.toml").read_bytes())
    python = Path(sys.executable).parent

    subprocess.run(
        ["sh", "-c", extract],
        cwd=tmp_path,
        env={"PATH": f"{python}{os.pathsep}{os.defpath}"},
        check=True,
    )

    declared = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    installed = (tmp_path / "requirements.txt").read_text().splitlines()
    assert set(declared) - set(installed) == {"nacre-client"}


def test_everything_the_image_copies_is_sent_to_the_builder() -> None:
    sent = (ROOT / ".dockerignore").read_text().splitlines()
    copies = [
        arguments.split()
        for name, arguments in dockerfile_instructions(DOCKERFILE)
        if name == "COPY"
    ]

    copied = {source for words in copies if words[0] != "--from=build" for source in words[:-1]}

    assert copied <= {line.removeprefix("!") for line in sent if line.startswith("!")}
    assert "*" in sent  # and nothing else: no virtual environment, no data, no secrets


# --- the compose file


def test_the_compose_file_has_no_key_that_is_not_one() -> None:
    assert unknown_keys(COMPOSE, "") == []
    assert [key for service in SERVICES.values() for key in unknown_keys(service)] == []


@each_service
def test_what_a_service_refers_to_exists(name: str) -> None:
    service = SERVICES[name]
    volumes = [volume.split(":")[0] for volume in service.get("volumes", [])]
    bound = [ROOT / volume for volume in volumes if volume.startswith(".")]

    assert set(service["networks"]) <= COMPOSE["networks"].keys()
    assert {volume for volume in volumes if not volume.startswith(".")} <= COMPOSE["volumes"].keys()
    assert set(service.get("secrets", [])) <= COMPOSE["secrets"].keys()
    assert all("healthcheck" in SERVICES[other] for other in service.get("depends_on", {}))
    assert all(path.is_dir() for path in bound)


@each_service
def test_a_service_has_no_more_rights_than_it_needs(name: str) -> None:
    service = SERVICES[name]

    assert service["user"].split(":")[0] not in ("root", "0")
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]


@each_service
def test_a_service_can_take_only_so_much_of_the_machine(name: str) -> None:
    service = SERVICES[name]

    assert service["deploy"]["resources"]["limits"].keys() == {"cpus", "memory", "pids"}
    assert service["logging"]["options"].keys() == {"max-size", "max-file"}


@each_service
def test_a_service_is_watched_started_again_and_pinned_to_a_version(name: str) -> None:
    service = SERVICES[name]

    assert {"test", "interval", "timeout", "retries", "start_period"} == service[
        "healthcheck"
    ].keys()
    assert service["restart"] == "unless-stopped"
    assert not service["image"].endswith((":latest", "redis"))


@each_service
def test_a_service_is_configured_by_names_that_nacre_reads(name: str) -> None:
    known = {f"NACRE_{field.upper()}" for field in Settings.model_fields} | {"REDIS_URL"}

    assert SERVICES[name].get("environment", {}).keys() <= known


def test_the_image_sets_only_names_that_nacre_reads() -> None:
    known = {f"NACRE_{field.upper()}" for field in Settings.model_fields}

    assert set(re.findall(r"\bNACRE_\w+(?==)", DOCKERFILE.read_text())) <= known


@each_service
def test_a_volume_belongs_to_the_user_of_the_image(name: str) -> None:
    inside = [volume.split(":")[1] for volume in SERVICES[name].get("volumes", [])]
    made = next(step for kind, step in dockerfile_instructions(DOCKERFILE) if "install -d" in step)

    assert all(path in made.split() for path in inside if path.startswith("/var/lib/nacre"))


def test_redis_is_set_up_as_nacre_wants_it() -> None:
    options = redis_options()
    limit_mb = megabytes(SERVICES["redis"]["deploy"]["resources"]["limits"]["memory"])
    maxmemory_mb = megabytes(options["maxmemory"])

    facts = check_server(
        {
            "redis_version": SERVICES["redis"]["image"].removeprefix("redis:"),
            "maxmemory": int(maxmemory_mb * 2**20),
            "maxmemory_policy": options["maxmemory-policy"],
            "aof_enabled": int(options["appendonly"] == "yes"),
        },
        {"appendfsync": options["appendfsync"]},
    )

    assert facts.maxmemory_bytes > 0
    assert facts.appendfsync == "everysec"
    assert options["save"] == ""
    assert limit_mb >= 2 * maxmemory_mb  # a rewrite of the file may copy all of it


def test_only_the_api_can_be_reached_and_only_from_this_machine() -> None:
    published = {name: service["ports"] for name, service in SERVICES.items() if "ports" in service}

    assert published == {"api": ["127.0.0.1:8000:8000"]}
    assert COMPOSE["networks"]["inside"] == {"internal": True}
    assert [name for name, service in SERVICES.items() if "outside" in service["networks"]] == [
        "api"
    ]


def test_the_gpu_learner_is_the_learner_with_a_gpu() -> None:
    plain, gpu = SERVICES["learner"], SERVICES["learner-gpu"]
    (device,) = gpu["deploy"]["resources"]["reservations"]["devices"]

    assert gpu["profiles"] == ["gpu"]
    assert gpu["build"]["args"] == {"TORCH_VARIANT": "cuda"}
    assert gpu["image"] != plain["image"]
    assert device["capabilities"] == ["gpu"]
    assert gpu["environment"] == plain["environment"] | {"NACRE_DEVICE": "cuda"}
    assert gpu["volumes"] == plain["volumes"]


# --- the health checks


@pytest.mark.parametrize("name", ["worker", "learner", "learner-gpu"])
@pytest.mark.parametrize(("age_s", "is_healthy"), [(0, True), (60, False), (None, False)])
def test_a_heartbeat_counts_only_while_it_is_fresh(
    tmp_path: Path, name: str, age_s: float | None, *, is_healthy: bool
) -> None:
    heartbeat = tmp_path / "heartbeat"
    if age_s is not None:
        heartbeat.touch()
        os.utime(heartbeat, (time.time() - age_s,) * 2)
    _, _, *words = SERVICES[name]["healthcheck"]["test"]

    checked = subprocess.run(
        [sys.executable, *words],
        env={"NACRE_HEARTBEAT": str(heartbeat)},
        capture_output=True,
        check=False,
    )

    assert (checked.returncode == 0) is is_healthy


# --- everything together


@pytest.fixture
def policies(tmp_path: Path) -> Path:
    """The examples and one policy whose requests this test knows, as an administrator's folder."""
    folder = tmp_path / "policies"
    shutil.copytree(ROOT / "examples" / "policies", folder)
    (folder / "of-this-test.json").write_text(json.dumps(bandit("of-this-test")))
    return folder


@pytest.fixture
def compose(tmp_path: Path, children: Children, policies: Path) -> LocalCompose:
    mounts = {"./examples/policies": policies}
    return LocalCompose(ROOT, tmp_path / "compose", children, mounts=mounts)


def key_file_line(key: str) -> str:
    digest = hashlib.sha256(key.encode()).hexdigest()
    return json.dumps({"name": "shop", "sha256": digest, "scopes": ["act"]})


def test_every_service_becomes_healthy_decides_and_stops_when_asked_as_the_compose_file_says(
    compose: LocalCompose,
) -> None:
    key = "a key for this test"
    request = {"policy": "of-this-test", "observation": {"vector": [1, 2]}, "actions": ["a", "b"]}
    compose.write_secret("nacre_api_keys", key_file_line(key))
    compose.up()

    with httpx.Client(base_url=f"http://127.0.0.1:{compose.ports['api']}") as http:
        decided = http.post("/v1/act", json=request, headers={"authorization": f"Bearer {key}"})
        anonymous = http.post("/v1/act", json=request)

    assert decided.status_code == 200, decided.text
    assert decided.json()["propensity"] == 0.5  # nothing learned yet: two actions with equal scores
    assert anonymous.status_code == 401
    assert [name for name in compose.services if not compose.is_healthy(name)] == []
    # uvicorn finishes its requests and then ends by the signal that it was sent.
    assert set(compose.down().values()) <= {0, -signal.SIGTERM}
    assert list(compose.working_directory.iterdir()) == []  # a read-only image has no room for more

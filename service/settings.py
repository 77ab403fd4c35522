"""Everything that the environment may set, with its default. One spelling: NACRE_<FIELD>."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict


class Settings(BaseSettings):
    """Read once when a process starts.

    `redis_url` (REDIS_URL): the only shared state. `artefacts`: snapshots, shared by all processes.
    `archive`: Parquet parts of the event log. `checkpoints`: the learner's own. `state`: this
    machine's spool. `policies`: a folder of policy files that the API registers when it starts.
    `heartbeat`: a file that worker and learner touch every second. `metrics_port`: where they serve
    Prometheus metrics; the API serves its own at /metrics. `lease_s`: how long a dead worker or learner keeps its role.
    `api_keys`, `api_keys_file`: see `service.security`; none is allowed on loopback only.
    `webhook_url`: where state changes are told; None tells nobody. `webhook_secret`: signs what is told.
    """

    model_config = SettingsConfigDict(env_prefix="NACRE_", extra="ignore", frozen=True)

    redis_url: str = Field("redis://127.0.0.1:6379/0", validation_alias="REDIS_URL")
    host: str = "127.0.0.1"
    port: int = Field(8000, ge=1, le=65535)
    artefacts: Path = Path(".nacre/artefacts")
    archive: Path = Path(".nacre/archive")
    checkpoints: Path = Path(".nacre/checkpoints")
    state: Path = Path(".nacre/state")
    policies: Path | None = None
    api_keys: SecretStr | None = None
    api_keys_file: Path | None = None
    heartbeat: Path | None = None
    metrics_port: int | None = Field(None, ge=1, le=65535)
    log_level: str = "info"
    max_body_bytes: int = Field(8 * 2**20, gt=0)
    max_depth: int = Field(32, gt=0)
    max_batch: int = Field(256, gt=0)
    max_waiting: int = Field(50_000, gt=0)
    body_timeout_s: float = Field(10.0, gt=0)
    confirm_timeout_s: float = Field(0.25, gt=0)
    poll_s: float = Field(1.0, gt=0)
    archive_every_s: float = Field(5.0, gt=0)
    archive_part_events: int = Field(20_000, gt=0)
    lease_s: float = Field(5.0, gt=0)
    device: str = "auto"
    webhook_url: str | None = Field(None, pattern="^https?://")
    webhook_secret: SecretStr | None = None

"""Registering a policy, and what a change of its file means for the model that it has.

Nothing resets a model silently: a change that the weights do not survive is refused, and says which
sections are to blame, unless the caller asks for a restart by name. A restart after a change of how rewards
become one number begins a line of versions that learns nothing that was totalled before it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final, NamedTuple

import msgspec
import structlog
import torch

from agent_core.errors import ConfigError
from agent_core.snapshot import PolicySnapshot
from service.clock import now_ms, rfc3339
from service.errors import FieldError, ServiceError
from service.policies.artefacts import ArtefactStore
from service.policies.config import TOTALLING, PolicyConfig, load_policy, parse_policy
from service.policies.repository import PolicyRepository, VersionDescription
from service.policies.schemas import PolicyEvent
from service.repository import PolicyKeys

log = structlog.get_logger(__name__)

STRUCTURE: Final = (
    "observation", "actions", "action_representation", "history", "policy_learner", "replay",
)  # fmt: skip
"""Sections of `agent` that a model is built around; the others may change under it."""


class Change(NamedTuple):
    """`outcome`: created, updated, restarted or unchanged."""

    outcome: str
    sections: list[str]


async def register(
    repository: PolicyRepository,
    artefacts: ArtefactStore,
    config: PolicyConfig,
    *,
    who: str,
    restart: bool = False,
) -> Change:
    """Stores a policy's configuration, and makes its first version if it has none that fits.

    Raises:
        ServiceError: PolicyChange, when the change would make the model useless and `restart` is false;
            InvalidPolicy, when Redis cannot keep the durability that the policy promises.
    """
    if config.durability == "fsync" and not await repository.syncs_every_write():
        raise _not_durable()
    keys = PolicyKeys(config.policy)
    meta = await repository.meta(keys)
    old = None if meta is None else parse_policy(msgspec.json.decode(meta.config))
    sections = [] if old is None else changed_sections(old, config)
    breaking = [] if old is None else breaking_changes(old, config)
    if breaking and not restart:
        raise _breaking(breaking)
    outcome = (
        "created"
        if old is None
        else "restarted"
        if breaking
        else "updated"
        if sections
        else "unchanged"
    )
    if outcome != "unchanged":
        event = _event(outcome, who, {"changed": sections})
        await repository.put_config(
            keys,
            _canonical(config),
            config.config_hash,
            event=event,
            new_lineage=outcome != "updated",
        )
    if outcome in ("created", "restarted") or (meta is not None and meta.live == 0):
        await _publish_first(repository, artefacts, config, keys)
    return Change(outcome, sections)


def changed_sections(old: PolicyConfig, new: PolicyConfig) -> list[str]:
    """Top-level sections that differ; those of the agent as `agent.<section>`."""
    before, after = old.model_dump(mode="json"), new.model_dump(mode="json")
    inside_before, inside_after = before.pop("agent"), after.pop("agent")
    outer = [name for name in after if before.get(name) != after[name]]
    inner = [
        f"agent.{name}" for name in inside_after if inside_before.get(name) != inside_after[name]
    ]
    return sorted(outer + inner)


def breaking_changes(old: PolicyConfig, new: PolicyConfig) -> list[str]:
    """What differs that no model survives: sections of the agent, and fields of the reward rule as
    `reward.<field>`. Two sets of weights make two different rewards, and no model may learn their mixture."""
    sections = changed_sections(old, new)
    found = [name for name in sections if name.removeprefix("agent.") in STRUCTURE]
    if "agent.safety" in sections:
        # A filter may change under a model; a constraint has learned something of its own.
        is_learned = old.agent.safety.is_learned or new.agent.safety.is_learned
        found += ["agent.safety"] * is_learned
    differs = (name for name in TOTALLING if getattr(old.reward, name) != getattr(new.reward, name))
    return found + [f"reward.{name}" for name in differs]


def _not_durable() -> ServiceError:
    detail = "Redis does not sync every write; set `appendfsync always` there, or use `stream`"
    errors = [FieldError("/durability", "not_kept", detail)]
    return ServiceError("InvalidPolicy", "the durability cannot be kept", errors)


def _breaking(sections: list[str]) -> ServiceError:
    errors = [
        FieldError("/" + name.replace(".", "/"), "needs_restart", f"{_why(name)}; {_REMEDY}")
        for name in sections
    ]
    return ServiceError(
        "PolicyChange", f"{', '.join(sections)} cannot change under the model", errors
    )


_REMEDY: Final = "add ?restart=true to start a new model, or use a new policy name"


def _why(name: str) -> str:
    if name.startswith("reward."):
        return (
            "the model learned from rewards that became numbers another way, and two ways never mix"
        )
    return "the model was built around it"


async def _publish_first(
    repository: PolicyRepository, artefacts: ArtefactStore, config: PolicyConfig, keys: PolicyKeys
) -> None:
    """An untrained version, so that the policy decides (and explores) from the first request."""
    version, meta = await repository.next_version(keys), await repository.meta(keys)
    made_at = rfc3339(now_ms())
    snapshot = fresh_snapshot(config, version, made_at)
    artefacts.save(config.policy, version, snapshot)
    description = VersionDescription(
        version=version,
        parent=0,
        made_at=made_at,
        config_hash=config.config_hash,
        feature_schema=config.agent.feature_schema,
        experience=0,
        updates=0,
        lineage=meta.lineage if meta else 0,
    )
    await repository.publish(keys, description, promote=True)


def fresh_snapshot(config: PolicyConfig, version: int, made_at: str) -> PolicySnapshot:
    """The policy before it has learned anything; the same weights for the same file."""
    agent = config.agent
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(agent.schedule.seed)
        policy = agent.policy_learner.build_policy(agent.spec)
    return PolicySnapshot.of(
        policy,
        policy_name=config.policy,
        model_version=version,
        config=agent,
        created_at=made_at,
    )


def policy_files(folder: Path) -> list[Path]:
    """The policy files of a folder, by name."""
    return sorted(p for p in folder.iterdir() if p.suffix in (".yaml", ".yml", ".toml", ".json"))


async def register_folder(
    repository: PolicyRepository, artefacts: ArtefactStore, folder: Path
) -> None:
    """Registers every policy file of a folder; one that cannot be taken is logged and left out."""
    for path in policy_files(folder):
        try:
            change = await register(
                repository, artefacts, load_policy(path), who=f"file {path.name}"
            )
            log.info("policy_registered", file=path.name, outcome=change.outcome)
        except (ConfigError, ServiceError) as error:
            log.error("policy_file_refused", file=path.name, error=str(error))


def _canonical(config: PolicyConfig) -> bytes:
    return msgspec.json.encode(config.model_dump(mode="json"))


def _event(what: str, who: str, detail: dict[str, object]) -> PolicyEvent:
    return PolicyEvent(what=what, who=who, why="", at=rfc3339(now_ms()), detail=detail)


def parse_document(data: object, policy: str) -> PolicyConfig:
    """A policy from the body of PUT /v1/policies/{policy}.

    Raises:
        ServiceError: InvalidPolicy with every problem, each with its pointer.
    """
    if not isinstance(data, dict):
        raise ServiceError("InvalidPolicy", "a policy is an object")
    try:
        config = parse_policy({"policy": policy, **data})
    except ConfigError as error:
        errors = [
            FieldError("/" + p.path.replace(".", "/"), "invalid", f"{p.problem}; {p.fix}")
            for p in error.problems
        ]
        raise ServiceError("InvalidPolicy", f"{len(errors)} problems", errors) from None
    if config.policy != policy:
        errors = [FieldError("/policy", "mismatch", f"the path says `{policy}`")]
        raise ServiceError("InvalidPolicy", "the name in the body differs from the path", errors)
    return config

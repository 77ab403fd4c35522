"""A fingerprint changes exactly when the vectors may."""

from __future__ import annotations

from agent_core.action_representation.identity import IdentityConfig
from agent_core.action_representation.one_hot import OneHotConfig
from agent_core.features.fingerprint import schema_fingerprint
from agent_core.features.named import NamedFeaturesConfig
from agent_core.features.plain import NoFeaturesConfig, VectorFeaturesConfig

_OBSERVATION = VectorFeaturesConfig(dim=3)
_ACTIONS = NoFeaturesConfig()
_IDS = OneHotConfig(ids=("a", "b"))
_SCHEMA = schema_fingerprint(_OBSERVATION, _ACTIONS, _IDS)


def test_a_fingerprint_is_twelve_hex_digits_and_stays_what_it_was() -> None:
    # Written down once: logged decisions and snapshots refer to it.
    assert _SCHEMA == "fs:93107127301a"


def test_every_part_counts() -> None:
    others = {
        schema_fingerprint(VectorFeaturesConfig(dim=4), _ACTIONS, _IDS),
        schema_fingerprint(_OBSERVATION, VectorFeaturesConfig(dim=3), _IDS),
        schema_fingerprint(_OBSERVATION, _ACTIONS, OneHotConfig(ids=("b", "a"))),
        schema_fingerprint(_OBSERVATION, _ACTIONS, IdentityConfig()),
    }

    assert len(others | {_SCHEMA}) == 5


def test_the_order_of_names_and_the_writing_out_of_defaults_do_not_count() -> None:
    one = NamedFeaturesConfig.model_validate(
        {"fields": {"a": {"type": "number"}, "b": {"type": "flag"}}}
    )
    other = NamedFeaturesConfig.model_validate(
        {"fields": {"b": {"type": "flag"}, "a": {"type": "number", "mean": 0, "scale": 1}}}
    )

    fingerprints = {schema_fingerprint(each, _ACTIONS, _IDS) for each in (one, other)}

    assert len(fingerprints) == 1

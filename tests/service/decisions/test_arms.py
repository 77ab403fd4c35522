"""Arms: who decides for a subject, and the probability of what came of it."""

from __future__ import annotations

from collections import Counter
from typing import Any

import msgspec
import numpy as np
import pytest

from service.decisions import arms, box, logic
from service.decisions.schemas import ActRequest, ActResponse, EpisodeStep, Observation
from service.policies.head import Rollout, Trip
from service.policies.served import Served, Serving, serving_of
from tests.support.policies import steering
from tests.support.served import neural, served

_SUBJECTS = [f"user-{number}" for number in range(4_000)]


def _rollout(share: float, rollout_id: str = "r1") -> Rollout:
    return Rollout(
        rollout_id=rollout_id,
        candidate=2,
        stage="canary",
        started_ms=0,
        since_ms=0,
        share=share,
    )


def _serving(share: float = 0.0, **rules: Any) -> Serving:
    document = neural(**rules)
    live, canary = served(document, 1), served(document, 2)
    return serving_of(live, canary=canary, rollout=_rollout(share))


def _tripped(instead: Served | None = None, **rules: Any) -> Serving:
    trip = Trip(trip_id="t", signal="reward", why="it fell", at_ms=0)
    return serving_of(served(neural(**rules), 2), trip=trip, instead=instead)


def _request(subject: str = "u", **fields: Any) -> ActRequest:
    observation = Observation(vector=[1.0, -2.0])
    return ActRequest(observation=observation, actions=["a", "b", "c"], subject=subject, **fields)


def _answer(
    serving: Serving, request: ActRequest, name: str = "d1", is_late: bool = False
) -> ActResponse:
    encoding = serving.live.encoding
    state = encoding.state(request.observation)
    available = logic.available_actions(encoding, request)
    assigned = logic.decide(serving, request, name, state, available, is_late=is_late)
    return logic.answer(serving.live, request, name, available, assigned, 0, None)


def _probabilities(answer: ActResponse) -> list[float]:
    return [ranked.probability for ranked in answer.ranking]


def _own(version: int) -> list[float]:
    """What one version answers when it decides alone."""
    return _probabilities(_answer(serving_of(served(neural(), version)), _request()))


def _arms(serving: Serving) -> dict[str, str]:
    return {one: serving.arms[arms.drawn(serving, one)].name for one in _SUBJECTS}


def test_a_version_alone_decides_for_everybody() -> None:
    answer = _answer(serving_of(served(neural(), 1)), _request())

    assert msgspec.to_builtins(answer.assignment) == {
        "arm": "live",
        "arm_probability": 1.0,
        "arm_propensity": answer.propensity,
    }


def test_each_arm_gets_its_share_of_the_subjects() -> None:
    serving = _serving(0.25, rollout={"holdback": {"share": 0.1}})

    counts = Counter(_arms(serving).values())

    # The holdback comes first: 0.1; the canary has a quarter of the rest: 0.225; 4,000 subjects.
    assert counts["holdback"] == pytest.approx(400, abs=3 * 19)
    assert counts["canary"] == pytest.approx(900, abs=3 * 27)
    assert sum(arm.probability for arm in serving.arms) == pytest.approx(1.0)


def test_a_subject_stays_in_its_arm_whatever_it_asks() -> None:
    serving = _serving(0.5)

    found = {_answer(serving, _request("ada"), f"decision-{n}").assignment.arm for n in range(20)}

    assert len(found) == 1


def test_a_growing_canary_only_takes_in_subjects() -> None:
    few, many = _arms(_serving(0.1)), _arms(_serving(0.4))

    moved = {(few[one], many[one]) for one in _SUBJECTS if few[one] != many[one]}

    assert moved == {("live", "canary")}


def test_another_rollout_draws_other_subjects_and_holds_back_the_same() -> None:
    live = served(neural(rollout={"holdback": {"share": 0.2}}), 1)
    first, second = (
        _arms(serving_of(live, canary=live, rollout=_rollout(0.5, name))) for name in ("r1", "r2")
    )

    held = [{one for one in _SUBJECTS if of[one] == "holdback"} for of in (first, second)]
    agree = np.mean([first[one] == second[one] for one in _SUBJECTS if one not in held[0]])

    assert held[0] == held[1]
    assert agree == pytest.approx(0.5, abs=0.03)


def test_without_a_subject_an_episode_stays_together() -> None:
    request = ActRequest(observation=Observation(vector=[1.0, 2.0]), actions=["a"])

    assert arms.subject_of(request, "d1") == "d1"
    assert arms.subject_of(_request("ada"), "d1") == "ada"


def test_the_propensity_is_that_of_the_whole_lottery() -> None:
    answer = _answer(_serving(0.25), _request())

    mixed = [0.75 * live + 0.25 * canary for live, canary in zip(_own(1), _own(2), strict=True)]
    own = _own(1 if answer.assignment.arm == "live" else 2)
    assert _own(1) != pytest.approx(_own(2))
    assert _probabilities(answer) == pytest.approx(mixed, abs=1e-12)
    assert answer.propensity == answer.ranking[answer.action.index].probability
    assert answer.assignment.arm_propensity == pytest.approx(own[answer.action.index])


def test_frequencies_over_subjects_and_decisions_are_the_logged_probabilities() -> None:
    serving = _serving(0.3, rollout={"holdback": {"share": 0.2}})
    answers = [_answer(serving, _request(one), f"d-{one}") for one in _SUBJECTS]

    taken = Counter(answer.action.id for answer in answers)

    logged = dict(zip("abc", _probabilities(answers[0]), strict=True))
    for action, probability in logged.items():
        spread = (probability * (1 - probability) / len(answers)) ** 0.5
        assert taken[action] / len(answers) == pytest.approx(probability, abs=4 * spread)


def test_the_answer_tells_of_every_arm_that_might_have_decided() -> None:
    answer = _answer(_serving(0.25, rollout={"holdback": {"share": 0.2}}), _request())

    told = [
        (one.arm, round(one.probability, 9), one.model_version) for one in answer.assignment.arms
    ]
    assert told == [("live", 0.6, "home@1"), ("canary", 0.2, "home@2"), ("holdback", 0.2, "")]
    assert answer.assignment.rollout_id == "r1"


def test_who_is_held_back_gets_a_uniform_draw_or_the_baseline() -> None:
    serving = _serving(rollout={"holdback": {"share": 0.5, "kind": "baseline"}})
    held = next(one for one, arm in _arms(serving).items() if arm == "holdback")
    answer = _answer(serving, _request(held, baseline_action="c"))

    assert (answer.action.id, answer.reason) == ("c", "baseline")
    # Everybody else gets the live version's draw: half of it, and half of the baseline.
    live = _own(1)
    assert answer.propensity == pytest.approx(0.5 * live[2] + 0.5)
    uniform = _serving(rollout={"holdback": {"share": 0.5}})
    assert _answer(uniform, _request(held)).assignment.arm_propensity == pytest.approx(1 / 3)


def test_a_tripped_policy_is_answered_by_its_fallback_and_says_why() -> None:
    answer = _answer(_tripped(fallback="baseline"), _request(baseline_action="b"))

    assert (answer.action.id, answer.propensity, answer.reason) == ("b", 1.0, "fallback")
    assert answer.reasons_detail.fallback == "tripped:reward"
    assert answer.assignment.arm == "fallback"


def test_a_tripped_policy_is_answered_by_the_version_that_stands_in() -> None:
    answer = _answer(_tripped(served(neural(), 1)), _request())

    assert (answer.model_version, answer.reason) == ("home@1", "fallback")
    assert _probabilities(answer) == pytest.approx(_own(1))


def test_neither_candidate_nor_holdback_decides_while_a_policy_is_tripped() -> None:
    document = neural(rollout={"holdback": {"share": 0.5}})
    trip = Trip(trip_id="t", signal="cost", why="too much", at_ms=0)
    live = served(document, 1)
    serving = serving_of(live, canary=served(document, 2), rollout=_rollout(0.5), trip=trip)

    assert [arm.name for arm in serving.arms] == ["fallback"]


def test_a_canary_that_cannot_be_loaded_has_no_share() -> None:
    serving = serving_of(served(neural(), 1), canary=None, rollout=_rollout(0.5))

    assert serving.is_plain


@pytest.mark.parametrize("mode", ["apprentice", "shadow", "logging_only"])
def test_a_mode_in_which_the_policy_does_not_decide_has_no_arms(mode: Any) -> None:
    answer = _answer(_serving(0.5), _request(mode=mode, baseline_action="c"))

    assert (answer.action.id, answer.propensity, answer.assignment.arm) == ("c", 1.0, "live")


def test_a_decision_that_the_policy_is_not_sure_of_is_answered_by_the_fallback() -> None:
    unsure = neural(trips={"least_confidence": 1.0}, fallback="uniform")
    sure = neural(trips={"least_confidence": 0.1}, fallback="uniform")

    fallen, decided = (_answer(serving_of(served(one, 1)), _request()) for one in (unsure, sure))

    assert (fallen.reason, fallen.reasons_detail.fallback) == ("fallback", "confidence")
    assert fallen.propensity == pytest.approx(1 / 3)
    assert decided.reason in ("policy", "explore")


def test_a_step_of_an_episode_has_the_probability_of_its_own_arm() -> None:
    # Two steps of the same choice: with p = 0.9 in one arm and 0.1 in the other, each half of the subjects, an
    # episode does it twice with probability (0.81 + 0.01) / 2 = 0.41, and the lottery's 0.5 * 0.5 is not that.
    place = EpisodeStep(episode_id="e1", step=0)
    answer = _answer(_serving(0.5), _request(episode=place))

    own = _own(1 if answer.assignment.arm == "live" else 2)
    assert _probabilities(answer) == pytest.approx(own, abs=1e-12)
    assert answer.propensity == answer.assignment.arm_propensity
    assert answer.assignment.arm_probability == 0.5


def test_an_empty_set_gets_the_declared_baseline_in_every_arm() -> None:
    rules = {"empty_action_set": "baseline", "rollout": {"holdback": {"share": 0.3}}}
    request = _request(excluded_actions=["a", "b", "c"], baseline_action="b")

    for serving in (_serving(0.5, **rules), _tripped(empty_action_set="baseline")):
        answer = _answer(serving, request)
        assert (answer.action.id, answer.propensity) == ("b", 1.0)
        assert answer.reasons_detail.fallback == "empty_action_set"


def test_what_a_tripped_policy_proposes_outside_of_the_envelope_needs_a_person_too() -> None:
    rule = {"envelope": [{"feature": 2, "op": "<=", "value": 0.5}]}
    document = neural(approval=rule, fallback="first")
    answers = [
        _answer(_tripped(served(document, 1), approval=rule), _request(), f"d{n}")
        for n in range(50)
    ]

    assert {one.action.id for one in answers} <= {"a", "b"}
    assert {one.reasons_detail.fallback for one in answers} == {"tripped:reward"}


def test_continuous_actions_have_the_density_of_their_own_arm() -> None:
    document = steering()
    live, canary = served(document, 1), served(document, 2)
    serving = serving_of(live, canary=canary, rollout=_rollout(0.5))
    request = ActRequest(observation=Observation(vector=[1.0, -2.0]), subject="ada")
    state = live.encoding.state(request.observation)

    assigned = box.decide(serving, request, "d1", state, is_late=False)

    own = live if assigned.assignment.arm == "live" else canary
    alone = box.decide(serving_of(own), request, "d1", state, is_late=False)
    assert assigned.choice.action.tolist() == alone.choice.action.tolist()
    assert assigned.choice.density == alone.choice.density
    assert assigned.assignment.arm_probability == 0.5


def test_a_tripped_policy_makes_the_continuous_action_of_its_fallback() -> None:
    live = served(steering(fallback="first"), 1)
    trip = Trip(trip_id="t", signal="state", why="it drifted", at_ms=0)
    request = ActRequest(observation=Observation(vector=[1.0, -2.0]))
    state = live.encoding.state(request.observation)

    assigned = box.decide(serving_of(live, trip=trip), request, "d1", state, is_late=False)

    assert assigned.choice.action.tolist() == [0.0, 0.5]
    assert assigned.choice.fallback == "tripped:state"

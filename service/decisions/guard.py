"""What of a policy's choices needs a person, and what is done meanwhile.

The probabilities that are logged are those of the whole procedure: what lies outside of the envelope is done
as often as a person says so, which nobody knows, so it counts as what stands in for it.
"""

from __future__ import annotations

from msgspec import Struct, structs

from agent_core.agent import seed_of
from agent_core.types import Doubles, Floats, Mask
from service.approvals import envelope
from service.decisions import fallback
from service.decisions.choice import Available, Choice
from service.decisions.schemas import ActRequest
from service.policies.served import ServedSets

WHY = "approval"


class Guarded(Struct, frozen=True, eq=False, gc=False):
    """`choice`: what is done without a person, with the probabilities of what is done so. `proposal`: what the
    policy would do if a person agrees; None if nobody needs to be asked. `causes`: why somebody does."""

    choice: Choice
    proposal: Choice | None = None
    causes: tuple[str, ...] = ()


def guarded(
    served: ServedSets,
    request: ActRequest,
    decision_id: str,
    state: Floats,
    available: Available,
    excluded: Mask | None,
    choice: Choice,
) -> Guarded:
    """A choice of the policy's own, held against the declared envelope; any other as it is."""
    rule = served.config.approval
    if rule is None or not rule.is_about_decisions or choice.reason not in ("policy", "explore"):
        return Guarded(choice)
    actions, probabilities = available.actions.features, choice.probabilities
    fulfils = envelope.within(rule, state, actions)
    allowed = served.agent.allowed(state, available.actions, excluded)
    # A number of its own: the stand-in must not depend on what was proposed.
    seed = seed_of(decision_id, f"{served.config.policy}/{WHY}")
    eligible = envelope.fallback_eligible(allowed, fulfils)
    instead = fallback.among(served, request, available, eligible, seed, WHY)
    needless = envelope.inside(rule, probabilities, fulfils)
    judged = envelope.judge(probabilities, needless, instead.probabilities, choice.index)
    if not judged.needs_person:
        return Guarded(_with(choice, judged.composed))
    proposal = structs.replace(choice, reason="human", fallback=None)
    causes = envelope.causes(rule, state, actions[choice.index], probabilities)
    return Guarded(_with(instead, judged.composed, choice.value), proposal, causes)


def _with(choice: Choice, probabilities: Doubles, value: Doubles | None = None) -> Choice:
    return structs.replace(
        choice,
        probabilities=probabilities,
        propensity=probabilities.item(choice.index),
        value=choice.value if value is None else value,
    )


def rescaled(choice: Choice, probabilities: Doubles) -> Choice:
    """The choice with the probabilities of all arms together."""
    return _with(choice, probabilities)

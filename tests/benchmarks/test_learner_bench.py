from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import msgspec
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from agent_core.functional.segments import segment_max
from agent_core.networks.perceptrons import ActionValueNetwork
from benchmarks.learner import ours, ragged
from benchmarks.learner.__main__ import QUICK, Size, main, run
from benchmarks.learner.bare import actors, box, values
from benchmarks.learner.bare.parts import Batch, chosen, mix, mlp, target
from benchmarks.learner.cases import CASES, GOALS, OURS, Case
from benchmarks.learner.contestant import Contestant, NotMeasuredError
from benchmarks.learner.peers import imported, spaces_of
from benchmarks.learner.report import (
    Measured,
    Report,
    headline_rows,
    make_report,
    markdown,
    rows,
)
from benchmarks.learner.task import Task, made_up
from benchmarks.learner.timing import paired_ratio, window
from benchmarks.machine import Machine

SETS = Task("dqn", (8, 8), 4, state_dim=3, action_dim=2, size=256)
IN_BOX = Task("sac", (8, 8), 4, state_dim=3, action_dim=2, is_box=True, size=256)
PROMISED = [
    "dqn64_over_sb3", "dqn120_over_sb3", "ppo_over_sb3", "sac_over_sb3", "td3_over_sb3",
    "ragged_train_over_padded", "ragged_infer_over_padded",
]  # fmt: skip
LOOPS: list[tuple[Callable[[Task], Any], Task]] = [
    (values.Dqn, SETS),
    (values.Cql, SETS),
    (values.QrDqn, SETS),
    (values.NeuralLinear, SETS),
    (actors.Ppo, SETS),
    (actors.DiscreteSac, SETS),
    (actors.DiscreteIql, SETS),
    (box.Sac, IN_BOX),
    (box.Td3, IN_BOX),
]


# -- timing ---------------------------------------------------------------------------------------


def test_a_ratio_is_the_median_of_the_ratios_inside_the_rounds() -> None:
    # The machine was twice as slow in the second round, for both: 40/20, 80/40, 90/30 -> 2, 2, 3
    assert paired_ratio([40, 80, 90], [20, 40, 30]) == 2.0


def test_rounds_that_do_not_match_are_refused() -> None:
    with pytest.raises(ValueError, match="shorter"):
        paired_ratio([1.0, 2.0], [1.0])


def test_a_window_makes_at_least_one_step_and_divides_by_its_updates() -> None:
    steps: list[None] = []

    per_update_us = window(Contestant(lambda: steps.append(None), updates=10**9), seconds=1e-9)

    assert len(steps) == 1
    assert 0 < per_update_us < 1


def test_the_contestants_of_a_case_take_turns() -> None:
    order: list[str] = []

    def built(name: str) -> Callable[[], Contestant]:
        return lambda: Contestant(lambda: order.append(name), 1, form=f"form of {name}")

    def missing() -> Contestant:
        raise NotMeasuredError("not installed")

    case = Case("a case", {"a": built("a"), "b": built("b"), "c": missing})
    measured = run({"x": case}, Size(rounds=3, window_s=1e-9), Console(quiet=True))["x"]

    assert order == ["a", "b"] * 3
    assert [len(measured.us[name]) for name in ("a", "b")] == [3, 3]
    assert measured.forms == {"a": "form of a", "b": "form of b"}
    assert measured.not_measured == {"c": "not installed"}


# -- what is learned ------------------------------------------------------------------------------


@pytest.mark.parametrize("task", [SETS, IN_BOX], ids=["sets", "box"])
def test_our_replay_holds_what_everybody_learns_from(task: Task) -> None:
    told = made_up(task)

    (batch,) = ours.filled(task).batches(task.size)

    assert np.array_equal(batch.state, told.state)
    assert np.array_equal(batch.next_state, told.next_state)
    assert np.array_equal(batch.reward, told.reward.astype(np.float32))
    assert np.array_equal(batch.bootstraps, 1.0 - told.terminated)
    taken = told.action if task.is_box else np.eye(2, dtype=np.float32)[told.action]
    assert np.array_equal(batch.chosen_features(), taken)


def test_a_choice_is_among_all_actions_now_and_next() -> None:
    (batch,) = ours.filled(SETS).batches(SETS.size)

    assert (batch.actions.width, batch.next_actions.width) == (2, 2)
    assert torch.equal(batch.next_actions.features[:2], torch.eye(2))


def test_nothing_follows_the_choice_of_a_bandit() -> None:
    (batch,) = ours.filled(SETS._replace(kind="neural_linear")).batches(SETS.size)

    assert batch.actions.width == 2
    assert len(batch.next_actions.features) == 0


def test_a_rollout_is_whole_episodes() -> None:
    rollout = ours.rollout_of(ours.filled(SETS))

    assert rollout.offsets.tolist() == [0, 128, 256]


@pytest.mark.parametrize("kind", ["dqn", "ppo", "neural_linear"])
def test_our_learner_is_built_from_its_config(kind: str) -> None:
    config = ours.config_of(SETS._replace(kind=kind))

    assert config.model_dump()["hidden"] == (8, 8)
    assert config.model_dump()["kind"] == kind


@pytest.mark.parametrize(
    ("task", "updates"),
    [(SETS, 8), (IN_BOX, 8), (SETS._replace(kind="ppo"), 64)],
    ids=["dqn", "sac", "ppo"],
)
def test_a_step_of_ours_makes_as_many_updates_as_it_says(task: Task, updates: int) -> None:
    contestant = ours.plain(task)

    made = contestant.step()

    assert contestant.updates == updates  # 8 at once; of PPO 256 / 4
    assert made is None or len(made) == updates  # type: ignore[arg-type]  # what learn_rollout gives


# -- bare loops -----------------------------------------------------------------------------------


def weights_of(loop: Any) -> dict[str, torch.Tensor]:
    """Of all networks of a bare loop."""
    networks = {name: one for name, one in vars(loop).items() if isinstance(one, torch.nn.Module)}
    return {
        f"{name}.{key}": weight
        for name, network in networks.items()
        for key, weight in network.named_parameters()
    }


@pytest.mark.parametrize(("make", "task"), LOOPS, ids=[make.__name__ for make, _ in LOOPS])
def test_a_bare_loop_moves_every_weight(make: Callable[[Task], Any], task: Task) -> None:
    torch.manual_seed(0)
    loop = make(task)
    before = {name: weight.clone() for name, weight in weights_of(loop).items()}

    for _ in range(4):
        loop()

    after = weights_of(loop)
    assert all(torch.isfinite(weight).all() for weight in after.values())
    assert [name for name in before if torch.equal(before[name], after[name])] == []


@pytest.mark.parametrize(("make", "task"), LOOPS, ids=[make.__name__ for make, _ in LOOPS])
def test_no_graph_grows_from_update_to_update(make: Callable[[Task], Any], task: Task) -> None:
    loop = make(task)

    loop()

    assert all(weight.grad_fn is None for weight in weights_of(loop).values())


def test_a_target_bootstraps_only_where_something_follows() -> None:
    nothing = torch.zeros(2)
    batch = Batch(nothing, nothing, torch.tensor([1.0, 1.0]), nothing, torch.tensor([1.0, 0.0]))

    # 1 + 0.99 * 1 * 2 = 2.98; 1 + 0.99 * 0 * 2 = 1
    assert target(batch, torch.tensor([2.0, 2.0])).tolist() == pytest.approx([2.98, 1.0])


def test_the_values_of_taken_actions_are_found_for_one_network_and_for_two() -> None:
    action = torch.tensor([1, 0])
    batch = Batch(*[torch.zeros(2)] * 5)._replace(action=action)
    one = torch.tensor([[1.0, 2.0], [3.0, 4.0]])

    assert chosen(one, batch).tolist() == [2.0, 3.0]
    assert chosen(torch.stack([one, -one]), batch).tolist() == [[2.0, 3.0], [-2.0, -3.0]]


def test_a_target_network_moves_a_two_hundredth_of_the_way() -> None:
    followers, trained = mlp(1, (1,), 1).requires_grad_(False), mlp(1, (1,), 1)
    with torch.no_grad():
        for name, network in (("followers", followers), ("trained", trained)):
            for weight in network.parameters():
                weight.fill_(0.0 if name == "followers" else 2.0)

    mix(followers, trained)

    # From 0 by 0.005 of the way to 2
    assert all(weight.item() == pytest.approx(0.01) for weight in followers.parameters())


def test_the_log_density_of_a_squashed_action_is_that_of_the_change_of_variables() -> None:
    torch.manual_seed(0)
    action, density = box.Sac(IN_BOX)._sample(torch.zeros(5, 3))

    # With density p of raw = artanh(action), log p(raw) - sum of log(1 - action^2)
    raw = torch.atanh(action.double())
    mean, log_std = (part[:1] for part in _parameters_at_zero())
    normal = torch.distributions.Normal(mean.double(), log_std.double().exp())
    wanted = (normal.log_prob(raw) - torch.log1p(-action.double().square())).sum(1)
    assert torch.allclose(density.double(), wanted, atol=1e-4)


def _parameters_at_zero() -> tuple[torch.Tensor, torch.Tensor]:
    torch.manual_seed(0)
    loop = box.Sac(IN_BOX)
    with torch.no_grad():
        mean, log_std = loop._actor(torch.zeros(1, 3)).chunk(2, 1)
    return mean, log_std


# -- ragged sets ----------------------------------------------------------------------------------


@given(st.integers(1, 8), st.integers(2, 40))
def test_both_forms_of_a_ragged_question_have_the_same_answer(decisions: int, largest: int) -> None:
    sets = ragged.made_up(decisions, largest)
    flat, padded = ragged.forms()

    assert torch.allclose(flat(sets), padded(sets), atol=1e-5)


def test_both_forms_have_the_same_gradient() -> None:
    sets, network = ragged.made_up(6, 30), ActionValueNetwork(ragged.SPEC, ragged.HIDDEN)
    other = ragged.Padded(network)

    segment_max(network(sets.state, sets.actions), sets.actions).mean().backward()
    flat = network.features.action_in.weight.grad
    other(sets).mean().backward()

    first = other.layers[0].weight
    assert isinstance(first, torch.nn.Parameter)
    assert flat is not None
    assert first.grad is not None
    assert torch.allclose(first.grad[:, ragged.SPEC.state_dim :], flat, atol=1e-6)


def test_padding_is_zeros_that_are_no_actions() -> None:
    sets = ragged.made_up(3, 10)

    assert torch.equal(sets.is_action.sum(1), sets.actions.lengths())
    assert torch.equal(sets.padded[sets.is_action], sets.actions.features)
    assert not sets.padded[~sets.is_action].any()


# -- cases and report -----------------------------------------------------------------------------


def test_the_quick_run_measures_what_was_promised() -> None:
    quick = [name for name, goal in GOALS.items() if CASES[goal.case].is_quick]

    assert quick == PROMISED


def test_every_goal_is_about_contestants_of_its_case() -> None:
    for goal in GOALS.values():
        assert {OURS, goal.rival} <= set(CASES[goal.case].contestants)


def a_report(**us: dict[str, list[float]]) -> Report:
    """Of those cases alone; the contestants that are missing are not installed."""
    missing = {
        name: {who: "not installed" for who in CASES[name].contestants if who not in found}
        for name, found in us.items()
    }
    return make_report(
        {name: Measured(found, {OURS: "compiled"}, missing[name]) for name, found in us.items()},
        command="make bench-learner",
        date="2026-01-31 12:00 UTC",
        machine=Machine("Some CPU", 2, 24.0, "Linux 6", "3.11.7", {"torch": "2.13.0"}),
        rounds=2,
        window_s=0.1,
    )


DQN = {OURS: [50.0, 100.0], "stable-baselines3": [650.0, 1300.0]}


def test_the_headline_has_the_ratios_of_the_cases_that_were_run() -> None:
    report = a_report(dqn64=DQN, ragged_train={OURS: [20.0], "padded": [60.0]})

    # 650 / 50 and 1300 / 100; 60 / 20
    assert report.headline == {"dqn64_over_sb3": 13.0, "ragged_train_over_padded": 3.0}
    assert report.below_goal == ["ragged_train_over_padded"]


def test_a_rival_that_is_not_installed_is_named_and_its_number_is_null() -> None:
    report = a_report(dqn64={OURS: [50.0]})

    assert report.headline == {"dqn64_over_sb3": None}
    assert report.below_goal == []
    assert headline_rows(report) == [("dqn64_over_sb3", "-", "at least 12", "not measured")]
    assert "Not measured: stable-baselines3, not installed." in markdown(report)


def test_the_json_is_a_report_again_when_it_is_read() -> None:
    report = a_report(dqn64=DQN)

    assert msgspec.json.decode(msgspec.json.encode(report), type=Report) == report


def test_the_table_has_a_line_for_every_contestant() -> None:
    lines = rows(a_report(dqn64=DQN).cases["dqn64"])

    # median of 50 and 100; 1e6 / 75
    assert lines[0] == ("nacre (compiled)", "75.0", "50.0 - 100.0", "13333", "1.00")
    assert lines[1] == ("stable-baselines3", "975.0", "650.0 - 1300.0", "1026", "13.00")


def test_the_results_page_says_how_when_and_where() -> None:
    page = markdown(a_report(dqn64=DQN))

    assert "`make bench-learner` on 2026-01-31 12:00 UTC" in page
    assert "Some CPU, 2 cores, 24 GiB" in page
    assert "| dqn64_over_sb3 | 13.00 | at least 12 | reached |" in page
    assert CASES["dqn64"].note in page


def test_more_than_one_thread_is_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "2")

    with pytest.raises(SystemExit):
        main(["--quick"])

    assert "set OMP_NUM_THREADS=1" in capsys.readouterr().err


def test_the_windows_of_the_quick_run_take_less_than_a_minute() -> None:
    windows = sum(len(case.contestants) for case in CASES.values() if case.is_quick) * QUICK.rounds

    assert windows * QUICK.window_s < 60


# -- peers ----------------------------------------------------------------------------------------


def test_a_peer_that_is_not_installed_is_not_measured() -> None:
    with pytest.raises(NotMeasuredError, match=r"not installed: .*no_such_peer"):
        imported("no_such_peer")


def test_peers_are_told_the_same_sizes() -> None:
    observations, actions = spaces_of(SETS)
    _, in_box = spaces_of(IN_BOX)

    assert (observations.shape, actions.n) == ((3,), 2)
    assert (in_box.shape, float(in_box.low.min()), float(in_box.high.max())) == ((2,), -1.0, 1.0)
    assert math.isinf(float(observations.high[0]))

"""Defects found by running Pearl's public code (commit 48f1fbb), and the tests that keep each out of here.

What is learned from them is a property, so most of these tests do not mention Pearl. A test that is renamed
must be renamed here, too.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

_TESTS = Path(__file__).parents[1]
_LEARNERS = "agent_core/policy_learners"
DEFECTS: dict[str, str] = {
    "interleaved users corrupt each other's transitions": (
        "service/joining/test_episodes.py::test_a_thousand_interleaved_episodes_learn_every_step_once"
    ),
    "the history of one session is a buffer of the network": (
        "contracts/test_history.py::test_sessions_do_not_mix"
    ),
    "feedback that comes late fails": (
        "service/joining/test_joining.py::test_a_late_reward_is_kept_and_counted_and_never_learned"
    ),
    "no propensity is returned nor stored": (
        "agent_core/test_agent.py::test_actions_are_played_as_often_as_their_propensities_say"
    ),
    "the schedule of exploration counts what one process has served": (
        "agent_core/test_agent.py::test_experience_drives_the_schedule"
    ),
    "exploiting explores: bandits": (
        "agent_core/test_agent.py::test_exploiting_plays_the_best_whatever_the_exploration_and_the_floor"
    ),
    "exploiting explores: continuous actions": (
        "agent_core/test_box_agent.py::test_without_exploring_the_mean_is_played_whatever_the_seed"
    ),
    "an empty action set is a bare ValueError": (
        "agent_core/test_agent.py::test_an_empty_choice_is_an_error"
    ),
    "a spread that is NaN becomes zero": (
        "agent_core/test_agent.py::test_a_spread_that_is_not_finite_is_an_error"
    ),
    "deciding builds an autograd graph": (
        f"{_LEARNERS}/test_neural.py::test_deciding_builds_no_graph_and_leaves_the_weights_alone"
    ),
    "batch learning never moves the target network": (
        f"{_LEARNERS}/test_temporal_difference.py::test_the_target_network_moves_by_its_share_at_its_period"
    ),
    "optimizers, counters, temperatures and replay are not in the checkpoint": (
        "agent_core/training/test_resume.py::test_training_continues_bit_exactly_in_another_process"
    ),
    "an actor plays another action, or fails, on a smaller set": (
        f"{_LEARNERS}/test_actor.py::test_a_smaller_set_than_before_keeps_the_proportions_of_what_is_left"
    ),
    "the dueling mean runs over padding": (
        f"{_LEARNERS}/test_dqn.py"
        "::test_dueling_values_do_not_depend_on_how_large_the_other_sets_of_a_batch_are"
    ),
    "sarsa finds the next step by comparing states": (
        "service/joining/test_episodes.py::test_what_was_done_next_and_where_comes_with_each_step"
    ),
    "a reset gives every session another posterior sample": (
        "agent_core/exploration/test_deep.py::test_an_episode_keeps_to_its_member_in_every_state"
    ),
    "all steps of an episode get the same undiscounted return": (
        "agent_core/functional/test_returns.py"
        "::test_every_step_has_the_discounted_sum_of_its_own_rest"
    ),
    "reinforce cannot learn nor be saved without a critic": (
        f"{_LEARNERS}/test_reinforce.py::test_without_a_baseline_it_learns_and_saves_all_the_same"
    ),
    "the entropy bonus of ppo has no gradient": (
        f"{_LEARNERS}/test_ppo.py::test_entropy_is_rewarded_and_moves_the_actor"
    ),
    "a truncated episode bootstraps from the one that follows": (
        f"{_LEARNERS}/test_ppo.py::test_a_truncated_episode_learns_nothing_from_the_one_that_follows"
    ),
    "td3 delays its actor by calls of another kind": (
        f"{_LEARNERS}/test_deterministic.py"
        "::test_the_actor_and_the_targets_move_at_their_period_also_after_a_restart"
    ),
    "one observation counts a hundred times": (
        f"{_LEARNERS}/test_linear.py::test_one_observation_counts_once_in_the_posterior"
    ),
    "no optimism before anything is learned": (
        "contracts/test_policy.py"
        "::test_the_spread_is_wide_when_cold_and_narrows_where_something_was_seen"
    ),
    "the covariance keeps features of old weights": (
        f"{_LEARNERS}/test_neural_linear.py"
        "::test_a_refresh_serves_the_trained_features_and_rebuilds_the_posterior_under_them"
    ),
    "the number of arms is fixed": (
        f"{_LEARNERS}/test_disjoint_linear.py::test_an_arm_that_comes_back_starts_anew"
    ),
    "values are taken for probabilities": (
        "agent_core/exploration/test_propensity.py"
        "::test_it_needs_a_policy_whose_values_are_log_probabilities"
    ),
    "an id beyond the maximum fails: one-hot": (
        "agent_core/action_representation/test_codes.py"
        "::test_one_hot_keeps_its_last_slot_for_ids_that_are_not_listed"
    ),
    "an id beyond the maximum fails: embedding": (
        "agent_core/action_representation/test_embedding.py"
        "::test_no_id_is_beyond_the_last_row_and_every_row_is_used"
    ),
    "the binary representation cannot encode": (
        "agent_core/action_representation/test_codes.py"
        "::test_binary_counts_from_one_and_an_unlisted_id_is_all_zeros"
    ),
    "the transformer forgets at random while deciding": (
        "contracts/test_history.py"
        "::test_the_same_observation_twice_gives_the_same_summary_to_the_last_bit"
    ),
    "the multiplier is lost when saved": (
        "agent_core/safety/test_reward_constrained.py"
        "::test_the_multiplier_and_all_about_costs_survive_a_restart"
    ),
    "the cheaper of two cost critics is believed": (
        "agent_core/safety/test_reward_constrained.py::test_the_dearer_critic_counts"
    ),
    "a constraint cannot learn from batches": (
        "agent_core/safety/test_reward_constrained.py"
        "::test_any_learner_goes_on_bit_exactly_and_its_multiplier_rises_with_its_costs"
    ),
    "costs in some transitions only make a batch fail": (
        "agent_core/safety/test_reward_constrained.py::test_a_batch_without_costs_keeps_its_rewards"
    ),
    "hindsight changes the caller's tensors": (
        "agent_core/replay/test_hindsight.py::test_the_callers_arrays_are_never_changed"
    ),
    "a transition costs kilobytes": (
        "agent_core/replay/test_packed_rows.py"
        "::test_a_transition_with_a_hundred_shared_actions_costs_at_most_400_bytes"
    ),
    "parts that cannot work together fail while learning": (
        "docs/test_compatibility.py::test_the_configuration_check_agrees_with_the_page"
    ),
    "weights are swapped one by one": (
        "service/policies/test_versions.py::test_swaps_under_load_give_no_error_and_no_torn_answer"
    ),
    "a set larger than any maximum is scored and fails when it is stored": (
        "service/policies/test_encoding.py"
        "::test_a_set_beyond_the_maximum_is_refused_with_how_many_there_may_be"
    ),
    "sets of different sizes do not go into one batch": (
        "contracts/test_replay.py::test_it_gives_back_what_was_stored_oldest_first"
    ),
    "a bandit cannot learn from what it played": (
        "learning/test_bandits.py"
        "::test_the_linear_bandit_finds_the_action_that_points_where_the_state_does"
    ),
    "a neural bandit cannot explore by epsilon-greedy, nor act without exploration": (
        "learning/test_bandits.py::test_the_neural_bandit_finds_out_what_no_linear_one_can"
    ),
    "explorations answer in different forms, an index here and a vector there": (
        "contracts/test_exploration.py::test_it_gives_a_distribution_over_all_actions"
    ),
    "an action is answered without its index or id": (
        "service/decisions/test_act.py"
        "::test_an_answer_says_everything_that_is_needed_to_evaluate_it"
    ),
    "upper bounds without a context cannot run": (
        "agent_core/exploration/test_exploration.py::test_ucb_adds_alpha_deviations"
    ),
    "several states at once fail": (
        "contracts/test_policy.py::test_a_value_in_a_batch_does_not_depend_on_the_other_sets"
    ),
    "choices draw from a generator that no seed reaches": (
        "contracts/test_exploration.py"
        "::test_the_same_seed_gives_the_same_bits_and_the_scores_stay_as_they_were"
    ),
    "the caller's action set is changed": (
        "contracts/test_safety.py::test_it_answers_for_each_action_and_changes_nothing"
    ),
    "boltzmann over action values plays the best only": (
        "agent_core/exploration/test_exploration.py::test_boltzmann_is_a_softmax_at_its_temperature"
    ),
    "inverse gap weighting plays what is not available": (
        "agent_core/exploration/test_square_cb.py"
        "::test_square_cb_counts_and_compares_available_actions_only"
    ),
    "noise on continuous actions has no density": (
        "contracts/test_exploration.py::test_the_density_is_that_of_the_draws"
    ),
    "posterior scores are sampled one by one": (
        "agent_core/functional/test_choice.py"
        "::test_posterior_maxima_see_the_correlation_between_actions"
    ),
    "the counter of a warm-up is not saved": (
        "agent_core/training/test_agent_learner.py::test_counters_survive_a_restart"
    ),
    "what is learned depends on a session that was opened first": (
        "contracts/test_policy_learner.py"
        "::test_what_is_learned_does_not_depend_on_how_the_stream_was_cut"
    ),
    "every session shortens the steps of learning": (
        f"{_LEARNERS}/test_gradient.py"
        "::test_a_step_is_as_long_as_the_learning_rate_however_many_came_before"
    ),
    "deciding reads weights while they are learned": (
        "contracts/test_policy.py::test_the_numpy_form_stays_what_it_was_while_learning_goes_on"
    ),
    "conservatism is about another column than the taken action": (
        f"{_LEARNERS}/test_cql.py"
        "::test_the_penalty_is_of_the_taken_action_however_actions_are_represented"
    ),
    "conservatism sums over padding": (
        f"{_LEARNERS}/test_cql.py"
        "::test_the_penalty_is_the_soft_maximum_minus_the_value_of_the_taken_action"
    ),
    "the gradient of an actor shrinks with the largest set of its batch": (
        f"{_LEARNERS}/test_actor.py"
        "::test_sets_of_different_size_in_one_batch_give_the_gradient_that_each_alone_gives"
    ),
    "ppo computes old probabilities anew when it learns": (
        f"{_LEARNERS}/test_ppo.py::test_the_old_probability_is_the_logged_propensity"
    ),
    "ppo cannot learn from sets that change": (
        "learning/test_actors.py"
        "::test_a_composed_agent_learns_which_of_ever_new_actions_points_where_the_state_does"
    ),
    "the optimizer of the value network of iql is not saved": (
        f"{_LEARNERS}/test_iql.py::test_the_value_network_and_its_optimizer_are_saved"
    ),
    "what is safe now is forgotten in what is learned about next": (
        "service/joining/test_episodes.py::test_the_next_actions_are_those_that_could_be_taken_next"
    ),
    "no safety module filters anything": (
        "agent_core/safety/test_action_filter.py"
        "::test_a_denied_id_is_removed_and_an_absent_one_does_not_matter"
    ),
    "some replays drop costs": (
        "agent_core/replay/test_n_step.py"
        "::test_rewards_and_costs_are_discounted_sums_and_what_is_next_comes_after_the_last_step"
    ),
    "hindsight takes the goal for as long as the state": (
        "agent_core/replay/test_hindsight.py"
        "::test_goals_are_what_was_achieved_at_this_or_a_later_step"
    ),
    "the weight of a transition cannot be set": (
        "agent_core/replay/test_prioritized.py::test_a_batch_weighs_what_is_drawn_often_less"
    ),
}


@pytest.mark.parametrize("defect", DEFECTS)
def test_every_known_defect_has_its_test(defect: str) -> None:
    file, name = DEFECTS[defect].split("::")

    assert re.search(rf"def {name}\(", (_TESTS / file).read_text("utf-8"))

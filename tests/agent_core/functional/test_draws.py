"""Numbers that belong to a key."""

from __future__ import annotations

import torch

from agent_core.functional.draws import splitmix, uniforms


def test_the_mix_gives_the_known_first_words_of_the_seeds_zero_and_minus_the_golden_ratio() -> None:
    # The reference generator, seeded by 0, says e220a8397b1dcdaf first. A word that the addition takes
    # to 0 stays 0 under shifts and products.
    golden = 0x9E37_79B9_7F4A_7C15 - 2**64

    words = splitmix(torch.tensor([0, -golden]))

    assert [word % 2**64 for word in words.tolist()] == [0xE220A8397B1DCDAF, 0]


def test_a_key_has_its_numbers_wherever_it_stands_and_however_many_are_asked_for() -> None:
    together = uniforms(torch.tensor([5, -7, 2**62]), 6)

    alone = uniforms(torch.tensor([-7]), 3)

    assert torch.equal(alone[0], together[1, :3])


def test_numbers_of_neighbouring_keys_are_uniform_and_unrelated() -> None:
    # 100,000 numbers: the mean has a standard error of 0.0009, a correlation one of 0.003.
    drawn = uniforms(torch.arange(10_000), 10)

    assert drawn.dtype == torch.float32
    assert float(drawn.min()) >= 0.0
    assert float(drawn.max()) < 1.0
    assert abs(float(drawn.mean()) - 0.5) < 0.004
    assert abs(float(torch.corrcoef(drawn[:, :2].T)[0, 1])) < 0.04
    assert abs(float(torch.corrcoef(torch.stack([drawn[1:, 0], drawn[:-1, 0]]))[0, 1])) < 0.04

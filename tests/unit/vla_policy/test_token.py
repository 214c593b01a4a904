# SPDX-License-Identifier: Apache-2.0
"""The RL token: centring that the shipped encoder has in it, the loss that it is measured by, and its settings."""

from __future__ import annotations

import pytest
import torch

from vla_policy.core.rl_token import TokenEncoder, TokenFeaturizer, TokenShape
from vla_policy.core.training.embeddings import TokenData
from vla_policy.core.training.settings import FrameConfig, TokenConfig
from vla_policy.core.training.token import TokenObjective, token_inputs

SHAPE = TokenShape(embedding_dim=6, count=5, width=16, heads=2, layers=1, token_dim=3)


def rows(count: int = 40) -> torch.Tensor:
    """Embeddings with a large constant, as those of a language model have: a few numbers far from all others."""
    generator = torch.Generator().manual_seed(0)
    constant = 300.0 * torch.randn(1, 5, 6, generator=generator)
    return constant + 4.0 * torch.randn(count, 5, 6, generator=generator)


def data_of(embeddings: torch.Tensor, aside: int = 4, readouts: int = 0) -> TokenData:
    return TokenData.of(((row, number < aside) for number, row in enumerate(embeddings)), readouts)


def test_when_the_centring_is_folded_in_expect_raw_embeddings_to_give_the_same_token():
    scale, embeddings = data_of(rows()).scale, rows()
    encoder = TokenEncoder(SHAPE).eval()
    folded = scale.folded_into(encoder)
    with torch.no_grad():
        torch.testing.assert_close(folded(embeddings), encoder(scale.centred(embeddings)), atol=1e-3, rtol=1e-3)
        assert (folded(embeddings) - encoder(embeddings)).abs().max() > 0.1


@pytest.mark.parametrize("readouts", [0, 2])
def test_when_only_the_mean_is_rebuilt_expect_a_loss_of_one(readouts):
    data = data_of(rows(), readouts=readouts)
    learnt = data.rows[data.train].float()
    centred = data.scale.centred(learnt)
    assert centred.mean(0).abs().max() < 0.01 and float(centred.pow(2).mean()) == pytest.approx(1.0, rel=0.01)
    assert float((centred.pow(2).mean(-1) * data.scale.weight).sum(-1).mean()) == pytest.approx(1.0, rel=0.01)
    if readouts:
        error = centred.pow(2).mean(-1).mean(0) * data.scale.weight
        assert float(error[:-2].sum()) == pytest.approx(0.5, rel=0.01), "two tokens count as much as all before them"


def test_when_nothing_is_shown_to_the_decoder_expect_the_token_alone_to_decide():
    data = data_of(rows())
    objective = TokenObjective(TokenEncoder(SHAPE), data.scale)
    first, second = (data.rows[torch.tensor([n])].float() for n in (5, 6))
    shown = token_inputs(first, 0.0, torch.Generator())
    assert not shown.keep.any() and token_inputs(first, 1.0, torch.Generator()).keep.all()
    with torch.no_grad():
        centred = data.scale.centred(second)
        blind = objective.decoder(objective.encoder(data.scale.centred(first)), centred, shown.keep)
        told = objective.decoder(objective.encoder(data.scale.centred(first)), data.scale.centred(first), shown.keep)
    torch.testing.assert_close(blind, told)


def test_when_the_words_are_padded_expect_the_token_not_to_see_them():
    featurizer = TokenFeaturizer(TokenEncoder(SHAPE).eval(), image_tokens=5)
    last = rows(1)
    longer = torch.cat([last, torch.full((1, 4, 6), 1e6)], dim=1)
    with torch.no_grad():
        assert torch.equal(featurizer(longer, torch.ones(1, 9)), featurizer(last))
    assert featurizer.dim == featurizer(last).shape[1] == 3


def test_when_it_is_served_on_a_device_expect_the_encoder_there():
    moved = TokenFeaturizer(TokenEncoder(SHAPE), image_tokens=5).on(torch.device("meta"))
    assert {parameter.device.type for parameter in moved.encoder.parameters()} == {"meta"}


@pytest.mark.parametrize(
    ("embeddings", "aside", "words"),
    [
        (torch.ones(3, 5, 6), 3, "all were put aside"),
        (torch.full((3, 5, 6), float("nan")), 0, "row 0 are not finite"),
        (torch.full((3, 5, 6), 1e5), 0, "beyond 65504"),
    ],
)
def test_when_embeddings_cannot_be_learnt_from_expect_one_sentence(embeddings, aside, words):
    with pytest.raises(ValueError, match=words):
        data_of(embeddings, aside)


def test_when_no_embedding_ever_changes_expect_finite_losses():
    data = data_of(torch.ones(6, 5, 6))
    objective = TokenObjective(TokenEncoder(SHAPE), data.scale)
    loss = objective(token_inputs(data.rows[data.train].float(), 0.5, torch.Generator()))["loss"]
    assert bool(torch.isfinite(loss))


@pytest.mark.parametrize(
    ("kind", "change"),
    [
        (TokenConfig, {"steps": 0}), (TokenConfig, {"batch": 0}), (TokenConfig, {"save_every": 0}),
        (TokenConfig, {"teacher_share": float("nan")}), (TokenConfig, {"learning_rate": 2.0}),
        (FrameConfig, {"stride": 0}), (FrameConfig, {"held_out": 0.95}), (FrameConfig, {"disk_gb": 0.0}),
    ],
)  # fmt: skip
def test_when_a_setting_cannot_work_expect_its_name_in_the_error(kind, change):
    with pytest.raises(ValueError, match=next(iter(change))):
        kind(**change)

# SPDX-License-Identifier: Apache-2.0
"""The image encoder: shapes, augmentation, what it refuses, and that it learns where something is."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from rl_methods.common.encoder import CameraNet, EncoderConfig, ImageEncoder, random_shift


def spots(count: int, side: int = 32, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Images [count, 1, side, side, 3] with a red spot each, and its place [count, 2] in -1..1."""
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 60, (count, 1, side, side, 3), np.uint8)
    places = rng.integers(3, side - 3, (count, 2))
    for image, (x, y) in zip(images, places, strict=True):
        image[0, y - 1 : y + 2, x - 1 : x + 2] = (255, 40, 40)
    return torch.from_numpy(images), torch.from_numpy(places / (side - 1) * 2.0 - 1.0).float()


@pytest.mark.parametrize("cameras", [1, 2])
def test_when_images_are_encoded_expect_one_row_of_outputs_each(cameras: int) -> None:
    encoder = ImageEncoder(EncoderConfig(cameras, 32, 8, 12))
    out = encoder(torch.randint(0, 256, (5, cameras, 32, 32, 3), dtype=torch.uint8))
    assert out.shape == (5, 12) and bool(torch.isfinite(out).all()) and float(out.detach().abs().max()) <= 1.0


def test_when_a_net_is_built_expect_at_least_the_size_that_its_configuration_announces() -> None:
    config = EncoderConfig(2, 32, 8, 12)
    assert 0 < config.size() <= sum(p.numel() for p in ImageEncoder(config).parameters())


def test_when_an_image_is_encoded_alone_expect_what_it_gives_among_others() -> None:
    torch.manual_seed(0)
    encoder, images = ImageEncoder(EncoderConfig(1, 32, 8, 12)), spots(8)[0]
    assert torch.allclose(encoder(images)[3], encoder(images[3:4])[0], atol=1e-5)


def test_when_a_map_has_a_peak_expect_its_place() -> None:
    net = CameraNet(EncoderConfig(1, 32, 4, 8))
    with torch.no_grad():
        net.sharpness.fill_(50.0)
        maps = torch.zeros(1, 4, 8, 8)
        maps[:, :, 0, 7] = 1.0  # first row, last column
    net.body = torch.nn.Identity()
    x, y, height = net(maps).view(4, 3)[0]
    assert float(x) == pytest.approx(1.0, abs=1e-3) and float(y) == pytest.approx(-1.0, abs=1e-3)
    assert float(height) == pytest.approx(1.0, abs=1e-3)


@pytest.mark.parametrize(
    "change", [{"cameras": -1}, {"cameras": 99}, {"image_size": 30}, {"image_size": 1024}, {"maps": 6}, {"outputs": 0}]
)
def test_when_a_number_is_out_of_range_expect_refusal_that_names_it(change: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=f"{next(iter(change))} is {next(iter(change.values()))}, allowed"):
        EncoderConfig(**({"cameras": 1} | change))


def test_when_images_are_shifted_expect_the_same_pixels_elsewhere_and_edges_repeated() -> None:
    images = torch.arange(2 * 2 * 8 * 8 * 3, dtype=torch.int64).remainder(251).to(torch.uint8).view(2, 2, 8, 8, 3)
    moved = random_shift(images, 2, torch.Generator().manual_seed(0))
    padded = torch.nn.functional.pad(
        images.flatten(0, 1).permute(0, 3, 1, 2).float(), (2, 2, 2, 2), mode="replicate"
    ).permute(0, 2, 3, 1)
    for image, source in zip(moved.flatten(0, 1), padded, strict=True):
        crops = [source[i : i + 8, j : j + 8] for i in range(5) for j in range(5)]
        assert any(torch.equal(image.float(), crop) for crop in crops)
    assert moved.dtype == torch.uint8 and random_shift(images, 0) is images


def test_when_images_are_shifted_expect_each_by_its_own_draw_and_the_seed_to_decide() -> None:
    images = torch.randint(0, 256, (16, 1, 16, 16, 3), dtype=torch.uint8)
    one, same, other = (random_shift(images, 4, torch.Generator().manual_seed(seed)) for seed in (0, 0, 1))
    assert torch.equal(one, same) and not torch.equal(one, other)
    assert len({(a != b).float().mean().item() for a, b in zip(one, images, strict=True)}) > 1


def test_when_a_net_is_trained_for_seconds_expect_it_to_know_where_the_spot_is() -> None:
    torch.manual_seed(0)
    encoder = ImageEncoder(EncoderConfig(1, 32, 8, 16))
    head = torch.nn.Linear(16, 2)
    optimizer = torch.optim.Adam([*encoder.parameters(), *head.parameters()], lr=3e-3)
    images, places = spots(512)
    for _ in range(250):
        rows = torch.randint(len(images), (32,))
        optimizer.zero_grad()
        (head(encoder(images[rows])) - places[rows]).pow(2).mean().backward()
        optimizer.step()
    unseen, truth = spots(128, seed=1)
    error = (head(encoder(unseen)) - truth).abs().mean()
    assert float(error) < 0.1  # of a range of 2; knowing nothing gives 0.45

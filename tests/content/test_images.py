"""Images are known again after a shift, mirroring, other brightness, or other compression."""

from __future__ import annotations

import io
from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image

from selena.content.images import nearest_images
from selena.content.near_duplicates import find_near_duplicates, join_near
from selena.seeding import numpy_generator

N, COPIED, SIDE = 70, 10, 32


def scenes() -> np.ndarray:
    """Smooth random pictures with an edge each, n x 3 x 32 x 32."""
    draw = numpy_generator(1, "scenes")
    coarse = draw.uniform(0, 255, size=(N, 3, 6, 6)).astype(np.uint8)
    smooth = [Image.fromarray(c.transpose(1, 2, 0)).resize((40, 40), 3) for c in coarse]
    pictures = np.stack([np.asarray(p).transpose(2, 0, 1) for p in smooth])
    return pictures[:, :, 4:36, 4:36].copy()


def encoded(pixels: np.ndarray) -> np.ndarray:
    stream = io.BytesIO()
    Image.fromarray(pixels.transpose(1, 2, 0)).save(stream, "JPEG", quality=90)
    return np.asarray(Image.open(stream)).transpose(2, 0, 1)


def cropped(pixels: np.ndarray) -> np.ndarray:
    picture = Image.fromarray(pixels.transpose(1, 2, 0)).crop((1, 1, SIDE - 1, SIDE - 1))
    return np.asarray(picture.resize((SIDE, SIDE), 2)).transpose(2, 0, 1)


CHANGES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "shift": lambda x: np.pad(x, ((0, 0), (0, 3), (2, 0)))[:, 3:, :SIDE],
    "mirror": lambda x: x[:, :, ::-1],
    "crop": cropped,
    "brightness": lambda x: (x * 0.7).astype(np.uint8),
    "encoding": encoded,
}


@pytest.mark.parametrize("change", CHANGES)
def test_changed_image_is_known(change: str) -> None:
    x = scenes()
    both = np.concatenate([x, np.stack([CHANGES[change](each) for each in x[:COPIED]])])
    alone = np.arange(len(both))
    units = join_near(both, alone, alone, "auto")
    assert (units[:COPIED] == units[N:]).all()
    assert (np.bincount(units)[units[COPIED:N]] == 1).all()


def test_distance_of_images_is_their_correlation() -> None:
    x = scenes()
    both = np.concatenate([x, 255 - x[:1], x[1:2][:, :, :, ::-1]])
    found = find_near_duplicates(both, 0.05)
    assert (found.first.tolist(), found.second.tolist()) == ([1, N + 1], [N + 1, 1])
    assert found.distances.tolist() == pytest.approx([0, 0], abs=2e-2)


def test_plain_images_are_no_copies_of_others() -> None:
    x = scenes()
    x[:5] = np.arange(5)[:, None, None, None] * 40
    found = find_near_duplicates(x)
    assert not (found.first < 5).any()


def test_brightness_changes_no_neighbour() -> None:
    x = scenes().astype(np.float64) / 255
    _, rows = nearest_images(x, 9)
    _, darker = nearest_images(x / 2 + 1 / 8, 9)
    np.testing.assert_array_equal(darker, rows)


def test_distance_is_that_of_the_best_overlap() -> None:
    x = scenes()[:6] / 255
    distances, rows = nearest_images(x, 5)
    gray = x.mean(axis=1)
    for image, (apart, others) in enumerate(zip(distances, rows, strict=True)):
        wanted = [1 - best_correlation(gray[image], gray[other]) for other in others]
        np.testing.assert_allclose(apart, np.sqrt(wanted), atol=1e-4)


def best_correlation(one: np.ndarray, other: np.ndarray) -> float:
    """Compare the overlap of two pictures shift by shift."""

    def window(shift: int) -> slice:
        return slice(max(shift, 0), SIDE + min(shift, 0))

    return max(
        float(np.corrcoef(mine[window(v), window(u)].ravel(), part.ravel())[0, 1])
        for mine in (one, one[:, ::-1])
        for v in range(-8, 9)
        for u in range(-8, 9)
        for part in [other[window(-v), window(-u)]]
    )

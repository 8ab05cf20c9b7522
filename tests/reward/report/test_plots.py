"""Pictures: the right pixels, colours that everybody can tell apart, the same bytes every time."""

from __future__ import annotations

import io
import itertools

import numpy as np
import pytest
from matplotlib.image import imread

from coderm_reward.report.numbers import Histogram
from coderm_reward.report.plots import (
    DARK,
    LIGHT,
    VERDICT_COLOURS,
    heat_map_png,
    histogram_svg,
    scatter_svg,
)
from coderm_reward.types import Verdict

# Linear RGB as seen with each full colour deficiency (Machado, Oliveira and Fernandes 2009).
VISION = {
    "normal": np.eye(3),
    "protanopia": [[0.152, 1.053, -0.205], [0.115, 0.786, 0.099], [-0.004, -0.048, 1.052]],
    "deuteranopia": [[0.367, 0.861, -0.228], [0.280, 0.673, 0.047], [-0.012, 0.043, 0.969]],
    "tritanopia": [[1.256, -0.077, -0.179], [-0.078, 0.931, 0.148], [0.005, 0.691, 0.304]],
}


def linear(colour: str):
    channels = np.array([*bytes.fromhex(colour[1:])]) / 255
    return np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)


def lab(rgb):
    to_xyz = [[0.4125, 0.3576, 0.1804], [0.2127, 0.7152, 0.0722], [0.0193, 0.1192, 0.9503]]
    xyz = to_xyz @ rgb / np.array([0.9505, 1.0, 1.0888])
    f = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


@pytest.mark.parametrize("vision", VISION)
def test_any_two_verdicts_can_be_told_apart(vision):
    seen = {v: lab(np.clip(VISION[vision] @ linear(c), 0, 1)) for v, c in VERDICT_COLOURS.items()}
    closest = min(np.linalg.norm(seen[a] - seen[b]) for a, b in itertools.combinations(seen, 2))
    assert closest > 15  # CIE76; about 2 is just noticeable


def test_every_verdict_has_a_colour():
    assert set(VERDICT_COLOURS) == set(Verdict)


def test_heat_map_has_one_pixel_per_cell_and_nothing_for_rows_without_code():
    cells = np.array([[Verdict.PASS, Verdict.FAIL, Verdict.UNKNOWN]] * 2, dtype=np.uint8)
    pixels = (imread(io.BytesIO(heat_map_png(cells, [True, False]))) * 255).round().astype(int)
    expected = [bytes.fromhex(VERDICT_COLOURS[Verdict(v)][1:]) for v in cells[0]]
    assert pixels.shape == (2, 3, 4)
    assert [bytes(p[:3].tolist()) for p in pixels[0]] == expected
    assert pixels[1, :, 3].tolist() == [0, 0, 0]


HISTOGRAM = Histogram(edges=(0.0, 0.5, 1.0), counts=(3, 0), marked=(0, 2))


@pytest.mark.parametrize("theme", [LIGHT, DARK])
def test_histogram_has_the_same_bytes_every_time(theme):
    first, second = (histogram_svg(HISTOGRAM, theme, x_label="x", y_label="y") for _ in range(2))
    assert first == second
    assert b"<dc:date>" not in first


def test_charts_take_no_values():
    empty = Histogram(edges=(0.0, 1.0), counts=(0,), marked=(0,))
    assert b"<svg" in histogram_svg(empty, LIGHT, x_label="x", y_label="y")
    assert b"<svg" in scatter_svg([], [], [], LIGHT, x_label="x", y_label="y")


def test_many_dots_are_drawn_as_pixels():
    x = np.linspace(0, 1, 1500).tolist()
    svg = scatter_svg(x, x, [False] * 1500, LIGHT, x_label="x", y_label="y")
    assert b"data:image/png" in svg
    assert len(svg) < 100_000

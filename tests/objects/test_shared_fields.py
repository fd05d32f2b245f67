"""One distance field for many sizes of an object."""

from __future__ import annotations

import pickle
from dataclasses import replace

import numpy as np
import pytest

from vibrissa.core.errors import InputError
from vibrissa.objects import TactileObject, distance_field, procedural_object

SHEET = TactileObject(
    "sheet", "sheet", np.array([[-1.0, -1, 0], [1, -1, 0], [1, 1, 0], [-1, 1, 0]]),
    np.array([[0, 1, 2], [0, 2, 3]], dtype=np.int32),
).scaled_to_diagonal(60.0)  # fmt: skip


def large(kind: str) -> TactileObject:
    return procedural_object(kind, 0, diagonal_mm=60.0)


def near_surface(item: TactileObject, count: int = 400) -> np.ndarray:
    rng = np.random.default_rng(0)
    triangles = item.vertices_mm[item.faces[rng.integers(len(item.faces), size=count)]]
    weights = rng.dirichlet(np.ones(3), size=count)
    return np.einsum("nk,nki->ni", weights, triangles) + rng.normal(0.0, 0.15, (count, 3))


@pytest.mark.parametrize("kind", ["box", "cup"])
def test_a_shared_field_is_the_field_of_its_size(kind: str) -> None:
    """Both differ from the true distance by interpolation alone, which the spacing bounds."""
    parent = large(kind)
    shared = parent.scaled_to_diagonal(20.0, share_field=True)
    alone = parent.scaled_to_diagonal(20.0)
    one, other = (item.distance_field(1.0, 6.0, hold=True) for item in (shared, alone))
    assert one.spacing_mm == pytest.approx(1.0 / 3.0)
    assert one.padding_mm == pytest.approx(2.0)
    assert one.digest != other.digest
    points = near_surface(alone)
    fine = alone.distance_field(0.15, 1.0, cache=False).sample(points)
    assert np.abs(one.sample(points) - fine).max() < 1.0 / 3.0
    error, direct = (np.sqrt(np.mean((f.sample(points) - fine) ** 2)) for f in (one, other))
    assert error < 0.5 * direct  # a third of the spacing, so smaller errors


def test_the_shell_of_a_sheet_keeps_its_thickness() -> None:
    shared = SHEET.scaled_to_diagonal(40.0, share_field=True)
    field = shared.distance_field(0.5, 3.0)
    assert field.sign_rule == "unsigned"
    assert field.shell_offset_mm == 0.3
    assert field.spacing_mm == pytest.approx(0.5 * 2.0 / 3.0)
    points = np.array([[0.0, 0.0, 0.0], [1.0, 2.0, 0.5], [-3.0, 1.0, -1.0]])
    at_nodes = np.round(points / field.spacing_mm) * field.spacing_mm
    np.testing.assert_allclose(field.sample(at_nodes), np.abs(at_nodes[:, 2]) - 0.3, atol=1e-5)
    far = np.array([[0.0, 0.0, 15.0]])
    assert field.sample(far)[0] <= 15.0 - 0.3 + 1e-6


def test_one_field_serves_all_sizes(monkeypatch: pytest.MonkeyPatch) -> None:
    made = []
    compute = distance_field._compute

    def counted(*args: object) -> object:
        made.append(args)
        return compute(*args)  # pyright: ignore[reportArgumentType]

    monkeypatch.setattr(distance_field, "_compute", counted)
    parent = large("box")
    for size in (20.0, 33.0, 60.0):
        item = parent.scaled_to_diagonal(size, share_field=True)
        field = item.distance_field(1.0, 4.0, cache=False)
        assert field.sample(np.zeros((1, 3)))[0] < 0.0
        again = item.scaled_to_diagonal(0.9 * size, share_field=True)
        assert again.diagonal_mm == pytest.approx(0.9 * size)
        again.distance_field(1.0, 4.0, cache=False)
    assert len(made) == 1
    parent.scaled_to_diagonal(61.0, share_field=True).distance_field(1.0, 4.0, cache=False)
    assert len(made) == 2  # a larger one would be too coarse


@pytest.mark.parametrize(("padding_mm", "shares"), [(2.2, True), (1.8, False)])
def test_too_little_padding_is_not_shared(padding_mm: float, shares: bool) -> None:
    """A third of 2.2 less one cell of 0.5 is 0.57 mm, of 1.8 it is 0.43 mm; 0.5 mm are wanted."""
    item = large("box").scaled_to_diagonal(20.0, share_field=True)
    field = item.distance_field(0.5, padding_mm)
    assert (field.spacing_mm < 0.5) == shares
    assert field.padding_mm == pytest.approx(padding_mm / 3.0 if shares else padding_mm)
    sheet = SHEET.scaled_to_diagonal(20.0, share_field=True)
    assert sheet.distance_field(0.5, 2.2).padding_mm == 2.2  # 0.3 mm more are wanted


def test_what_is_shared_does_not_count_as_geometry() -> None:
    parent = large("box")
    shared, alone = (parent.scaled_to_diagonal(20.0, share_field=yes) for yes in (True, False))
    assert shared.digest == alone.digest
    assert shared.field_key != alone.field_key == alone.digest
    assert parent.field_key == parent.digest
    # Another geometry does not take the field along.
    moved = shared.centred().scaled(0.5)
    assert moved.field_key == moved.digest
    assert replace(shared, name="other").field_key == shared.digest
    shared.distance_field(1.0, 4.0)
    again = pickle.loads(pickle.dumps(shared))
    assert again.field_key == shared.field_key
    assert len(pickle.dumps(parent)) < 100_000
    assert parent.distance_field(1.0, 4.0) is parent.distance_field(1.0, 4.0)


@pytest.mark.parametrize("factor", [0.0, -1.0, float("nan"), float("inf")])
def test_bad_factors_are_refused(factor: float) -> None:
    field = large("box").distance_field(1.0, 4.0)
    assert field.scaled(1.0) is field
    with pytest.raises(InputError, match="factor"):
        field.scaled(factor)

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vibrissa.core.axes import CHANNEL_UNITS, CHANNELS
from vibrissa.core.errors import InputError
from vibrissa.core.units import DIMENSIONS, HOUSE, KERNEL, SI, UnitSystem

sizes = st.floats(1e-6, 1e6)
systems = st.builds(UnitSystem, length_m=sizes, mass_kg=sizes, time_s=sizes)


@pytest.mark.parametrize(
    ("quantity", "factor"),
    [("force", 1e-6), ("moment", 1e-9), ("pressure", 1.0), ("density", 1e6), ("mass", 1e-3)],
)
def test_the_house_is_coherent(quantity, factor):
    """g mm/s^2 = uN, g mm^2/s^2 = nN m = uN mm, g/(mm s^2) = Pa, g/mm^3 = 1e6 kg/m^3."""
    assert HOUSE.factor_to(SI, quantity) == pytest.approx(factor, rel=1e-12)


@pytest.mark.parametrize(
    ("quantity", "factor"),
    [
        ("force", 1e3),
        ("moment", 1e3),
        ("pressure", 1e3),
        ("bending_stiffness", 1e3),
        ("time", 1e-3),
    ],
)
def test_the_kernel_counts_in_mn_and_kpa(quantity, factor):
    assert KERNEL.factor_to(HOUSE, quantity) == pytest.approx(factor, rel=1e-12)


@given(systems, systems, systems, st.sampled_from(sorted(DIMENSIONS)))
def test_factors_compose(one, two, three, quantity):
    direct = one.factor_to(three, quantity)
    assert one.factor_to(two, quantity) * two.factor_to(three, quantity) == pytest.approx(direct)
    assert one.factor_to(one, quantity) == pytest.approx(1.0)


def test_refusals():
    with pytest.raises(InputError, match="did you mean 'force'"):
        HOUSE.factor_to(SI, "forces")
    with pytest.raises(InputError, match="length_m = 0: a unit must be positive"):
        UnitSystem(length_m=0, mass_kg=1, time_s=1)


def test_every_channel_has_a_unit():
    assert CHANNELS == ("Fx", "Fy", "Fz", "Mx", "My", "Mz")
    assert set(CHANNEL_UNITS) == set(CHANNELS)

"""S4 and S4D: kernels against the recurrence that A, B, C and the step size make."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from numpy.polynomial import legendre
from torch import Tensor

from vibrissa.core.errors import InputError
from vibrissa.models.blocks import s4
from vibrissa.models.blocks.hippo import legs, legs_diagonal_plus_low_rank
from vibrissa.models.blocks.s4 import S4, S4D, S4Block, StateSpace, convolve

CHANNELS, STATE, STEPS = 5, 12, 22


def system(kind: type[StateSpace], steps: int = STEPS) -> StateSpace:
    torch.manual_seed(0)
    made = kind(CHANNELS, STATE, steps)
    with torch.no_grad():
        for p in made.parameters():
            p.add_(0.1 * torch.randn_like(p))
    return made


def dense(made: StateSpace, k: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, float]:
    """A, B, C (the parameter) and step of a channel in numpy, from the parameters alone."""
    value = {name: p.detach().double().numpy()[k] for name, p in made.named_parameters()}

    def both(pairs: np.ndarray) -> np.ndarray:
        half = pairs[:, 0] + 1j * pairs[:, 1]
        return np.concatenate([half, half.conj()])

    w = -np.exp(value["A_real"]) - 1j * value["A_imag"]
    a = np.diag(np.concatenate([w, w.conj()]))
    if "P" in value:
        p = both(value["P"])
        a = a - np.outer(p, p.conj())
    return a, both(value["B"]), both(value["C"]), float(np.exp(value["log_dt"]))


def responses(made: StateSpace, x: np.ndarray) -> np.ndarray:
    """What a recurrence gives for x (step, channel), in double precision."""
    found = np.empty_like(x)
    for k in range(CHANNELS):
        a, b, c, dt = dense(made, k)
        eye = np.eye(len(b))
        if isinstance(made, S4):  # bilinear
            step = np.linalg.solve(eye - dt / 2 * a, eye + dt / 2 * a)
            into = np.linalg.solve(eye - dt / 2 * a, dt * b)
            # The parameter is c (I - step^L).
            c = c @ np.linalg.inv(eye - np.linalg.matrix_power(step, STEPS))
        else:  # zero-order hold
            rates, basis = np.linalg.eig(a)
            step = basis @ np.diag(np.exp(dt * rates)) @ np.linalg.inv(basis)
            into = np.linalg.solve(a, (step - eye) @ b)
        h = np.zeros_like(b)
        for t in range(len(x)):
            h = step @ h + into * x[t, k]
            assert abs((c @ h).imag) < 1e-9
            found[t, k] = (c @ h).real
    return found


@pytest.mark.parametrize("kind", [S4, S4D])
def test_convolution_is_the_recurrence(kind):
    made = system(kind).double()
    x = torch.randn(STEPS, CHANNELS, dtype=torch.float64)
    y = convolve(made.kernel(), x[None])[0].detach().numpy()
    wanted = responses(made, x.numpy())
    assert np.abs(wanted).max() > 0.05
    assert np.abs(y - wanted).max() <= 1e-9
    # The packaged step form as well.
    step = made.discrete()
    h = torch.zeros_like(step.b)
    for t in range(STEPS):
        h = (step.a @ h[..., None])[..., 0] + step.b * x[t, :, None]
        assert np.abs((step.c * h).sum(-1).real.numpy() - wanted[t]).max() <= 1e-9
    single = convolve(made.float().kernel(), x[None].float())[0].detach().numpy()
    assert np.abs(single - wanted).max() <= 1e-5 * np.abs(wanted).max()


@pytest.mark.parametrize("steps", [7, 8, 22])
def test_kernel_of_any_length_begins_alike(steps):
    """c is drawn before it is truncated: kernels of one system at two lengths share their start."""
    torch.manual_seed(3)
    short = S4(CHANNELS, STATE, steps).double()
    torch.manual_seed(3)
    long = S4(CHANNELS, STATE, 2 * steps + 1).double()
    torch.testing.assert_close(
        short.kernel(), long.kernel()[:, :steps], rtol=1e-4, atol=1e-6
    )  # fmt: skip


def test_gradients_of_the_kernel():
    made = system(S4).double()
    parameters = list(made.parameters())

    def kernel(*values: Tensor) -> Tensor:
        names = [name for name, _ in made.named_parameters()]
        return torch.func.functional_call(made, dict(zip(names, values, strict=True)), ()).sum(1)

    made.forward = made.kernel  # type: ignore[method-assign]
    assert torch.autograd.gradcheck(kernel, tuple(parameters), atol=1e-6, rtol=1e-4)


def test_hippo_remembers_in_legendre_polynomials():
    """For the ramp f(t) = t the state of LegS at time t holds the Legendre coefficients of f on
    [0, t]: x'(t) = (A x + B f) / t."""
    n = 6
    a, b = legs(n)
    # x(t) = t v with v = A v + B: the ODE's solution for the ramp.
    v = np.linalg.solve(np.eye(n) - a, b)
    grid = np.linspace(0, 1, 2001)
    # Coefficients in the orthonormal polynomials sqrt(2k + 1) P_k(2s - 1) on [0, 1].
    for k in range(n):
        polynomial = np.sqrt(2 * k + 1) * legendre.legval(2 * grid - 1, np.eye(n)[k])
        assert v[k] == pytest.approx(np.trapezoid(polynomial * grid, grid), abs=1e-5)


@pytest.mark.parametrize("n", [4, 16, 64])
def test_eigenstructure_of_hippo(n):
    a, b = legs(n)
    p = np.sqrt(np.arange(n) + 0.5)
    normal = a + np.outer(p, p)
    skew = normal + 0.5 * np.eye(n)
    assert np.abs(skew + skew.T).max() < 1e-9
    # LegS is triangular: its own eigenvalues are -1 ... -n.
    assert np.allclose(np.sort(np.diag(a)), -np.arange(n, 0, -1))
    w, q, c = legs_diagonal_plus_low_rank(n)
    assert np.allclose(w.real, -0.5)
    assert (w.imag < 0).all()
    # The same system: equal transfer functions C (s - A)^-1 B with C = B, at some s.
    for s in (0.3 + 0.2j, 2.0, 5j):
        wanted = b @ np.linalg.solve(s * np.eye(n) - a, b)
        both = [np.concatenate([v, v.conj()]) for v in (w, q, c)]
        turned = np.diag(both[0]) - np.outer(both[1], both[1].conj())
        found = both[2].conj() @ np.linalg.solve(s * np.eye(n) - turned, both[2])
        assert abs(found - wanted) < 1e-8 * abs(wanted)


def test_long_sequences_by_fourier_transform():
    kernel, x = torch.randn(3, 200).double(), torch.randn(2, 200, 3).double()
    assert x.shape[1] > s4.LONG
    y = convolve(kernel, x)
    for t in (0, 1, 57, 199):
        wanted = sum(kernel[:, lag] * x[:, t - lag] for lag in range(t + 1))
        torch.testing.assert_close(y[:, t], wanted, rtol=1e-10, atol=1e-10)


def test_published_block():
    block = S4Block(512, 64, 22, 0.2, diagonal=False)
    assert sum(p.numel() for p in block.parameters()) + 2 * 512 == 658_432
    dt = torch.exp(block.system.log_dt.detach())
    assert float(dt.min()) >= s4.DT_MIN * 0.999
    assert float(dt.max()) <= s4.DT_MAX * 1.001
    assert float(dt.log().mean()) == pytest.approx(math.log(1e-2), abs=0.2)
    with pytest.raises(InputError, match="conjugate pairs"):
        S4(4, 7, 22)

"""S4 and S4D: linear state spaces, one per channel, computed as a causal convolution.

Reference: Gu, Goel & Ré 2021, arXiv 2111.00396 (S4: A diagonal plus low rank, bilinear
discretisation, kernel by its generating function); Gu et al. 2022, arXiv 2206.11893 (S4D: A
diagonal, zero-order hold).

Complex states come in conjugate pairs of which one is kept: sums over the state are twice the real
part.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import Any, Final, NamedTuple

import torch
from torch import Tensor, nn
from torch.autograd import Function
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from vibrissa.core.errors import refuse
from vibrissa.models.blocks.hippo import legs_diagonal_plus_low_rank

DT_MIN, DT_MAX = 1e-3, 1e-1
LONG: Final = 128
"""Sequences longer than this are convolved by Fourier transform, others by matrix products."""


class Discrete(NamedTuple):
    """The system at the step of the sequence: h_t = A h_{t-1} + B u_t, y_t = 2 Re(C h_t).

    Attributes:
        a: (channel, 2 state, 2 state), conjugate half included.
        b: (channel, 2 state).
        c: (channel, 2 state); with the conjugate half the sum is real without the factor 2.
    """

    a: Tensor
    b: Tensor
    c: Tensor


class StateSpace(nn.Module, ABC):
    """A linear state space per channel.

    Parameters: ``log_dt`` (channel,), ``A_real`` (channel, state) as logarithm of minus the real
    part, ``A_imag`` as minus the imaginary part, ``B`` and ``C`` (channel, state, 2) as real and
    imaginary part.

    Args:
        channels: how many.
        state: size of a real system, even; half as many complex numbers are kept.
        steps: length of the kernel.
    """

    def __init__(self, channels: int, state: int, steps: int) -> None:
        super().__init__()
        if state < 2 or state % 2:
            raise refuse("state", state, "states come in conjugate pairs", "give an even number")
        self.channels, self.state, self.steps = channels, state, steps
        low, high = math.log(DT_MIN), math.log(DT_MAX)
        self.log_dt = nn.Parameter(low + (high - low) * torch.rand(channels))
        w, _, b = (_tensor(part) for part in legs_diagonal_plus_low_rank(state))
        self.A_real = nn.Parameter(torch.log(-w.real).float().repeat(channels, 1))
        self.A_imag = nn.Parameter(-w.imag.float().repeat(channels, 1))
        self.B = nn.Parameter(_pairs(b).repeat(channels, 1, 1))
        self.C = nn.Parameter(torch.randn(channels, state // 2, 2) * math.sqrt(0.5))

    def poles(self) -> Tensor:
        """The diagonal of A, (channel, state / 2) complex."""
        return torch.complex(-torch.exp(self.A_real), -self.A_imag)

    @abstractmethod
    def kernel(self) -> Tensor:
        """The response to an impulse, (channel, steps)."""

    @abstractmethod
    def discrete(self) -> Discrete:
        """The system step by step, whose kernel is :meth:`kernel`."""


class S4(StateSpace):
    """A = diag(w) - P P*, bilinear discretisation.

    ``P`` (channel, state, 2). The parameter ``C`` is not the read-out c itself but, as in the
    reference, c (I - A^steps) with the discrete A, which the truncated generating function needs;
    c itself starts as standard normal.
    """

    def __init__(self, channels: int, state: int, steps: int) -> None:
        super().__init__(channels, state, steps)
        p = _tensor(legs_diagonal_plus_low_rank(state)[1])
        self.P = nn.Parameter(_pairs(p).repeat(channels, 1, 1))
        with torch.no_grad():
            self.C.copy_(self._truncate().to(self.C.dtype))

    def kernel(self) -> Tensor:
        # Generating function at the roots of unity z (reference, theorem 3 and algorithm 1), here
        # with numerator and denominator times (1 + z) / 2, so that z = -1 is no exception:
        #   K(z) = C [ (1 - z) I - (1 + z)/2 dt A ]^-1 dt B ,   A = diag(w) - P P*  by Woodbury.
        steps = self.steps
        b, c, p = (torch.view_as_complex(part) for part in (self.B, self.C, self.P))
        dt = torch.exp(self.log_dt)[:, None]
        turns = 2 * math.pi / steps * torch.arange(
            steps // 2 + 1, device=dt.device, dtype=dt.dtype
        )  # fmt: skip
        z = torch.polar(torch.ones_like(turns), -turns)
        half = (1 + z) / 2 * dt  # (channel, frequency)
        w = self.poles()
        one = 1 / ((1 - z)[None, None] - half[:, None] * w[..., None])
        other = 1 / ((1 - z)[None, None] - half[:, None] * w.conj()[..., None])

        q = p.conj()
        v = torch.stack((c * b, c * p, q * b, q * p), dim=1)  # (channel, 4, state)
        # v one + conj(v) other, in real numbers: torch multiplies small complex matrices slowly.
        s, d = one + other, one - other
        table = torch.cat((torch.cat((s.real, s.imag), 2), torch.cat((-d.imag, d.real), 2)), 1)
        parts = torch.bmm(torch.cat((v.real, v.imag), 2), table).chunk(2, dim=2)
        cb, cp, qb, qp = torch.complex(*parts).unbind(1)
        return torch.fft.irfft(dt * (cb - half * cp * qb / (1 + half * qp)), n=steps)

    def discrete(self) -> Discrete:
        a, b, c, dt, eye = self._dense()
        backward = torch.linalg.inv(eye - dt / 2 * a)
        step = backward @ (eye + dt / 2 * a)
        into = (backward @ (dt[..., 0] * b)[..., None])[..., 0]
        rest = eye - torch.linalg.matrix_power(step, self.steps)
        out = torch.linalg.solve(rest, c[:, None], left=False)[:, 0]
        return Discrete(step, into, out)

    def _dense(self) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        """A, B, C, dt and the unit matrix in double precision, conjugate half included."""
        double = {name: p.detach().double() for name, p in self.named_parameters()}
        w = torch.complex(-torch.exp(double["A_real"]), -double["A_imag"])
        b, c, p = (torch.view_as_complex(double[name]) for name in ("B", "C", "P"))
        w, b, c, p = (torch.cat((v, v.conj()), dim=-1) for v in (w, b, c, p))
        a = torch.diag_embed(w) - p[..., :, None] * p.conj()[..., None, :]
        dt = torch.exp(double["log_dt"]).to(a.dtype)[:, None, None]
        return a, b, c, dt, torch.eye(a.shape[-1], dtype=a.dtype, device=a.device)

    def _truncate(self) -> Tensor:
        """c (I - A^steps) from c, as pairs: the row c times A, once per step, each in O(state)."""
        c, p = (torch.view_as_complex(part.double()) for part in (self.C, self.P))
        w = torch.complex(-torch.exp(self.A_real.double()), -self.A_imag.double())
        half = torch.exp(self.log_dt.double())[:, None] / 2
        inverse = 1 / (1 - half * w)
        bend = half / (1 + half * 2 * (p.conj() * inverse * p).real.sum(-1, keepdim=True))
        row = c
        for _ in range(self.steps):
            # (I + dt/2 A), then (I - dt/2 A)^-1 by Sherman-Morrison; p* is a row, p a column.
            along = 2 * (row * p).real.sum(-1, keepdim=True)
            row = row + half * (row * w - along * p.conj())
            along = 2 * (row * inverse * p).real.sum(-1, keepdim=True)
            row = row * inverse - bend * along * p.conj() * inverse
        return torch.view_as_real(c - row)


class S4D(StateSpace):
    """A = diag(w) with the poles of HiPPO-LegS, zero-order hold (S4D-LegS)."""

    def kernel(self) -> Tensor:
        b, c = torch.view_as_complex(self.B), torch.view_as_complex(self.C)
        w = self.poles()
        drift = torch.exp(self.log_dt)[:, None] * w
        times = torch.arange(self.steps, device=w.device, dtype=self.log_dt.dtype)
        powers = torch.exp(drift[..., None] * times)
        return 2 * torch.einsum("cn,cnt->ct", c * b * torch.expm1(drift) / w, powers).real

    def discrete(self) -> Discrete:
        b, c = (torch.view_as_complex(part.detach().double()) for part in (self.B, self.C))
        w = torch.complex(-torch.exp(self.A_real.double()), -self.A_imag.double()).detach()
        drift = torch.exp(self.log_dt.detach().double())[:, None] * w
        into = b * torch.expm1(drift) / w
        w, b, c = (torch.cat((v, v.conj()), dim=-1) for v in (torch.exp(drift), into, c))
        return Discrete(torch.diag_embed(w), b, c)


def convolve(kernel: Tensor, x: Tensor) -> Tensor:
    """Causal convolution: y_t = sum of kernel_s x_{t-s}.

    Args:
        kernel: (channel, at least step).
        x: (batch, step, channel).

    Returns:
        (batch, step, channel).
    """
    steps = x.shape[1]
    kernel = kernel[:, :steps]
    if steps > LONG:
        n = 2 * steps
        spectrum = torch.fft.rfft(kernel.t(), n=n, dim=0) * torch.fft.rfft(x, n=n, dim=1)
        return torch.fft.irfft(spectrum, n=n, dim=1)[:, :steps]
    # One matrix per channel whose row t holds kernel_t ... kernel_0 0 ... 0.
    matrix = F.pad(kernel, (steps - 1, 0)).unfold(1, steps, 1).flip(2)
    return _turned(torch.bmm(matrix, _turned(x)))


def _turned(x: Tensor) -> Tensor:
    """The three axes in reverse, in memory as well, and so are the gradients: products of many
    small matrices that do not lie together are slow."""
    if torch.is_grad_enabled() and x.requires_grad:
        return _Turn.apply(x)  # type: ignore[return-value]
    return x.permute(2, 1, 0).contiguous()


class _Turn(Function):
    @staticmethod
    def forward(ctx: Any, *inputs: Tensor) -> Tensor:
        return inputs[0].permute(2, 1, 0).contiguous()

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        return grads[0].permute(2, 1, 0).contiguous()


class S4Block(nn.Module):
    """State space, GELU, and a gated linear unit that mixes channels.

    Reference: as published with S4 and in Chung et al. 2025, arXiv 2505.18361.

    Args:
        width: channels.
        state: of each channel's system.
        steps: of the sequence.
        dropout: before and after the GELU, in training.
        diagonal: S4D instead of S4.
    """

    def __init__(
        self, width: int, state: int, steps: int, dropout: float, *, diagonal: bool
    ) -> None:
        super().__init__()
        self.dropout = dropout
        self.system = (S4D if diagonal else S4)(width, state, steps)
        self.D = nn.Parameter(torch.randn(width))
        self.mix = nn.Linear(width, 2 * width)

    def forward(self, x: Tensor) -> Tensor:
        """(batch, step, width) to the same."""
        with torch.autocast(x.device.type, enabled=False):  # there are no complex bfloat16
            y = convolve(self.system.kernel(), x.to(self.D.dtype)) + self.D * x
        y = F.gelu(F.dropout(y.to(x.dtype), self.dropout, self.training))
        return F.glu(self.mix(F.dropout(y, self.dropout, self.training)), dim=-1)

    def multiply_adds(self, steps: int) -> int:
        """Multiply-add pairs for a sequence of so many steps; the kernel itself, which is the same
        for all samples, is not counted."""
        width = self.D.numel()
        return steps * (width * (steps + 1) + self.mix.weight.numel())


class S4Stack(nn.Module):
    """Blocks in a row: norm(x + dropout(block(x))), or x + dropout(block(norm(x))).

    Args:
        n_layers: how many blocks.
        width: of a step.
        state: of each channel's system.
        steps: of the sequence.
        dropout: in training.
        prenorm: norm before the block; after the sum if not, as published.
        diagonal: S4D instead of S4.
    """

    def __init__(
        self, n_layers: int, width: int, state: int, steps: int, dropout: float, *,
        prenorm: bool, diagonal: bool,
    ) -> None:  # fmt: skip
        super().__init__()
        self.prenorm, self.dropout = prenorm, dropout
        self.block = nn.ModuleList(
            S4Block(width, state, steps, dropout, diagonal=diagonal) for _ in range(n_layers)
        )
        self.norm = nn.ModuleList(nn.LayerNorm(width) for _ in range(n_layers))

    def layer(self, k: int, x: Tensor, *, checkpointed: bool = False) -> Tensor:
        """The k-th block with its norm and sum, (batch, step, width) to the same."""
        block, norm = self.block[k], self.norm[k]
        entered = norm(x) if self.prenorm else x
        if checkpointed and torch.is_grad_enabled():
            y = checkpoint(block, entered, use_reentrant=False)
        else:
            y = block(entered)
        assert isinstance(y, Tensor)
        x = x + F.dropout(y, self.dropout, self.training)
        return x if self.prenorm else norm(x)

    def __len__(self) -> int:
        return len(self.block)

    def multiply_adds(self, steps: int) -> int:
        """Multiply-add pairs for a sequence of so many steps."""
        blocks = (m for m in self.modules() if isinstance(m, S4Block))
        return sum(block.multiply_adds(steps) for block in blocks)


def _tensor(values: object) -> Tensor:
    return torch.tensor(values)  # on torch's default device, unlike from_numpy


def _pairs(values: Tensor) -> Tensor:
    return torch.view_as_real(values).float()

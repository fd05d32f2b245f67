"""Reciprocal gated cell: memory and output gate each other, with feedback and residual input."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Literal, NamedTuple

from torch import Tensor, nn

from vibrissa.core.errors import InputError, refuse
from vibrissa.tnn.cells.base import (
    Cell,
    Context,
    ContextShape,
    ConvCellConfig,
    Drive,
    State,
    cells,
)
from vibrissa.tnn.cells.maps import Gates, separable_map, single_map
from vibrissa.tnn.modules.activations import activation
from vibrissa.tnn.modules.shapes import Pair, Shape, check_input, check_shape, pair, width

_ENTRIES = ("out", "cell", "input")
_KINDS = ("tau", "gate", "input", "in_out", "feedback")


class ReciprocalState(NamedTuple):
    """State of a reciprocal gated cell.

    Attributes:
        c: the memory, ``(batch, cell_channels, ...)``.
        o: the last output, ``(batch, channels, ...)``.
    """

    c: Tensor
    o: Tensor


@cells.register("reciprocal_gated")
@dataclass(frozen=True, kw_only=True)
class ReciprocalGated(ConvCellConfig):
    """Reciprocal gated cell; ``*`` is a 'same' convolution, or a matrix product, with bias::

        u  = fu(x)              x: the cell's input
        r, f                    feedforward and feedback part of the harbor output

        c' = fc( LN( (to + tk tau(A*c + tb)) c + (go + gk gate(B*o + gb)) ci ) )
        o' = fo( LN( (to + tk tau(E*o + tb)) o + (go + gk gate(G*c + H*r + gb)) oi ) )
        ci = D*u                output o'
        oi = u + ff(K*f)

    c' and o' both read the old c and o. With the published offset 1 and multiplier -1 the factors
    are ``1 - sigmoid``: the output gates what enters the memory, the memory what enters the output.

    Options, each off unless set: ``input_to_out`` puts I*u in the place of u in oi, ``cell_to_out``
    moves G*c from the gate to oi, ``cell_residual`` adds R*r to ci, ``out_residual`` adds S*r (1x1)
    to oi. ``feedback_entry`` says where ff(K*f) is added: to oi, to ci or, before fu, to x.

    Reference: Nayebi et al. 2018, arXiv 1807.00053; Nayebi et al. 2022, doi 10.1162/neco_a_01506.
    The defaults are their shallow network's.

    Attributes:
        kernel: kernel of all maps, where not set for some of them below.
        channels: width of o; that of the input if omitted, and needs ``input_to_out`` otherwise.
        cell_channels: width of c; that of o if omitted.
        tau_kernel: kernel of A and E.
        gate_kernel: kernel of B, G and H.
        input_kernel: kernel of D and R.
        in_out_kernel: kernel of I.
        feedback_kernel: kernel of K.
        tau_separable: A and E depth-separable.
        gate_separable: B, G and H depth-separable.
        input_separable: D and R depth-separable.
        in_out_separable: I depth-separable.
        feedback_separable: K depth-separable.
        tau: the function tau, by name.
        gate: the function gate, by name.
        tau_bias: tb.
        gate_bias: gb.
        tau_offset: to.
        tau_multiplier: tk.
        gate_offset: go.
        gate_multiplier: gk.
        input_activation: fu, by name.
        feedback_activation: ff, by name.
        cell_activation: fc, by name.
        out_activation: fo, by name.
        feedback_entry: ``"out"``, ``"cell"`` or ``"input"``.
        input_to_cell: D*u is part of ci; ``cell_residual`` is needed otherwise.
        input_to_out: see above.
        cell_to_out: see above.
        cell_residual: see above.
        out_residual: see above.
        residual_to_out_gate: H*r is part of the output's gate.
    """

    uses_context: ClassVar[bool] = True

    cell_channels: int | None = None
    tau_kernel: Pair | None = None
    gate_kernel: Pair | None = None
    input_kernel: Pair | None = None
    in_out_kernel: Pair | None = None
    feedback_kernel: Pair | None = None
    tau_separable: bool = False
    gate_separable: bool = False
    input_separable: bool = False
    in_out_separable: bool = False
    feedback_separable: bool = False
    tau: str = "sigmoid"
    gate: str = "sigmoid"
    tau_bias: float = 0.0
    gate_bias: float = 0.0
    tau_offset: float = 1.0
    tau_multiplier: float = -1.0
    gate_offset: float = 1.0
    gate_multiplier: float = -1.0
    input_activation: str | None = None
    feedback_activation: str | None = None
    cell_activation: str | None = "elu"
    out_activation: str | None = "elu"
    feedback_entry: Literal["out", "cell", "input"] = "out"
    input_to_cell: bool = True
    input_to_out: bool = False
    cell_to_out: bool = False
    cell_residual: bool = False
    out_residual: bool = False
    residual_to_out_gate: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.cell_channels is not None:
            width("cell_channels", self.cell_channels)
        for kind in _KINDS:
            name, separable = f"{kind}_kernel", f"{kind}_separable"
            kernel = getattr(self, name)
            if kernel is not None:
                pair(name, kernel, 1)
            for option, given in ((name, kernel), (separable, getattr(self, separable))):
                if given and self.linear:
                    raise refuse(option, given, "the linear form has no kernels", "leave it out")
        for name in (
            self.tau, self.gate, self.input_activation, self.feedback_activation,
            self.cell_activation, self.out_activation,
        ):  # fmt: skip
            activation(name)
        if self.feedback_entry not in _ENTRIES:
            raise refuse(
                "feedback_entry", self.feedback_entry, "unknown", "choose out, cell or input"
            )
        if not (self.input_to_cell or self.cell_residual):
            raise refuse(
                "input_to_cell", False, "nothing would enter the memory",
                "set it or cell_residual",
            )  # fmt: skip

    @property
    def uses_feedforward(self) -> bool:
        """Is r read at all?"""
        return self.cell_residual or self.out_residual or self.residual_to_out_gate

    def build(
        self, in_shape: Shape, channels: int | None = None, *, context: ContextShape | None = None
    ) -> ReciprocalGatedCell:
        shape = self.check_in_shape(in_shape)
        out = self.state_width(shape, channels)
        if out != shape[0] and not self.input_to_out:
            raise refuse(
                "channels", out, f"the input, {shape[0]} wide, is added to the output",
                "set input_to_out or leave channels out",
            )  # fmt: skip
        if context is None and self.uses_feedforward:
            raise InputError(
                "reciprocal_gated: it reads the feedforward part of the harbor output, whose shape "
                "was not given; give context."
            )
        for part in context or ():
            if part is not None and check_shape("reciprocal_gated", part)[1:] != shape[1:]:
                raise InputError(
                    f"reciprocal_gated: a part of the harbor output is {tuple(part)}, the cell's "
                    f"input {shape}; they must agree in height and width."
                )
        return ReciprocalGatedCell(self, shape, out, context)


class ReciprocalGatedCell(Cell):
    """See :class:`ReciprocalGated`.

    The drive is a tuple: ci, oi without G*c and, with ``residual_to_out_gate``, H*r.

    The maps, each with ``weight`` and ``bias`` (separable ones with ``depthwise`` and
    ``pointwise``): ``cell_tau`` A, ``cell_gate`` B, ``input_to_cell`` D, ``out_tau`` E,
    ``cell_to_out`` G, ``residual_to_gate`` H, ``feedback`` K, ``input_to_out`` I,
    ``residual_to_cell`` R, ``residual_to_out`` S; the norms are ``norm.c`` and ``norm.o``.
    """

    def __init__(
        self, config: ReciprocalGated, in_shape: Shape, channels: int, context: ContextShape | None
    ) -> None:
        memory = config.cell_channels or channels
        positions = in_shape[1:]
        super().__init__(
            in_shape, (channels, *positions), ReciprocalState,
            ((memory, *positions), (channels, *positions)),
        )  # fmt: skip
        self.config = config
        self.context_shape = context
        u = in_shape[0]
        r = context.feedforward[0] if context is not None else 0
        f = context.feedback[0] if context is not None and context.feedback is not None else 0

        def drawn(kind: str, inputs: int, outputs: int, wanted: bool = True) -> Any:
            return _draw(config, kind, inputs, outputs) if wanted else None

        entered = {"out": channels, "cell": memory, "input": u}[config.feedback_entry]
        self.feedback = drawn("feedback", f, entered, f > 0)
        self.input_to_out = drawn("in_out", u, channels, config.input_to_out)
        self.out_tau = drawn("tau", channels, channels)
        self.residual_to_gate = drawn("gate", r, channels, config.residual_to_out_gate)
        self.residual_to_cell = drawn("input", r, memory, config.cell_residual)
        self.input_to_cell = drawn("input", u, memory, config.input_to_cell)
        self.cell_tau = drawn("tau", memory, memory)
        self.cell_gate = drawn("gate", channels, memory)
        self.cell_to_out = drawn("gate", memory, channels)
        self.residual_to_out = drawn("one", r, channels, config.out_residual)
        self.norm = Gates(
            {"c": memory, "o": channels}, norm=config.layer_norm,
            over_all=config.norm_axes == "all", eps=config.eps,
        )  # fmt: skip
        self._tau, self._gate = activation(config.tau), activation(config.gate)
        self._of_input = activation(config.input_activation)
        self._of_feedback = activation(config.feedback_activation)
        self._of_cell = activation(config.cell_activation)
        self._of_out = activation(config.out_activation)

    def drive(self, x: Tensor, context: Context | None = None) -> tuple[Tensor, ...]:
        self._check(x)
        r, back = self._parts(context)
        entry = self.config.feedback_entry
        u = self._of_input(_plus(x, back) if entry == "input" else x)
        ci = self.input_to_cell(u) if self.input_to_cell is not None else None
        if self.residual_to_cell is not None:
            ci = _plus(self.residual_to_cell(r), ci)
        oi = self.input_to_out(u) if self.input_to_out is not None else u
        if self.residual_to_out is not None:
            oi = oi + self.residual_to_out(r)
        assert ci is not None
        ci = _plus(ci, back) if entry == "cell" else ci
        oi = _plus(oi, back) if entry == "out" else oi
        if self.residual_to_gate is None:
            return ci, oi
        return ci, oi, self.residual_to_gate(r)

    def advance(self, drive: Drive, x: Tensor, state: State) -> tuple[Tensor, ReciprocalState]:
        ci, oi, *gate_input = drive
        c, o = state
        k = self.config
        cell_tau = self._tau(self.cell_tau(c) + k.tau_bias)
        cell_gate = self._gate(self.cell_gate(o) + k.gate_bias)
        new_c = (k.tau_offset + k.tau_multiplier * cell_tau) * c
        new_c = new_c + (k.gate_offset + k.gate_multiplier * cell_gate) * ci

        from_cell = self.cell_to_out(c)
        gate = gate_input[0] if gate_input else None
        if k.cell_to_out:
            oi = oi + from_cell
            pre = o.new_zeros(()) if gate is None else gate
        else:
            pre = _plus(from_cell, gate)
        out_tau = self._tau(self.out_tau(o) + k.tau_bias)
        out_gate = self._gate(pre + k.gate_bias)
        new_o = (k.tau_offset + k.tau_multiplier * out_tau) * o
        new_o = new_o + (k.gate_offset + k.gate_multiplier * out_gate) * oi

        new_c = self._of_cell(self.norm.only("c", new_c))
        new_o = self._of_out(self.norm.only("o", new_o))
        return new_o, ReciprocalState(new_c, new_o)

    def _parts(self, context: Context | None) -> tuple[Any, Tensor | None]:
        """r, or none where it is not read, and ff(K*f), or none without feedback."""
        shape, who = self.context_shape, type(self).__name__
        r = back = None
        if self.config.uses_feedforward:
            if context is None or shape is None:
                raise InputError(f"{who}: it reads the harbor's parts; give context.")
            check_input(f"{who}: context.feedforward", context.feedforward, shape.feedforward)
            r = context.feedforward
        given = None if context is None else context.feedback
        if (given is None) != (self.feedback is None):
            missing = "was not given" if given is None else "was given, but built without"
            raise InputError(f"{who}: feedback {missing}; give context as in build.")
        if given is not None and shape is not None and shape.feedback is not None:
            check_input(f"{who}: context.feedback", given, shape.feedback)
            back = self._of_feedback(self.feedback(given))
        return r, back


def _plus(x: Tensor, more: Tensor | None) -> Tensor:
    return x if more is None else x + more


def _draw(config: ReciprocalGated, kind: str, inputs: int, outputs: int) -> nn.Module:
    """Draw a map of this kind: one of _KINDS, or "one" for 1x1."""
    init, bias = config.init, config.bias
    kernel = config.kernel_size()
    if kernel is not None:
        own = (1, 1) if kind == "one" else getattr(config, f"{kind}_kernel")
        kernel = kernel if own is None else pair("kernel", own, 1)
        if kind != "one" and getattr(config, f"{kind}_separable"):
            return separable_map(inputs, outputs, kernel, init=init, bias=bias)
    return single_map(inputs, outputs, kernel, init=init, bias=bias)

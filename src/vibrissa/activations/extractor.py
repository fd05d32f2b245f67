"""From a network and stimuli to activations: eval mode, no gradients, seeded, nothing left changed.

Values do not depend on what the network was doing before: dropout is off, batch norm uses its
running statistics, and the network, torch's random state and its settings are put back afterwards.
"""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, Final, Protocol, get_args, overload

import numpy as np
import torch
from torch import Tensor, nn

from vibrissa.activations.checks import checked_stimuli, checked_times, checked_words
from vibrissa.activations.container import Activations
from vibrissa.activations.evaluating import evaluating, weights_digest
from vibrissa.activations.files import ActivationsFile
from vibrissa.activations.steps import INPUT, Block, Plan, Reduction, kept_of
from vibrissa.activations.writing import writing
from vibrissa.core.errors import InputError, refuse, refuse_unknown
from vibrissa.core.manifest import Manifest
from vibrissa.core.memory import memory_advice
from vibrissa.core.progress import progress
from vibrissa.core.seeds import integer_seed

_SAME: Final = 1e-4  # of a layer's largest value: less than this is rounding, not randomness


class Recordable(Protocol):
    """What :func:`extract` takes: an EAD, a :class:`~vibrissa.activations.ModuleAdapter`, or any
    other object with these methods that is, or holds as ``module``, an ``nn.Module``."""

    def layers(self) -> tuple[str, ...]: ...
    def first_input_step(self, layer: str) -> int: ...
    def record(self, x: Tensor, layers: Sequence[str] | None = None) -> dict[str, Tensor]: ...


@overload
def extract(
    model: Any,
    inputs: Any,
    *,
    stimuli: Sequence[str],
    layers: Sequence[str] | None = None,
    steps: Sequence[int] | None = None,
    reduce: Reduction | None = None,
    include_input: bool = True,
    seed: int = 0,
    batch_size: int = 64,
    device: str | torch.device | None = None,
    metadata: Mapping[str, Any] | None = None,
    times_s: Any = None,
    inputs_digest: str | None = None,
    about: Any = None,
    name: str | None = None,
    out: None = None,
    quiet: bool = True,
) -> Activations: ...


@overload
def extract(
    model: Any,
    inputs: Any,
    *,
    stimuli: Sequence[str],
    layers: Sequence[str] | None = None,
    steps: Sequence[int] | None = None,
    reduce: Reduction | None = None,
    include_input: bool = True,
    seed: int = 0,
    batch_size: int = 64,
    device: str | torch.device | None = None,
    metadata: Mapping[str, Any] | None = None,
    times_s: Any = None,
    inputs_digest: str | None = None,
    about: Any = None,
    name: str | None = None,
    out: Path | str,
    quiet: bool = True,
) -> ActivationsFile: ...


def extract(
    model: Any,
    inputs: Any,
    *,
    stimuli: Sequence[str],
    layers: Sequence[str] | None = None,
    steps: Sequence[int] | None = None,
    reduce: Reduction | None = None,
    include_input: bool = True,
    seed: int = 0,
    batch_size: int = 64,
    device: str | torch.device | None = None,
    metadata: Mapping[str, Any] | None = None,
    times_s: Any = None,
    inputs_digest: str | None = None,
    about: Any = None,
    name: str | None = None,
    out: Path | str | None = None,
    quiet: bool = True,
) -> Activations | ActivationsFile:
    """Show stimuli to a network and keep what its layers do.

    Args:
        model: an EAD, a loaded run, or a :class:`~vibrissa.activations.ModuleAdapter` around any
            network.
        inputs: (stimulus, ...) as the network takes them, for an EAD (stimulus, step, channel,
            row, column): an array, a tensor, or anything with a length that gives an array for a
            slice, such as an HDF5 data set.
        stimuli: their names, each once.
        layers: which; all of the network if omitted. ``input`` may be among them.
        steps: which time steps to keep, rising; all if omitted. Of a layer with one step it is
            always kept.
        reduce: what to make of the steps kept, from the layer's first input step on: their
            ``mean``, the ``last``, their ``max``, or ``flatten`` for time by unit as units; all are
            kept if omitted.
        include_input: keep what the network is shown as layer ``input`` as well, the baseline that
            any layer must beat.
        seed: of networks that draw numbers also in eval mode.
        batch_size: stimuli shown at a time.
        device: where to compute; the network's own if omitted, and it returns there.
        metadata: column -> one value per stimulus.
        times_s: (step,) end of each step of the input, given to all layers with so many steps.
        inputs_digest: SHA-256 of the inputs, if known; else that of the values shown.
        about: what the manifest says of the stimuli, a JSON tree.
        name: what to call the network; by default what it calls itself.
        out: write there as it goes along, so that not all has to fit into memory.

    Returns:
        The activations; with ``out`` the open file instead.

    Raises:
        InputError: no such layer or step, inputs that do not fit names or network, a value that is
            not finite, or not enough memory.
    """
    names = checked_stimuli(stimuli)
    source, module = _unwrapped(model)
    plan = _planned(source, layers, steps, reduce, include_input, seed, batch_size)
    if len(inputs) != len(names):
        raise refuse("inputs", len(inputs), f"there are {len(names)} names of stimuli", "mend it")
    times = None if times_s is None else checked_times(INPUT, times_s, len(times_s))
    called = name or getattr(model, "name", "") or getattr(source, "name", "")
    title = str(called or type(module).__name__)
    weights = weights_digest(module)
    own = getattr(model, "digest", "")
    digest = own if isinstance(own, str) and own else weights  # that of a run's checkpoint
    shown = hashlib.sha256()
    with evaluating(module, device) as where:
        blocks = _blocks(source, inputs, names, plan, times, where, shown, quiet)
        kind = _kinds(source)

        def manifest() -> Manifest:
            tree = {
                "model": title, "model_config": _config_tree(source), "layers": list(plan.layers),
                "steps": plan.steps, "reduce": plan.reduce, "include_input": plan.include_input,
                "batch_size": plan.batch_size, "stimuli": about,
            }  # fmt: skip
            inputs_known = inputs_digest or shown.hexdigest()
            return Manifest.of(
                "activations", tree, seed=seed, inputs={"weights": weights, "inputs": inputs_known}
            )

        if out is not None:
            target = Path(out)
            with writing(
                target, names, metadata=metadata, model=title, reduction=reduce or "none"
            ) as writer:
                for found in blocks:
                    for layer, block in found.items():
                        writer.append(
                            layer, block.values, kind=kind(layer), unit_shape=block.unit_shape,
                            first_input_step=block.first_input_step, times_s=block.times_s,
                        )  # fmt: skip
                writer.manifest, writer.run_digest = manifest(), digest
            return ActivationsFile(target)
        kept: dict[str, list[Block]] = {}
        try:
            for found in blocks:
                for layer, block in found.items():
                    kept.setdefault(layer, []).append(block)
            values = {n: np.concatenate([b.values for b in kept[n]]) for n in kept}
        except MemoryError as error:
            raise InputError(
                "activations: they do not fit into memory; choose fewer layers, reduce over time, "
                "or write them to a file as they come (out=...)."
            ) from error
        first = {n: b[0] for n, b in kept.items()}
        return Activations(
            layers=values,
            stimuli=names,
            first_input_step={n: b.first_input_step for n, b in first.items()},
            kinds={n: kind(n) for n in first},
            times_s={n: b.times_s for n, b in first.items() if b.times_s is not None},
            unit_shapes={n: b.unit_shape for n, b in first.items()},
            metadata=metadata or {},
            model=title,
            run_digest=digest,
            reduction=reduce or "none",
            manifest=manifest(),
        )


def layer_table(model: Any) -> tuple[tuple[str, str, int], ...]:
    """Name, kind and first input step of every layer of what :func:`extract` takes.

    Raises:
        InputError: its layers cannot be recorded.
    """
    source, _ = _unwrapped(model)
    kind = _kinds(source)
    return tuple((n, kind(n), source.first_input_step(n)) for n in source.layers())


# --- what is asked for -------------------------------------------------------------------------


def _unwrapped(model: Any) -> tuple[Any, nn.Module]:
    """What records, and its module: of a run its model, of an adapter its network."""
    held = getattr(model, "model", None)
    source = held if not hasattr(model, "record") and hasattr(held, "record") else model
    module = source if isinstance(source, nn.Module) else getattr(source, "module", None)
    records = all(callable(getattr(source, n, None)) for n in ("record", "layers"))
    if not records or not isinstance(module, nn.Module):
        raise refuse(
            "model", type(model).__name__, "its layers cannot be recorded",
            'wrap it: ModuleAdapter(network, {"layer": "batch unit"})',
        )  # fmt: skip
    return source, module


def _planned(
    source: Any,
    layers: Sequence[str] | None,
    steps: Sequence[int] | None,
    reduce: Reduction | None,
    include_input: bool,
    seed: int,
    batch_size: int,
) -> Plan:
    known = source.layers()
    if INPUT in known and include_input:
        raise refuse(
            "include_input",
            True,
            "the network has a layer of this name",
            "give include_input=False",
        )
    wanted = known if layers is None else checked_words("layers", layers)
    if layers is not None and INPUT in wanted and INPUT not in known:
        include_input = True
        wanted = tuple(name for name in wanted if name != INPUT)
    for name in wanted:
        if name not in known:
            raise refuse_unknown("layer", name, [*known, INPUT])
    if reduce is not None and reduce not in get_args(Reduction):
        raise refuse_unknown("reduce", str(reduce), get_args(Reduction))
    if batch_size < 1:
        raise refuse("batch_size", batch_size, "must be at least 1", "give 1 or more")
    chosen = None if steps is None else tuple(int(step) for step in steps)
    if chosen is not None and (
        not chosen or chosen[0] < 0 or any(b <= a for a, b in pairwise(chosen))
    ):
        raise refuse("steps", chosen, "not rising from 0", "give steps as 0,5,21")
    return Plan(
        layers=tuple(wanted), include_input=include_input, steps=chosen, reduce=reduce, seed=seed,
        batch_size=batch_size,
    )  # fmt: skip


def _kinds(source: Any) -> Callable[[str], str]:
    """Layer -> kind."""
    parts = {
        kind: set(getattr(source, kind).layers())
        for kind in ("encoder", "attender", "decoder")
        if callable(getattr(getattr(source, kind, None), "layers", None))
    }

    def kind(layer: str) -> str:
        own = getattr(source, "kind", None)
        if layer == INPUT and layer not in source.layers():
            return INPUT
        if callable(own):
            return str(own(layer))
        return next((kind for kind, names in parts.items() if layer in names), "other")

    return kind


def _config_tree(source: Any) -> Any:
    config = getattr(source, "config", None)
    tree = getattr(config, "to_tree", None)
    return tree() if callable(tree) else None


# --- showing -----------------------------------------------------------------------------------


def _blocks(
    source: Any,
    inputs: Any,
    names: tuple[str, ...],
    plan: Plan,
    times: np.ndarray | None,
    where: tuple[torch.device, torch.dtype],
    shown: Any,
    quiet: bool,
) -> Iterator[dict[str, Block]]:
    """Layer -> values, batch after batch."""
    with progress("activations", total=len(names), unit="stimulus", quiet=quiet) as bar:
        for start in range(0, len(names), plan.batch_size):
            these = names[start : start + plan.batch_size]
            x = _shown(inputs[start : start + len(these)], these)
            shown.update(str((x.dtype, tuple(x.shape[1:]))).encode() if start == 0 else b"")
            shown.update(x.contiguous().reshape(-1).view(torch.uint8).numpy().data)
            found = _recorded(source, x, plan, start, where)
            if start == 0:
                _warn_of_chance(source, x, plan, where, found)
            raw = {INPUT: x} if plan.include_input else {}
            yield {
                layer: kept_of(source, layer, values, plan, these, times)
                for layer, values in (raw | found).items()
            }
            bar.update(len(these))


def _shown(given: Any, names: tuple[str, ...]) -> Tensor:
    try:
        x = given.detach().cpu() if isinstance(given, Tensor) else torch.tensor(np.asarray(given))
    except (TypeError, ValueError, RuntimeError) as error:
        raise refuse("inputs", type(given).__name__, "no numbers", "give an array") from error
    if x.is_floating_point() and x.dtype != torch.float64:
        x = x.float()
    if x.ndim < 2:
        raise refuse("inputs", tuple(x.shape), "not (stimulus, ...)", "add axes")
    finite = torch.isfinite(x.reshape(len(x), -1)).all(dim=1)
    if not bool(finite.all()):
        culprit = names[int(torch.argmin(finite.int()))]
        raise refuse("inputs of stimulus", culprit, "a value is not finite", "simulate it again")
    return x


def _recorded(
    source: Any, x: Tensor, plan: Plan, start: int, where: tuple[torch.device, torch.dtype]
) -> dict[str, Tensor]:
    device, dtype = where
    torch.manual_seed(integer_seed(plan.seed, "activations", start))
    remedy = "give a smaller one, or another device"
    try:
        with memory_advice("batch_size", plan.batch_size, remedy):
            moved = x.to(device, dtype) if x.is_floating_point() else x.to(device)
            found = source.record(moved, plan.layers)
            return {name: found[name].detach().to("cpu", torch.float32) for name in plan.layers}
    except InputError:
        raise
    except RuntimeError as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise refuse(
            "inputs", tuple(x.shape), f"the network fails on them ({reason})",
            "give what it was made for",
        ) from error  # fmt: skip


def _warn_of_chance(
    source: Any,
    x: Tensor,
    plan: Plan,
    where: tuple[torch.device, torch.dtype],
    found: dict[str, Tensor],
) -> None:
    """Say so if a network draws numbers though it is in eval mode."""
    again = _recorded(source, x, plan, len(x) + 1, where)  # with other numbers
    chance = [
        name
        for name, values in found.items()
        if float((values - again[name]).abs().max()) > _SAME * float(values.abs().max())
    ]
    if chance:
        warnings.warn(
            f"layers that change from pass to pass even in eval mode: {', '.join(chance)}; what is "
            "kept is one draw",
            stacklevel=4,
        )

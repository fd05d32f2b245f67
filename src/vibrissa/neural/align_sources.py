"""What is to be scored: layers of models, as patterns over the conditions by name."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from vibrissa.core.errors import InputError, refuse


@dataclass(frozen=True, kw_only=True, eq=False)
class Source:
    """One model: names of its layers, and how to get their patterns one at a time.

    Attributes:
        model: its name.
        stimuli: names along the stimulus axis.
        layers: names, in the order of the network.
        content: layer -> array (stimulus, unit) or (stimulus, time, unit), or activations.
        digest: of the activations, ``""`` if they have none.
    """

    model: str
    stimuli: tuple[str, ...]
    layers: tuple[str, ...]
    content: Any
    digest: str = ""

    def patterns(self, layer: str, conditions: Sequence[str]) -> np.ndarray:
        """(condition, unit) averages over time, conditions matched by name.

        Raises:
            InputError: values that are not finite, or an array of another shape.
        """
        where = f"layer {layer} of {self.model}"
        if hasattr(self.content, "mean_over_time"):
            values = self.content.mean_over_time(layer)
        else:
            values = _numbers(where, self.content[layer])
            if values.ndim == 3:
                values = values.mean(axis=1)
            if values.ndim != 2 or len(values) != len(self.stimuli):
                raise refuse(
                    where, f"shape {values.shape}", f"{len(self.stimuli)} stimuli expected",
                    "give (stimulus, unit) or (stimulus, time, unit)",
                )  # fmt: skip
        if values.shape[1] == 0:
            raise refuse(where, f"shape {values.shape}", "no units", "leave the layer out")
        if not np.isfinite(values).all():
            raise InputError(f"{where}: values that are not finite; mend or leave out the layer.")
        rows = [self.stimuli.index(name) for name in conditions]
        return np.asarray(values[rows], dtype=np.float64)


def sources_of(
    activations: Any, *, stimuli: Sequence[str] | None = None, model: str = "model"
) -> tuple[Source, ...]:
    """One source per model.

    Args:
        activations: :class:`~vibrissa.activations.Activations`; or layer -> array (stimulus, unit)
            or (stimulus, time, unit), with ``stimuli``; or model -> either; or a list of
            ``Activations``.
        stimuli: names along the stimulus axis of plain arrays.
        model: name of the model where none is given.

    Raises:
        InputError: something else, no layers, or stimuli without names.
    """
    if _is_activations(activations):
        return (_of_activations(activations, activations.model or model),)
    if isinstance(activations, Mapping):
        if not activations:
            raise refuse("activations", {}, "there are none", "give one layer or more")
        first = next(iter(activations.values()))
        if _is_activations(first) or isinstance(first, Mapping):
            return tuple(
                _of_activations(value, name) if _is_activations(value)
                else _of_arrays(value, name, stimuli)
                for name, value in activations.items()
            )  # fmt: skip
        return (_of_arrays(activations, model, stimuli),)
    if isinstance(activations, Sequence) and activations and all(map(_is_activations, activations)):
        found = tuple(
            _of_activations(value, value.model or f"{model} {k}")
            for k, value in enumerate(activations)
        )
        names = [source.model for source in found]
        for name in names:
            if names.count(name) > 1:
                raise refuse("model", name, "the name stands twice", "give a mapping name -> model")
        return found
    kind = type(activations).__name__
    raise refuse("activations", kind, "cannot be scored", "give Activations or layer -> array")


def match_conditions(
    source: Source, conditions: Sequence[str], given: bool, *, recorded_in: Sequence[str] = ()
) -> None:
    """Refuse a model whose stimuli are not the conditions.

    Args:
        source: the model.
        conditions: those of the comparison.
        given: whether the user named them; stimuli besides are then of no account.
        recorded_in: names of the sessions that the conditions were taken from.

    Raises:
        InputError: a condition without activations, or stimuli that were not recorded.
    """
    missing = [name for name in conditions if name not in source.stimuli]
    if missing:
        raise InputError(
            f"activations of {source.model}: no stimulus {missing[0]!r}, which was recorded; they "
            f"hold {', '.join(source.stimuli)}; name stimuli as conditions are, or choose some."
        )
    odd = [name for name in source.stimuli if name not in conditions]
    if odd and not given:
        if not recorded_in:
            raise InputError(
                f"activations of {source.model}: stimulus {odd[0]!r} is none of those to compare; "
                "name stimuli as conditions are, or give the conditions to compare."
            )
        # whichever side is at fault, what the other one holds tells
        many = ", ..." if len(recorded_in) > 3 else ""
        which = f" ({', '.join(recorded_in[:3])}{many})"
        raise InputError(
            f"recordings{which}: no session has a trial of {odd[0]!r}, a stimulus of the "
            f"activations of {source.model}, but of {', '.join(conditions)}; add sessions that "
            "show it, name stimuli as conditions are, or give the conditions to compare."
        )


def _numbers(where: str, given: Any) -> np.ndarray:
    try:
        values = np.asarray(given)
        if values.dtype.kind not in "fiub":
            raise refuse(where, f"array of {values.dtype}", "no real numbers", "give numbers")
    except (TypeError, ValueError, RuntimeError) as error:  # ragged lists, tensors with gradient
        if isinstance(error, InputError):
            raise
        kind = type(given).__name__
        raise refuse(
            where, kind, "no array of numbers",
            "give numpy arrays, of a tensor t: t.detach().cpu().numpy()",
        ) from error  # fmt: skip
    return values.astype(np.float64)


def _is_activations(value: Any) -> bool:
    return hasattr(value, "mean_over_time") and hasattr(value, "stimuli")


def _of_activations(value: Any, name: str) -> Source:
    digest = getattr(value, "digest", "")
    return Source(
        model=name, stimuli=tuple(value.stimuli), layers=tuple(value.layer_names), content=value,
        digest=digest if isinstance(digest, str) else "",
    )  # fmt: skip


def _of_arrays(value: Any, name: str, stimuli: Sequence[str] | None) -> Source:
    if not isinstance(value, Mapping) or not value:
        raise refuse(f"activations of {name}", value, "no layer -> array", "give one layer or more")
    if stimuli is None:
        raise refuse("stimuli", None, "arrays do not say which stimulus a row is", "name the rows")
    names = tuple(str(stimulus) for stimulus in stimuli)
    for stimulus in names:
        if names.count(stimulus) > 1:
            raise refuse("stimulus", stimulus, "the name stands twice", "give each its own name")
    return Source(model=name, stimuli=names, layers=tuple(map(str, value)), content=value)


def layers_of(sources: Sequence[Source]) -> Iterator[tuple[Source, str]]:
    """All layers of all models."""
    for source in sources:
        for layer in source.layers:
            yield source, layer

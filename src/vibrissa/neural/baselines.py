"""What to hold a score against: raw input, untrained networks, shuffled labels, other animals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from vibrissa.core.errors import InputError, refuse
from vibrissa.core.seeds import generator
from vibrissa.neural.align_sources import match_conditions, sources_of
from vibrissa.neural.reliability import scaled_trials
from vibrissa.neural.session import Session
from vibrissa.neural.targets import conditions_of

INPUT_KIND = "input"


def raw_input(inputs: Any, stimuli: Sequence[str]) -> dict[str, np.ndarray]:
    """What the network is shown, as a layer ``input``: averaged over steps, flattened.

    Args:
        inputs: (stimulus, step, ...) model input, for instance (6, 22, 30, 5, 7).
        stimuli: their names.

    Returns:
        ``input`` -> (stimulus, unit) for :func:`~vibrissa.neural.aligning.align`.

    Raises:
        InputError: another number of stimuli, or no step axis.
    """
    values = np.asarray(inputs, dtype=np.float64)
    if values.ndim < 3 or len(values) != len(stimuli):
        raise refuse(
            "inputs",
            f"shape {values.shape}",
            f"not ({len(stimuli)}, step, ...)",
            "give model input",
        )
    return {INPUT_KIND: values.mean(axis=1).reshape(len(values), -1)}


def shuffled(
    activations: Any, seed: int, *, stimuli: Sequence[str] | None = None
) -> dict[str, dict[str, np.ndarray]]:
    """The same layers with the stimuli relabelled at random, never all in place.

    All layers of all models are relabelled alike, as in the permutation test.

    Args:
        activations: as for :func:`~vibrissa.neural.aligning.align`.
        seed: root seed.
        stimuli: names along the stimulus axis of plain arrays.

    Returns:
        Model -> layer -> (stimulus, unit), in the order of ``stimuli`` of the first model.

    Raises:
        InputError: a model with other stimuli than the first, or fewer than two.
    """
    sources = sources_of(activations, stimuli=stimuli)
    names = sources[0].stimuli
    if len(names) < 2:
        raise refuse("stimuli", names, "nothing to shuffle", "give two or more")
    for source in sources:
        match_conditions(source, names, False)
    rng = generator(seed, "shuffled labels")
    order = rng.permutation(len(names))
    while (order == np.arange(len(names))).all():
        order = rng.permutation(len(names))
    moved = [names[k] for k in order]
    return {
        f"{s.model} (shuffled)": {layer: s.patterns(layer, moved) for layer in s.layers}
        for s in sources
    }


def animals_as_models(
    sessions: Sequence[Session], *, leave_out: bool = True, scale: Any = "rate"
) -> dict[str, dict[str, np.ndarray]]:
    """Animals as models of one another, to be put beside networks in one table.

    Args:
        sessions: each with all conditions.
        leave_out: one model per animal, made of all *other* animals' units (score it on that
            animal alone); otherwise one per animal made of its own units.
        scale: of the responses.

    Returns:
        Model ``all but ANIMAL`` or ``ANIMAL`` -> ``units`` -> (condition, unit), conditions as
        :func:`~vibrissa.neural.targets.conditions_of` lists them. They are noisy: their score is a
        lower bound of how alike the animals are; ``animal_consistency`` corrects both sides.

    Raises:
        InputError: one animal alone, or a session that lacks a condition.
    """
    conditions = conditions_of(sessions)
    animals = sorted({s.animal for s in sessions})
    if len(animals) < 2:
        raise refuse("animals", animals, "one animal has no other", "give two or more")
    means: dict[str, list[np.ndarray]] = {animal: [] for animal in animals}
    for session in sorted(sessions, key=lambda s: s.name):
        values = scaled_trials(session, conditions, scale)
        rows = [session.condition == name for name in conditions]
        for name, row in zip(conditions, rows, strict=True):
            if not row.any():
                raise InputError(f"session {session.name}: no trials of {name}; leave it out.")
        means[session.animal].append(np.array([values[row].mean(axis=0) for row in rows]))
    own = {animal: np.concatenate(parts, axis=1) for animal, parts in means.items()}
    if not leave_out:
        return {animal: {"units": own[animal]} for animal in animals}
    return {
        f"all but {animal}": {
            "units": np.concatenate([own[other] for other in animals if other != animal], axis=1)
        }
        for animal in animals
    }


def with_baselines(
    models: Mapping[str, Any], *, untrained: Mapping[str, Any] | None = None,
    inputs: Any = None, stimuli: Sequence[str] | None = None,
) -> dict[str, Any]:  # fmt: skip
    """Models, untrained networks and the raw input in one mapping for ``align``.

    Args:
        models: name -> activations.
        untrained: name -> activations of the same networks before training; named ``NAME
            (untrained)`` unless they are already.
        inputs: (stimulus, step, ...) model input.
        stimuli: its names, and those of plain arrays.

    Raises:
        InputError: a name that stands twice, or inputs without names.
    """
    found: dict[str, Any] = dict(models)
    for name, value in (untrained or {}).items():
        label = name if "untrained" in name else f"{name} (untrained)"
        if label in found:
            raise refuse("untrained", label, "the name stands twice", "rename it")
        found[label] = value
    if inputs is not None:
        if stimuli is None:
            raise refuse("stimuli", None, "inputs do not say which is which", "name them")
        found["raw input"] = raw_input(inputs, stimuli)
    return found

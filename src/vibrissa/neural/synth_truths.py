"""What is true of a synthetic data set, to be set beside what an estimator finds."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from vibrissa.core.errors import InputError, refuse, refuse_unknown
from vibrissa.core.files import atomic_path
from vibrissa.core.manifest import to_tree
from vibrissa.neural.conditions import CONDITIONS
from vibrissa.neural.synth import SynthWorld


@dataclass(frozen=True, kw_only=True, eq=False)
class SynthTruth:
    """The truth behind synthetic sessions; conditions stand in the order of ``CONDITIONS``.

    Attributes:
        config: what was asked for, as a JSON tree.
        seed: root seed.
        conditions: their names.
        geometry: (condition, dimension) latent positions.
        animals: session -> animal.
        unit_ids: session -> (unit,).
        rate_hz: session -> (condition, unit) expected rates inside trials.
        tuned: session -> (unit,) truth values.
    """

    config: Any
    seed: int
    conditions: tuple[str, ...]
    geometry: np.ndarray
    animals: Mapping[str, str]
    unit_ids: Mapping[str, np.ndarray]
    rate_hz: Mapping[str, np.ndarray]
    tuned: Mapping[str, np.ndarray]

    @classmethod
    def of(cls, world: SynthWorld) -> SynthTruth:
        """The truth of a world."""
        return cls(
            config=to_tree(world.config),
            seed=world.seed,
            conditions=CONDITIONS,
            geometry=world.geometry,
            animals={s.session: s.animal for s in world.sessions},
            unit_ids={s.session: s.ids for s in world.sessions},
            rate_hz={s.session: s.rate_hz for s in world.sessions},
            tuned={s.session: s.tuned for s in world.sessions},
        )

    def rates(
        self, *, animal: str | None = None, sessions: Iterable[str] | None = None
    ) -> np.ndarray:
        """Expected rates of all units, or those of an animal or of some sessions, side by side.

        A model with these features is perfect for that group of units.

        Returns:
            (condition, unit) spikes per second, sessions in the order of :attr:`animals` or as
            given.

        Raises:
            InputError: no such animal or session.
        """
        names = list(self.animals if sessions is None else sessions)
        for name in names:
            if name not in self.animals:
                raise refuse_unknown("session", name, self.animals)
        if animal is not None:
            if animal not in self.animals.values():
                raise refuse_unknown("animal", animal, dict.fromkeys(self.animals.values()))
            names = [name for name in names if self.animals[name] == animal]
        if not names:
            raise refuse("sessions", [], "there are none", "name one")
        return np.concatenate([self.rate_hz[name] for name in names], axis=1)

    def rdm(
        self, *, animal: str | None = None, sessions: Iterable[str] | None = None
    ) -> np.ndarray:
        """Noise-free correlation distances (condition, condition) of these units.

        1 - Pearson correlation across units between the expected rates of two conditions; NaN
        where there is none, as the rates of a condition do not differ between units: of one unit
        alone, for instance.
        """
        rates = self.rates(animal=animal, sessions=sessions)
        varied = np.ptp(rates, axis=1) > 0
        distances = np.full((len(rates), len(rates)), np.nan)
        if varied.any():
            some = np.atleast_2d(np.corrcoef(rates[varied]))
            distances[np.ix_(varied, varied)] = 1.0 - some
        return distances

    def geometry_rdm(self) -> np.ndarray:
        """1 - cosine between latent positions: the RDM of each session if it is ``exact``."""
        length = np.linalg.norm(self.geometry, axis=1, keepdims=True)
        return 1.0 - (self.geometry / length) @ (self.geometry / length).T

    # --- files -------------------------------------------------------------------------------

    def save(self, path: Path | str) -> Path:
        """Write it as JSON (one document, numbers in full, null for NaN); returns the path."""
        tree = {
            "synthetic": True,
            "config": self.config,
            "seed": self.seed,
            "conditions": list(self.conditions),
            "geometry": self.geometry.tolist(),
            "rdm_correlation": [
                [float(value) if np.isfinite(value) else None for value in row]
                for row in self.rdm()
            ],
            "sessions": {
                name: {
                    "animal": animal,
                    "unit_ids": self.unit_ids[name].tolist(),
                    "rate_hz": self.rate_hz[name].tolist(),
                    "tuned": self.tuned[name].tolist(),
                }
                for name, animal in self.animals.items()
            },
        }
        with atomic_path(path) as temporary:
            temporary.write_text(json.dumps(tree, allow_nan=False) + "\n", encoding="utf-8")
        return Path(path)

    @classmethod
    def load(cls, path: Path | str) -> SynthTruth:
        """Read what :meth:`save` wrote.

        Raises:
            InputError: no such file, or not one of these.
        """
        source = Path(path)
        try:
            tree = json.loads(source.read_text(encoding="utf-8"))
            found = tree["sessions"]
            return cls(
                config=tree["config"],
                seed=int(tree["seed"]),
                conditions=tuple(tree["conditions"]),
                geometry=np.array(tree["geometry"], dtype=np.float64),
                animals={name: entry["animal"] for name, entry in found.items()},
                unit_ids={name: np.array(entry["unit_ids"]) for name, entry in found.items()},
                rate_hz={name: np.array(entry["rate_hz"]) for name, entry in found.items()},
                tuned={name: np.array(entry["tuned"], dtype=bool) for name, entry in found.items()},
            )
        except OSError as error:
            raise InputError(f"{source}: cannot be read ({error.strerror}).") from error
        except (ValueError, KeyError, TypeError) as error:
            raise InputError(
                f"{source}: not the truth of synthetic recordings ({error!r}); "
                "give the truth.json that vibrissa neural synth wrote."
            ) from error

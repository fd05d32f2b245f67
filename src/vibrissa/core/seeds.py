"""Seeds: independent random streams from one root seed and a path of names.

A stream depends on the root and the path alone, never on the order of the calls, the process or
the platform; so work may be split among processes at will.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from vibrissa.core.errors import refuse

if TYPE_CHECKING:
    import numpy as np


def seed_sequence(root_seed: int, *path: str | int) -> np.random.SeedSequence:
    """The seed sequence of a path.

    Args:
        root_seed: the seed of the run, a non-negative integer.
        path: what the stream is for, for instance ``("dataset", "mug", 3)``. A name and a number
            that read alike (``"3"`` and ``3``) differ.

    Raises:
        InputError: the root seed is negative or no integer; a part of the path is neither text
            nor integer.
    """
    import numpy as np

    if isinstance(root_seed, bool) or not isinstance(root_seed, int | np.integer) or root_seed < 0:
        raise refuse("seed", root_seed, "not a non-negative integer", "give 0 or more")
    sha = hashlib.sha256()
    for part in path:
        if isinstance(part, bool) or not isinstance(part, str | int | np.integer):
            raise refuse("seed path", part, "neither text nor integer", "name the stream by text")
        kind = b"s" if isinstance(part, str) else b"i"
        text = str(part).encode("utf-8")
        sha.update(kind + len(text).to_bytes(8, "little") + text)
    digest = sha.digest()
    words = tuple(int.from_bytes(digest[i : i + 4], "little") for i in range(0, 32, 4))
    return np.random.SeedSequence(int(root_seed), spawn_key=words)


def generator(root_seed: int, *path: str | int) -> np.random.Generator:
    """A PCG64 generator for a path; arguments and errors as for :func:`seed_sequence`."""
    import numpy as np

    return np.random.Generator(np.random.PCG64(seed_sequence(root_seed, *path)))


def integer_seed(root_seed: int, *path: str | int) -> int:
    """A seed in [0, 2**63) for libraries that want an integer; arguments and errors as above."""
    import numpy as np

    return int(seed_sequence(root_seed, *path).generate_state(1, np.uint64)[0] >> np.uint64(1))

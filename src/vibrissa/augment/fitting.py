"""Whether an augmentation means what it says for input that was made in a certain way."""

from __future__ import annotations

from collections.abc import Iterator

from vibrissa.augment.base import Augmentation
from vibrissa.augment.compose import Compose
from vibrissa.augment.symmetry import Symmetry
from vibrissa.augment.variation import Scaling, TimeShift
from vibrissa.core.errors import refuse
from vibrissa.data.preprocessing import Preprocessing


def check_fits(augmentation: Augmentation, preprocessing: Preprocessing) -> None:
    """Refuse physical augmentations for input that they would treat unphysically.

    Args:
        augmentation: the published and image-style ones fit whatever there is.
        preprocessing: how the input is made.

    Raises:
        InputError: sign rules of another frame than that of the loads; or a normalisation that
            takes a mean away, after which no load is not zero and a mirror image is not a change
            of signs.
    """
    for part in _parts(augmentation):
        frame = part.signs_in if isinstance(part, Symmetry) else None
        if frame is not None and frame != preprocessing.frame:
            raise refuse(
                f"augmentation {type(part).__name__}.frame", frame,
                f"the loads are in the {preprocessing.frame} frame",
                f"set its frame to {preprocessing.frame}",
            )  # fmt: skip
        touchy = frame is not None or isinstance(part, Scaling | TimeShift)
        if touchy and preprocessing.normalise == "standard":
            raise refuse(
                "normalise", "standard", f"{type(part).__name__} needs no load to be zero",
                "normalise by rms, or leave this augmentation out",
            )  # fmt: skip


def _parts(augmentation: Augmentation) -> Iterator[Augmentation]:
    if isinstance(augmentation, Compose):
        for part in augmentation.parts:
            yield from _parts(part)
    else:
        yield augmentation

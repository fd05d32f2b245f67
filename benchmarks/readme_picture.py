"""Makes the picture of the README, docs/images/demo.png."""

from __future__ import annotations

import tempfile
from pathlib import Path

from PIL import Image

from vibrissa.cli.demo import scene_of
from vibrissa.core.files import atomic_path
from vibrissa.simulation import contact_sheet, save_figure, simulate

TARGET = Path(__file__).parents[1] / "docs" / "images" / "demo.png"
WIDTH = 1400
COLOURS = 256


def main() -> None:
    """Simulate the demonstration and draw it with few colours, so that the file is small."""
    array, scene, solver = scene_of(seed=0)
    sweep = simulate(array, scene, solver)
    with tempfile.TemporaryDirectory() as folder:
        drawn = save_figure(contact_sheet(sweep, scene), Path(folder) / "sheet.png")
        with Image.open(drawn) as picture:
            size = (WIDTH, round(picture.height * WIDTH / picture.width))
            small = picture.convert("RGB").resize(size, Image.Resampling.LANCZOS)
    with atomic_path(TARGET) as temporary:
        small.quantize(COLOURS, dither=Image.Dither.NONE).save(temporary, optimize=True)
    print(f"{TARGET.name}: {TARGET.stat().st_size // 1000} kB")


if __name__ == "__main__":
    main()

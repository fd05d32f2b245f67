"""Makes the picture of the README, docs/images/demo.png."""

from __future__ import annotations

import tempfile
from pathlib import Path

from PIL import Image

from vibrissa.core.files import atomic_path
from vibrissa.morphology import mouse_array
from vibrissa.objects import procedural_object
from vibrissa.simulation import (
    PassiveSweep,
    SolverConfig,
    contact_sheet,
    save_figure,
    simulate,
)

TARGET = Path(__file__).parents[1] / "docs" / "images" / "demo.png"
WIDTH = 1400
COLOURS = 256


def main() -> None:
    """Simulate a cup that passes the whiskers and draw it with few colours, so that the file is
    small."""
    array, solver = mouse_array(), SolverConfig(record_nodes=True)
    sweep_of = PassiveSweep(theta_deg=30.0, distance_mm=6.0, diagonal_mm=28.0, speed_mm_per_s=40.0)
    name = "A cup passes the right whiskers of the mouse"
    scene = sweep_of.scene(procedural_object("cup", 0, 0), array, name=name)
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

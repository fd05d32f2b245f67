import csv
from pathlib import Path

import pytest

_FILE = Path(__file__).parent / "published_geometry.csv"


@pytest.fixture(scope="session")
def published() -> dict[str, dict[str, float]]:
    """Whisker -> column -> number, as measured on the released program (see the file's header)."""
    lines = [line for line in _FILE.read_text().splitlines() if not line.startswith("#")]
    return {
        row.pop("whisker"): {key: float(value) for key, value in row.items()}
        for row in csv.DictReader(lines)
    }

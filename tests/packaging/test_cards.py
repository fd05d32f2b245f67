"""Cards of data set and networks: their figures are those of the code and of the other pages."""

import re
from pathlib import Path

import pytest

from vibrissa.cli import VERBS
from vibrissa.models import zoo
from vibrissa.objects import procedural_classes, procedural_object

DOCS = Path(__file__).parents[2] / "docs"
DATASET = (DOCS / "cards" / "dataset.md").read_text(encoding="utf-8")
MODELS = (DOCS / "cards" / "models.md").read_text(encoding="utf-8")
OBJECTIVES = {
    "supervised": "sl", "SimCLR": "simclr", "SimSiam": "simsiam",
    "SimSiam, warm-up": "simsiam_warmup", "autoencoder": "ae",
    "autoencoder on augmented input": "ae_ssl",
}  # fmt: skip


def rows(text, heading):
    """Cells of the first table below a heading, without its first line."""
    lines = text.split(f"## {heading}", 1)[1].split("\n## ")[0].splitlines()
    table = [line for line in lines if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table[2:]]


@pytest.mark.parametrize("text", [DATASET, MODELS])
def test_what_is_pointed_to_is_there(text):
    for target in re.findall(r"\]\(([^)]+)\)", text):
        if "://" in target:
            continue
        name, _, anchor = target.partition("#")
        page = (DOCS / "cards" / name).resolve()
        assert page.is_file(), target
        heads = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
        anchors = [re.sub(r"[^\w -]", "", head).lower().replace(" ", "-") for head in heads]
        assert not anchor or anchor in anchors, target
    names = {verb.name for verb in VERBS}
    for words in re.findall(r"`vibrissa ([a-z]+(?: [a-z]+)?)", text):
        assert words in names or words.split()[0] in names, words


def test_published_figures_are_those_of_the_zoo():
    table = rows(MODELS, "What was published of the zoo")
    assert {row[0] for row in table} == set(OBJECTIVES)
    for objective, count, best, top1 in table:
        entries = [e for name, e in zoo().items() if name.split("-")[0] == OBJECTIVES[objective]]
        first = max(entries, key=lambda e: e.top1_percent or 0.0)
        assert len(entries) == int(count)
        assert f"`{first.name}`" == best
        assert first.top1_percent == pytest.approx(float(top1), abs=0.051)
    trained = [e for name, e in zoo().items() if not name.startswith("untrained")]
    controls = [e for name, e in zoo().items() if name.startswith("untrained")]
    told = f"{sum(e.collapsed for e in trained)} of the {len(trained)} and "
    told += f"{sum(e.collapsed for e in controls)} of the {len(controls)} controls"
    assert told in MODELS
    constant = [e.top1_percent for e in trained if e.collapsed]
    assert constant == pytest.approx([1.1] * len(constant), abs=0.051)
    sizes = [e.parameters / 1e6 for e in trained if e.parameters]
    assert f"{min(sizes):.0f} to {max(sizes):.0f} million" in MODELS


def test_sizes_follow_from_what_was_measured():
    assert f"one of {len(procedural_classes())}" in DATASET
    cup = procedural_object("cup", 0).vertices_mm
    assert sum((cup.max(axis=0) - cup.min(axis=0)) ** 2) ** 0.5 == pytest.approx(40.0)
    scale = (DOCS / "scale.md").read_text(encoding="utf-8")
    found = re.search(r"CPU s per object \| ([\d.]+) ", scale)
    stored = re.search(r"kB per stored sweep \| ([\d.]+) ", scale)
    assert found is not None
    assert stored is not None
    units = {"min": 60, "h": 3600, "MB": 1e6, "GB": 1e9}
    for objects, sweeps, time, size in rows(DATASET, "Sizes"):
        n = int(re.split(r"[ (]", objects.replace(",", ""))[0])
        assert int(sweeps.replace(",", "")) == 16 * n
        value, unit = time.split()
        assert float(value) * units[unit] == pytest.approx(float(found[1]) * n, rel=0.05)
        value, unit = size.split()
        assert float(value) * units[unit] == pytest.approx(16e3 * n * float(stored[1]), rel=0.05)


def test_the_yardstick_is_that_of_the_guide():
    guide = (DOCS / "datasets.md").read_text(encoding="utf-8")
    told = re.findall(r"(\d\d\.\d)(?: %)? ?\(?", DATASET.split("## What is known of it")[1])[:9]
    assert len(told) == 9
    for figure in told:
        assert figure in guide

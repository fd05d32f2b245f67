import dataclasses

import pytest

from vibrissa.core.errors import InputError
from vibrissa.objectives import objectives
from vibrissa.study.cells import UNTRAINED, Cell
from vibrissa.study.grids import Entry, Grid, grid, grid_names
from vibrissa.train import config_from_tree

RECIPE = {"objective": "supervised", "epochs": 1}


@pytest.mark.parametrize("name", grid_names())
def test_every_grid_can_be_built(name):
    found = grid(name)
    cells = found.cells(3)
    assert len({cell.key for cell in cells}) == len(cells)
    assert {cell.seed for cell in cells} == set(range(3, 3 + found.seeds))
    for cell in cells:
        if cell.objective == UNTRAINED:
            continue
        config = config_from_tree({**cell.recipe, "model": cell.model, "seed": cell.seed})
        assert config.seed == cell.seed
        assert type(config.objective) is objectives.get(cell.objective)


def test_keys_tell_cells_apart_and_are_names_of_folders():
    cell = Cell(label="a", model="tiny:inter_ln+none+linear", objective="supervised", recipe=RECIPE)
    assert cell.key == dataclasses.replace(cell, label="another name").key
    others = [
        dataclasses.replace(cell, seed=1),
        dataclasses.replace(cell, recipe={**RECIPE, "epochs": 2}),
        dataclasses.replace(cell, model="tiny:gru+none+linear"),
        dataclasses.replace(cell, augmentation="tactile"),
    ]
    keys = [c.key for c in (cell, *others)]
    assert len(set(keys)) == len(keys)
    assert all(set(key) <= set("abcdefghijklmnopqrstuvwxyz0123456789-") for key in keys)
    assert cell.parts == ("inter_ln", "none", "linear")
    assert dataclasses.replace(cell, model="tiny:s4+gpt+mlp@all").parts == ("s4", "gpt", "mlp")


def test_seeds_are_outermost_and_controls_stand_beside():
    entry = Entry(models=("tiny:inter_ln+none+linear",), recipe=RECIPE, control=True)
    cells = Grid(about="x", seeds=2, entries=(entry,)).cells(0)
    found = [(cell.seed, cell.objective) for cell in cells]
    assert found == [(0, "supervised"), (0, UNTRAINED), (1, "supervised"), (1, UNTRAINED)]


def test_published_models_by_pattern():
    """Against the released table: 60 models, 13 controls, their rates and batches."""
    cells = Grid(about="x", seeds=1, entries=(Entry(zoo=("*",)),)).cells(0)
    assert len(cells) == 73
    assert sum(cell.objective == UNTRAINED for cell in cells) == 13
    known = {cell.published: cell for cell in cells}
    best = known["sl-zhuang-gpt"]
    assert best.model == "zhuang+gpt+linear"
    assert best.recipe["optimiser"]["lr"] == 1e-4
    assert best.recipe["data"] == {"batch_size": 256}
    assert known["simclr-zhuang"].augmentation == "published"
    assert known["simclr-zhuang"].parts == ("zhuang", "none", "none")
    changed = Entry(zoo=("simclr-*",), recipe={"epochs": 3, "optimiser": {"lr": 1.0}}).cells(1)
    assert len(changed) == 10
    for cell in changed:
        assert cell.recipe["epochs"] == 3
        assert cell.recipe["optimiser"]["lr"] == 1.0
        assert cell.recipe["optimiser"]["type"] == "lars"
        assert cell.seed == 1
    with pytest.raises(InputError, match="no such name"):
        Entry(zoo=("sl-zhuangg",)).cells(0)
    with pytest.raises(InputError, match="both are given"):
        Entry(models=("tiny:gru+none+linear",), zoo=("*",))


def test_what_is_refused(tmp_path):
    with pytest.raises(InputError, match="stands twice"):
        entry = Entry(models=("tiny:gru+none+linear",), recipe=RECIPE)
        Grid(about="x", entries=(entry, entry))
    with pytest.raises(InputError, match="none to a control"):
        Cell(label="a", model="m", objective=UNTRAINED, recipe=RECIPE)
    with pytest.raises(InputError, match="no such name"):
        grid("demoo")
    path = tmp_path / "mine.yaml"
    path.write_text("about: x\nentries: [{modls: [a]}]\n")
    with pytest.raises(InputError, match="modls"):
        grid(path)
    path.write_text("about: x\nseeds: 0\nentries: [{models: [tiny:gru+none+linear]}]\n")
    with pytest.raises(InputError, match="seeds = 0"):
        grid(path)

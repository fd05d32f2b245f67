"""Alignment as a whole: names instead of order, statuses, files, what is refused."""

from dataclasses import replace
from typing import Any, cast

import numpy as np
import pandas as pd
import pytest

from vibrissa.activations.container import Activations
from vibrissa.core.errors import InputError
from vibrissa.neural.aligning import AlignConfig, align
from vibrissa.neural.alignment import Alignment
from vibrissa.neural.conditions import CONDITIONS
from vibrissa.neural.measures import RSA, measures
from vibrissa.neural.session import Session
from vibrissa.neural.synth import SynthConfig, synth_sessions, synth_truth
from vibrissa.neural.targets import ANIMALS, targets

QUICK = AlignConfig(draws=60, folds=5, fold_draws=20)
WORLD = SynthConfig(animals=4, sessions=2, units=10, trials=110)


@pytest.fixture(scope="module")
def sessions():
    return synth_sessions(WORLD, 5)


@pytest.fixture(scope="module")
def layers():
    rng = np.random.default_rng(0)
    return {f"conv{k}": rng.standard_normal((6, 30)) + 2.0 for k in range(4)}


@pytest.fixture(scope="module")
def plain(layers, sessions):
    return align(layers, sessions, QUICK, stimuli=CONDITIONS)


def same(one, two, but=()):
    pd.testing.assert_frame_equal(
        one.table.drop(columns=list(but)), two.table.drop(columns=list(but)), rtol=1e-9, atol=1e-9
    )


def test_one_row_per_layer_and_target(plain):
    assert len(plain.table) == 4 * (4 + 1 + 1)
    assert list(plain.table["target"].unique()) == ["219CR", "220CR", "221CR", "222CR", "pooled",
                                                    ANIMALS]  # fmt: skip
    assert "fixed" in plain.remarks[0]
    assert any("720" in remark for remark in plain.remarks)
    ok = plain.table[plain.table["status"] == "ok"]
    assert len(ok) > 12
    assert ((ok["low"] <= ok["score"]) & (ok["score"] <= ok["high"])).mean() > 0.9
    assert (ok["p_max"] >= ok["p"] - 1e-12).mean() > 0.9
    assert ok["p"].between(1 / 720, 1).all()
    per_target = ok[ok["kind"] != "group"]
    assert np.allclose(per_target["score"], per_target["raw"] / np.sqrt(per_target["reliability"]))
    assert set(per_target["interval_over"]) == {"trials"}
    assert set(ok[ok["kind"] == "group"]["interval_over"]) == {"animals"}


def test_orders_are_of_no_account(plain, layers, sessions):
    rng = np.random.default_rng(1)

    def shuffled(session):
        return session.select(
            rng.permutation(session.n_trials), units=rng.permutation(session.n_units)
        )

    moved = [shuffled(s) for s in sessions]
    moved = [moved[k] for k in rng.permutation(len(moved))]
    order = rng.permutation(6)
    stimuli = [CONDITIONS[k] for k in order]
    found = align({n: v[order] for n, v in layers.items()}, moved, QUICK, stimuli=stimuli)
    same(plain, found)


def test_units_go_by_no_name(plain, layers, sessions):
    renamed = [
        replace(s, unit_ids=np.array([f"u{k}" for k in range(s.n_units)][::-1])) for s in sessions
    ]
    same(plain, align(layers, renamed, QUICK, stimuli=CONDITIONS))


def test_units_of_layers_may_stand_in_any_order(plain, layers, sessions):
    moved = {n: v[:, np.random.default_rng(2).permutation(30)] for n, v in layers.items()}
    same(plain, align(moved, sessions, QUICK, stimuli=CONDITIONS))


def test_an_empty_session_changes_nothing(plain, layers, sessions):
    empty = Session(
        name="empty", animal="219CR", unit_ids=np.zeros(0, int), condition=np.zeros(0, str),
        counts=np.zeros((0, 0)), duration_s=np.zeros(0),
    )  # fmt: skip
    silent = sessions[0].select(units=np.zeros(0, int))
    more = [*sessions, empty, replace(silent, name="no units")]
    found = align(layers, more, QUICK, stimuli=CONDITIONS)
    same(plain, found)
    assert any("empty" in remark and "no units" in remark for remark in found.remarks)


@pytest.mark.parametrize("measure", [RSA(), RSA(rdm="euclidean", comparison="spearman"),
                                     measures.get("cka")(), measures.get("ridge")()])  # fmt: skip
def test_rates_may_be_scaled(layers, sessions, measure):
    config = replace(QUICK, measure=measure, folds=0)
    slower = [replace(s, duration_s=s.duration_s * 3.0) for s in sessions]
    one = align(layers, sessions, config, stimuli=CONDITIONS)
    two = align({n: 5 * v for n, v in layers.items()}, slower, config, stimuli=CONDITIONS)
    same(one, two)


def test_time_is_averaged_from_the_first_input_on(layers, sessions):
    times = {n: np.repeat(v[:, None], 3, axis=1) for n, v in layers.items()}
    times["conv0"] = np.concatenate([np.full((6, 1, 30), 99.0), times["conv0"]], axis=1)
    acts = Activations.from_arrays(
        times, stimuli=CONDITIONS, model="net", first_input_step={"conv0": 1}
    )
    found = align(acts, sessions, replace(QUICK, folds=0))
    plain = align(layers, sessions, replace(QUICK, folds=0), stimuli=CONDITIONS)
    assert set(found.table["model"]) == {"net"}
    assert np.allclose(found.table["raw"], plain.table["raw"], atol=1e-5)  # float32 inside


def test_same_seed_same_table(plain, layers, sessions):
    same(plain, align(layers, sessions, QUICK, stimuli=CONDITIONS))
    other = align(layers, sessions, replace(QUICK, seed=1), stimuli=CONDITIONS)
    assert np.allclose(other.table["raw"], plain.table["raw"])
    assert not np.allclose(other.table["reliability"], plain.table["reliability"], atol=1e-12)


def test_files(plain, tmp_path):
    again = Alignment.load(plain.save(tmp_path / "a.h5"))
    same(plain, again)
    assert again.conditions == plain.conditions
    assert again.remarks == plain.remarks
    assert again.manifest.to_json() == plain.manifest.to_json()
    assert np.array_equal(again.rdm("pooled"), plain.rdm("pooled"))
    assert np.array_equal(again.null_max["model/pooled"], plain.null_max["model/pooled"])
    read = pd.read_csv(plain.to_csv(tmp_path / "a.csv"))
    assert np.allclose(read["score"], plain.table["score"], rtol=0, atol=0, equal_nan=True)
    pytest.importorskip("pyarrow")
    read = pd.read_parquet(plain.to_parquet(tmp_path / "a.parquet"))
    assert np.array_equal(read["score"], plain.table["score"], equal_nan=True)
    assert (tmp_path / "a.csv").read_bytes() == plain.to_csv(tmp_path / "b.csv").read_bytes()


def test_bad_files_are_one_sentence(plain, tmp_path):
    path = plain.save(tmp_path / "a.h5")
    cut = tmp_path / "cut.h5"
    cut.write_bytes(path.read_bytes()[:2000])
    for file, words in ((cut, "cut short"), (tmp_path / "none.h5", "no such file")):
        with pytest.raises(InputError, match=words) as caught:
            Alignment.load(file)
        assert "\n" not in str(caught.value)
    (tmp_path / "text.h5").write_text("nope")
    with pytest.raises(InputError, match="not an alignment"):
        Alignment.load(tmp_path / "text.h5")
    with pytest.raises(InputError, match="a folder, not a file"):
        Alignment.load(tmp_path)
    import h5py

    with h5py.File(tmp_path / "new.h5", "w") as file:
        file.attrs["format"], file.attrs["version"] = "vibrissa alignment", 99
    with pytest.raises(InputError, match="upgrade"):
        Alignment.load(tmp_path / "new.h5")
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file.attrs["format"] = "else"
    with pytest.raises(InputError, match="no alignment"):
        Alignment.load(tmp_path / "other.h5")


def test_any_changed_byte_is_refused(plain, tmp_path):
    whole = plain.save(tmp_path / "a.h5").read_bytes()
    rng = np.random.default_rng(0)
    for place in [0, 8, 100, 511, *rng.integers(0, len(whole), 60), len(whole) - 1]:
        spoilt = bytearray(whole)
        spoilt[place] ^= 0x10
        (tmp_path / "b.h5").write_bytes(spoilt)
        with pytest.raises(InputError):
            Alignment.load(tmp_path / "b.h5")


def test_threshold_is_where_p_max_is_significant(layers, sessions):
    world = SynthConfig(animals=4, sessions=2, units=20, trials=120, population="exact", tuning=0.1)
    truth = {**layers, "truth": synth_truth(world, 5).rates(animal="219CR")}
    config = replace(QUICK, folds=0)
    for recorded in (sessions, synth_sessions(world, 5)):
        table = align(truth, recorded, config, stimuli=CONDITIONS).table
        above = table["raw"] > table["threshold"] + 1e-9
        assert (above == (table["p_max"] <= 0.05)).all()
    assert above[(table["layer"] == "truth") & (table["target"] == "219CR")].all()
    assert not above.all()


def test_the_figure_draws_the_level_that_p_max_goes_by(plain):
    pytest.importorskip("matplotlib")
    from matplotlib.collections import LineCollection

    from vibrissa.neural.align_figures import draw_alignment

    for target in ("pooled", "219CR"):
        axes = draw_alignment(plain, target=target).axes[0]
        drawn = [
            np.asarray(path.vertices)[:, 1]
            for lines in axes.collections
            if isinstance(lines, LineCollection) and "p_max" in str(lines.get_label())
            for path in lines.get_paths()
        ]
        expected = plain.rows(target=target)["threshold"].to_numpy()
        assert np.allclose(np.array(drawn), expected[:, None])


def test_xarray_has_named_axes(plain):
    found = plain.to_xarray()
    assert found["score"].dims == ("model", "layer", "target")
    row = plain.value("model", "conv2", "pooled")
    assert float(found["raw"].sel(model="model", layer="conv2", target="pooled")) == row["raw"]
    assert found["kind"].sel(target="animals") == "group"


def test_rsatoolbox_objects(plain):
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pytest.importorskip("rsatoolbox")
        models, recordings = plain.to_rsatoolbox()
    assert models.n_rdm == 4
    assert recordings.n_cond == 6
    assert recordings.pattern_descriptors["condition"] == list(plain.conditions)
    k = recordings.rdm_descriptors["target"].index("pooled")
    assert np.allclose(recordings.get_matrices()[k], plain.rdm("pooled"))


# --- statuses ----------------------------------------------------------------------------------


def test_one_animal_alone(layers, sessions):
    one = [s for s in sessions if s.animal == "219CR"]
    found = align(layers, one, QUICK, stimuli=CONDITIONS)
    group = found.rows(target=ANIMALS)
    assert set(group["status"]) == {"one_animal"}
    assert group["score"].isna().all()
    assert group["raw"].notna().all()
    assert found.models.iloc[0]["status"] == "one_animal"


def test_low_reliability_has_no_score(layers):
    untuned = synth_sessions(replace(WORLD, tuning=0.0, shared_noise=0.0, trials=60), 1)
    found = align(layers, untuned, replace(QUICK, min_reliability=0.97), stimuli=CONDITIONS)
    rows = found.table[found.table["kind"] == "animal"]
    assert set(rows["status"]) <= {"low_reliability", "negative_reliability", "ok"}
    low = rows[rows["status"] != "ok"]
    assert len(low) > 0
    assert low["score"].isna().all()
    assert low["raw"].notna().all()
    assert low["reliability"].notna().all()


def test_animals_less_alike_than_the_floor_have_no_score(layers, sessions):
    floor = 0.99
    found = align(layers, sessions, replace(QUICK, min_reliability=floor), stimuli=CONDITIONS)
    group = found.rows(target=ANIMALS)
    assert (group["reliability"] < floor).all()
    assert set(group["status"]) == {"low_consistency"}
    assert group[["score", "low", "high"]].isna().all(axis=None)
    assert group[["raw", "p"]].notna().all(axis=None)
    model = found.models.iloc[0]
    assert model["status"] == "low_consistency"
    assert np.isnan(model["held_out_score"])
    assert np.isnan(model["low"])
    assert np.isfinite(model["p"])


def test_the_floor_holds_for_animals_that_cannot_be_compared(layers, sessions):
    config = replace(QUICK, measure=measures.get("ridge")(), pattern_draws=5, min_reliability=0.999)
    found = align({"conv0": layers["conv0"]}, sessions, config, stimuli=CONDITIONS)
    assert set(found.rows(target=ANIMALS)["status"]) == {"low_consistency"}
    assert np.isnan(found.models.iloc[0]["held_out_score"])


@pytest.mark.parametrize("units", [1, 2])
def test_layers_of_few_units_say_so_everywhere(layers, sessions, units):
    some = {"few": layers["conv0"][:, :units], "dead": np.full((6, 8), 0.3), **layers}
    found = align(some, sessions, QUICK, stimuli=CONDITIONS)
    assert set(found.rows(layer="few")["status"]) == {"too_few_units"}
    assert set(found.rows(layer="dead")["status"]) == {"source_constant"}
    euclidean = replace(QUICK, measure=RSA(rdm="euclidean"))
    found = align(some, sessions, euclidean, stimuli=CONDITIONS)
    assert "too_few_units" not in set(found.table["status"])


def test_missing_intervals_are_explained(layers, sessions):
    few = [s for s in sessions if s.animal in ("219CR", "220CR")]
    found = align(layers, few, replace(QUICK, folds=0), stimuli=CONDITIONS)
    assert found.table["low"].isna().all()
    assert any("over animals: there are 2" in remark for remark in found.remarks)
    assert any("folds is 0" in remark for remark in found.remarks)
    found = align(layers, sessions, QUICK, stimuli=CONDITIONS)
    assert not any("no interval" in remark for remark in found.remarks)


def test_the_bias_at_low_reliability_is_said(layers):
    def remarks(tuning, measure):
        world = SynthConfig(
            animals=2, sessions=2, units=15, trials=90, population="exact", tuning=tuning
        )
        rates = {"m": layers["conv0"]}
        config = replace(QUICK, folds=0, by=("animal",), measure=measure, min_reliability=0.0)
        found = align(rates, synth_sessions(world, 3), config, stimuli=CONDITIONS)
        low = found.table[(found.table["kind"] == "animal") & found.table["score"].notna()]
        return found.remarks, (low["reliability"] < 0.8).any()

    for tuning in (0.05, 0.2):
        said, low = remarks(tuning, RSA())
        assert low == (tuning == 0.05)
        assert any("too high" in remark for remark in said) == low
    said, _ = remarks(0.05, measures.get("crossnobis")())
    assert not any("too high" in remark for remark in said)


@pytest.mark.slow
def test_how_large_the_bias_of_a_perfect_model_is():
    """The table of docs/alignment.md, in its least reliable world."""
    world = SynthConfig(animals=4, sessions=2, units=15, trials=90, population="exact", tuning=0.06)
    scores: dict[str, list[float]] = {"rsa": [], "crossnobis": []}
    for seed in range(500, 524):
        sessions, truth = synth_sessions(world, seed), synth_truth(world, seed)
        animal = sessions[0].animal
        own = [s for s in sessions if s.animal == animal]
        for name, found in scores.items():
            config = AlignConfig(
                measure=measures.get(name)(), draws=60, folds=0, permutations=1, by=("animal",)
            )
            table = align({"m": truth.rates(animal=animal)}, own, config, stimuli=CONDITIONS).table
            found.append(float(table["score"].iloc[0]))
    assert 1.03 < np.nanmean(scores["rsa"]) < 1.12
    assert 0.94 < np.nanmean(scores["crossnobis"]) < 1.1


def test_a_condition_that_no_session_shows_is_a_fault_of_the_recordings(layers, sessions):
    short = [s.select(s.condition != "convex far") for s in sessions]
    with pytest.raises(InputError) as caught:
        align(layers, short, QUICK, stimuli=CONDITIONS)
    said = str(caught.value)
    assert said.startswith(f"recordings ({sorted(s.name for s in short)[0]}")
    assert "no session has a trial of 'convex far'" in said


def test_constant_layers_and_single_units(layers, sessions):
    with_constant = {**layers, "dead": np.full((6, 8), 0.3)}
    single = [s.select(units=np.array([0])) for s in sessions if s.animal == "219CR"][:1]
    rest = [s for s in sessions if s.animal != "219CR"]
    found = align(with_constant, [*single, *rest], QUICK, stimuli=CONDITIONS)
    dead = found.rows(layer="dead", target="pooled").iloc[0]
    assert dead["status"] == "source_constant"
    assert np.isnan(dead["score"])
    alone = found.rows(target="219CR")
    assert set(alone["status"]) == {"too_few_units"}
    group = found.rows(target=ANIMALS, layer="conv1").iloc[0]
    assert group["animals"] == 3  # it is in the pool, not in the group


def test_near_constant_units_are_not_scored(sessions):
    rng = np.random.default_rng(0)
    tiny = 5.0 * (1 + 1e-16 * rng.standard_normal((6, 20)))
    found = align({"layer": tiny}, sessions, replace(QUICK, folds=0), stimuli=CONDITIONS)
    assert set(found.rows(kind="animal")["status"]) == {"source_constant"}


def test_sessions_without_a_condition_are_left_out_and_said_so(layers, sessions):
    broken = sessions[0].select(sessions[0].condition != CONDITIONS[0])
    found = align(layers, [broken, *sessions[1:]], QUICK, stimuli=CONDITIONS)
    without = align(layers, sessions[1:], QUICK, stimuli=CONDITIONS)
    same(found, without)
    assert any(CONDITIONS[0] in remark and broken.name in remark for remark in found.remarks)


def test_some_conditions_by_name(layers, sessions):
    some = CONDITIONS[:4]
    config = replace(QUICK, conditions=some[::-1])
    found = align(layers, sessions, config, stimuli=CONDITIONS)
    assert found.conditions == some
    assert found.rdm("pooled").shape == (4, 4)


# --- refusals ----------------------------------------------------------------------------------


def test_bad_input_is_one_sentence(layers, sessions):
    other = [*CONDITIONS[:5], "sphere"]
    cases = [
        (lambda: align(layers, sessions, QUICK, stimuli=other), "convex far"),
        (
            lambda: align({n: np.vstack([v, v[:1]]) for n, v in layers.items()}, sessions, QUICK,
                          stimuli=[*CONDITIONS, "sphere"]),
            "sphere",
        ),
        (lambda: align(layers, sessions, QUICK), "stimuli"),
        (lambda: align({}, sessions, QUICK, stimuli=CONDITIONS), "activations"),
        (lambda: align(3, sessions, QUICK), "cannot be scored"),
        (lambda: align(layers, [], QUICK, stimuli=CONDITIONS), "recordings"),
        (lambda: align(layers, cast(Any, [1]), QUICK, stimuli=CONDITIONS), "neither sessions"),
        (lambda: align({"a": np.ones((5, 3))}, sessions, stimuli=CONDITIONS), "6 stimuli"),
        (lambda: align({"a": np.full((6, 3), np.nan)}, sessions, stimuli=CONDITIONS), "finite"),
        (lambda: align({"a": np.ones((6, 0))}, sessions, stimuli=CONDITIONS), "no units"),
        (
            lambda: align(layers, sessions, replace(QUICK, conditions=("convex near",)),
                          stimuli=CONDITIONS),
            "convex near",
        ),
        (
            lambda: align(layers, sessions, replace(QUICK, conditions=CONDITIONS[:2]),
                          stimuli=CONDITIONS),
            "needs 3",
        ),
        (
            lambda: align(layers, [s.select(s.condition == CONDITIONS[0]) for s in sessions],
                          replace(QUICK, conditions=None), stimuli=CONDITIONS),
            "",
        ),
        (lambda: targets([sessions[0], sessions[0]]), "twice"),
        (lambda: targets(sessions, "mouse"), "animal"),  # pyright: ignore
        (lambda: AlignConfig(draws=0), "draws"),
        (lambda: AlignConfig(folds=2), "folds"),
        (lambda: AlignConfig(level=1.0), "level"),
        (lambda: AlignConfig(measure="rsa"), "measures.get('rsa')()"),  # pyright: ignore
        (lambda: AlignConfig(measure="rsaa"), "Known"),  # pyright: ignore
        (lambda: AlignConfig(draws="x"), "draws"),  # pyright: ignore
        (lambda: AlignConfig(draws=2.5), "draws"),  # pyright: ignore
        (lambda: AlignConfig(level="x"), "level"),  # pyright: ignore
        (lambda: AlignConfig(by="animal"), "by = "),  # pyright: ignore
        (lambda: AlignConfig(conditions="convex far"), "conditions = "),  # pyright: ignore
        (lambda: AlignConfig(min_reliability=2), "min_reliability"),
        (lambda: AlignConfig(min_reliability=-1), "min_reliability"),
        (
            lambda: align({"a": np.full((6, 3), "x")}, sessions, stimuli=CONDITIONS),
            "no real numbers",
        ),
        (
            lambda: align({"a": np.ones((6, 3)) * 1j}, sessions, stimuli=CONDITIONS),
            "no real numbers",
        ),
        (
            lambda: align({"a": [[1.0], [1.0, 2.0]]}, sessions, stimuli=CONDITIONS),
            "no array of numbers",
        ),
    ]  # fmt: skip
    for work, words in cases:
        with pytest.raises(InputError) as caught:
            work()
        assert words in str(caught.value)
        assert "\n" not in str(caught.value)


def test_unknown_rows_are_refused(plain):
    with pytest.raises(InputError, match="pooled"):
        plain.rows(target="poled")
    with pytest.raises(InputError, match="column"):
        plain.rows(targets="pooled")
    with pytest.raises(InputError, match="pooled"):
        plain.rdm("pool")


@pytest.mark.parametrize("name", measures.names())
def test_every_measure_aligns(layers, sessions, name):
    config = replace(
        QUICK, measure=measures.get(name)(), draws=12, folds=3, fold_draws=4, pattern_draws=3,
        permutations=40,
    )  # fmt: skip
    two = {n: layers[n] for n in ("conv0", "conv1")}
    found = align(two, sessions, config, stimuli=CONDITIONS)
    assert found.measure == name
    assert found.table["raw"].notna().all()
    assert found.table["p"].between(1 / 40, 1).all()

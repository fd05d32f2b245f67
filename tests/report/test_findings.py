import numpy as np
import pandas as pd
import pytest
from scipy import stats

from vibrissa.core.errors import InputError
from vibrissa.report.findings import as_table, findings, interval


def by_claim(runs, **options):
    return {f.claim.split(".")[0]: f for f in findings(runs, **options)}


def test_true_effects_are_found_with_their_size(world):
    found = by_claim(world(), ceiling=7.0)
    assert {f.verdict for f in found.values()} == {"supported"}
    assert found["An attender after the encoder raises accuracy"].effect == pytest.approx(
        200, abs=10
    )
    gap = found["Convolutional recurrent encoders classify better than feed-forward ones"]
    assert gap.effect == pytest.approx(100 * (2.0 - -1.0), abs=10)
    tactile = found["Tactile augmentation aligns better than image augmentation"]
    assert tactile.effect == pytest.approx(1.5, abs=0.1)
    assert found["Recurrent units rank as published by accuracy"].effect == pytest.approx(1.0)
    best = found["The best network reaches the likeness of animals to one another"]
    assert best.effect == pytest.approx(3.0 + 2.0 + 3.0 - 7.0, abs=0.2)
    assert all(f.low <= f.effect <= f.high and f.seeds == 5 for f in found.values())


def test_turned_effects_are_refuted(world):
    found = by_claim(world(effect=-1.0), ceiling=9.0)
    line = found.pop("Networks that classify better align better")
    assert line.verdict == "supported"
    assert {f.verdict for f in found.values()} == {"not supported"}


def test_no_effect_is_rarely_taken_for_one(world):
    verdicts = [
        f.verdict
        for k in range(40)
        for f in findings(world(4, effect=0.0, noise=1.0, seed=k), ceiling=None)
        if "ceiling" not in f.remark
    ]
    # two-sided 5 % by construction; 320 verdicts that are not all independent
    assert np.mean([v != "undecided at this scale" for v in verdicts]) < 0.10


def test_one_seed_decides_nothing(world):
    for finding in findings(world(1), ceiling=0.0):
        assert finding.verdict == "undecided at this scale"
        assert "One seed decides nothing" in finding.remark


def test_order_of_rows_and_unfinished_runs_change_nothing(world):
    runs = world()
    lost = runs.copy()
    lost.loc[len(lost)] = ["zhuang", "none", "simsiam", "tactile", 0, float("nan"), float("nan")]
    shuffled = lost.sample(frac=1, random_state=1)
    pd.testing.assert_frame_equal(as_table(findings(runs)), as_table(findings(shuffled)))


def test_groups_are_compared_in_common_settings_only(world):
    runs = world()
    # Only good settings for one group would raise its plain mean.
    biased = runs[(runs["encoder"] != "resnet") | (runs["attender"] == "none")]
    key = "Convolutional recurrent encoders classify better than feed-forward ones"
    assert by_claim(biased)[key].effect == pytest.approx(300, abs=15)


def test_interval_against_scipy():
    values = [0.3, 0.1, 0.9, 0.4]
    mean, low, high = interval(values)
    wanted = stats.t.interval(0.95, 3, loc=np.mean(values), scale=stats.sem(values))
    assert (mean, low, high) == pytest.approx((np.mean(values), *wanted))
    assert np.isnan(interval([1.0])[1])
    assert np.isnan(interval([])[0])


def test_what_is_refused(world):
    with pytest.raises(InputError, match="columns alignment missing"):
        findings(world().drop(columns="alignment"))
    runs = world(1)
    with pytest.raises(InputError, match="stands twice"):
        findings(pd.concat([runs, runs.iloc[:1]]))


def test_nothing_to_compare_is_said(world):
    table = as_table(findings(world().iloc[:0], ceiling=1.0))
    assert set(table["verdict"]) == {"undecided at this scale"}
    assert all(table["remark"].tolist())

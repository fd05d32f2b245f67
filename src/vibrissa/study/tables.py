"""Tables of a study: one row per cell, and one per network over its seeds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, TypeAlias

import numpy as np

from vibrissa.report.findings import interval

if TYPE_CHECKING:
    from vibrissa.study.stages import StudyResult

Rows: TypeAlias = Any
"""A pandas table; types of pandas' selections are not exact enough to help."""

HEALTHY: Final = ("", "healthy")
"""What is said of networks that did not collapse; nothing of those without a training."""

_OF_CELL: Final = (
    "label", "encoder", "attender", "decoder", "objective", "augmentation", "seed", "parameters",
    "status", "accuracy", "low", "high", "chance", "by", "published",
)  # fmt: skip


def runs_table(result: StudyResult) -> Rows:
    """One row per cell: names, accuracy with its interval over objects, alignment."""
    import pandas as pd

    rows = []
    models = None if result.alignment is None else result.alignment.models.set_index("model")
    for cell in result.cells:
        row = {name: cell.get(name) for name in _OF_CELL}
        name = f"{cell['label']} seed {cell['seed']}"
        known = models is not None and name in models.index
        row["alignment"] = float(models.loc[name, "held_out_score"]) if known else float("nan")  # type: ignore[union-attr,arg-type]
        row["alignment layer"] = str(models.loc[name, "chosen"]) if known else ""  # type: ignore[union-attr]
        row["collapse"] = (cell.get("collapse") or {}).get("verdict", "")
        rows.append(row)
    return pd.DataFrame(rows)


def by_network(runs: Rows) -> Rows:
    """One row per network, the best first.

    Accuracy and alignment are means over seeds. Their intervals are Student's over seeds, or where
    there is one seed, that of the accuracy over objects and none for the alignment.
    """
    import pandas as pd

    rows = []
    for label, group in runs.groupby("label", sort=True):
        accuracies = group["accuracy"].astype(float).to_numpy()
        accuracy, low, high = interval(accuracies)
        done = group[np.isfinite(accuracies)]
        over = "seeds"
        if len(done) == 1:
            low, high, over = float(done["low"].iloc[0]), float(done["high"].iloc[0]), "objects"
        alignment, least, most = interval(group["alignment"].to_numpy())
        first = group.iloc[0]
        rows.append(
            {
                "label": label, "objective": first["objective"],
                "augmentation": first["augmentation"], "parameters": first["parameters"],
                "seeds": len(done), "accuracy": accuracy, "low": max(low, 0.0),
                "high": min(high, 1.0), "interval over": over, "by": first["by"],
                "alignment": alignment, "alignment low": least, "alignment high": most,
                "collapsed": int((~group["collapse"].isin(HEALTHY)).sum()),
            }
        )  # fmt: skip
    table = pd.DataFrame(rows)
    return table.sort_values(["accuracy", "label"], ascending=[False, True], ignore_index=True)

"""Run tutorials top to bottom, each in an empty folder, and keep their outputs in the files.

    python docs/tutorials/execute.py                     # all, in place
    python docs/tutorials/execute.py first_sweep         # one
    python docs/tutorials/execute.py --out FOLDER        # results elsewhere, the files untouched

Exit status 1 if a cell fails or warns. Needs ``pip install "vibrissa[docs]"``.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

HERE = Path(__file__).parent
TIMEOUT_S = 300  # of one cell


def execute(source: Path, target: Path) -> str | None:
    """Run one notebook and write it with its outputs.

    Returns:
        What went wrong, or None.
    """
    book = nbformat.read(source, as_version=4)
    for cell in book.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    with tempfile.TemporaryDirectory() as made:
        folder = str(Path(made).resolve())
        client = NotebookClient(
            book, timeout=TIMEOUT_S, kernel_name="python3", record_timing=False,
            coalesce_streams=True, resources={"metadata": {"path": folder}},
        )  # fmt: skip
        try:
            client.execute()
        except CellExecutionError as error:
            return str(error)
    for cell in book.cells:
        for output in cell.get("outputs", ()):
            if output.output_type != "stream":
                continue
            if output.name == "stderr" and "Warning" in output.text:
                return f"a cell warns: {output.text}"
            output.text = output.text.replace(f"{folder}/", "")
    # What differs between machines and says nothing.
    book.metadata = nbformat.from_dict(
        {
            "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
            "language_info": {"name": "python"},
        }
    )
    target.write_text(nbformat.writes(book) + "\n", encoding="utf-8")
    return None


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("names", nargs="*", help="tutorials; by default all")
    parser.add_argument("--out", type=Path, default=HERE, help="folder for the results")
    options = parser.parse_args()
    # The kernel and the `vibrissa` command of this very environment.
    os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    names = options.names or sorted(path.stem for path in HERE.glob("*.ipynb"))
    failed = False
    for name in names:
        wrong = execute(HERE / f"{name}.ipynb", options.out / f"{name}.ipynb")
        print(f"{name}: {wrong or 'ok'}", flush=True)
        failed = failed or wrong is not None
    return int(failed)


if __name__ == "__main__":
    raise SystemExit(main())

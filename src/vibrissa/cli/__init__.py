"""The command line: ``vibrissa VERB [options]``.

A verb is one function with one argument, a frozen dataclass that tyro turns into options. Nothing
but the verb asked for is imported, so that help stays quick.
"""

from __future__ import annotations

import contextlib
import io
import re
import sys
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Final, get_type_hints

from vibrissa.core.errors import VibrissaError, refuse_unknown


@dataclass(frozen=True, kw_only=True)
class Verb:
    """One verb.

    Attributes:
        name: one or two words, for instance ``"doctor"`` or ``"dataset build"``.
        help: one line.
        target: ``module:function``; the function takes one annotated configuration and returns an
            exit status or None.
    """

    name: str
    help: str
    target: str


VERBS: Final[tuple[Verb, ...]] = (
    Verb(
        name="demo",
        help="the whole path on a small default: objects, networks, recordings, report",
        target="vibrissa.cli.demo:run",
    ),
    Verb(
        name="reproduce",
        help="the published grid of networks, tiny, small or in full; resumable, on many workers",
        target="vibrissa.cli.reproduce:run",
    ),
    Verb(
        name="simulate",
        help="objects past whiskers -> forces and moments at the whisker bases",
        target="vibrissa.cli.simulate:run",
    ),
    Verb(
        name="dataset build",
        help="objects past whiskers -> a data set of sweeps; resumable, on many workers",
        target="vibrissa.cli.dataset_build:run",
    ),
    Verb(
        name="dataset check",
        help="every byte, shape, number, label and split of a data set",
        target="vibrissa.cli.dataset:run_check",
    ),
    Verb(
        name="dataset info",
        help="what a data set holds: classes, loads, refusals, size",
        target="vibrissa.cli.dataset:run_info",
    ),
    Verb(
        name="dataset plot",
        help="draw sweeps of a data set",
        target="vibrissa.cli.dataset:run_plot",
    ),
    Verb(
        name="dataset split",
        help="training, validation and test parts, by object, sweep or class",
        target="vibrissa.cli.dataset:run_split",
    ),
    Verb(
        name="dataset baseline",
        help="a linear classifier on the raw sweeps, by object and by sweep",
        target="vibrissa.cli.dataset_exchange:run_baseline",
    ),
    Verb(
        name="dataset export",
        help="a data set -> npz files in the published layout, or webdataset archives",
        target="vibrissa.cli.dataset_exchange:run_export",
    ),
    Verb(
        name="dataset import",
        help="npz files in the published layout -> a data set",
        target="vibrissa.cli.dataset_exchange:run_import",
    ),
    Verb(
        name="train",
        help="a model on a data set -> a run folder; resumable",
        target="vibrissa.cli.train:run",
    ),
    Verb(
        name="probe",
        help="a linear or nearest-neighbour probe on a trained or an untrained network",
        target="vibrissa.cli.train:run_probe",
    ),
    Verb(
        name="activations",
        help="a run and stimuli -> an Activations file",
        target="vibrissa.cli.activations:run",
    ),
    Verb(
        name="neural inspect",
        help="what recordings hold: units, trials, coverage, the clock, warnings",
        target="vibrissa.cli.neural:run_inspect",
    ),
    Verb(
        name="neural synth",
        help="synthetic recordings with known truth, in NWB files",
        target="vibrissa.cli.neural:run_synth",
    ),
    Verb(
        name="neural download",
        help="fetch a dandiset; goes on where it stopped",
        target="vibrissa.cli.neural:run_download",
    ),
    Verb(
        name="align",
        help="activations and recordings -> scores with ceilings, intervals and p-values",
        target="vibrissa.cli.align:run",
    ),
    Verb(
        name="list",
        help="what can be named: arrays, parameter sets, shapes and so on",
        target="vibrissa.cli.listing:run",
    ),
    Verb(
        name="doctor",
        help="versions, devices, rendering, what is missing and how to get it",
        target="vibrissa.cli.doctor:run",
    ),
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        arguments: the words after the program's name; None takes them from ``sys.argv``.

    Returns:
        The exit status: 0, 2 for input that cannot be used (one line on stderr), 130 when
        interrupted. With ``--debug`` errors come with their traceback.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in words
    words = [word for word in words if word != "--debug"]
    try:
        return _dispatch(words)
    except VibrissaError as error:
        if debug:
            traceback.print_exc()
        return _complain(str(error), 2)
    except MemoryError:
        if debug:
            traceback.print_exc()
        return _complain("out of memory; simulate fewer or shorter sweeps at a time.", 2)
    except KeyboardInterrupt:
        if debug:
            traceback.print_exc()
        return _complain("interrupted.", 130)
    except BrokenPipeError:  # the reader of stdout, such as head, has seen enough
        sys.stdout = None
        return 0


def _dispatch(words: list[str]) -> int:
    if not words or words[0] in ("-h", "--help", "help"):
        print(_overview())
        return 0
    if words[0] == "--version":
        import vibrissa

        print(f"vibrissa {vibrissa.__version__}")
        return 0
    for length in (2, 1):  # "dataset build" before "dataset"
        for verb in VERBS:
            if verb.name.split() == words[:length]:
                return _run(verb, words[length:])
    family = [verb for verb in VERBS if verb.name.startswith(f"{words[0]} ")]
    if family and (len(words) == 1 or words[1] in ("-h", "--help", "help")):
        print(_overview(family))
        return 0
    heads = {verb.name.split()[0] for verb in VERBS}
    asked = " ".join(words[:2]) if words[0] in heads else words[0]
    raise refuse_unknown("verb", asked, [verb.name for verb in VERBS])


def _run(verb: Verb, words: list[str]) -> int:
    module, _, name = verb.target.partition(":")
    function: Callable[[Any], int | None] = getattr(import_module(module), name)
    hints = get_type_hints(function)
    hints.pop("return", None)
    (config_type,) = hints.values()
    config = _parse(config_type, verb, words)
    return config if isinstance(config, int) else int(function(config) or 0)


def _parse(config_type: type, verb: Verb, words: list[str]) -> Any:
    """Build the configuration; an int is an exit status, the parser having said all there is."""
    import tyro

    complaints = io.StringIO()
    try:
        with contextlib.redirect_stderr(complaints):
            return tyro.cli(
                config_type,
                prog=f"vibrissa {verb.name}",
                description=verb.help[0].upper() + verb.help[1:] + ".",
                args=words,
                config=(tyro.conf.FlagCreatePairsOff,),
            )
    except SystemExit as stop:
        if stop.code in (0, None):
            return 0
        text = _one_line(complaints.getvalue())
        return _complain(f"{text} See: vibrissa {verb.name} --help", 2)


def _one_line(text: str) -> str:
    """The parser's complaint without its frame, rules, colours and pointers to the help."""
    text = re.sub(r"\x1b\[[0-9;]*m|\[/?(?:bold|dim|red|cyan)\]", "", text)
    parts: list[str] = []
    for line in text.splitlines():
        bare = line.strip(" │╭╮╰╯|+").strip()
        if not bare or set(bare) <= set("─-") or re.fullmatch(r"─.*─", bare):
            continue
        if bare.startswith(("For full helptext", "Argument helptext")):
            break
        parts.append(bare)
    joined = " ".join(parts).rstrip(".")
    return (joined or "bad options") + "."


def _overview(verbs: Sequence[Verb] = VERBS) -> str:
    width = max(len(verb.name) for verb in verbs)
    lines = ["usage: vibrissa VERB [options]", ""]
    lines += [f"  {verb.name:<{width}}  {verb.help}" for verb in verbs]
    lines += ["", "vibrissa VERB --help shows the options; --debug shows tracebacks; --version."]
    return "\n".join(lines)


def _complain(text: str, status: int) -> int:
    print(f"vibrissa: error: {text}", file=sys.stderr)
    return status

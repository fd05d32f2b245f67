"""``vibrissa activations``: a run and stimuli -> an Activations file."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from vibrissa.cli.choosing import choose_array, torch_device, writable_folder
from vibrissa.cli.speaking import say
from vibrissa.core.errors import refuse
from vibrissa.core.memory import memory_advice
from vibrissa.data.resampling import Recording, RecordingMethod

if TYPE_CHECKING:
    from vibrissa.activations.stimuli import InputConfig

Device = Literal["auto", "cpu", "cuda"]


@dataclass(frozen=True, kw_only=True)
class RecordingOptions:
    """How stimuli come to the rate of the network's input; a run knows it.

    Attributes:
        rate_hz: frames per second; by default those of the run's training, or 110.
        method: anti-aliased, average, stride or full; by default as the run's data set, or
            anti-aliased.
        first_frame: the first frame that stride takes.
    """

    rate_hz: float | None = None
    method: RecordingMethod | None = None
    first_frame: int | None = None

    def of(self, known: Recording) -> Recording:
        """What is given in place of what is known."""
        given = {name: value for name, value in vars(self).items() if value is not None}
        return replace(known, **given)


@dataclass(frozen=True, kw_only=True)
class ActivationsConfig:
    """Options of ``vibrissa activations``.

    Attributes:
        run: a run folder; with --untrained also the name of a model, as inter_ln+gpt+linear.
        stimuli: rodgers6 for the six of the shape task, simulated with active whisking; a data set,
            STORE or STORE:QUERY as in "data:label == 'cup'"; or a file of sweeps, NAME.sweep.h5.
        out: the file to write.
        layers: names of layers, see --list; all by default. What the network is shown comes with
            them as layer input; --no-input leaves it out.
        steps: time steps to keep, from 0; all by default.
        reduce: over the steps kept, from each layer's first input on.
        input: what the network is shown is kept as layer input; --no-input leaves it out.
        which: weights of the best epoch or of the last.
        untrained: random weights instead of trained ones, the control.
        seed: of random weights, and of networks that draw numbers.
        n_classes: of an untrained model by name.
        recording: how stimuli come to the rate of the network's input; a run knows its own.
        array: whiskers of rodgers6: mouse, mouse:N, or TABLE.csv.
        parameters: mechanical parameter set of these.
        batch_size: stimuli at a time.
        device: where the network computes; auto takes a GPU if there is one.
        list: print the layers, their kinds and first input steps, and stop.
        quiet: no progress bar, no remarks.
    """

    run: tyro.conf.Positional[str]
    stimuli: str = "rodgers6"
    out: Path = Path("activations.acts.h5")
    layers: Annotated[tuple[str, ...], tyro.conf.arg(metavar="LAYER ...")] = ()
    steps: tuple[int, ...] = ()
    reduce: Literal["none", "mean", "last", "max", "flatten"] = "none"
    input: Annotated[bool, tyro.conf.FlagCreatePairsOff] = True
    which: Literal["best", "last"] = "best"
    untrained: bool = False
    seed: int = 0
    n_classes: int = 117
    recording: RecordingOptions = field(default_factory=RecordingOptions)
    array: str = "mouse"
    parameters: str = "physical"
    batch_size: int = 64
    device: Device = "auto"
    list: bool = False
    quiet: bool = False


def run(config: ActivationsConfig) -> int:
    """Prepare the stimuli as the run's training did its own, show them, write the file."""
    with memory_advice("batch_size", config.batch_size, "choose a smaller one, or fewer layers"):
        return _run(config)


def _run(config: ActivationsConfig) -> int:
    from vibrissa.activations.stimuli import choose_stimuli

    if config.seed < 0:
        raise refuse("seed", config.seed, "not a non-negative integer", "give 0 or more")
    model, way = _network(config)
    if config.list:
        from vibrissa.activations.extractor import layer_table

        for name, kind, first in layer_table(model):
            print(f"{name}\t{kind}\tfrom step {first}")
        return 0
    writable_folder(config.out.parent)
    array = choose_array(config.array, "R", config.parameters)
    if not config.quiet and way.normalisation is None and way.preprocessing.normalise != "none":
        say("no training to take the normalisation from: the stimuli's own is used")
    stimuli = choose_stimuli(config.stimuli, way, array=array)
    file = stimuli.extract(
        model,
        layers=config.layers or None,
        steps=config.steps or None,
        reduce=None if config.reduce == "none" else config.reduce,
        include_input=config.input,
        seed=config.seed,
        batch_size=config.batch_size,
        device=torch_device(config.device),
        out=config.out,
        name=f"{model.name} untrained seed {config.seed}" if config.untrained else None,
        quiet=config.quiet,
    )
    with file:
        if not config.quiet:
            say(f"{len(file)} stimuli, {len(file.layer_names)} layers of {file.model}")
    print(config.out)
    return 0


def _network(config: ActivationsConfig) -> tuple[Any, InputConfig]:
    """The model and how its input is made."""
    from vibrissa.activations.stimuli import InputConfig
    from vibrissa.models import build

    if not Path(config.run).exists():
        if not config.untrained:
            raise refuse(
                "run", config.run, "there is no such folder",
                "give a run folder, or the name of a model with --untrained",
            )  # fmt: skip
        model = build(config.run, n_classes=config.n_classes, seed=config.seed)
        recording = config.recording.of(Recording())
        return model, InputConfig(input_shape=model.input_shape, recording=recording)
    from vibrissa.train import load_run

    found = load_run(config.run, config.which)
    way = InputConfig.of_run(found)
    way = replace(way, recording=config.recording.of(way.recording))
    if not config.untrained:
        return found, way
    model = build(
        found.model.config, n_classes=found.model.n_classes,
        input_shape=found.model.input_shape, seed=config.seed,
    )  # fmt: skip
    return model, way

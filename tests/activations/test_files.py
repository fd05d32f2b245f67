import contextlib
import json
import os
import re
import subprocess
import sys
import tracemalloc
from pathlib import Path

import h5py
import numpy as np
import pytest

from vibrissa.activations import Activations, sealing, writing
from vibrissa.core.errors import InputError, OutputError

DOCS = Path(__file__).parents[2] / "docs"


def drawn(stimuli=6, steps=22, units=40, seed=0):
    draws = np.random.default_rng(seed)
    return Activations.from_arrays(
        {
            "b/conv": np.maximum(draws.normal(size=(stimuli, steps, units)), 0),
            "fc": draws.normal(size=(stimuli, 10)),
        },
        stimuli=[f"stimulus {k}" for k in range(stimuli)],
        metadata={
            "mm": draws.normal(size=stimuli),
            "name": ["é", *"bcdefghijklmnop"][:stimuli],
            "n": np.arange(stimuli),
            "yes": np.arange(stimuli) % 2 == 0,
            "part": np.full(stimuli, np.nan),
        },
        times_s=np.arange(1, steps + 1) * 0.045,
        first_input_step={"b/conv": 2},
        kinds={"fc": "decoder"},
        model="m+n",
    )


@pytest.fixture
def saved(tmp_path):
    acts = drawn()
    return acts, acts.save(tmp_path / "a.acts.h5")


def test_a_file_gives_back_what_was_saved(saved):
    acts, path = saved
    again = Activations.load(path)
    assert acts.equals(again)
    assert again.layer_names == acts.layer_names
    assert again.stimuli == acts.stimuli
    assert (again.model, again.run_digest, again.reduction) == ("m+n", "", "none")
    assert again.manifest == acts.manifest
    for name, column in acts.metadata.items():
        assert again.metadata[name].dtype.kind == column.dtype.kind
    assert again.save(path.with_name("b.h5")).read_bytes() == path.read_bytes()


def test_layers_are_read_one_at_a_time(saved):
    acts, path = saved
    with Activations.open(path) as file:
        assert file.stimuli == acts.stimuli
        assert file.layer_names == acts.layer_names
        assert file.kinds == acts.kinds
        assert file.first_input_step == acts.first_input_step
        assert np.array_equal(file.layer("fc"), acts.layers["fc"])
        names = ["stimulus 4", "stimulus 0", "stimulus 2"]
        assert np.array_equal(file.layer("b/conv", names), acts.layers["b/conv"][[4, 0, 2]])
        for first in (True, False):
            mine = acts.mean_over_time(from_first_input=first)
            theirs = file.mean_over_time(from_first_input=first)
            assert all(np.array_equal(mine[n], theirs[n]) for n in mine)
        some = file.load(layers=["fc"], stimuli=names)
        assert some.equals(acts.select(layers=["fc"], stimuli=names))
        with pytest.raises(InputError, match="did you mean 'fc'"):
            file.layer("fcc")


def test_means_do_not_need_the_memory_of_the_whole(tmp_path, monkeypatch):
    acts = drawn(stimuli=16, steps=64, units=4096)  # 16 MB
    path = acts.save(tmp_path / "a.h5")
    wanted = acts.mean_over_time("b/conv")
    monkeypatch.setattr("vibrissa.activations.files._READ_BYTES", 2**20)
    with Activations.open(path) as file:
        tracemalloc.start()
        found = file.mean_over_time("b/conv")
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert np.array_equal(found, wanted)
    assert peak < 8e6


def test_only_the_blocks_that_are_read_are_checked(tmp_path):
    acts = drawn(stimuli=16, steps=64, units=4096)
    path = acts.save(tmp_path / "a.h5")
    raw = bytearray(path.read_bytes())
    with h5py.File(path, "r") as file:
        info = file["layers/0000"].id.get_chunk_info(9)  # pyright: ignore
        stimulus = info.chunk_offset[0]
    raw[info.byte_offset + info.size // 2] ^= 4
    path.write_bytes(raw)
    with Activations.open(path) as file:
        assert np.array_equal(file.layer("fc"), acts.layers["fc"])
        assert np.array_equal(file.layer("b/conv", ["stimulus 0"])[0], acts.layers["b/conv"][0])
        with pytest.raises(InputError, match="differ from their digest"):
            file.layer("b/conv", [f"stimulus {stimulus}"])
    with pytest.raises(InputError, match="differ from their digest"):
        Activations.load(path)


def flips(raw, count, seed):
    draws = np.random.default_rng(seed)
    for place in draws.choice(len(raw), size=count, replace=False):
        changed = bytearray(raw)
        changed[place] ^= 1 << int(draws.integers(8))
        yield bytes(changed)


@pytest.mark.parametrize("block_bytes", [64, 2**18])
def test_no_flipped_bit_goes_unseen(saved, monkeypatch, block_bytes):
    acts, path = saved
    monkeypatch.setattr(sealing, "BLOCK_BYTES", block_bytes)
    raw = acts.save(path).read_bytes()
    told = 0
    for changed in flips(raw, 300, seed=block_bytes):
        path.write_bytes(changed)
        again = None
        with contextlib.suppress(InputError):
            again = Activations.load(path)
        if again is None:
            told += 1
        else:  # bytes that nobody reads, such as gaps
            assert acts.equals(again)
            assert again.manifest == acts.manifest
    assert told == 300 if block_bytes > len(raw) else told > 200


def test_a_damaged_file_does_not_crash_the_interpreter(saved):
    _, path = saved
    raw = bytearray(path.read_bytes())
    raw[1000] ^= 1
    path.write_bytes(raw)
    code = f"from vibrissa.activations import Activations; Activations.load({str(path)!r})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 1
    assert "differ from their digest" in done.stderr.splitlines()[-1]


@pytest.mark.parametrize("share", [0.0, 0.001, 0.01, 0.3, 0.9, 0.99999])
def test_a_file_cut_short_is_refused(saved, share):
    _, path = saved
    raw = path.read_bytes()
    path.write_bytes(raw[: int(share * len(raw))])
    with pytest.raises(InputError, match="sealed file|where \\d+ were written"):
        Activations.load(path)


def test_a_file_that_grew_is_refused(saved):
    _, path = saved
    path.write_bytes(path.read_bytes() + b"more")
    with pytest.raises(InputError, match="where \\d+ were written"):
        Activations.load(path)


def by_hand(path, **changes):
    """As an outsider would write it."""
    values = changes.pop("values", np.zeros((2, 1, 3), np.float32))
    attributes = {
        "format": "vibrissa-activations", "version": 1, "axes": "stimulus time unit"
    } | changes  # fmt: skip
    with h5py.File(path, "w") as file:
        for key, value in attributes.items():
            if value is not None:
                file.attrs[key] = value
        file["stimuli"] = ["one", "two"]
        if values is not None:
            file["layers/fc"] = values
    return path


def test_a_file_written_by_hand_is_read(tmp_path):
    values = np.arange(6).reshape(2, 1, 3)
    acts = Activations.load(by_hand(tmp_path / "a.h5", values=values))
    assert acts.layer_names == ("fc",)
    assert acts.layers["fc"].dtype == np.float32
    assert np.array_equal(acts.layers["fc"], values)
    assert acts.kinds == {"fc": "other"}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"format": "vibrissa-sweep"}, "format = 'vibrissa-sweep': not 'vibrissa-activations'"),
        ({"format": None}, "format = None"),
        ({"version": 2}, "version = 2: must be 1"),
        ({"version": [1, 1]}, "version = "),
        ({"axes": "time stimulus unit"}, "axes = 'time stimulus unit': must be"),
        ({"manifest": "{"}, "not JSON"),
        ({"values": None}, "there are none"),
        ({"values": np.full((2, 1, 3), np.nan)}, "a value is not finite"),
        ({"values": np.zeros((3, 1, 3))}, "not (stimulus, time, unit) numbers of 2 stimuli"),
        ({"values": np.zeros((2, 3))}, "not (stimulus, time, unit) numbers of 2 stimuli"),
        ({"values": np.zeros((2, 0, 3))}, "layer"),
        ({"values": np.array([[[b"x"]]] * 2)}, "not (stimulus, time, unit) numbers"),
    ],
)
def test_files_that_are_not_ours_are_refused_in_one_sentence(tmp_path, changes, words):
    path = by_hand(tmp_path / "a.h5", **changes)
    with pytest.raises(InputError) as told:
        Activations.load(path)
    assert words in str(told.value)
    assert str(told.value).startswith(str(path))
    assert "\n" not in str(told.value)


def test_other_files_and_none_are_refused(tmp_path):
    with pytest.raises(InputError, match="there is no such file"):
        Activations.load(tmp_path / "nothing.h5")
    (tmp_path / "text.h5").write_text("hello")
    with pytest.raises(InputError, match="not an Activations file"):
        Activations.load(tmp_path / "text.h5")
    with h5py.File(tmp_path / "empty.h5", "w"):
        pass
    with pytest.raises(InputError, match="format = None"):
        Activations.load(tmp_path / "empty.h5")


def test_writing_is_whole_or_not_at_all(tmp_path):
    acts = drawn()
    path = acts.save(tmp_path / "a.h5")
    before = path.read_bytes()
    block = np.zeros((3, 1, 2))
    with (
        pytest.raises(InputError, match="there are 6 stimuli"),
        writing.writing(path, acts.stimuli) as writer,
    ):
        writer.append("fc", block)
    with (
        pytest.raises(InputError, match="does not go on"),
        writing.writing(path, acts.stimuli) as writer,
    ):
        writer.append("fc", block)
        writer.append("fc", np.zeros((3, 1, 5)))
    with pytest.raises(KeyboardInterrupt), writing.writing(path, acts.stimuli) as writer:
        writer.append("fc", block)
        raise KeyboardInterrupt
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["a.h5"]


def test_a_file_may_be_filled_block_by_block(tmp_path):
    acts = drawn()
    with writing.writing(
        tmp_path / "b.h5", acts.stimuli, metadata=acts.metadata, model=acts.model
    ) as writer:
        for start, stop in ((0, 2), (2, 3), (3, 6)):
            for name, values in acts.layers.items():
                writer.append(
                    name, values[start:stop], kind=acts.kinds[name],
                    first_input_step=acts.first_input_step[name],
                    unit_shape=acts.unit_shapes[name], times_s=acts.times_s.get(name),
                )  # fmt: skip
    assert acts.equals(Activations.load(tmp_path / "b.h5"))


def test_a_folder_in_the_way_is_told(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot be written"):
        drawn().save(tmp_path / "file" / "a.h5")


def test_the_format_is_as_documented(saved):
    """Nothing but h5py and what docs/formats.md says."""
    acts, path = saved
    text = (DOCS / "formats.md").read_text(encoding="utf-8")
    part = text[text.index("## Activations files, version 1") :]
    with h5py.File(path, "r") as file:
        attributes = dict(file.attrs)
        assert attributes["format"] == "vibrissa-activations"
        for key in attributes:
            assert f"`{key}`" in part
        manifest = json.loads(str(attributes["manifest"]))
        assert manifest["what"] == "activations"
        conv, fc = file["layers/0000"], file["layers/0001"]
        assert conv.attrs["name"] == "b/conv"  # pyright: ignore
        assert fc.attrs["kind"] == "decoder"  # pyright: ignore
        assert np.array_equal(conv[()], acts.layers["b/conv"])  # pyright: ignore
        assert file["times_s/0000"].shape == (22,)  # pyright: ignore
        for key in conv.attrs:
            assert f"`{key}`" in part
    raw = path.read_bytes()
    head = raw[:512].decode()
    found = re.match(
        r"vibrissa sealed blocks, version 1\nblock_bytes (\d+)\nbody_bytes (\d+)\n"
        r"sha256_of_digests ([0-9a-f]{64})\n *\n$", head,
    )  # fmt: skip
    assert found is not None
    import hashlib

    size, body = int(found[1]), int(found[2])
    digests = raw[512 + body :]
    assert hashlib.sha256(digests).hexdigest() == found[3]
    blocks = [raw[512 + k : 512 + min(k + size, body)] for k in range(0, body, size)]
    assert b"".join(hashlib.sha256(b).digest() for b in blocks) == digests


def test_the_example_of_the_documentation(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    text = (DOCS / "formats.md").read_text(encoding="utf-8")
    part = text[text.index("## Activations files, version 1") :]
    code = re.search(r"```python\n(.*?)```", part, re.DOTALL)
    assert code is not None
    exec(compile(code[1], "formats.md", "exec"), {})
    acts = Activations.load("by_hand.acts.h5")
    assert acts.stimuli == ("concave close", "convex close")
    assert acts.first_input_step["conv1"] == 1

"""The build: resumes, mends only what is broken, refuses another recipe, and is deterministic."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest
from tiny_farm import contents, tiny_recipe, tiny_sources

from vibrissa.core.errors import InputError, OutputError
from vibrissa.data.building import build, failures
from vibrissa.data.checking import check
from vibrissa.data.index import SHARDS
from vibrissa.data.resampling import Recording
from vibrissa.data.sources import MeshSource, ProceduralSource, StimuliSource, sources_of
from vibrissa.data.store import SweepStore
from vibrissa.objects.folders import ObjectSource
from vibrissa.simulation import OnePass, PassiveGrid, PassiveSweep, SolverConfig, sweep_protocols

SOURCES = tiny_sources(3)


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    root = tmp_path_factory.mktemp("built") / "data"
    report = build(tiny_recipe(), SOURCES, root)
    assert (report.made, report.kept, report.failed) == (3, 0, [])
    return root


@pytest.fixture
def copy(built, tmp_path):
    shutil.copytree(built, tmp_path / "data")
    return tmp_path / "data"


def started(root):
    lines = (root / "log" / "build.log").read_text().splitlines()
    return [line.split()[3] for line in lines if line.split()[2] == "start"]


def test_shards_hold_what_the_simulation_gives(built):
    """Against the simulator called by hand, at full rate and resampled by the mean."""
    from vibrissa.simulation import simulate

    recipe = tiny_recipe()
    shape = SOURCES[0].read()
    plan = recipe.protocol.plan(recipe.array, shape, recipe.solver)
    sweep = simulate(recipe.array, plan.scenes, recipe.solver)
    store = SweepStore.open(built)
    loads = store.loads(store.where(object=SOURCES[0].name))
    assert loads.shape == (1, 20, 2, 6)
    assert np.abs(sweep.force_moment).max() > 10
    # The same total impulse, whatever the filter: sums over time agree but for the ends.
    np.testing.assert_allclose(
        loads.sum(axis=1) / 100.0, sweep.force_moment.sum(axis=1) / 1000.0, rtol=0.05, atol=0.02
    )
    assert store.table["peak_force_uN"][0] == np.linalg.norm(
        sweep.force_moment[0, ..., :3], axis=-1
    ).max().astype(np.float32)
    assert store.contact([0]).any(axis=1).tolist() == sweep.contact.any(axis=1).tolist()


def test_stored_loads_are_multiples_of_the_resolution(built):
    loads = SweepStore.open(built).loads(slice(None)).astype(np.float64)
    assert np.abs(loads * 1024 - np.rint(loads * 1024)).max() == 0


def test_every_bit_and_every_frame_if_asked(built, tmp_path):
    recipe = tiny_recipe(recording=Recording(method="full"), resolution_uN=0.0)
    build(recipe, SOURCES[:1], tmp_path)
    from vibrissa.simulation import simulate

    plan = recipe.protocol.plan(recipe.array, SOURCES[0].read(), recipe.solver)
    sweep = simulate(recipe.array, plan.scenes, recipe.solver)
    np.testing.assert_array_equal(SweepStore.open(tmp_path).loads([0]), sweep.force_moment)


def test_a_second_build_does_nothing(copy):
    before = contents(copy)
    report = build(tiny_recipe(), SOURCES, copy)
    assert (report.made, report.kept, report.mended) == (0, 3, {})
    assert contents(copy) == before
    assert len(started(copy)) == 3


@pytest.mark.parametrize("settings", [{"batch": 1}, {"group": 2}, {"group": 5}, {"threads": 2}])
def test_bytes_do_not_depend_on_how_it_is_worked(built, tmp_path, settings):
    build(tiny_recipe(), SOURCES, tmp_path / "data", **settings)
    assert contents(tmp_path / "data") == contents(built)


def test_parts_of_a_job_array_give_the_whole(built, tmp_path):
    for k in (3, 1, 2):
        build(tiny_recipe(), SOURCES, tmp_path / "data", part=(k, 3))
    assert contents(tmp_path / "data") == contents(built)


def test_a_set_grows(built, tmp_path):
    build(tiny_recipe(), SOURCES[1:2], tmp_path / "data")
    report = build(tiny_recipe(), SOURCES, tmp_path / "data")
    assert (report.made, report.kept) == (2, 1)
    assert contents(tmp_path / "data") == contents(built)


def test_fewer_objects_take_none_away(copy):
    before = contents(copy)
    build(tiny_recipe(), SOURCES[:1], copy)
    assert contents(copy) == before


# --- damage ----------------------------------------------------------------------------------


def damage(root, kind):
    path = root / SHARDS / "ball/00000.h5"
    if not path.exists():
        path = sorted((root / SHARDS).rglob("*.h5"))[0]
    whole = bytearray(path.read_bytes())
    if kind == "flipped":
        whole[len(whole) // 2] ^= 1
    elif kind == "truncated":
        del whole[len(whole) // 2 :]
    elif kind == "emptied":
        whole.clear()
    elif kind == "overwritten":
        whole[:] = b"something else entirely" * 100
    path.write_bytes(whole)
    return path


@pytest.mark.parametrize("kind", ["flipped", "truncated", "emptied", "overwritten"])
def test_damage_is_found_and_only_that_is_mended(copy, kind):
    before = contents(copy)
    path = damage(copy, kind)
    report = check(copy)
    assert not report.sound
    (trouble,) = [text for what, text in report.problems if what == "damaged"]
    assert str(path) in trouble
    assert trouble.count("\n") == 0
    others = {p: p.stat().st_mtime_ns for p in sorted((copy / SHARDS).rglob("*.h5")) if p != path}
    mended = build(tiny_recipe(), SOURCES, copy)
    assert (mended.made, mended.kept) == (1, 2)
    assert len(mended.mended) == 1
    assert contents(copy) == before
    assert others == {p: p.stat().st_mtime_ns for p in others}
    assert check(copy).sound


def test_a_lost_shard_and_a_lost_index(copy):
    before = contents(copy)
    sorted((copy / SHARDS).rglob("*.h5"))[0].unlink()
    (copy / "index.h5").unlink()
    kinds = {kind for kind, _ in check(copy).problems}
    assert kinds == {"missing", "index"}
    assert len(SweepStore.open(copy)) == 2
    build(tiny_recipe(), SOURCES, copy)
    assert contents(copy) == before


def test_a_damaged_index_is_told_and_made_again(copy):
    before = contents(copy)
    whole = bytearray((copy / "index.h5").read_bytes())
    whole[-10] ^= 4
    (copy / "index.h5").write_bytes(whole)
    assert [kind for kind, _ in check(copy).problems] == ["index"]
    assert len(SweepStore.open(copy)) == 3
    build(tiny_recipe(), SOURCES, copy)
    assert contents(copy) == before


def test_a_foreign_shard_is_told(copy):
    shard = sorted((copy / SHARDS).rglob("*.h5"))[0]
    shutil.copy(shard, copy / SHARDS / "stray.h5")
    assert "foreign" in [kind for kind, _ in check(copy).problems]
    other = sorted((copy / SHARDS).rglob("*/*.h5"))[1]
    shutil.copy(shard, other)
    (copy / SHARDS / "stray.h5").unlink()
    assert {"foreign", "labels"} & {kind for kind, _ in check(copy).problems}
    assert build(tiny_recipe(), SOURCES, copy).made == 1


def test_rests_of_killed_processes_are_removed(copy):
    shard = sorted((copy / SHARDS).rglob("*.h5"))[0]
    shard.unlink()
    rest = shard.with_name(f".{shard.stem}.abcd1234.partial.h5")
    rest.write_bytes(b"half")
    build(tiny_recipe(), SOURCES, copy)
    assert not rest.exists()


def test_a_build_of_another_division_leaves_files_under_way_alone(copy):
    fcntl = pytest.importorskip("fcntl")
    first, second, third = sorted((copy / SHARDS).rglob("*.h5"))[:3]
    for shard in (first, second, third):
        shard.unlink()
    under_way = first.with_name(f".{first.stem}.abcd1234.partial.h5")
    abandoned = second.with_name(f".{second.stem}.abcd1234.partial.h5")
    for rest in (under_way, abandoned):
        rest.write_bytes(b"half")
    os.utime(abandoned, (1e9, 1e9))
    # as a build of, say, part 1 of 3 has it for as long as it works
    with (copy / "log" / "builders.lock").open("a") as stream:
        fcntl.flock(stream, fcntl.LOCK_SH)
        build(tiny_recipe(), SOURCES, copy, part=(1, 2))
        build(tiny_recipe(), SOURCES, copy, part=(2, 2))
    assert under_way.exists()
    assert not abandoned.exists()
    build(tiny_recipe(), SOURCES, copy)  # alone
    assert not under_way.exists()
    assert check(copy).sound


def test_builds_of_different_divisions_work_at_once(tmp_path):
    """Real processes that want the same objects; each at the same time as the others."""
    code = (
        "import sys; from tiny_farm import *; from vibrissa.data.building import build\n"
        "k, n = int(sys.argv[1]), int(sys.argv[2])\n"
        "report = build(tiny_recipe(), tiny_sources(4), sys.argv[3], part=(k, n))\n"
        "assert not report.failed, report.failed\n"
    )
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parent)}
    parts = [(1, 1), (1, 2), (2, 2), (2, 3)]
    running = [
        subprocess.Popen(
            [sys.executable, "-c", code, str(k), str(n), str(tmp_path / "data")], env=environment
        )
        for k, n in parts
    ]
    assert [process.wait(timeout=300) for process in running] == [0] * len(parts)
    assert check(tmp_path / "data").sound
    assert not list((tmp_path / "data").rglob("*.partial*"))
    alone = build(tiny_recipe(), tiny_sources(4), tmp_path / "alone")
    assert alone.made == 4
    mine = {k: v for k, v in contents(tmp_path / "data").items() if k.startswith("shards")}
    assert mine == {k: v for k, v in contents(tmp_path / "alone").items() if k.startswith("shards")}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"recording": Recording(rate_hz=2000.0)}, "above the 1000 Hz of the simulation"),
        ({"solver": SolverConfig(grid_spacing_mm=0.5, device="cuda:9")}, "device = 'cuda:9'"),
    ],
)
def test_settings_that_suit_no_object_are_told_once(tmp_path, changes, words):
    with pytest.raises(InputError) as told:
        build(tiny_recipe(**changes), SOURCES, tmp_path / "data")
    assert words in str(told.value)
    assert f"so for each of the {min(3, len(SOURCES))} objects tried" in str(told.value)
    assert str(told.value).count("above") + str(told.value).count("device =") == 1
    assert not (tmp_path / "data/failures").exists()
    # nothing stands in the way of the right settings
    assert build(tiny_recipe(), SOURCES, tmp_path / "data").made == len(SOURCES)


def test_bad_objects_in_a_row_do_not_end_a_build(tmp_path):
    sources = []
    for k in range(4):
        bad = tmp_path / "meshes" / f"bad{k}.obj"
        bad.parent.mkdir(exist_ok=True)
        bad.write_text("v 0 0 nothing\nf 1 2 3\n")
        file = ObjectSource(path=bad, name=f"a/bad{k}", label="a")
        sources.append(MeshSource(file=file))
    report = build(tiny_recipe(), [*sources, SOURCES[0]], tmp_path / "data")
    assert (report.made, len(report.failed)) == (1, 4)


# --- what is refused -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "where"),
    [
        ({"seed": 1}, "seed"),
        ({"solver": SolverConfig(grid_spacing_mm=0.5, friction=0.3)}, "solver.friction"),
        ({"recording": Recording(rate_hz=50.0)}, "recording.rate_hz"),
        ({"protocol": OnePass(sweep=PassiveSweep(duration_s=0.3))}, "protocol.sweep"),
    ],
)
def test_another_recipe_is_refused_by_the_first_difference(copy, change, where):
    before = contents(copy)
    with pytest.raises(InputError, match=where) as caught:
        build(tiny_recipe(**change), SOURCES, copy)
    assert "choose another output folder" in str(caught.value)
    assert contents(copy) == before


def test_settings_without_effect_do_not_matter(copy):
    recipe = tiny_recipe(solver=SolverConfig(grid_spacing_mm=0.5, threads=2))
    assert build(recipe, SOURCES, copy).kept == 3


def test_two_builds_at_a_time_are_refused(copy):
    import fcntl

    with (copy / "log" / "build.lock").open("a") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        with pytest.raises(InputError, match="another build works there"):
            build(tiny_recipe(), SOURCES, copy)


def test_bad_objects_do_not_stop_the_others(tmp_path):
    bad = tmp_path / "meshes" / "cup" / "bad.obj"
    bad.parent.mkdir(parents=True)
    bad.write_text("v 0 0 nothing\nf 1 2 3\n")
    source = MeshSource(file=ObjectSource(path=bad, name="cup/bad", label="cup"))
    report = build(tiny_recipe(), [source, SOURCES[0]], tmp_path / "data")
    assert report.made == 1
    assert [made.object for made in report.failed] == ["cup/bad"]
    assert "bad.obj" in report.failed[0].reason
    (entry,) = failures(tmp_path / "data")
    assert (entry["object"], entry["kind"]) == ("cup/bad", "refused")
    assert "Traceback" in (tmp_path / "data/failures/cup/bad.txt").read_text()
    assert [kind for kind, _ in check(tmp_path / "data").problems] == ["failed"]
    # Mended, it is built, and nothing tells of the failure any more.
    from vibrissa.objects import procedural_object

    shape = procedural_object("box", 0)
    rows = [f"v {x} {y} {z}" for x, y, z in shape.vertices_mm]
    rows += [f"f {a + 1} {b + 1} {c + 1}" for a, b, c in shape.faces]
    bad.write_text("\n".join(rows) + "\n")
    source = replace(source, file=replace(source.file, unit="mm"))
    assert build(tiny_recipe(), [source, SOURCES[0]], tmp_path / "data").made == 1
    assert not (tmp_path / "data/failures").exists()
    assert check(tmp_path / "data").sound
    # A mesh that changes later on is made anew.
    bad.write_text("\n".join(rows).replace("v ", "v 1", 1) + "\n")
    os.utime(bad, (2e9, 2e9))
    again = build(tiny_recipe(), [source, SOURCES[0]], tmp_path / "data")
    assert list(again.mended) == ["cup/bad"]
    assert "changed" in again.mended["cup/bad"]


class _Broken(OnePass):
    def plan(self, *_, **__):
        raise ZeroDivisionError("a bug in a protocol")


def test_a_bug_is_a_failure_with_its_traceback(tmp_path):
    report = build(tiny_recipe(protocol=_Broken()), SOURCES[:1], tmp_path)
    assert report.failed[0].trouble == "error"
    assert report.failed[0].reason == "ZeroDivisionError: a bug in a protocol"
    assert "in plan" in next((tmp_path / "failures").rglob("*.txt")).read_text()


def test_refused_sweeps_are_listed_with_their_reasons(tmp_path):
    """A large object near the face: published starts overlap, so all but far ones are refused."""
    protocol = PassiveGrid(
        distance_mm=(0.5, 8.0), diagonal_mm=(30.0,), sweep=PassiveSweep(duration_s=0.1)
    )
    recipe = tiny_recipe(protocol=protocol, protocol_name="passive-grid")
    plan = protocol.plan(recipe.array, SOURCES[0].read(), recipe.solver)
    assert plan.scenes
    assert plan.refused
    report = build(recipe, SOURCES[:1], tmp_path)
    assert report.refused == len(plan.refused)
    store = SweepStore.open(tmp_path)
    assert store.refusals["sweep"].tolist() == [s.scene for s in plan.refused]
    assert store.refusals["reason"].tolist() == [s.reason for s in plan.refused]
    assert len(store) == len(plan.scenes)


# --- the disk --------------------------------------------------------------------------------


@pytest.mark.skipif(os.name != "posix" or os.geteuid() != 0, reason="mounting wants root")
def test_full_disk(tmp_path):
    """On a real file system that is too small for the set."""
    small = tmp_path / "small"
    small.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=160k", "tmpfs", str(small)], capture_output=True
    )
    if mounted.returncode:
        pytest.skip(f"no tmpfs here: {mounted.stderr.decode().strip()}")
    try:
        with pytest.raises(OutputError, match="No space left on device") as caught:
            build(tiny_recipe(), tiny_sources(20), small / "data")
        assert "run the same command again" in str(caught.value)
        assert list((small / "data").rglob("*.partial*")) == []
        done = sorted((small / "data" / SHARDS).rglob("*.h5"))
        assert done
        assert all(
            kind == "missing" or kind == "index" for kind, _ in check(small / "data").problems
        )
    finally:
        subprocess.run(["umount", str(small)], check=True)


def test_a_folder_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="choose another output folder"):
        build(tiny_recipe(), SOURCES, tmp_path / "file" / "data")


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may write anywhere")
def test_read_only_folder(tmp_path):
    tmp_path.chmod(0o500)
    try:
        with pytest.raises(OutputError, match="Permission denied"):
            build(tiny_recipe(), SOURCES, tmp_path / "data")
    finally:
        tmp_path.chmod(0o700)


# --- protocols that bring their own objects --------------------------------------------------


@pytest.mark.slow
def test_active_whisking_keeps_both_frames(tmp_path):
    recipe = tiny_recipe(
        protocol=sweep_protocols.get("rodgers6")(), protocol_name="rodgers6",
        solver=SolverConfig(), allow_overlap=True,
    )  # fmt: skip
    report = build(recipe, [StimuliSource(protocol="rodgers6")], tmp_path)
    assert report.sweeps == 6
    store = SweepStore.open(tmp_path)
    assert store.frames == ("base", "world")
    base, world = store.loads(slice(None)), store.loads(slice(None), "world")
    # A turn keeps lengths; resampling of a turning vector does so nearly.
    np.testing.assert_allclose(
        np.linalg.norm(base[..., :3], axis=-1).max(), np.linalg.norm(world[..., :3], axis=-1).max(),
        rtol=0.05,
    )  # fmt: skip


# --- sources ---------------------------------------------------------------------------------


def test_procedural_counts_are_spread_evenly():
    names = [source.name for source in sources_of("procedural:cup,bowl:5")]
    assert names == ["bowl/00000", "bowl/00001", "cup/00000", "cup/00001", "cup/00002"]
    assert len(sources_of("procedural:100")) == 100


@pytest.mark.parametrize(
    ("words", "text"),
    [
        ("procedural:0", "no number of objects"),
        ("procedural:cup:x", "no number of objects"),
        ("procedural:cop:3", "did you mean 'cup'"),
        ("nowhere", "neither a folder nor procedural:N"),
        (["procedural:cup:1", "procedural:cup:1"], "two objects have this name"),
    ],
)
def test_bad_words_for_objects(words, text):
    with pytest.raises(InputError, match=text):
        sources_of(words)


def test_store_json_names_every_object_and_the_recipe(built):
    tree = json.loads((built / "store.json").read_text())
    assert tree["config"]["objects"] == {s.name: s.label for s in SOURCES}
    assert tree["config"]["recipe"]["solver"]["grid_spacing_mm"] == 0.5
    assert len(tree["config"]["recipe"]["array"]["whiskers"]) == 2
    assert all(isinstance(s, ProceduralSource) for s in SOURCES)


# --- what a stranger tripped over ------------------------------------------------------------


def test_a_shard_replaced_by_one_of_its_size_is_seen(copy, built):
    """Equal sizes are common; only the seals tell them apart."""
    shards = sorted((copy / SHARDS).rglob("*.h5"))
    body = bytearray(shards[0].read_bytes())
    from vibrissa.data.sealed import HEADER_BYTES, seal_of

    before = SweepStore.open(copy)
    with h5py.File(shards[0], "r+") as file:
        file.attrs["redrawn"] = 7  # the same length
    changed = shards[0].read_bytes()[HEADER_BYTES:]
    digest = hashlib.sha256(changed).hexdigest()
    header = body[:HEADER_BYTES].replace(seal_of(shards[0]).encode(), digest.encode())
    shards[0].write_bytes(bytes(header) + changed)
    assert shards[0].stat().st_size == len(body)
    assert [kind for kind, _ in check(copy).problems] == ["index"]
    after = SweepStore.open(copy)
    assert after.objects["redrawn"].tolist()[0] == 7
    assert after.digest != before.digest
    build(tiny_recipe(), SOURCES, copy)
    assert check(copy).sound
    with pytest.raises(InputError, match="open the store again"):
        before.loads(slice(None))


def test_a_damaged_shard_does_not_get_into_the_index(copy):
    before = contents(copy)
    (copy / "index.h5").unlink()
    path = sorted((copy / SHARDS).rglob("*.h5"))[0]
    whole = path.read_bytes()
    label = SOURCES[0].label.encode()
    assert whole.count(label) >= 1
    path.write_bytes(whole.replace(label, b"x" * len(label)))
    build(tiny_recipe(), SOURCES[1:], copy)  # another object is built meanwhile
    build(tiny_recipe(), SOURCES, copy)
    assert contents(copy) == before


def test_shards_that_nobody_declared_are_passed_over(copy):
    shard = sorted((copy / SHARDS).rglob("*.h5"))[0]
    shutil.copy(shard, shard.with_name("copy.h5"))
    assert len(SweepStore.open(copy)) == 3
    assert [kind for kind, _ in check(copy).problems] == ["foreign"]


def test_swapped_shards_are_told_and_never_read_under_the_wrong_name(copy):
    one, two = sorted((copy / SHARDS).rglob("*.h5"))[:2]
    opened = SweepStore.open(copy)
    first, second = one.read_bytes(), two.read_bytes()
    one.write_bytes(second)
    two.write_bytes(first)
    with pytest.raises(InputError, match="open the store again"):
        list(opened.shards())
    assert {"foreign"} <= {kind for kind, _ in check(copy).problems}
    again = SweepStore.open(copy)
    for indices, shard in again.shards():
        assert set(again.table["object"][indices]) == {shard.object}
    assert build(tiny_recipe(), SOURCES, copy).made == 2


def test_a_lost_manifest_does_not_cost_the_shards(copy):
    before = contents(copy)
    (copy / "store.json").unlink()
    with pytest.raises(InputError, match="it is lost, and .* was made by another recipe"):
        build(tiny_recipe(seed=3), SOURCES, copy)
    build(tiny_recipe(), SOURCES, copy)
    assert contents(copy) == before


def test_an_edited_recipe_is_told(copy):
    tree = json.loads((copy / "store.json").read_text())
    tree["config"]["recipe"]["solver"]["friction"] = 0.9
    (copy / "store.json").write_text(json.dumps(tree))
    assert [kind for kind, _ in check(copy).problems] == ["mixed"]


@pytest.mark.parametrize("config", [None, {}, {"objects": ["a"]}, {"objects": {"a": "b"}}])
def test_a_manifest_without_sense_is_one_sentence(copy, config):
    tree = json.loads((copy / "store.json").read_text())
    tree["config"] = config
    (copy / "store.json").write_text(json.dumps(tree))
    for act in (lambda: SweepStore.open(copy), lambda: check(copy)):
        with pytest.raises(InputError, match="not the manifest of a data set"):
            act()


def test_nothing_made_nothing_bound(tmp_path):
    """As long as there is no shard, another recipe may be tried."""
    build(tiny_recipe(protocol=_Broken()), SOURCES[:1], tmp_path)
    assert build(tiny_recipe(), SOURCES[:1], tmp_path).made == 1


def test_pruned(copy, built):
    report = build(tiny_recipe(), SOURCES[:2], copy, prune=True)
    assert (report.kept, report.made, report.missing) == (2, 0, 0)
    assert set(SweepStore.open(copy).objects["object"]) == {s.name for s in SOURCES[:2]}
    assert check(copy).sound
    build(tiny_recipe(), SOURCES, copy)
    assert contents(copy) == contents(built)


def test_all_sweeps_refused_says_why(tmp_path):
    protocol = OnePass(sweep=PassiveSweep(duration_s=0.5, diagonal_mm=40.0, distance_mm=0.0))
    recipe = tiny_recipe(protocol=protocol)
    plan = protocol.plan(recipe.array, SOURCES[0].read(), recipe.solver)
    assert not plan.scenes
    report = build(recipe, SOURCES[:1], tmp_path)
    assert report.failed[0].trouble == "refused"
    assert plan.refused[0].reason in report.failed[0].reason


def test_links_to_nowhere_and_round_in_circles(copy):
    (copy / SHARDS / "nowhere.h5").symlink_to("gone.h5")
    (copy / SHARDS / "loop").symlink_to("..")
    assert len(SweepStore.open(copy)) == 3
    assert [kind for kind, _ in check(copy).problems] == ["foreign"]


def test_failures_that_cannot_be_read_are_passed_over(copy):
    (copy / "failures").mkdir()
    (copy / "failures" / "odd.json").write_text("[]")
    assert check(copy).sound

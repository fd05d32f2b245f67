"""Objects by words, and the names of their files."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vibrissa.cli.choosing import choose_objects
from vibrissa.core.errors import InputError
from vibrissa.data.sources import MeshSource, ProceduralSource, shard_path, sources_of
from vibrissa.objects import procedural_object


def write_mesh(path, name="box", index=0):
    shape = procedural_object(name, index)
    lines = [f"v {x} {y} {z}" for x, y, z in shape.vertices_mm]
    lines += [f"f {a + 1} {b + 1} {c + 1}" for a, b, c in shape.faces]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n")


@pytest.fixture
def shapenet(tmp_path):
    for model in ("02876657/aa", "02876657/bb", "03797390/cc"):
        write_mesh(tmp_path / model / "models" / "model_normalized.obj")
    return tmp_path


def test_shapenet_tree(shapenet):
    found = sources_of(str(shapenet))
    assert [s.name for s in found] == ["02876657/aa", "02876657/bb", "03797390/cc"]
    assert [s.label for s in found] == ["02876657", "02876657", "03797390"]
    (shapenet / "labels.json").write_text('{"02876657": "bottle", "03797390": "mug"}')
    (shapenet / "ids.txt").write_text("02876657/bb\n03797390/cc\n")
    some = sources_of(str(shapenet), ids=shapenet / "ids.txt", labels=shapenet / "labels.json")
    assert [(s.name, s.label) for s in some] == [("02876657/bb", "bottle"), ("03797390/cc", "mug")]
    (shapenet / "ids.txt").write_text("02876657/zz\n")
    with pytest.raises(InputError, match="1 of those listed are not there"):
        sources_of(str(shapenet), ids=shapenet / "ids.txt")


def test_the_command_line_takes_a_shapenet_tree(shapenet):
    found = list(choose_objects([str(shapenet)]))
    assert [(s.name, s.label) for s in found] == [
        ("02876657/aa", "02876657"), ("02876657/bb", "02876657"), ("03797390/cc", "03797390"),
    ]  # fmt: skip
    assert len(found[0].read(0).faces) > 0


def test_folder_of_classes_and_folder_of_meshes(tmp_path):
    write_mesh(tmp_path / "sets" / "cup" / "one.obj")
    write_mesh(tmp_path / "sets" / "cup" / "two.obj")
    write_mesh(tmp_path / "sets" / "bowl" / "one.obj")
    classes = sources_of(str(tmp_path / "sets"))
    assert [(s.name, s.label) for s in classes] == [
        ("bowl/one", "bowl"), ("cup/one", "cup"), ("cup/two", "cup"),
    ]  # fmt: skip
    flat = sources_of(str(tmp_path / "sets" / "cup"))
    assert [(s.name, s.label) for s in flat] == [("cup/one", "cup"), ("cup/two", "cup")]
    with pytest.raises(InputError, match="only a ShapeNetCore tree takes them"):
        sources_of(str(tmp_path / "sets"), labels="labels.json")


def test_digest_follows_the_file(tmp_path):
    write_mesh(tmp_path / "cup" / "one.obj")
    (source,) = sources_of(str(tmp_path / "cup"))
    assert isinstance(source, MeshSource)
    before = source.digest()
    later = (tmp_path / "cup" / "one.obj").stat().st_mtime + 10
    assert not source.changed_since(later, "another")  # not touched since: not read again
    write_mesh(tmp_path / "cup" / "one.obj", "cone")
    assert source.digest() != before
    assert source.changed_since(0.0, before)
    assert not source.changed_since(0.0, source.digest())


def test_procedural_digest_is_that_of_class_index_and_seed():
    one = ProceduralSource(label="cup", index=1, seed=2)
    others = [
        ProceduralSource(label="bowl", index=1, seed=2),
        ProceduralSource(label="cup", index=2, seed=2),
        ProceduralSource(label="cup", index=1, seed=3),
    ]
    assert len({one.digest(), *(other.digest() for other in others)}) == 4


def test_meshes_beside_folders_of_meshes_are_refused(tmp_path):
    write_mesh(tmp_path / "cup" / "one.obj")
    write_mesh(tmp_path / "stray.obj")
    with pytest.raises(InputError, match=r"holds meshes, such as stray\.obj, and folders"):
        sources_of(str(tmp_path))


def test_long_names_stay_short_and_apart():
    one, other = "cup/" + "x" * 300, "cup/" + "x" * 299 + "y"
    assert len(shard_path(one).split("/")[1]) < 200
    assert shard_path(one) != shard_path(other)
    assert len(shard_path("\u9e1f" * 60)) < 200


def test_a_link_to_nowhere_fails_by_name(tmp_path):
    write_mesh(tmp_path / "cup" / "one.obj")
    (tmp_path / "cup" / "two.obj").symlink_to("gone.obj")
    found = sources_of(str(tmp_path))
    assert [s.name for s in found] == ["cup/one", "cup/two"]
    with pytest.raises(InputError, match=r"two\.obj"):
        found[1].read()


NAMES = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12)


@given(NAMES, NAMES)
def test_different_names_have_different_files(one, other):
    assert (shard_path(one) == shard_path(other)) == (one == other)


@given(NAMES)
def test_files_stay_below_the_folder_and_in_sight(name):
    parts = shard_path(name).split("/")
    assert all(part and not part.startswith(".") for part in parts)
    assert shard_path(name).isascii()
    assert shard_path(name).endswith(".h5")

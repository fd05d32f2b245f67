import hashlib
import stat

import pytest

from vibrissa.core.errors import InputError
from vibrissa.core.files import atomic_path, digest_of_bytes, digest_of_file


def test_whole_or_not_at_all(tmp_path):
    final = tmp_path / "new" / "a.txt"
    with atomic_path(final) as temporary:
        assert temporary.parent == final.parent
        assert temporary.suffix == ".txt"
        temporary.write_text("one")
        assert not final.exists()
    assert final.read_text() == "one"
    with pytest.raises(RuntimeError), atomic_path(final) as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert final.read_text() == "one"
    assert [p.name for p in final.parent.iterdir()] == ["a.txt"]


def test_mode_follows_the_umask(tmp_path):
    with atomic_path(tmp_path / "a") as temporary:
        temporary.write_bytes(b"")
    (tmp_path / "b").write_bytes(b"")
    modes = {stat.S_IMODE((tmp_path / name).stat().st_mode) for name in "ab"}
    assert len(modes) == 1


def test_a_folder_that_cannot_be_made_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(InputError, match="choose another output folder"),
        atomic_path(tmp_path / "file" / "x"),
    ):
        pass


def test_digests(tmp_path):
    (tmp_path / "a").write_bytes(b"abc")
    assert digest_of_file(tmp_path / "a") == hashlib.sha256(b"abc").hexdigest()
    assert digest_of_bytes(b"ab", b"c") != digest_of_bytes(b"a", b"bc")

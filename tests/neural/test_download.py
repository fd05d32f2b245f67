"""Fetching, from an archive that is a folder: whole files, thin copies, going on, failing well."""

import http.server
import logging
import sys
import threading
import types
from pathlib import Path

import h5py
import numpy as np
import pytest

from vibrissa.core.errors import InputError, MissingExtraError
from vibrissa.neural.download import Asset, DandiArchive, fetch, read_range
from vibrissa.neural.nwb import find_recordings, read_recording, read_sessions
from vibrissa.neural.nwb_thin import LEFT_OUT, is_thin, thin_copy
from vibrissa.neural.synth import SynthConfig
from vibrissa.neural.synth_nwb import write_synth


class Folder:
    """An archive that is a folder; it may break after so many bytes."""

    def __init__(self, root: Path, breaks_after: float = float("inf"), digest: str = "") -> None:
        self.root, self.left, self.digest = root, breaks_after, digest
        self.reads: list[tuple[str, int, int]] = []

    def assets(self):
        files = [p for p in self.root.rglob("*") if p.is_file()]
        return [Asset(path=p.relative_to(self.root).as_posix(), size=p.stat().st_size)
                for p in files]  # fmt: skip

    def read(self, asset: Asset, start: int, stop: int) -> bytes:
        self.left -= stop - start
        if self.left < 0:
            raise OSError("the line is cut")
        self.reads.append((asset.path, start, stop))
        return (self.root / asset.path).read_bytes()[start:stop]

    def sha256(self, asset: Asset) -> str:
        return self.digest

    def advice(self) -> str:
        return "bring a folder"


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """Two recordings, one with raw voltage that is really there (11 MB of it)."""
    pytest.importorskip("pynwb")
    out = tmp_path_factory.mktemp("archive")
    report = write_synth(
        out, SynthConfig(animals=1, sessions=2, units=4, trials=30, gaps=1), 0, quiet=True
    )
    with h5py.File(report.files[0], "r+") as file:
        voltage = file["acquisition/extracellular array recording/data"]
        assert isinstance(voltage, h5py.Dataset)
        voltage[: 14 * 10**5] = np.ones((14 * 10**5, voltage.shape[1]), np.int16)
    return out


def size_of(folder: Path) -> int:
    return sum(p.stat().st_size for p in folder.rglob("*") if p.is_file())


def test_whole_files_are_the_same(source, tmp_path):
    report = fetch(Folder(source), tmp_path, only="all", quiet=True)
    assert len(report.fetched) == 3
    for path in report.fetched:
        assert path.read_bytes() == (source / path.relative_to(tmp_path)).read_bytes()
    assert report.n_bytes == size_of(source)
    again = fetch(Folder(source), tmp_path, only="all", quiet=True)
    assert (len(again.kept), again.n_bytes) == (3, 0)


def test_an_interrupted_download_goes_on(source, tmp_path):
    biggest = max((p for p in source.rglob("*.nwb")), key=lambda p: p.stat().st_size)
    name = "*/" + biggest.name
    with pytest.raises(InputError, match=r"the line is cut.*bring a folder"):
        fetch(Folder(source, breaks_after=9 * 2**20), tmp_path, only="all", match=name, quiet=True)
    (part,) = tmp_path.rglob("*.part")
    done = part.stat().st_size
    assert 0 < done < biggest.stat().st_size
    assert not list(tmp_path.rglob("*.nwb"))
    report = fetch(Folder(source), tmp_path, only="all", match=name, quiet=True)
    assert report.n_bytes == biggest.stat().st_size - done
    assert report.fetched[0].read_bytes() == biggest.read_bytes()
    assert not list(tmp_path.rglob("*.part"))


def test_what_is_not_what_the_archive_holds_is_thrown_away(source, tmp_path):
    with pytest.raises(InputError, match="not what the archive holds"):
        fetch(Folder(source, digest="0" * 64), tmp_path, only="all", match="*.json", quiet=True)
    assert not [p for p in tmp_path.rglob("*") if p.is_file()]


def test_thin_copies_hold_all_that_is_read(source, tmp_path):
    archive = Folder(source)
    report = fetch(archive, tmp_path, match="*.nwb", quiet=True)
    assert len(report.fetched) == 2
    assert report.n_bytes < size_of(source) - 8 * 10**6  # the voltage stayed where it is
    for one, two in zip(
        read_sessions(tmp_path, quiet=True), read_sessions(source, quiet=True), strict=True
    ):
        assert one.equals(two)
    for path in find_recordings(tmp_path):
        assert is_thin(path)
        thin = read_recording(path)
        fat = read_recording(source / path.relative_to(tmp_path))
        assert thin.coverage is not None
        np.testing.assert_array_equal(thin.coverage, fat.coverage)
        through = read_recording(path, engine="pynwb")
        np.testing.assert_array_equal(thin.contacts["C2"], through.contacts["C2"])
        with h5py.File(path) as file:
            assert list(np.array(file.attrs[LEFT_OUT]).astype(str)) == [
                "/acquisition/extracellular array recording/data"
            ]
    assert not is_thin(find_recordings(source)[0])
    again = fetch(Folder(source), tmp_path, match="*.nwb", quiet=True)
    assert (len(again.kept), again.n_bytes) == (2, 0)


def test_references_inside_a_thin_copy_lead_to_their_targets(source, tmp_path):
    path = find_recordings(source)[1]
    with h5py.File(path) as file:
        thin_copy(file, tmp_path / "thin.nwb")
        names: dict[str, str] = {}
        file.visititems(
            lambda name, item: names.update(
                {f"{name}@{k}": str(file[v].name) for k, v in item.attrs.items()
                 if isinstance(v, h5py.Reference)}
            )
        )  # fmt: skip
        with h5py.File(tmp_path / "thin.nwb") as thin:
            assert names
            for key, target in names.items():
                place, attribute = key.split("@")
                reference = thin[place].attrs[attribute]
                assert thin[reference].name == target  # pyright: ignore


def test_one_failure_does_not_stop_the_others(source, tmp_path):
    root = tmp_path / "mixed"
    root.mkdir()
    (root / "b.nwb").write_bytes(find_recordings(source)[1].read_bytes())
    (root / "a.nwb").write_text("not HDF5")
    report = fetch(Folder(root), tmp_path / "out", quiet=True)
    assert [path for path, _ in report.failed] == ["a.nwb"]
    assert [p.name for p in report.fetched] == ["b.nwb"]
    assert "1 failed" in report.sentence()


def test_look_before_fetching(source, tmp_path):
    report = fetch(Folder(source), tmp_path / "x", dry_run=True, match="*.nwb", quiet=True)
    assert len(report.planned) == 2
    assert not (tmp_path / "x").exists()
    with pytest.raises(InputError, match="none of 3 files matches"):
        fetch(Folder(source), tmp_path, match="*.mat")
    with pytest.raises(InputError, match="choose all or trials-units"):
        fetch(Folder(source), tmp_path, only="units")  # pyright: ignore


def test_paths_stay_inside_the_folder(tmp_path):
    class Sly(Folder):
        def assets(self):
            return [Asset(path="../out.txt", size=3)]

    with pytest.raises(InputError, match="leads out of the folder"):
        fetch(Sly(tmp_path), tmp_path / "in", quiet=True)


# --- the real archive, without a network ----------------------------------------------------


class Remote:
    path, size = "sub-a/sub-a_behavior+ecephys.nwb", 12
    base_download_url = "https://example.invalid/x"

    def get_raw_metadata(self):
        return {"digest": {"dandi:sha2-256": "abc"}}


def dandi(monkeypatch, assets):
    class Client:
        def __enter__(self):
            return self

        def __exit__(self, *given):
            return None

        def get_dandiset(self, number, version):
            assert (number, version) == ("000231", "draft")
            return types.SimpleNamespace(get_assets=assets)

    package, api = types.ModuleType("dandi"), types.ModuleType("dandi.dandiapi")
    vars(api)["DandiAPIClient"] = Client
    monkeypatch.setitem(sys.modules, "dandi", package)
    monkeypatch.setitem(sys.modules, "dandi.dandiapi", api)


def test_dandi_is_asked_for_its_files(monkeypatch):
    dandi(monkeypatch, lambda: [Remote()])
    archive = DandiArchive(version="draft")
    (asset,) = archive.assets()
    assert asset == Asset(path=Remote.path, size=12, address=Remote.base_download_url)
    assert archive.sha256(asset) == "abc"


def test_offline_says_what_to_do(monkeypatch):
    def fails():
        logging.getLogger("dandi").error("a traceback of many lines")
        raise ConnectionError("no route to host")

    dandi(monkeypatch, fails)
    with pytest.raises(InputError) as caught:
        DandiArchive(version="draft").assets()
    text = str(caught.value)
    assert "cannot be reached (no route to host)" in text
    assert "dandi download https://dandiarchive.org/dandiset/000231/draft" in text


def test_without_dandi_it_says_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "dandi", None)
    with pytest.raises(MissingExtraError, match=r'pip install "vibrissa\[dandi\]"; or '):
        DandiArchive().assets()
    with pytest.raises(InputError, match="six digits"):
        DandiArchive(dandiset="231")


def test_parts_come_over_http():
    """The one function that speaks HTTP, with a server on this machine."""
    body = bytes(range(256))

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            low, high = self.headers["Range"].removeprefix("bytes=").split("-")
            part = body[int(low) : int(high) + 1]
            self.send_response(206 if self.path == "/x" else 200)
            self.send_header("Content-Length", str(len(part)))
            self.end_headers()
            self.wfile.write(part)

        def log_message(self, format, *args):
            return None

    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            address = f"http://127.0.0.1:{server.server_port}"
            assert read_range(f"{address}/x", 10, 20) == body[10:20]
            with pytest.raises(OSError, match="instead of a part"):
                read_range(f"{address}/y", 0, 5)
        finally:
            server.shutdown()
            thread.join()

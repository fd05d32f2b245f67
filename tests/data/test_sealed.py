"""Sealed files: whole or not there, and every flipped byte is found."""

import hashlib
from typing import Any

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vibrissa.core.errors import InputError, OutputError
from vibrissa.data.sealed import HEADER_BYTES, check_seal, seal_of, sealed_file


@pytest.fixture(scope="module")
def sealed(tmp_path_factory):
    path = tmp_path_factory.mktemp("sealed") / "file.h5"
    with sealed_file(path) as file:
        file.create_dataset("x", data=np.arange(500.0), chunks=(100,), compression="gzip")
        file.attrs["word"] = "touch"
    return path


def test_any_hdf5_reader_opens_it(sealed):
    with h5py.File(sealed, "r") as file:
        data: Any = file["x"]
        assert file.userblock_size == HEADER_BYTES
        np.testing.assert_array_equal(data[()], np.arange(500.0))
        assert file.attrs["word"] == "touch"


def test_seal_is_the_sha256_of_the_rest(sealed):
    body = sealed.read_bytes()[HEADER_BYTES:]
    assert seal_of(sealed) == check_seal(sealed) == hashlib.sha256(body).hexdigest()
    assert b"sha256" in sealed.read_bytes()[:HEADER_BYTES]


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_every_flipped_byte_is_found(sealed, tmp_path_factory, data):
    whole = bytearray(sealed.read_bytes())
    place = data.draw(st.integers(0, len(whole) - 1))
    whole[place] ^= data.draw(st.integers(1, 255))
    damaged = tmp_path_factory.mktemp("flip") / "file.h5"
    damaged.write_bytes(whole)
    with pytest.raises(InputError, match=r"file\.h5") as caught:
        check_seal(damaged)
    assert str(caught.value).count("\n") == 0


@pytest.mark.parametrize("length", [0, 100, HEADER_BYTES, HEADER_BYTES + 1000])
def test_a_truncated_file_is_found(sealed, tmp_path, length):
    cut = tmp_path / "file.h5"
    cut.write_bytes(sealed.read_bytes()[:length])
    with pytest.raises(InputError, match="cut short"):
        check_seal(cut)


def test_an_added_byte_is_found(sealed, tmp_path):
    long = tmp_path / "file.h5"
    long.write_bytes(sealed.read_bytes() + b"\0")
    with pytest.raises(InputError, match="damaged or cut short"):
        check_seal(long)


def test_an_error_while_filling_leaves_nothing(tmp_path):
    with pytest.raises(RuntimeError, match="no more"), sealed_file(tmp_path / "a.h5") as file:
        file.create_dataset("x", data=[1.0])
        raise RuntimeError("no more")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="choose another"), sealed_file(tmp_path / "file/a.h5"):
        pass


def test_missing_file(tmp_path):
    with pytest.raises(InputError, match="cannot be read"):
        check_seal(tmp_path / "none.h5")

import pytest

from vibrissa.core.errors import (
    InputError,
    MissingExtraError,
    refuse,
    refuse_unknown,
    require_extra,
)


def test_refusal_is_one_sentence_with_field_value_reason_remedy():
    error = refuse("length_mm", -1.0, "must be positive", "give a positive value")
    assert isinstance(error, InputError)
    assert isinstance(error, ValueError)
    assert str(error) == "length_mm = -1.0: must be positive; give a positive value."


def test_long_values_are_cut():
    assert len(str(refuse("x", "a" * 1000, "too long", "shorten it"))) < 200


def test_unknown_name_lists_the_nearest_and_all():
    text = str(refuse_unknown("cell", "LTSM", ["gru", "lstm"]))
    assert text == "cell = 'LTSM': no such name; did you mean 'lstm'? Known: gru, lstm."
    assert "choose one. Known: gru, lstm." in str(refuse_unknown("cell", "x", ["gru", "lstm"]))
    assert "Known: none." in str(refuse_unknown("cell", "x", []))


def test_missing_extra_gives_the_command():
    with pytest.raises(MissingExtraError, match=r'pip install "vibrissa\[video\]"'):
        require_extra("no_such_module_at_all", "video", "a video")
    assert require_extra("math", "video", "a video").pi > 3

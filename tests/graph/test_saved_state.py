"""Arrays and texts come back as they went; what is damaged or newer is refused by name."""

from __future__ import annotations

import io
import zipfile

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from graph import saved_state
from graph.saved_state import SavedStateError, json_array, json_of, pack, unpack

SECTIONS = {
    "belief": {"at": np.array([5], np.int64), "sums": np.array([[0.1, np.nan], [-0.0, np.inf]]), "empty": np.zeros((0, 3))},
    "names": {"texts": json_array(["café", None, {"a": [1, 2.5]}])},
}


def test_what_is_packed_comes_back_bit_for_bit() -> None:
    found = unpack(pack(SECTIONS))
    assert found.keys() == SECTIONS.keys()
    for section, arrays in SECTIONS.items():
        for name, array in arrays.items():
            assert found[section][name].tobytes() == array.tobytes()
            assert found[section][name].shape == array.shape
            assert found[section][name].dtype == array.dtype
    assert json_of(found["names"]["texts"]) == ["café", None, {"a": [1, 2.5]}]


def test_the_same_state_is_the_same_bytes() -> None:
    assert pack(SECTIONS) == pack(dict(reversed(SECTIONS.items())))


def test_a_newer_format_is_refused_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(saved_state, "FORMAT", saved_state.FORMAT + 1)
    content = pack(SECTIONS)
    monkeypatch.undo()
    with pytest.raises(SavedStateError, match="written by a newer Whence"):
        unpack(content)


def test_objects_are_never_unpickled() -> None:
    blob = io.BytesIO()
    with zipfile.ZipFile(blob, "w") as archive:
        for name, array in (("format", np.array([saved_state.FORMAT])), ("a/b", np.array([{}], object))):
            with archive.open(f"{name}.npy", "w") as member:
                np.lib.format.write_array(member, array, allow_pickle=True)
    with pytest.raises(SavedStateError, match="damaged"):
        unpack(blob.getvalue())


@given(st.data())
@settings(deadline=None, max_examples=300)
def test_a_damaged_blob_is_refused_or_reads_the_same(data: st.DataObject) -> None:
    content = bytearray(pack(SECTIONS))
    if data.draw(st.booleans()):
        del content[data.draw(st.integers(0, len(content) - 1)) :]
    else:
        content[data.draw(st.integers(0, len(content) - 1))] ^= data.draw(st.integers(1, 255))
    try:
        found = unpack(bytes(content))
    except SavedStateError:
        return
    # A flipped bit in a date or an attribute of the archive is of no consequence; names may differ, contents never.
    assert all(
        array.tobytes() in {each.tobytes() for part in SECTIONS.values() for each in part.values()} for part in found.values() for array in part.values()
    )

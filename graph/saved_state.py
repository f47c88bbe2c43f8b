"""What a process knows, as one blob for `GraphStore.save_state`: a NumPy .npz archive of named arrays, without pickle. Texts travel as JSON."""

from __future__ import annotations

import io
import struct
import zipfile
import zlib
from collections.abc import Mapping
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

FORMAT = 1  # moves with what the arrays mean, too
_VERSION = "format"
_SUFFIX = ".npy"
Arrays = Mapping[str, NDArray[Any]]


class SavedStateError(Exception):
    """A saved state that can't be taken up; the message says why."""


def pack(sections: Mapping[str, Arrays]) -> bytes:
    """Sections of named arrays as bytes: the same arrays, the same bytes. `unpack` is the way back; numpy.load reads them too."""
    blob = io.BytesIO()
    # Level 1: nearly as small as any other, at a fifth of the time.
    with zipfile.ZipFile(blob, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        _write(archive, _VERSION, np.array([FORMAT], np.int64))
        for section in sorted(sections):
            for name, array in sorted(sections[section].items()):
                _write(archive, f"{section}/{name}", array)
    return blob.getvalue()


def unpack(content: bytes) -> dict[str, dict[str, NDArray[Any]]]:
    """The sections of a blob. Raises SavedStateError where it is damaged or of another format."""
    sections: dict[str, dict[str, NDArray[Any]]] = {}
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            found = int(_read(archive, _VERSION)[0])
            if found != FORMAT:
                age = "a newer" if found > FORMAT else "an older"
                raise SavedStateError(f"it was written by {age} Whence (format {found}; this one reads {FORMAT})")
            for member in archive.namelist():
                section, _, name = member.removesuffix(_SUFFIX).rpartition("/")
                if section:
                    sections.setdefault(section, {})[name] = _read(archive, f"{section}/{name}")
    # What zipfile and numpy raise on damage.
    except (zipfile.BadZipFile, zlib.error, struct.error, EOFError, KeyError, ValueError, OverflowError, NotImplementedError, RuntimeError, OSError) as trouble:
        raise SavedStateError(f"it is damaged ({trouble})") from trouble
    return sections


def json_array(value: object) -> NDArray[np.uint8]:
    """Lists, objects and texts as an array of bytes."""
    return np.frombuffer(orjson.dumps(value, option=orjson.OPT_NON_STR_KEYS), np.uint8)


def json_of(array: NDArray[Any]) -> Any:
    """The reverse of `json_array`. Raises SavedStateError."""
    try:
        return orjson.loads(np.ascontiguousarray(array, np.uint8).tobytes())
    except orjson.JSONDecodeError as trouble:
        raise SavedStateError(f"it is damaged ({trouble})") from trouble


def _write(archive: zipfile.ZipFile, name: str, array: NDArray[Any]) -> None:
    with archive.open(name + _SUFFIX, "w") as member:
        np.lib.format.write_array(member, np.ascontiguousarray(array), allow_pickle=False)


def _read(archive: zipfile.ZipFile, name: str) -> NDArray[Any]:
    # Read whole first: so its checksum is tested before anything in it is believed.
    array: NDArray[Any] = np.lib.format.read_array(io.BytesIO(archive.read(name + _SUFFIX)), allow_pickle=False)
    return array

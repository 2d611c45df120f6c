"""A verifier on its way to another process: pickled, with the files that have to be loaded first, as JSON data."""

import pickle
from pathlib import Path
from typing import Any, TypeAlias

from .errors import InputError
from .plugins import load_file, loaded_files
from .verifier import Verifier

Parcel: TypeAlias = dict[str, Any]


def pack(verifier: Verifier) -> Parcel:
    """Make a parcel of a verifier. Raises InputError for one that cannot travel."""
    payload, by_value = _pickled(verifier)
    files = [str(path) for name, path in loaded_files().items() if name.encode() in payload]
    return {"verifier": payload.hex(), "by_value": by_value, "files": files}


def unpack(parcel: Parcel) -> Any:
    """Return the verifier. Raises whatever its modules raise when they are imported."""
    for path in parcel["files"]:
        load_file(Path(path))
    payload = bytes.fromhex(parcel["verifier"])
    if parcel["by_value"]:
        import dill

        return dill.loads(payload)
    return pickle.loads(payload)


def _pickled(verifier: Verifier) -> tuple[bytes, bool]:
    """Pickle the verifier; what a script or a notebook defines itself goes by value, since a worker cannot import it."""
    try:
        payload = pickle.dumps(verifier)
        if b"__main__" not in payload:
            return payload, False
        import dill

        return dill.dumps(verifier, recurse=True), True
    except (pickle.PicklingError, TypeError, AttributeError, ImportError) as error:
        raise InputError(
            f"verifier {verifier.name!r} cannot be sent to a worker process ({error}); define it in a module or a file"
        ) from None

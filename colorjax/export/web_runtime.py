"""ONNX Runtime Web, which runs exported models in browsers: fetched with npm. Imports no JAX."""

import contextlib
import hashlib
import io
import re
import shutil
import subprocess
import tarfile
import tempfile
from pathlib import Path

from colorjax.files import cache_folder, replaced
from colorjax.terminal.errors import InputError

PACKAGE, VERSION = "onnxruntime-web", "1.30.0"
ARCHIVE = f"{PACKAGE}-{VERSION}.tgz"
SHA256 = "d2228df7e4616bc3348bf504ee888f3bec43789a273f0a63f3e68d203ce3bf71"
# What a page needs to run a model in WebAssembly: 14 of the package's 140 MB.
FILES = ("ort.wasm.min.mjs", "ort-wasm-simd-threaded.mjs", "ort-wasm-simd-threaded.wasm")
TIME_LIMIT = 600  # seconds for npm


def runtime_files(archive: Path | None = None) -> dict[str, bytes]:
    """FILES and their contents.

    Args:
      archive: what `npm pack onnxruntime-web@VERSION` wrote; by default it is fetched so, once, and
        kept in the user's cache folder.

    Raises:
      InputError: the archive is not that one, or it cannot be fetched.
    """
    if archive is not None:
        try:
            data = archive.read_bytes()
        except OSError as error:
            raise InputError(f"--runtime {archive} cannot be read ({error.strerror})") from error
        if not _is_intact(data):
            raise InputError(
                f"--runtime {archive} is not {ARCHIVE}; give what `npm pack {PACKAGE}@{VERSION}` "
                "writes"
            )
        return _unpacked(data)
    cached = cache_folder() / ARCHIVE
    with contextlib.suppress(OSError):
        data = cached.read_bytes()
        if _is_intact(data):
            return _unpacked(data)
    data = _fetched()
    with contextlib.suppress(OSError), replaced(cached) as part:  # then it is fetched again
        part.write_bytes(data)
    return _unpacked(data)


def _fetched() -> bytes:
    how = f"give --runtime {ARCHIVE}, as `npm pack {PACKAGE}@{VERSION}` writes it"
    npm = shutil.which("npm")
    if npm is None:
        raise InputError(
            f"a site needs {PACKAGE} {VERSION}, and there is no npm to fetch it; {how}"
        )
    with tempfile.TemporaryDirectory(prefix="colorjax-") as folder:
        command = [npm, "pack", f"{PACKAGE}@{VERSION}", "--pack-destination", folder]
        try:
            subprocess.run(command, check=True, capture_output=True, timeout=TIME_LIMIT, cwd=folder)
            data = (Path(folder) / ARCHIVE).read_bytes()
        except (subprocess.SubprocessError, OSError) as error:
            raise InputError(
                f"npm cannot fetch {PACKAGE} {VERSION}{_reason(error)}; {how}"
            ) from error
    if not _is_intact(data):
        raise InputError(f"what npm fetched is not the {ARCHIVE} that colorjax knows; {how}")
    return data


def _reason(error: Exception) -> str:
    """What npm said, in brackets: its first line that is more than the name of an error."""
    if isinstance(error, subprocess.TimeoutExpired):
        return f" (no answer in {TIME_LIMIT} s)"
    said = getattr(error, "stderr", None) or b""
    lines = [line for line in said.decode(errors="replace").splitlines() if "error" in line]
    told = [line for line in lines if not re.search("error (code|syscall|errno) ", line)]
    return f" ({(told or lines)[0].strip():.120})" if lines else ""


def _is_intact(data: bytes) -> bool:
    return hashlib.sha256(data).hexdigest() == SHA256


def _unpacked(data: bytes) -> dict[str, bytes]:
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        members = {name: archive.extractfile(f"package/dist/{name}") for name in FILES}
        return {name: member.read() for name, member in members.items() if member is not None}

"""Weights by name: safetensors files of the Hugging Face Hub, in the cache of huggingface_hub.

The extra `hub` installs it. Its environment variables act here too: HF_HUB_OFFLINE, HF_HOME for the
cache, HF_TOKEN, HF_ENDPOINT. Imports no JAX, and huggingface_hub only for a name.
"""

import errno
import hashlib
import os
import re
import sys
from pathlib import Path
from typing import Any, NamedTuple

from colorjax.terminal.errors import InputError, installing

PREFIX = "hf:"
SUFFIX = ".safetensors"
# The file that a name without one stands for.
DEFAULT_FILE = f"model{SUFFIX}"
SYNTAX = f"{PREFIX}OWNER/NAME[@REVISION][/FILE{SUFFIX}]"
# Seconds that the server may be silent when it is asked what a repository holds.
SILENT_SECONDS = 30.0
# Above the card in the README.md of a repository.
METADATA = "---\nlibrary_name: colorjax\npipeline_tag: image-to-image\n---\n\n"

# No part starts with a dot, so that none leads out of a folder. Those of a repository are what
# huggingface_hub accepts.
_PART = r"[A-Za-z0-9_-][A-Za-z0-9_.-]*"
_FILE = re.compile(rf"{_PART}(?:/{_PART})*")
_OWNER = r"\b(?:(?!--|\.\.)[A-Za-z0-9_.-]){1,96}\b"
_NAME = re.compile(rf"{PREFIX}({_OWNER}/{_OWNER}(?<!\.git))(?:@({_PART}))?(?:/({_FILE.pattern}))?")
_COMMIT = re.compile(r"[0-9a-f]{40}")
# How huggingface_hub lays out its cache.
_CACHED = re.compile(r".*/models--(.+?)--(.+?)/snapshots/[^/]+/(.+)")
# Files that a message lists.
_LISTED = 10


class HubName(NamedTuple):
    """What a name says.

    Attributes:
      repository: OWNER/NAME.
      revision: a branch, tag or commit; None for the default branch.
      file: its path in the repository; "" for the default.
    """

    repository: str
    revision: str | None
    file: str


def is_name(text: str) -> bool:
    return text.startswith(PREFIX)


def parse(name: str) -> HubName:
    """Raises InputError for what is not `SYNTAX`."""
    match = _NAME.fullmatch(name)
    if match is None:
        raise InputError(f"{name!r} is not a name of weights; give {SYNTAX}")
    if match[3] and not match[3].endswith(SUFFIX):
        raise InputError(
            f"{name}: only {SUFFIX} files are downloaded, as others may run code; give {SYNTAX}"
        )
    return HubName(match[1], match[2], match[3] or "")


def fetch(name: str) -> Path:
    """The file of a name in the cache. It is downloaded unless this version of it is there.

    Without a network, with HF_HUB_OFFLINE, and while the server is silent or fails (a status of 500
    or more) it is the version that was downloaded last. What the server refuses is an error even if
    it is there, except for a revision that is a whole commit hash, whose files cannot change. A
    name without a file means model.safetensors, or else the only safetensors file, which is not
    known without a network. A download resumes when its connection breaks, but not in another call.

    Raises:
      InputError: there is no such file, it cannot be downloaded, or it arrived corrupt.
    """
    asked = parse(name)
    hub = _library(name)
    api = hub.HfApi(library_name="colorjax")
    try:
        info = api.model_info(
            asked.repository, revision=asked.revision, files_metadata=True, timeout=SILENT_SECONDS
        )
        if info.gated:  # its files are listed for all, and the cache serves what was downloaded
            api.auth_check(asked.repository)
    except Exception as error:  # of the network's libraries, whose types change
        status = _status(error)
        if status is None or status >= 500 or _COMMIT.fullmatch(asked.revision or ""):
            file = asked.file or DEFAULT_FILE
            cached = hub.try_to_load_from_cache(asked.repository, file, revision=asked.revision)
            if isinstance(cached, str):
                return Path(cached)
        raise _explained(name, error, "downloaded") from error
    sums = {entry.rfilename: entry.lfs and entry.lfs.sha256 for entry in info.siblings or ()}
    file = _chosen(name, asked, list(sums))
    try:
        path = Path(api.hf_hub_download(asked.repository, file, revision=asked.revision))
    except Exception as error:
        raise _explained(name, error, "downloaded") from error
    # huggingface_hub compares the size only.
    with path.open("rb") as opened:
        found = hashlib.file_digest(opened, "sha256").hexdigest()
    if sums[file] not in (None, found):  # what is not in LFS has none
        path.resolve().unlink(missing_ok=True)  # the path is a link where there are any
        path.unlink(missing_ok=True)
        raise InputError(
            f"{name} arrived corrupt (its SHA-256 is {found[:8]}…, not {sums[file][:8]}…) and was "
            "removed; run the command again"
        )
    return path


def local_path(text: str) -> Path:
    """The path itself, or the file of a name. Raises InputError as `fetch`."""
    return fetch(text) if is_name(text) else Path(os.path.expanduser(text))


def cached_name(path: Path) -> str | None:
    """The name, without a revision, of a file in the cache; None for any other path.

    There the path of a file is a link to one that is called by a checksum.
    """
    match = _CACHED.fullmatch(path.as_posix())
    if match is None:
        return None
    file = "" if match[3] == DEFAULT_FILE else f"/{match[3]}"
    return f"{PREFIX}{match[1]}/{match[2]}{file}"


def check_upload(name: str) -> None:
    """Raises InputError if nothing can be uploaded under this name, as far as known here."""
    asked = parse(name)
    if asked.revision or asked.file:
        raise InputError(f"{name} names more than a repository; give {PREFIX}OWNER/NAME")
    hub = _library(name)
    if hub.constants.HF_HUB_OFFLINE:
        raise InputError(f"{name} cannot be uploaded while HF_HUB_OFFLINE is set; unset it")
    if hub.get_token() is None:
        raise InputError(f"uploading {name} needs a token; run `hf auth login` or set HF_TOKEN")


def upload(name: str, files: dict[str, Path], card: str) -> str:
    """Uploads a model and its card as one commit, to a repository that is made if there is none.

    Args:
      name: hf:OWNER/NAME.
      files: by the names that they get there.
      card: Markdown; replaces the README.md.

    Returns:
      The address of the repository.

    Raises:
      InputError: the server cannot be reached, or refuses it.
    """
    hub, repository = _library(name), parse(name).repository
    if not sys.stderr.isatty() and hub.constants.HF_HUB_DISABLE_PROGRESS_BARS is None:
        hub.utils.disable_progress_bars()  # that of an upload is shown everywhere
    api = hub.HfApi(library_name="colorjax")
    content = {**files, "README.md": f"{METADATA}{card}".encode()}
    try:
        address = api.create_repo(repository, exist_ok=True)
        api.create_commit(
            repository,
            [hub.CommitOperationAdd(path, data) for path, data in content.items()],
            commit_message="Upload from colorjax",
        )
    except Exception as error:
        raise _explained(name, error, "uploaded") from error
    return str(address)


def _library(name: str) -> Any:
    try:
        import huggingface_hub.constants
        import huggingface_hub.utils
    except ImportError as error:
        raise InputError(f"{name} needs huggingface_hub: {installing('hub')}") from error
    # It warns of what is tried again; what fails in the end is raised.
    huggingface_hub.utils.logging.set_verbosity_error()
    return huggingface_hub


def _chosen(name: str, asked: HubName, files: list[str]) -> str:
    """The file that is meant, of those in a repository."""
    weights = sorted(path for path in files if path.endswith(SUFFIX) and _FILE.fullmatch(path))
    repository = f"{PREFIX}{asked.repository}"
    if not weights:
        raise InputError(
            f"{repository} holds no {SUFFIX} file, and others may run code; give another name"
        )
    listed = ", ".join(weights[:_LISTED]) + (", …" if len(weights) > _LISTED else "")
    if asked.file:
        if asked.file not in weights:
            raise InputError(f"{repository} holds no {asked.file}; it holds {listed}")
        return asked.file
    if DEFAULT_FILE in weights:
        return DEFAULT_FILE
    if len(weights) > 1:
        raise InputError(f"{name} may be several files: {listed}; give {name}/FILE")
    return weights[0]


def _status(error: Exception) -> int | None:
    """The HTTP status of the answer that an error is about; None without an answer."""
    return getattr(getattr(error, "response", None), "status_code", None)


def _explained(name: str, error: Exception, done: str) -> Exception:
    """One line about what huggingface_hub raised.

    Args:
      name: that was asked for.
      error: any.
      done: "downloaded" or "uploaded".

    Returns:
      InputError, or the error itself if the disk is full.
    """
    from huggingface_hub import errors

    if type(error) is RuntimeError and isinstance(error.__cause__, Exception):
        error = error.__cause__  # of an upload in a thread
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return error
    status = _status(error)
    reason = (str(error).strip() or type(error).__name__).splitlines()[0]
    log_in = "log in with `hf auth login` or HF_TOKEN"
    asked = parse(name)
    repository = f"{PREFIX}{asked.repository}"
    if isinstance(error, errors.OfflineModeIsEnabled):
        which = "" if asked.file else f"{DEFAULT_FILE} of "
        text = f"{which}{name} is not in the cache, and HF_HUB_OFFLINE is set; unset it"
        text += "" if asked.file else f", or give the file that is: {repository}/FILE{SUFFIX}"
    elif isinstance(error, errors.GatedRepoError):
        text = f"{repository} is gated; accept its terms on its page, and {log_in}"
    elif isinstance(error, errors.RevisionNotFoundError):
        text = f"{repository} has no revision {asked.revision}; check the name"
    elif isinstance(error, errors.RepositoryNotFoundError):
        text = f"{repository} does not exist or is private; check the name, or {log_in}"
    elif status in (401, 403):
        detail = getattr(error, "server_message", None) or f"status {status}"
        text = f"{name} cannot be {done}: access is refused ({detail}); {log_in}"
    elif status is not None:
        text = f"{name} cannot be {done}: the server answered with status {status}; try again later"
    elif isinstance(error, OSError) and error.filename:
        text = f"{name} cannot be {done} ({reason}); for another cache set HF_HOME"
    else:
        text = f"{name} cannot be {done} ({reason}); check the network, and run the command again"
    return InputError(text)

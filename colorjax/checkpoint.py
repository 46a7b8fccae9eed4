"""Checkpoints of training: the only file that imports orbax."""

import os
from pathlib import Path
from typing import Any

import jax
import orbax.checkpoint as ocp
from absl import logging

from colorjax.errors import InputError
from colorjax.state import TrainState, Variables

# Orbax remarks on what is meant to be so.
logging.set_verbosity(logging.ERROR)


class Checkpoints:
    """The checkpoints of one run, in a folder of their own.

    Orbax writes each into a folder beside and renames it, so a killed run leaves none half
    written. Saving goes on in the background; the state may be donated once `save` returns.
    """

    def __init__(self, directory: str | os.PathLike[str], max_to_keep: int | None = None) -> None:
        self._manager = ocp.CheckpointManager(
            Path(directory).absolute(),
            options=ocp.CheckpointManagerOptions(max_to_keep=max_to_keep),
        )

    def __enter__(self) -> "Checkpoints":
        return self

    def __exit__(self, *exception: object) -> None:
        """Waits until what is being saved is on disk."""
        self._manager.close()

    @property
    def latest_step(self) -> int | None:
        """The newest checkpoint's step; None if there is none."""
        return self._manager.latest_step()

    def save(self, step: int, state: TrainState, position: dict[str, Any]) -> None:
        """Saves the state after `step` updates, and what JSON can hold of where the run stands."""
        if step == self.latest_step:
            return
        self._manager.save(
            step,
            args=ocp.args.Composite(
                state=ocp.args.StandardSave(state), position=ocp.args.JsonSave(position)
            ),
        )

    def restore(self, like: TrainState) -> tuple[TrainState, dict[str, Any]]:
        """The newest checkpoint: the state, and what was saved beside it.

        Args:
          like: has the shapes, types and placement that the restored state shall have.
        """
        abstract = jax.tree.map(_abstract, like)
        restored = self._manager.restore(
            self.latest_step,
            args=ocp.args.Composite(
                state=ocp.args.StandardRestore(abstract), position=ocp.args.JsonRestore()
            ),
        )
        return restored["state"], restored["position"]


def any_saved(workdir: Path) -> bool:
    """Whether a run has a finished checkpoint; looks without making a folder."""
    return newest_step(workdir) is not None


def newest_step(workdir: Path) -> int | None:
    """The step of a run's newest finished checkpoint, if there is one; makes no folder."""
    names = (path.name for path in (workdir / "checkpoints").glob("*"))
    return max((int(name) for name in names if name.isdigit()), default=None)


def restore_generator(workdir: str | os.PathLike[str], like: Variables) -> Variables:
    """The averaged generator {"params", "batch_stats"} of another run's newest checkpoint.

    Args:
      workdir: the run.
      like: has the shapes, types and placement wanted.

    Raises:
      InputError: the run saved nothing, or another model; the first parameter that differs is
        named.
    """
    directory = Path(workdir) / "checkpoints"
    if not directory.is_dir():
        raise InputError(f"{workdir} is no run: it has no checkpoints/ folder")
    with ocp.CheckpointManager(
        directory.absolute(),
        item_handlers={"state": ocp.PyTreeCheckpointHandler()},
        # Another process may be writing there.
        options=ocp.CheckpointManagerOptions(read_only=True, create=False),
    ) as manager:
        step = manager.latest_step()
        if step is None:
            raise InputError(f"{workdir} has no checkpoint yet; let the run save one first")
        saved = manager.item_metadata(step)["state"]
        for kind in ("params", "batch_stats"):
            check_like(saved["ema"][kind], like[kind], f"{workdir}, step {step}")
        wanted = {"ema": jax.tree.map(_abstract, like)}
        return manager.restore(
            step,
            args=ocp.args.Composite(
                state=ocp.args.PyTreeRestore(
                    wanted,
                    restore_args=ocp.checkpoint_utils.construct_restore_args(wanted),
                    partial_restore=True,
                )
            ),
        )["state"]["ema"]


def check_like(tree: Any, like: Any, source: str) -> None:
    """Compares names and shapes of two trees of arrays.

    Raises:
      InputError: names the first parameter that is missing, extra, or of another shape.
    """
    shapes, wanted = _shapes(tree), _shapes(like)
    for name in [*wanted, *(name for name in shapes if name not in wanted)]:
        if shapes.get(name) != wanted.get(name):
            raise InputError(
                f"{source}: {name} has shape {shapes.get(name, 'none (it is missing)')}, "
                f"this model wants {wanted.get(name, 'no such parameter')}"
            )


def _shapes(tree: Any) -> dict[str, tuple[int, ...]]:
    leaves = jax.tree_util.tree_leaves_with_path(tree, is_leaf=lambda x: hasattr(x, "shape"))
    return {
        jax.tree_util.keystr(path, simple=True, separator="/"): tuple(leaf.shape)
        for path, leaf in leaves
    }


def _abstract(x: jax.Array) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=x.sharding)

"""`colorjax prepare`."""

import argparse
from pathlib import Path
from typing import Any

from colorjax.data.names import DATASETS
from colorjax.terminal.arguments import decimal, positive


def add_prepare(commands: Any) -> None:
    """Adds the subcommand to `commands`."""
    parser = commands.add_parser(
        "prepare",
        help="prepare a data set for training",
        description="Prepares a data set once, for all trainings that read it.",
        epilog="examples:\n"
        "  colorjax prepare digiface1m --config 72 --parts 0-1999 --data-dir data "
        "--accept-license\n"
        "  python -m colorjax.main --config=configs/gan.py:digiface1m "
        "--config.dataset.cache_dir=data",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "dataset",
        choices=list(DATASETS),
        metavar="DATASET",
        help="digiface1m, image_folder or procedural_faces",
    )
    parser.add_argument(
        "--data-dir",
        metavar="DIR",
        help="folder for prepared data and downloads; pass it to training as "
        "--config.dataset.cache_dir (default: the user's cache folder)",
    )
    digiface = parser.add_argument_group("digiface1m")
    digiface.add_argument(
        "--config",
        default="72",
        metavar="72|5|all",
        help="72 or 5 images per subject, or all (default: 72)",
    )
    digiface.add_argument(
        "--parts",
        metavar="PARTS",
        default="",
        help="zips by their subjects, as 0-1999,2000-3999 (default: all that are needed)",
    )
    digiface.add_argument(
        "--max-subjects", type=positive, default=0, metavar="N", help="only the first N subjects"
    )
    digiface.add_argument(
        "--manual-dir",
        metavar="DIR",
        help="a folder with zips that you have; missing ones are downloaded",
    )
    digiface.add_argument("--mirror", metavar="URL", help="download from this address instead")
    digiface.add_argument(
        "--accept-license",
        action="store_true",
        help="accept the licence: non-commercial research only",
    )
    folder = parser.add_argument_group("image_folder")
    folder.add_argument("--path", metavar="PATHS", help="folders and zips, comma-separated")
    folder.add_argument(
        "--validation-path",
        metavar="PATHS",
        help="folders and zips for validation (default: the folder val or test in --path if there "
        "is one, else a tenth of the people)",
    )
    folder.add_argument(
        "--min-chroma",
        type=decimal,
        metavar="X",
        default=5.0,
        help="skip images with less chroma (Lab units) in 95%% of their pixels; 0 keeps all "
        "(default: 5.0)",
    )
    parser.set_defaults(run=_run_prepare)


def _run_prepare(options: argparse.Namespace) -> None:
    from colorjax.data import pipeline

    data_dir = Path(options.data_dir or pipeline.default_cache_dir()).expanduser()
    if options.dataset == "digiface1m":
        from colorjax.data.digiface.prepare import prepare_digiface
        from colorjax.data.digiface.zips import URL

        builder = prepare_digiface(
            data_dir,
            config=options.config,
            parts=[part.strip() for part in options.parts.split(",") if part.strip()],
            max_subjects=options.max_subjects,
            manual_dir=Path(options.manual_dir).expanduser() if options.manual_dir else None,
            mirror=options.mirror or URL,
            accept_license=options.accept_license,
        )
        counts = {name: split.num_examples for name, split in builder.info.splits.items()}
    else:
        sources = pipeline.load_sources(
            options.dataset,
            path=options.path,
            validation_path=options.validation_path,
            cache_dir=data_dir,
            min_chroma=options.min_chroma,
        )
        counts = {"train": len(sources.train), "validation": len(sources.validation)}
    listed = ", ".join(f"{count} images for {name}" for name, count in sorted(counts.items()))
    print(f"{options.dataset} is ready in {data_dir}: {listed}.")

"""Run atheris on one Python target: `python atheris_driver.py TARGET [LIBFUZZER ARGUMENTS]...`."""

import importlib
import sys

import atheris

_INSTRUMENTED = [
    "isosmoke.keeper",
    "isosmoke.repro",
    "isosmoke.rootfs_images",
    "isosmoke.sandbox.survivors",
    "tarfile",
]

if __name__ == "__main__":
    program, name, *arguments = sys.argv
    with atheris.instrument_imports(include=_INSTRUMENTED):
        target = importlib.import_module(name)
    atheris.Setup([program, *arguments], target.run)
    atheris.Fuzz()

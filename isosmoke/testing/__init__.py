"""For whoever writes tests or an engine: a fake engine, and what every engine must hold to."""

from isosmoke.testing.bench import Bench
from isosmoke.testing.contract import CONTRACT
from isosmoke.testing.fake import Act, FakeEngine, survivor

__all__ = ["CONTRACT", "Act", "Bench", "FakeEngine", "survivor"]

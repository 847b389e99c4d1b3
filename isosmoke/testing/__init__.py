"""Tools for people who write tests or engines: a fake engine, and the contract of every engine."""

from isosmoke.testing.bench import Bench
from isosmoke.testing.contract import CONTRACT
from isosmoke.testing.fake import Act, FakeEngine, survivor

__all__ = ["CONTRACT", "Act", "Bench", "FakeEngine", "survivor"]

"""What a key of a manifest means: whether it makes the sandbox, and what a change of it means.

A meaning is metadata of a field, and stands beside its type. `isosmoke check`, `isosmoke repro
--save` and the fixture `sandbox` follow it, so that none of them keeps a list of keys.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from functools import cache
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel

if TYPE_CHECKING:
    from isosmoke.manifest.models import Leaks, Service


@dataclass(frozen=True, slots=True)
class Change:
    """One thing about a key that is not as it was, in `words`.

    It is `refused` where the scenario asks for less, else it is a note, which only a reader can
    judge. `what` identifies it, and stays the same while the values in `words` change.
    """

    what: str
    words: str
    refused: bool


Judge = Callable[[str, Any, Any], Iterator[Change]]
"""Yields what a change of a key means: from the key, its value before, and its value now."""


@dataclass(frozen=True, slots=True)
class Unjudged:
    """No change of the key is told, because of `reason`."""

    reason: str

    def __call__(self, key: str, was: Any, is_now: Any) -> Iterator[Change]:
        return iter(())


@dataclass(frozen=True, slots=True, kw_only=True)
class Meaning:
    """What a key means.

    `makes_sandbox` is whether the same commands may run otherwise with another value of it: in
    another environment, beside something else, or for a shorter time.
    """

    makes_sandbox: bool
    change: Judge | Unjudged


@cache
def meanings(model: type[BaseModel]) -> Mapping[str, Meaning]:
    """Return the meaning of each key of a table, in the order of the keys.

    Raises:
        TypeError: if a key has none, or two.
    """
    found = {}
    for key, field in model.model_fields.items():
        own = [one for one in field.metadata if isinstance(one, Meaning)]
        if len(own) != 1:
            raise TypeError(f"{model.__name__}.{key} has {len(own)} meanings: give it one")
        found[key] = own[0]
    return found


def sandbox_keys(model: type[BaseModel]) -> tuple[str, ...]:
    """Return the keys of a table that make the sandbox, in their order."""
    return tuple(key for key, meaning in meanings(model).items() if meaning.makes_sandbox)


def changes(was: BaseModel, is_now: BaseModel, within: str = "") -> Iterator[Change]:
    """Yield what is not as it was in a table, key by key; `within` is the way to the table."""
    for key, meaning in meanings(type(was)).items():
        yield from meaning.change(f"{within}{key}", getattr(was, key), getattr(is_now, key))


def by_key(key: str, was: BaseModel, is_now: BaseModel) -> Iterator[Change]:
    """Judge each key of a table by its own meaning."""
    return changes(was, is_now, f"{key}.")


def noted(key: str, was: object, is_now: object) -> Iterator[Change]:
    """Note any other value."""
    if was != is_now:
        words = f"{key} changed from {_shown(was)} to {_shown(is_now)}: read it"
        yield Change(key, words, refused=False)


def _shown(value: object) -> str:
    return "none" if value is None else repr(value)


def noted_each(key: str, was: Any, is_now: Any) -> Iterator[Change]:
    """Note each member of a list, and each name of a table, that is new, gone, or not as it was.

    Values are not told: those of an environment are long, or nobody's business.
    """
    for name in dict.fromkeys((*was, *is_now)):
        if name not in is_now:
            verb = "taken out"
        elif name not in was:
            verb = "added"
        elif isinstance(was, Mapping) and was[name] != is_now[name]:
            verb = "changed"
        else:
            continue
        yield Change(f"{key} {name}", f"{key}: {name!r} {verb}: read it", refused=False)


def noted_services(
    key: str, was: tuple["Service", ...], is_now: tuple["Service", ...]
) -> Iterator[Change]:
    """Note each service that is new, gone, or not as it was."""
    return noted_each(key, {one.name: one for one in was}, {one.name: one for one in is_now})


def shortened(key: str, was: float, is_now: float) -> Iterator[Change]:
    """Refuse a lower number."""
    if is_now < was:
        yield Change(key, f"{key} shortened from {was:g} to {is_now:g}", refused=True)


def raised(key: str, was: float, is_now: float) -> Iterator[Change]:
    """Refuse a higher number."""
    if is_now > was:
        yield Change(key, f"{key} raised from {was:g} to {is_now:g}", refused=True)


def raised_or_lifted(key: str, was: int | None, is_now: int | None) -> Iterator[Change]:
    """Refuse a higher bound, and none where there was one."""
    if was is not None and (is_now is None or is_now > was):
        number = "any" if is_now is None else is_now
        yield Change(key, f"{key} raised from {was} to {number}", refused=True)


def loosened(key: str, was: str, is_now: str) -> Iterator[Change]:
    """Refuse another word than the strict one, of a key that knows two."""
    if was == "refuse" != is_now:
        yield Change(key, f"{key} loosened from {was!r} to {is_now!r}", refused=True)


@dataclass(frozen=True, slots=True)
class Lost:
    """Refuse that a member of a list is gone; `noun` is what one is called."""

    noun: str

    def __call__(self, key: str, was: tuple[str, ...], is_now: tuple[str, ...]) -> Iterator[Change]:
        for one in dict.fromkeys(was):
            if one not in is_now:
                yield Change(f"{self.noun} {one}", f"lost {self.noun} {one!r}", refused=True)


def demanded(key: str, was: tuple[str, ...], is_now: tuple[str, ...]) -> Iterator[Change]:
    """Refuse a member more of a list of requirements: what is missing switches a scenario off."""
    for one in dict.fromkeys(is_now):
        if one not in was:
            words = f"{key} extended by {one!r}: it is skipped where that is missing"
            yield Change(f"{key} {one}", words, refused=True)


def reworded(key: str, was: str, is_now: str) -> Iterator[Change]:
    """Refuse that words are gone, and note other words: whether they ask for less, who can say."""
    if not was.strip() or was.split() == is_now.split():
        return
    if is_now.strip():
        yield Change(key, f"{key} reworded: read it", refused=False)
    else:
        yield Change(key, f"lost its {key}", refused=True)


def allowed_leaks(key: str, was: "Leaks", is_now: "Leaks") -> Iterator[Change]:
    """Refuse a looser policy, and another allowance or a longer one where leaks were failures.

    Whether one pattern finds more than another cannot be decided: another one is a new one.
    """
    if was.policy == "report":
        return
    if is_now.policy == "report":
        words = "leak policy loosened from 'fail' to 'report'"
        yield Change(f"{key}.policy", words, refused=True)
    allowed = _last_days(was)
    for command, until in _last_days(is_now).items():
        what = f"{key}.allow {command}"
        if command not in allowed:
            words = f"leak policy loosened: {command!r} may now outlive it"
            yield Change(what, words, refused=True)
        elif until > allowed[command]:
            words = f"leak policy loosened: {command!r} is allowed {_until(until)}"
            yield Change(what, f"{words}, not {_until(allowed[command])}", refused=True)


def _last_days(leaks: "Leaks") -> Mapping[str, date]:
    days: dict[str, date] = {}
    for one in leaks.allow:
        days[one.command] = max(days.get(one.command, date.min), one.until or date.max)
    return days


def _until(day: date) -> str:
    return "for ever" if day == date.max else f"until {day}"

"""Meanings of manifest keys: effect on the sandbox, and judgement of changes.

A meaning is stored in the metadata of a field, next to its type. `isosmoke check`, `isosmoke repro
--save` and the `sandbox` fixture read it, so that none of them needs its own list of keys.
"""

from collections.abc import Callable, Iterator, Mapping
from datetime import date
from typing import TYPE_CHECKING, Any

from isosmoke.dataclass import dataclass
from isosmoke.manifest.table_base import Table

if TYPE_CHECKING:
    from isosmoke.manifest.models import Leaks, Service, TrustedPlace


@dataclass(frozen=True, slots=True)
class KeyChange:
    """A changed key, described by `text`.

    A change that can hide a failure is `refused`. Any other change is a note for a human reviewer.
    `kind` is a word for programs. `identity` names the change; it stays the same while the values
    in `text` change.
    """

    identity: str
    text: str
    refused: bool
    kind: str = "setting-weakened"


Judge = Callable[[str, Any, Any], Iterator[KeyChange]]
"""A function that takes a key, its old value and its new value, and yields the changes."""


@dataclass(frozen=True, slots=True)
class Unjudged:
    """A judge that reports no change of the key, for the given `reason`."""

    reason: str

    def __call__(self, key: str, was: Any, is_now: Any) -> Iterator[KeyChange]:
        return iter(())


@dataclass(frozen=True, slots=True, kw_only=True)
class Meaning:
    """The meaning of a key.

    `makes_sandbox` is true if the value can affect how the same commands run: in a different
    environment, alongside other processes, or for a shorter time.
    """

    makes_sandbox: bool
    judge: Judge | Unjudged


def sandbox_key(judge: Judge | Unjudged) -> Meaning:
    """Return the meaning of a key that affects the sandbox."""
    return Meaning(makes_sandbox=True, judge=judge)


def entry_key(judge: Judge | Unjudged) -> Meaning:
    """Return the meaning of a key that does not affect the sandbox."""
    return Meaning(makes_sandbox=False, judge=judge)


def retention_key() -> Meaning:
    """Return the meaning of a key about the retention of past runs."""
    return entry_key(Unjudged("the retention of past runs does not affect later ones"))


_collected: dict[type[Table], Mapping[str, Meaning]] = {}


def collect_meanings(model: type[Table]) -> Mapping[str, Meaning]:
    """Return the meaning of each key of a table, in the order of the keys.

    Raises:
        TypeError: A key does not have exactly one meaning.
    """
    if model not in _collected:
        _collected[model] = _read_meanings(model)
    return _collected[model]


def _read_meanings(model: type[Table]) -> Mapping[str, Meaning]:
    from isosmoke.manifest.validation import validator

    meanings = {}
    for key, metadata in validator.find_metadata(model).items():
        declared = [item for item in metadata if isinstance(item, Meaning)]
        if len(declared) != 1:
            raise TypeError(f"{model.__name__}.{key} has {len(declared)} meanings: give it one")
        meanings[key] = declared[0]
    return meanings


def list_reviewed_keys(model: type[Table]) -> tuple[str, ...]:
    """Return the keys of a table whose values a reviewer acknowledges, in their order.

    A change of any other key is harmless, or only adds a member.
    """
    return tuple(
        key
        for key, meaning in collect_meanings(model).items()
        if not isinstance(meaning.judge, Unjudged | RemovalJudge)
    )


def list_sandbox_keys(model: type[Table]) -> tuple[str, ...]:
    """Return the keys of a table that affect the sandbox, in their order."""
    return tuple(key for key, meaning in collect_meanings(model).items() if meaning.makes_sandbox)


def find_changes(was: Table, is_now: Table, prefix: str = "") -> Iterator[KeyChange]:
    """Yield the changes of each key of a table; `prefix` is prepended to the keys."""
    for key, meaning in collect_meanings(type(was)).items():
        yield from meaning.judge(f"{prefix}{key}", getattr(was, key), getattr(is_now, key))


def has_refused_sandbox(was: Table, is_now: Table) -> bool:
    """Return whether a key that affects the sandbox changed in a way that can hide a failure."""
    return any(
        change.refused
        for key, meaning in collect_meanings(type(was)).items()
        if meaning.makes_sandbox
        for change in meaning.judge(key, getattr(was, key), getattr(is_now, key))
    )


def judge_table(key: str, was: Table, is_now: Table) -> Iterator[KeyChange]:
    """Judge each key of a table by its own meaning."""
    return find_changes(was, is_now, f"{key}.")


def refuse_change(key: str, was: object, is_now: object) -> Iterator[KeyChange]:
    """Refuse any change of the value, because the script then runs under other conditions."""
    if was != is_now:
        text = f"{key} changed from {_format(was)} to {_format(is_now)}, which can hide a failure"
        yield KeyChange(key, text, refused=True)


def note_change(key: str, was: object, is_now: object) -> Iterator[KeyChange]:
    """Note any change of the value."""
    if was != is_now:
        text = f"{key} changed from {_format(was)} to {_format(is_now)}: review it"
        yield KeyChange(key, text, refused=False, kind="setting-changed")


def _format(value: object) -> str:
    return "none" if value is None else repr(value)


def refuse_member_changes(key: str, was: Any, is_now: Any) -> Iterator[KeyChange]:
    """Refuse each added, removed or changed member of a list or table.

    Values are not printed: those of an environment may be long or confidential.
    """
    for name in dict.fromkeys((*was, *is_now)):
        if name not in is_now:
            verb = "removed"
        elif name not in was:
            verb = "added"
        elif isinstance(was, Mapping) and was[name] != is_now[name]:
            verb = "changed"
        else:
            continue
        text = f"{key}: {name!r} {verb}, which can hide a failure"
        yield KeyChange(f"{key} {name}", text, refused=True)


def refuse_renaming(key: str, was: tuple[str, ...], is_now: tuple[str, ...]) -> Iterator[KeyChange]:
    """Refuse other patterns, or another order: another call could then have a declared name."""
    if was != is_now:
        text = f"{key} changed, which gives the subcommands in `teeth` other calls"
        yield KeyChange(key, text, refused=True)


def refuse_new_keys(key: str, was: tuple[str, ...], is_now: tuple[str, ...]) -> Iterator[KeyChange]:
    """Refuse an added key, whose owner could then sign what no gate has tested."""
    added = len({*is_now} - {*was})
    if added:
        text = f"{key}: {added} added, whose owner can sign for a task"
        yield KeyChange(key, text, refused=True)


def refuse_service_changes(
    key: str, was: tuple["Service", ...], is_now: tuple["Service", ...]
) -> Iterator[KeyChange]:
    """Refuse each added, removed or changed service."""
    before = {service.name: service for service in was}
    return refuse_member_changes(key, before, {service.name: service for service in is_now})


def refuse_increase(key: str, was: float, is_now: float) -> Iterator[KeyChange]:
    """Refuse a higher number."""
    if is_now > was:
        yield KeyChange(key, f"{key} raised from {was:g} to {is_now:g}", refused=True)


def refuse_higher_limit(key: str, was: int | None, is_now: int | None) -> Iterator[KeyChange]:
    """Refuse a higher limit, and the removal of a limit; None is no limit."""
    if _is_higher(was, is_now):
        number = "unlimited" if is_now is None else is_now
        yield KeyChange(key, f"{key} raised from {was} to {number}", refused=True)


def judge_limit(key: str, was: int | None, is_now: int | None) -> Iterator[KeyChange]:
    """Refuse a higher limit, and note a lower one."""
    return (
        refuse_higher_limit(key, was, is_now)
        if _is_higher(was, is_now)
        else note_change(key, was, is_now)
    )


def _is_higher(was: int | None, is_now: int | None) -> bool:
    return was is not None and (is_now is None or is_now > was)


def refuse_looser(key: str, was: str, is_now: str) -> Iterator[KeyChange]:
    """Refuse a change from `"refuse"` to another value."""
    if was == "refuse" != is_now:
        yield KeyChange(key, f"{key} loosened from {was!r} to {is_now!r}", refused=True)


def refuse_disabling(key: str, was: bool, is_now: bool) -> Iterator[KeyChange]:  # noqa: FBT001
    """Refuse a rule that no longer applies."""
    if was and not is_now:
        yield KeyChange(key, f"{key} no longer applies", refused=True)


def refuse_new_places(
    key: str, was: tuple["TrustedPlace", ...], is_now: tuple["TrustedPlace", ...]
) -> Iterator[KeyChange]:
    """Refuse each new certificate of a place: what its worker says about a scenario counts."""
    known = {(place.address, certificate) for place in was for certificate in place.certificates}
    for place in is_now:
        for certificate in place.certificates:
            if (place.address, certificate) not in known:
                text = f"{key} extended by {place.address} with certificate {certificate[:12]}"
                identity = format_pin(key, place.address, certificate)
                yield KeyChange(identity, text, refused=True)


def format_pin(key: str, address: str, certificate: str) -> str:
    """Return the identity of the change that a certificate of a place was added."""
    return f"{key} {address} {certificate}"


@dataclass(frozen=True, slots=True)
class RemovalJudge:
    """A judge that refuses the removal of a list member; `noun` is the name for a member."""

    noun: str

    def __call__(
        self, key: str, was: tuple[str, ...], is_now: tuple[str, ...]
    ) -> Iterator[KeyChange]:
        for member in dict.fromkeys(was):
            if member not in is_now:
                text = f"lost {self.noun} {member!r}"
                kind = f"{self.noun}-lost"
                yield KeyChange(f"{self.noun} {member}", text, refused=True, kind=kind)


def refuse_additions(
    key: str, was: tuple[str, ...], is_now: tuple[str, ...]
) -> Iterator[KeyChange]:
    """Refuse a new requirement, since a scenario is skipped if a requirement is missing."""
    for member in dict.fromkeys(is_now):
        if member not in was:
            text = f"{key} extended by {member!r}: the scenario is skipped where that is missing"
            yield KeyChange(f"{key} {member}", text, refused=True, kind="requires-grew")


def judge_rewording(key: str, was: str, is_now: str) -> Iterator[KeyChange]:
    """Refuse the removal of a text, and note other changes, which need a human reviewer."""
    if not was.strip() or was.split() == is_now.split():
        return
    if is_now.strip():
        text = f"{key} reworded: review it"
        yield KeyChange(key, text, refused=False, kind=f"{key}-reworded")
    else:
        yield KeyChange(key, f"lost its {key}", refused=True, kind=f"{key}-lost")


_LEAKS = "leaks-loosened"


def judge_leak_policy(key: str, was: "Leaks", is_now: "Leaks") -> Iterator[KeyChange]:
    """Refuse a looser policy and, if leaks were failures, new or extended allowances.

    A changed pattern counts as a new one, since patterns cannot be compared.
    """
    if was.policy == "report":
        return
    if is_now.policy == "report":
        text = "leak policy loosened from 'fail' to 'report'"
        yield KeyChange(f"{key}.policy", text, refused=True, kind=_LEAKS)
    allowed = _collect_expiry_dates(was)
    for command, until in _collect_expiry_dates(is_now).items():
        identity = f"{key}.allow {command}"
        if command not in allowed:
            text = f"leak policy loosened: {command!r} may now outlive the scenario"
            yield KeyChange(identity, text, refused=True, kind=_LEAKS)
        elif until > allowed[command]:
            text = f"leak policy loosened: {command!r} is allowed {_format_expiry(until)}"
            text = f"{text}, previously {_format_expiry(allowed[command])}"
            yield KeyChange(identity, text, refused=True, kind=_LEAKS)


def _collect_expiry_dates(leaks: "Leaks") -> Mapping[str, date]:
    """Return the last day on which each command is allowed."""
    dates: dict[str, date] = {}
    for allowance in leaks.allow:
        last_day = allowance.until or date.max
        dates[allowance.command] = max(dates.get(allowance.command, date.min), last_day)
    return dates


def _format_expiry(day: date) -> str:
    return "without expiry" if day == date.max else f"until {day}"

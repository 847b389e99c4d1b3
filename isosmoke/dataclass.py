"""The decorator `dataclass` of every class of data, which is cheap to apply.

It has the meaning of that of the standard library, which compiles six methods of each frozen class:
0.5 ms each, a third of the time that a run takes to start. This one compiles `__init__` only, when
it is first used, as a command never uses many of the classes that it imports, and adds methods that
all classes share and that look the fields up.
"""

from collections.abc import Callable, Iterator
from dataclasses import MISSING, Field, FrozenInstanceError, fields
from functools import cache
from typing import TYPE_CHECKING, Any


def _define_methods(cls: type, *, frozen: bool, slots: bool) -> None:
    """Add the shared methods to a class, except those that it has."""
    methods: dict[str, Any] = {"__repr__": _repr, "__eq__": _eq}
    methods["__hash__"] = _hash if frozen else None
    if frozen:
        methods["__setattr__"] = _set_slot_once if slots else _set_once
        methods["__delattr__"] = _refuse_deletion
    for name, method in methods.items():
        if name not in vars(cls):
            setattr(cls, name, method)


@cache
def _list_names(cls: type, purpose: str) -> tuple[str, ...]:
    """Return the names of the fields that serve a purpose, "repr" or "compare"."""
    return tuple(field.name for field in fields(cls) if getattr(field, purpose))


def _repr(self: Any) -> str:
    names = _list_names(self.__class__, "repr")
    return f"{type(self).__qualname__}({', '.join(f'{n}={getattr(self, n)!r}' for n in names)})"


def _eq(self: Any, other: object) -> Any:
    if type(other) is not type(self):
        return NotImplemented
    return _get_values(self) == _get_values(other)


def _hash(self: Any) -> int:
    return hash(_get_values(self))


def _get_values(instance: Any) -> tuple[Any, ...]:
    return tuple(getattr(instance, name) for name in _list_names(instance.__class__, "compare"))


def _set_slot_once(self: object, name: str, value: object) -> None:
    """Set a slot that has no value yet, as `__init__` and a copy do."""
    if hasattr(self, name):
        raise FrozenInstanceError(f"cannot assign to field {name!r}")
    object.__setattr__(self, name, value)


def _set_once(self: object, name: str, value: object) -> None:
    """Set an attribute that the instance does not have yet; the class may have its default."""
    if name in vars(self):
        raise FrozenInstanceError(f"cannot assign to field {name!r}")
    object.__setattr__(self, name, value)


class _Init:
    """The `__init__` of a class until it is first looked up, when the compiled one replaces it."""

    def __init__(self, cls: type) -> None:
        self._cls = cls

    def __get__(self, instance: object, owner: type) -> Callable[..., None]:
        compiled = _compile_init(self._cls)
        setattr(self._cls, "__init__", compiled)  # noqa: B010 - a type checker refuses the other form
        bound: Callable[..., None] = compiled.__get__(instance, owner)
        return bound


def _compile_init(cls: type) -> Any:
    """Return the function that sets each field to its argument or default."""
    declared = fields(cls)
    given = [field for field in declared if field.init]
    ordered = [field for field in given if not field.kw_only]
    named = [field for field in given if field.kw_only]
    parameters = ["self", *map(_declare_parameter, ordered)]
    parameters += ["*", *map(_declare_parameter, named)] if named else []
    body = [*(line for field in declared for line in _set_field(field))]
    body += ["self.__post_init__()"] if hasattr(cls, "__post_init__") else []
    text = f"def __init__({', '.join(parameters)}):\n " + "\n ".join(body or ["pass"])
    names: dict[str, Any] = {"_MISSING": MISSING}
    names.update((f"_default_{field.name}", field.default) for field in declared)
    names.update((f"_create_{field.name}", field.default_factory) for field in declared)
    exec(text, names)  # noqa: S102 - of the names of fields
    function = names["__init__"]
    function.__qualname__ = f"{cls.__qualname__}.__init__"
    function.__annotations__ = {field.name: field.type for field in given} | {"return": None}
    return function


def _declare_parameter(field: Field[Any]) -> str:
    has_default = field.default is not MISSING or field.default_factory is not MISSING
    return f"{field.name}=_default_{field.name}" if has_default else field.name


def _set_field(field: Field[Any]) -> Iterator[str]:
    """Yield the statement that sets a field; none if it is no argument and has no default."""
    name = field.name
    if field.default_factory is not MISSING:
        created = f"_create_{name}()"
        value = f"{created} if {name} is _MISSING else {name}" if field.init else created
        yield f"self.{name} = {value}"
    elif field.init:
        yield f"self.{name} = {name}"
    elif field.default is not MISSING:
        yield f"self.{name} = _default_{name}"


def _refuse_deletion(_: object, name: str) -> None:
    raise FrozenInstanceError(f"cannot delete field {name!r}")


if TYPE_CHECKING:
    from dataclasses import dataclass as dataclass  # noqa: PLC0414 - type checkers know its meaning
else:
    import dataclasses

    def dataclass(
        *, frozen: bool = False, slots: bool = False, kw_only: bool = False
    ) -> Callable[[type], type]:
        """Return a decorator with the meaning of `dataclasses.dataclass`."""

        def decorate(cls: type) -> type:
            _define_methods(cls, frozen=frozen, slots=slots)
            done = dataclasses.dataclass(
                init=False, eq=False, repr=False, slots=slots, kw_only=kw_only
            )(cls)
            if "__init__" not in vars(done):
                done.__init__ = _Init(done)
            return done

        return decorate

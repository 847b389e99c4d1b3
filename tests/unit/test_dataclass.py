"""The decorator of classes of data behaves as that of the standard library."""

import copy
import dataclasses
import inspect
import pickle
from collections.abc import Callable
from dataclasses import FrozenInstanceError, asdict, astuple, field, replace
from types import FunctionType
from typing import Any

import pytest

from isosmoke.dataclass import dataclass


@dataclass(frozen=True, slots=True)
class Slotted:
    """A frozen class with slots; the last field is neither shown nor compared."""

    name: str
    items: tuple[int, ...] = ()
    hidden: int = field(default=0, repr=False, compare=False)


@dataclass(frozen=True, kw_only=True)
class Open:
    """A frozen class without slots, whose defaults are attributes of the class as well."""

    name: str
    items: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Inheriting(Slotted):
    """A subclass with a further field."""

    more: str = "more"


@dataclass(slots=True)
class Changeable:
    """A class whose fields can change."""

    name: str
    items: list[int] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Own:
    """A class that defines a method that the decorator would add."""

    name: str

    def __repr__(self) -> str:
        return "own"


@dataclass(slots=True)
class Mixed:
    """A class with each kind of field: required, by name, created, and no argument."""

    first: str
    named: int = field(kw_only=True)
    second: str = "two"
    created: list[int] = field(default_factory=list)
    fixed: str = field(default="fixed", init=False)
    made: list[int] = field(default_factory=list, init=False)
    ready: bool = field(init=False)

    def __post_init__(self) -> None:
        self.ready = True


@dataclass(frozen=True, slots=True)
class Empty:
    """A class without fields."""


class Plain(Slotted):
    """A subclass that is no class of data itself."""


FROZEN: tuple[Callable[[], Any], ...] = (
    lambda: Slotted("a", (1,)),
    lambda: Open(name="a", items=(1,)),
    lambda: Inheriting("a", (1,), more="b"),
)


@pytest.mark.parametrize("create", FROZEN)
def test_frozen_instance_cannot_change(create: Callable[[], Any]) -> None:
    """No field of a frozen instance can be set again or deleted, and no attribute is added."""
    instance = create()
    with pytest.raises(FrozenInstanceError):
        instance.name = "b"
    with pytest.raises(FrozenInstanceError):
        del instance.name
    assert instance == create()


@pytest.mark.parametrize("create", FROZEN)
def test_copies_are_equal(create: Callable[[], Any]) -> None:
    """A copy, a pickled and a replaced instance are equal, have one hash, and look the same."""
    instance = create()
    copies = (
        copy.copy(instance),
        copy.deepcopy(instance),
        pickle.loads(pickle.dumps(instance)),  # noqa: S301 - its own data
        replace(instance),
    )
    for made in copies:
        assert (made, hash(made), repr(made)) == (instance, hash(instance), repr(instance))
    assert replace(instance, name="b") != instance


def test_fields_without_a_purpose_are_left_out() -> None:
    """A field that is neither shown nor compared affects neither text nor equality."""
    assert Slotted("a", hidden=1) == Slotted("a", hidden=2)
    assert repr(Slotted("a", hidden=1)) == "Slotted(name='a', items=())"


def test_other_classes_differ() -> None:
    """Instances of two classes are never equal, not even if one inherits from the other."""
    assert Slotted("a") != Inheriting("a")
    assert Slotted("a").__eq__(astuple(Slotted("a"))) is NotImplemented


def test_changeable_class_has_no_hash() -> None:
    """An instance that can change is equal to an equal one, and has no hash."""
    instance = Changeable("a")
    instance.name = "b"

    assert instance == Changeable("b")
    with pytest.raises(TypeError):
        hash(instance)


def test_own_method_is_kept() -> None:
    """The decorator does not replace a method of the class."""
    assert repr(Own("a")) == "own"


def test_functions_of_the_standard_library_work() -> None:
    """The functions of `dataclasses` know the class."""
    instance = Inheriting("a", (1,))

    assert asdict(instance) == {"name": "a", "items": (1,), "hidden": 0, "more": "more"}
    assert astuple(instance) == ("a", (1,), 0, "more")
    assert dataclasses.is_dataclass(instance)
    match instance:
        case Inheriting(name, items):
            assert (name, items) == ("a", (1,))


def test_missing_argument_is_an_error() -> None:
    """A field without a default must be given."""
    with pytest.raises(TypeError, match="name"):
        Open()  # type: ignore[call-arg]


def test_init_is_compiled_when_it_is_used() -> None:
    """The decorator compiles nothing; the first instance of a class, or of a subclass, does."""

    @dataclass(frozen=True)
    class Base:
        name: str

    class Sub(Base):
        pass

    assert not isinstance(vars(Base)["__init__"], FunctionType)
    assert Sub("a").name == "a"
    assert isinstance(vars(Base)["__init__"], FunctionType)
    assert Base("a").name == "a"


def test_every_kind_of_field_is_set() -> None:
    """Defaults, created values and `__post_init__` are as with the standard library."""
    instance = Mixed("one", named=1)

    assert astuple(instance) == ("one", 1, "two", [], "fixed", [], True)
    assert Mixed("one", "b", [1], named=1).created == [1]
    assert Mixed("one", named=1).created is not instance.created
    assert Empty() == Empty()
    assert Plain("a", (1,)).items == (1,)


def test_signature_is_that_of_the_standard_library() -> None:
    """Help and errors name the parameters, in their order and with their types."""
    standard = inspect.signature(dataclasses.dataclass(type("Mixed", (), _describe(Mixed))))
    ours = inspect.signature(Mixed)

    assert [(p.name, p.kind, p.annotation) for p in ours.parameters.values()] == [
        (p.name, p.kind, p.annotation) for p in standard.parameters.values()
    ]
    with pytest.raises(TypeError, match=r"Mixed\.__init__\(\).*'first'"):
        Mixed(named=1)  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="unexpected keyword argument 'fixed'"):
        Mixed("one", named=1, fixed="x")  # type: ignore[call-arg]


def _describe(cls: type) -> dict[str, Any]:
    """Return the fields of a class as the attributes of another one."""
    declared = {item.name: copy.copy(item) for item in dataclasses.fields(cls)}
    return {"__annotations__": {name: item.type for name, item in declared.items()}, **declared}


def test_own_init_is_kept() -> None:
    """The decorator does not replace an `__init__` of the class."""

    @dataclass(slots=True)
    class Custom:
        name: str

        def __init__(self) -> None:
            self.name = "custom"

    assert Custom().name == "custom"

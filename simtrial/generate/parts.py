"""Steps that hold parts: options that belong together, and what they mean, beside each other in one table."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Generic, Self, TypeVar, cast, overload

from pydantic import BaseModel, ConfigDict, ValidationError, create_model, model_validator
from pydantic.fields import FieldInfo

from simtrial.generate.column_names import Outcome
from simtrial.generate.step import Step


class Part(BaseModel):
    """Options of one side of an outcome, with the methods that say what they mean."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    outcome: Outcome

    @classmethod
    def options(cls) -> dict[str, FieldInfo]:
        """Options of the part by name, all but the outcome it serves."""
        return {name: field for name, field in cls.model_fields.items() if name != "outcome"}


P = TypeVar("P", bound=Part)
S = TypeVar("S", bound="Composed")


KEPT = 256
"""Steps whose parts are kept."""


class Held(Generic[P]):
    """A part that a step holds.

    It is made of the step's options once for each step, which is kept, so that no other can take its place: a copy of a
    step with other options has other parts.
    """

    def __init__(self, kind: type[P]) -> None:
        self.kind = kind
        self.names = tuple(kind.options())
        self._made: dict[int, tuple[Composed, P]] = {}

    def values(self, step: Composed) -> dict[str, Any]:
        """Return the outcome of the step, and those of its options that are the part's."""
        return {"outcome": step.outcome, **{name: getattr(step, name) for name in self.names}}

    @overload
    def __get__(self, step: None, owner: type[Composed]) -> Self: ...
    @overload
    def __get__(self, step: Composed, owner: type[Composed]) -> P: ...
    def __get__(self, step: Composed | None, owner: type[Composed]) -> Self | P:
        """Return the part as a step holds it."""
        if step is None:
            return self
        known = self._made.get(id(step))
        if known is None:
            if len(self._made) >= KEPT:
                self._made.clear()
            made = cast("P", self.kind.model_construct(**self.values(step)))
            known = self._made[id(step)] = step, made
        return known[1]


class Composed(Step):
    """A step for one outcome that holds parts, each written in its class as `Held`.

    Decorated by `flat`, it has the options of all its parts as its own: a scenario knows nothing of parts.
    """

    outcome: ClassVar[Outcome]

    @classmethod
    def parts(cls) -> Mapping[str, Held[Any]]:
        """Parts by the name they are held under, in the order they are written."""
        every = (item for kind in reversed(cls.__mro__) for item in vars(kind).items())
        return {name: held for name, held in every if isinstance(held, Held)}

    @model_validator(mode="after")
    def _each_part_is_sound(self) -> Self:
        """Let every part hold its options against each other; what it fills in is filled in here as well."""
        for held in self.parts().values():
            try:
                part = held.kind.model_validate(held.values(self))
            except ValidationError as error:
                raise _first(error) from None
            self.__dict__.update({name: getattr(part, name) for name in held.names})  # frozen for everybody else
        return self


def flat(step: type[S]) -> type[S]:
    """Give a step the options of its parts, in the order of the parts, after any options of its own."""
    options: dict[str, Any] = {}
    for held in step.parts().values():
        for name, field in held.kind.options().items():
            if name in {*options, *step.model_fields, *step.parts()}:
                raise TypeError(f"{step.__name__}: option '{name}' is declared twice")
            options[name] = (field.annotation, field)
    made = create_model(step.__name__, __base__=step, __module__=step.__module__, __doc__=step.__doc__, **options)
    made.__qualname__ = step.__qualname__
    return made


def _first(error: ValidationError) -> Exception:
    """What a part's own check raised: each option by itself was checked before, as one of the step's."""
    found: Exception = error.errors()[0]["ctx"]["error"]
    return found

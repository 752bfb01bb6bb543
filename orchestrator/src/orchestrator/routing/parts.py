"""What values of the file may be: texts, ranges of languages, numbers of callers, spans, slots."""

from __future__ import annotations

import math
import re
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator
from pydantic.functional_validators import AfterValidator


class Part(BaseModel):
    """A mapping of the file: no unknown key, no guessed type."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)


def listed(value: object) -> object:
    """A text where a list of texts is meant."""
    return [value] if isinstance(value, str) else value


def _text(value: str) -> str:
    if not value.strip():
        raise ValueError("must not be empty")
    return value


def _number_pattern(value: str) -> str:
    if value != "anonymous" and not re.fullmatch(r"\+?[0-9]+\*?", value, re.ASCII):
        raise ValueError("a number such as +4930123, a prefix such as +4930*, or anonymous")
    return value


def _range_pattern(value: str) -> str:
    if value != "*" and not re.fullmatch(r"[A-Za-z]{1,8}(-[A-Za-z0-9]{1,8})*", value, re.ASCII):
        raise ValueError("a language range such as de, de-CH or *")
    return value


def _scalar(value: object) -> object:
    if not isinstance(value, str | int | float | bool):
        raise ValueError("a text, a number, true or false")  # noqa: TRY004 - pydantic reads these
    return value


Text = Annotated[str, AfterValidator(_text)]
Texts = Annotated[list[Text], BeforeValidator(listed), Field(min_length=1)]
LanguageRange = Annotated[str, AfterValidator(_range_pattern)]
Languages = Annotated[list[LanguageRange], BeforeValidator(listed), Field(min_length=1)]
NumberPattern = Annotated[str, AfterValidator(_number_pattern)]
Scalar = Annotated[Any, AfterValidator(_scalar)]


class Span(Part):
    """Between `min` and `max`, both included; a bare number is `min`."""

    min: float | None = Field(default=None, description="at least", allow_inf_nan=False)
    max: float | None = Field(default=None, description="at most", allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _bare(cls, value: Any) -> Any:
        bare = isinstance(value, int | float) and not isinstance(value, bool)
        return {"min": value} if bare else value

    @model_validator(mode="after")
    def _says_something(self) -> Span:
        if self.min is None and self.max is None:
            raise ValueError("min, max or both")
        if self.min is not None and self.max is not None and self.min > self.max:
            raise ValueError(f"min {self.min:g} is above max {self.max:g}")
        return self

    def holds(self, number: float) -> bool:
        return not (
            (self.min is not None and number < self.min)
            or (self.max is not None and number > self.max)
        )

    def __str__(self) -> str:
        ends = (("at least", self.min), ("at most", self.max))
        return " and ".join(f"{word} {end:g}" for word, end in ends if end is not None)


class SlotTest(Part):
    """A slot's value: `equals`, `in`, or a number between `min` and `max`. A bare value: equals."""

    equals: Scalar | None = Field(
        default=None, description="this very value; letter case does not count"
    )
    one_of: list[Scalar] | None = Field(default=None, alias="in", description="one of these")
    min: float | None = Field(default=None, description="a number of at least", allow_inf_nan=False)
    max: float | None = Field(default=None, description="a number of at most", allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _bare(cls, value: Any) -> Any:
        return {"equals": value} if isinstance(value, str | int | float | bool) else value

    @model_validator(mode="after")
    def _says_something(self) -> SlotTest:
        if all(part is None for part in (self.equals, self.one_of, self.min, self.max)):
            raise ValueError("equals, in, min or max")
        return self

    def holds(self, value: object) -> bool:
        if self.equals is not None and not _same(value, self.equals):
            return False
        if self.one_of is not None and not any(_same(value, each) for each in self.one_of):
            return False
        if self.min is None and self.max is None:
            return True
        number = _number(value)
        return number is not None and Span(min=self.min, max=self.max).holds(number)

    def __str__(self) -> str:
        parts = [] if self.equals is None else [f"equals {self.equals!r}"]
        if self.one_of is not None:
            parts.append(f"in {self.one_of!r}")
        if self.min is not None or self.max is not None:
            parts.append(str(Span(min=self.min, max=self.max)))
        return " and ".join(parts)


def _same(value: object, wanted: object) -> bool:
    if isinstance(value, bool) or isinstance(wanted, bool):
        return value is wanted
    left, right = _number(value), _number(wanted)
    if left is not None and right is not None:
        return left == right
    return str(value).casefold() == str(wanted).casefold()


def _number(value: object) -> float | None:
    """Of a number, or of a text that is one: an AI may write "150.00"."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None

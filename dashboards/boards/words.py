"""Thresholds and value mappings: what a number means, in a word and a colour."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from grafana_foundation_sdk.models.dashboard import (
    DashboardSpecialValueMapOptions,
    SpecialValueMap,
    SpecialValueMatch,
    Threshold,
    ThresholdsConfig,
    ThresholdsMode,
    ValueMap,
    ValueMapping,
    ValueMappingResult,
)

from boards.colours import BAD, FINE, PAINTED, SEVERITIES, UNKNOWN, WARNING

Words = Mapping[str, tuple[str, str]]


def words(table: Words) -> ValueMap:
    """`value -> (word, colour)`."""
    return ValueMap(
        options={
            value: ValueMappingResult(text=word, color=colour, index=index)
            for index, (value, (word, colour)) in enumerate(table.items())
        }
    )


def unknown(word: str = "unknown") -> SpecialValueMap:
    """No value where there should be one: not known, which is neither fine nor 0."""
    return SpecialValueMap(
        options=DashboardSpecialValueMapOptions(
            match=SpecialValueMatch.NULL_AND_NAN, result=ValueMappingResult(text=word, color=UNKNOWN)
        )
    )


def steps(*bounds: tuple[float | None, str]) -> ThresholdsConfig:
    """`(from, colour)`, the first without a bound."""
    return ThresholdsConfig(
        mode=ThresholdsMode.ABSOLUTE, steps=[Threshold(value=value, color=colour) for value, colour in bounds]
    )


NONE_IS_FINE = steps((None, FINE), (1, BAD))
NONE_IS_BETTER = steps((None, FINE), (1, WARNING))
PLAIN = steps((None, "text"))

VENDOR: Sequence[ValueMapping] = [words({name: (name, colour) for name, colour in PAINTED.items()})]
SEVERITY: Sequence[ValueMapping] = [
    words({name: (name.replace("_", "-"), colour) for name, colour in SEVERITIES.items()})
]
HEALTH: Sequence[ValueMapping] = [
    words({"0": ("ok", FINE), "1": ("warning", WARNING), "2": ("alarm", BAD), "3": ("critical", BAD)}),
    unknown(),
]
UP: Sequence[ValueMapping] = [words({"1": ("answers", FINE), "0": ("does not answer", BAD)}), unknown()]
STALLED: Sequence[ValueMapping] = [
    words({"0": ("goes on", FINE), "1": ("stands still", WARNING), "2": ("hangs", BAD)}),
    unknown(),
]
OUTCOME: Sequence[ValueMapping] = [
    words(
        {
            "completed": ("completed", FINE),
            "failed": ("failed", BAD),
            "killed": ("killed", WARNING),
            "hung": ("hung", BAD),
            "unknown": ("unknown", UNKNOWN),
        }
    )
]

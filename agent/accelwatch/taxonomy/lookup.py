"""What a class or a code means, once the data files are read."""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Literal

from accelwatch.readings.log_event import LogEvent
from accelwatch.readings.severity import Severity
from accelwatch.taxonomy.model import Code, FaultClass, Meaning

UNKNOWN = "unknown"
_FIRST_SXID = 10000
_DIGITS = 8  # of an Ascend device code
History = Literal["first", "after_reset", "after_repair"]

_HEXADECIMAL = re.compile(r"(?:0[xX])?([0-9a-fA-F]+)")
_CONSOLE = re.compile(r"E[A-Z][0-9]{4}")  # EI0006: of CANN's libraries (reference/ascend.md section 6)


def native(family: str, code: str) -> str:
    """A code as the tables write it: `80E01801` for `0x80e01801`, `79` for `079`, `EI0006` for `ei0006`.

    UnifiedBus switch events keep their form `[0x00f1fef5,155912,npu,na]`, in lower case and without blanks.
    """
    code = code.strip()
    if family in ("xid", "sxid"):
        return str(int(code)) if code.isdecimal() else code
    if family == "hccl":
        return code.upper()
    if family != "ascend":
        return code
    if code.startswith("["):
        return code.replace(" ", "").lower()
    hexadecimal = _HEXADECIMAL.fullmatch(code)
    return hexadecimal[1].upper().zfill(_DIGITS) if hexadecimal else code


class Taxonomy:
    """The classes and the codes. Immutable; a look-up takes about a microsecond."""

    def __init__(
        self,
        classes: Mapping[str, FaultClass],
        codes: Mapping[tuple[str, str | None], Code],
        code_families: Mapping[str, str],
        informational_action: str,
    ) -> None:
        """`code_families`: by kind of line, the family of the codes that such a line may carry."""
        self.classes: Mapping[str, FaultClass] = MappingProxyType(dict(classes))
        self.codes: Mapping[tuple[str, str | None], Code] = MappingProxyType(dict(codes))
        self.families = frozenset(family for family, _code in codes)
        self._code_families = code_families
        self._informational_action = informational_action

    def class_(self, name: str) -> FaultClass:
        """A class by its name. Raises `KeyError`: a detector that names another is wrong."""
        try:
            return self.classes[name]
        except KeyError:
            raise KeyError(f"no fault class {name!r}, expected one of {', '.join(self.classes)}") from None

    def code(self, family: str, code: str | None) -> Code | None:
        """The entry of a code, or of a kind of line; `None` where the tables have none."""
        if code is not None:
            within = self._code_families.get(family, family)
            known = self.codes.get((within, native(within, code)))
            if known is not None:
                return known
        return self.codes.get((family, None))

    def meaning(self, family: str, code: str | None, severity: Severity | None = None) -> Meaning:
        """What a code or a kind of line means; `severity` is what the line itself says and wins.

        An unknown one is of class `unknown`, with `Meaning.code` `None`.
        """
        known = self.code(family, code)
        class_ = self.classes[known.class_ if known is not None else UNKNOWN]
        said = severity if severity is not None else known.severity if known is not None else None
        return Meaning(
            class_=class_,
            code=known,
            severity=said if said is not None else class_.severity,
            rank=known.rank if known is not None and known.rank is not None else class_.rank,
        )

    def meaning_of(self, event: LogEvent) -> Meaning:
        """What a line of a log means."""
        return self.meaning(event.kind, event.code, event.severity)

    def action(
        self,
        class_name: str,
        vendor: str,
        code: str | None = None,
        family: str | None = None,
        history: History = "first",
        severity: Severity | None = None,
    ) -> str:
        """The one thing to do. A code's own action holds the first time only: after that its class knows better.

        `severity`: of the episode, where it is known. Raises `KeyError` for an unknown class, never for a vendor.
        """
        class_ = self.class_(class_name)
        if family is None and code is not None:
            family = self.family_of(vendor, code)
        known = self.code(family, code) if family is not None else None
        if known is not None and known.class_ != class_name:
            known = None
        if known is not None and known.action is not None and history == "first":
            return known.action
        effect = severity or (known.severity if known is not None else None) or class_.severity
        if effect is Severity.INFORMATIONAL and class_.severity is not Severity.INFORMATIONAL:
            return self._informational_action
        actions = class_.actions.get(vendor) or class_.actions.get("host") or self.classes[UNKNOWN].actions["host"]
        chosen: str = getattr(actions, history)
        return chosen

    def family_of(self, vendor: str, code: str) -> str | None:
        """The family of a vendor's code, also of one that the tables do not have; `None` for what looks like none.

        The numbers of Xids and SXids do not overlap: SXids begin at 10000.
        """
        code = code.strip()
        if vendor == "nvidia" and code.isdecimal():
            return "xid" if int(code) < _FIRST_SXID else "sxid"
        if vendor == "ascend":
            if _CONSOLE.fullmatch(code.upper()):
                return "hccl"
            normal = native("ascend", code)
            if (
                ("ascend", normal) in self.codes
                or code.startswith("[")
                or (len(normal) == _DIGITS and _HEXADECIMAL.fullmatch(normal))
            ):
                return "ascend"
        return None

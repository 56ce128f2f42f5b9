"""What a Python on another machine would still lack, by the wheels' own word."""

from __future__ import annotations

import pathlib
import zipfile

import offline_bundle
import pytest
from wheel_closure import Target, UnusableWheel, missing

ARM = Target("aarch64", "3.12")
X86 = Target("x86_64", "3.12")


def wheel(folder: pathlib.Path, name: str, *asks: str) -> pathlib.Path:
    """A wheel that has nothing but its metadata."""
    path = folder / f"{name}.whl"
    distribution, version = name.split("-")[:2]
    lines = ["Metadata-Version: 2.1", f"Name: {distribution}", f"Version: {version}"]
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(
            f"{distribution}-{version}.dist-info/METADATA",
            "\n".join([*lines, *(f"Requires-Dist: {text}" for text in asks)]) + "\n\nRequires-Dist: of-the-text\n",
        )
    return path


def test_markers_are_read_for_the_node_not_for_this_machine(tmp_path: pathlib.Path) -> None:
    one = wheel(
        tmp_path, "one-1.0-py3-none-any", "arm-only>=2; platform_machine == 'aarch64'", "old; python_version < '3.12'"
    )
    assert missing([one], ["one"], ARM) == ["arm-only>=2"]
    assert missing([one], ["one"], X86) == []
    assert missing([one], ["one"], Target("x86_64", "3.11")) == ["old"]


def test_what_a_dependency_needs_is_needed_and_extras_only_where_asked_for(tmp_path: pathlib.Path) -> None:
    one = wheel(tmp_path, "one-1.0-py3-none-any", "two[more]")
    two = wheel(
        tmp_path, "two-1.0-py3-none-any", "three; extra == 'more'", "four; extra == 'most'", "one; extra == 'more'"
    )
    assert missing([one, two], ["one"], X86) == ["three"]
    assert missing([one, two], ["two"], X86) == []


@pytest.mark.parametrize(
    ("name", "fits"),
    [
        ("a-1.0-cp312-cp312-manylinux2014_aarch64", True),
        ("a-1.0-cp39-abi3-manylinux_2_28_aarch64", True),
        ("a-1.0-cp312-cp312-manylinux_2_29_aarch64", False),  # asks for a newer C library
        ("a-1.0-cp312-cp312-manylinux2014_x86_64", False),
        ("a-1.0-cp313-cp313-manylinux2014_aarch64", False),
        ("a-1.0-cp312-cp312-musllinux_1_2_aarch64", False),
        ("a-0.9-py3-none-any", False),  # too old
    ],
)
def test_tags_and_version_decide(tmp_path: pathlib.Path, name: str, fits: bool) -> None:
    assert (missing([wheel(tmp_path, name)], ["a>=1"], ARM) == []) is fits


def test_half_a_file_is_no_wheel(tmp_path: pathlib.Path) -> None:
    whole = wheel(tmp_path, "one-1.0-py3-none-any")
    whole.write_bytes(whole.read_bytes()[:40])
    with pytest.raises(UnusableWheel, match="is no wheel"):
        missing([whole], ["one"], X86)


def test_what_pip_left_out_by_this_machines_markers_is_asked_for(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[list[str]] = []

    def download(target: Target, requirements: list[str], into: pathlib.Path) -> str:
        asked.append(list(requirements))
        wheel(into, "one-1.0-py3-none-any", "arm-only; platform_machine == 'aarch64'")
        if "arm-only" in requirements:
            wheel(into, "arm_only-1.0-cp312-cp312-manylinux2014_aarch64")
        return ""

    monkeypatch.setattr(offline_bundle, "download", download)
    offline_bundle.collect(ARM, ["one"], tmp_path)
    assert asked == [["one"], ["one", "arm-only"]]

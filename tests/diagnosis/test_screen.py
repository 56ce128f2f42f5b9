"""The screen of `why` holds whatever the answer is."""

import msgspec
import pytest

from accelwatch.commands.why_screen import HEIGHT, WIDTH, notation, screen
from accelwatch.diagnosis.answer import Answer, Culprit, Moment
from accelwatch.diagnosis.facts import Attempt, Device, FaultSeen, Share, Spot
from accelwatch.taxonomy.loader import load

T = 1_790_000_000.0
MANY = tuple(f"gpu-node-{number:04d}.rack{number % 40}.example" for number in range(1250))


def crowded(action: str) -> Answer:
    """More of everything than there is room for, with long names."""
    spot = Spot(MANY[7], "nvidia", "GPU-12-MIG-3")
    return Answer(
        run_id="team/very-long-training-job-name-" + "x" * 60,
        attempt=Attempt(cluster="cluster-of-the-north", attempt="3", going=True, seen=T),
        others=tuple(Attempt(cluster="c", attempt=str(n), first_end=T - n, last_end=T) for n in range(9)),
        asked=T,
        state="hangs",
        launcher="slurm",
        nodes=1250,
        devices=10_000,
        world_size=10_008,
        onset=T - 900,
        lost_device_seconds=9e6,
        culprit=Culprit(
            spot=spot, rack="r" * 30, class_="mem_uncorrectable", severity="run_ending", code="48", since=T - 901,
            device=Device(model="NVIDIA H100 80GB HBM3", serial="1" * 20, pci="0000:3b:00.0"), by="b" * 200,
        ),
        timeline=tuple(Moment(at=T - 900 + n, what="stopped", spots=(Spot(name, "nvidia", "1"),)) for n, name in enumerate(MANY)),
        suspects=tuple(
            FaultSeen(spot=Spot(name, "nvidia", "1"), class_="pcie_host_link", severity="degrading", since=T) for name in MANY
        ),
        action=action,
        exclude=MANY[:300],
        missing=("m" * 100, "n" * 100, "o" * 100),
        dark=tuple((name, Share(read=T)) for name in MANY[:50]),
    )  # fmt: skip


def test_every_action_fits_with_all_else() -> None:
    """Of every class, vendor and history: whole where the rest leaves room, and never more than a screen."""
    for class_ in load().classes.values():
        for actions in class_.actions.values():
            for action in msgspec.structs.astuple(actions):
                lines = screen(crowded(action), colour=False).split("\n")
                assert len(lines) <= HEIGHT
                assert max(map(len, lines)) <= WIDTH
                assert any(line.startswith("timeline") for line in lines)
                assert "exclude   300 nodes; --json has the list" in lines


@pytest.mark.parametrize(
    ("launcher", "expected"),
    [
        ("slurm", "--exclude=nv-[01-03]"),
        ("kubernetes", "kubectl cordon nv-01 nv-02 nv-03"),
        ("torchrun", "nv-[01-03]"),
        ("", "nv-[01-03]"),
    ],
)
def test_nodes_are_named_as_the_scheduler_takes_them(launcher: str, expected: str) -> None:
    """Where none is known, as a list."""
    answer = msgspec.structs.replace(crowded("-"), launcher=launcher, exclude=("nv-01", "nv-02", "nv-03"))
    assert notation(answer) == expected

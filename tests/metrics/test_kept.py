"""What is kept from one page to the next: the page is the one that a renderer without memory would make."""

from __future__ import annotations

import random

import msgspec
import pytest

from accelwatch.metrics.agent import AgentMetrics
from accelwatch.metrics.page import AgentStatus, Renderer
from accelwatch.node import Node
from accelwatch.readings.health import DeviceState, Health
from accelwatch.readings.link import LinkKind, LinkState
from accelwatch.readings.memory import Repairs
from accelwatch.readings.snapshot import Device, Snapshot
from replay.boards import A3, H100, Board, Load, Model, Port
from support import FakeClock

AGENT = AgentStatus(node="n", config_hash="0", labels={})


def fresh_page(node: Node) -> bytes:
    """By a renderer and views that remember nothing."""
    node._views._links.clear()
    node._views._counted.clear()
    return _device_lines(Renderer(AgentMetrics()).render(node.view(), (), AGENT).text)


def _device_lines(page: bytes) -> bytes:
    return b"\n".join(
        line for line in page.splitlines() if line.startswith(b"accelwatch_") and b"rendering" not in line
    )


def changed(device: Device, board: Board, rng: random.Random) -> Device:
    """One thing of the device is another."""
    links = list(device.links or ())
    what = rng.randrange(9)
    if what == 0 and links:
        place = rng.randrange(len(links))
        links[place] = msgspec.structs.replace(links[place], state=rng.choice(list(LinkState)))
        return msgspec.structs.replace(device, links=tuple(links))
    if what == 1 and links:
        board.link_error(rng.randrange(board.model.links), "replay", 1)
        return board.full()
    if what == 2:
        board.corrected("hbm", 1)
        return board.full()
    if what == 3:
        repairs = Repairs(rows_corrected=0, rows_uncorrected=rng.randrange(3), pending=rng.random() < 0.5, failed=False)
        return msgspec.structs.replace(device, repairs=repairs)
    if what == 4:
        return msgspec.structs.replace(device, health=Health(recovery_action=rng.randrange(3)))
    if what == 5:
        return msgspec.structs.replace(device, state=rng.choice((DeviceState.UP, DeviceState.LOST)))
    if what == 6:
        return msgspec.structs.replace(device, links=None, ecc=None, pcie=None, processes=None)
    if what == 7:
        board.replays += 1
        return msgspec.structs.replace(board.full(), links=device.links)
    board.load = Load(rng.uniform(100, 500), rng.random(), rng.randrange(1 << 36))
    return board.fast(device)


@pytest.mark.parametrize("model", [H100, A3], ids=["nvidia", "ascend"])
def test_no_page_shows_what_was_true_of_the_one_before(model: Model) -> None:
    """500 pages, of which each differs in something."""
    rng = random.Random(11)
    node, renderer = Node(FakeClock()), Renderer(AgentMetrics())
    boards = [Board(model, number, rng) for number in range(3)]
    devices = [board.full() for board in boards]
    ports = [Port(boards[0].identity.key, "roce0", LinkKind.ROCE, rng)] if model is A3 else []
    pages = set()
    for second in range(500):
        place = rng.randrange(len(devices))
        devices[place] = changed(devices[place], boards[place], rng)
        source = "nvml" if model is H100 else "npu_smi"
        node.update(source, Snapshot(devices=tuple(devices)))
        for port in ports:
            port.packets += 100
            node.update("hccn_tool", Snapshot(links=(port.read(float(second)),)))
        if rng.random() < 0.05:
            node.silence(source)
        if rng.random() < 0.02:
            gone = node.forget([boards[place].identity.key])
            assert len(gone) <= 1
        page = _device_lines(renderer.render(node.view(), (), AGENT).text)
        assert page == fresh_page(node)
        pages.add(page)
    assert len(pages) > 300

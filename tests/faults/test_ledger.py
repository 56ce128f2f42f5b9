"""Episodes: coalesced, joined to incidents, cleared by evidence, told from the application's doing."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from accelwatch.detectors.base import Context, Known
from accelwatch.faults.clearing import Evidence
from accelwatch.faults.episode import Episode
from accelwatch.faults.labels import routing
from accelwatch.faults.ledger import Ledger
from accelwatch.faults.sign import Gone, Sign
from accelwatch.readings.identity import DeviceKey, Vendor
from accelwatch.readings.severity import Severity
from accelwatch.runs.model import RunRef
from accelwatch.taxonomy.loader import load
from accelwatch.taxonomy.model import Notify

WALL = 1_790_000_000.0


def gpu(index: int) -> DeviceKey:
    return DeviceKey(Vendor.NVIDIA, f"0000:{0x18 + index:02x}:00.0")


class Node:
    """A ledger of a node with four GPUs in one run, with a time that is set by hand."""

    def __init__(self) -> None:
        self.counted: list[Episode] = []
        self.ledger = Ledger(load(), "n1", counted=self.counted.append)
        self.now = 1000.0
        self.evidence = Evidence(answers=True)
        devices = {
            gpu(i): Known(key=gpu(i), label=str(i), model="H100", uuid=f"GPU-{i}", pci=gpu(i).native) for i in range(4)
        }
        self.context = Context(devices=devices, runs=dict.fromkeys(devices, RunRef("job-1")))

    def run(self, name: str) -> None:
        self.context = msgspec.structs.replace(self.context, runs=dict.fromkeys(self.context.devices, RunRef(name)))

    def xid(self, number: str, device: int = 0, class_: str | None = None, **changes: Any) -> None:
        meaning = load().meaning("xid", number)
        sign = Sign(
            class_=class_ or meaning.class_.name, condition=f"xid {number}", at=self.now, vendor="nvidia",
            device=gpu(device), code=number, message=f"Xid {number}",
        )  # fmt: skip
        self.apply(msgspec.structs.replace(sign, **changes))

    def apply(self, *findings: Any) -> None:
        self.ledger.apply(findings, self.context, self.now, WALL + self.now)

    def wait(self, seconds: float) -> None:
        self.now += seconds
        self.ledger.tick(self.context, self.now, WALL + self.now, lambda _episode: self.evidence)

    def only(self) -> Episode:
        (episode,) = self.ledger.active()
        return episode

    @property
    def all(self) -> list[Episode]:
        return self.ledger.recent(0.0)


@pytest.fixture
def node() -> Node:
    return Node()


def test_signs_within_60_s_are_one_episode_and_later_ones_another(node: Node) -> None:
    """The window counts from the last sign, and each episode is counted once."""
    node.xid("48")
    node.now += 59
    node.xid("48")
    node.now += 59
    node.xid("48")
    assert (node.only().count, node.only().first_at, node.only().last_at) == (3, 1000.0, 1118.0)
    node.now += 61
    node.xid("48")
    assert len(node.all) == 2
    assert [episode.class_ for episode in node.counted] == ["mem_uncorrectable"] * 2
    assert len(node.ledger.active()) == 1


def test_a_lasting_condition_is_one_episode_however_long_it_lasts(node: Node) -> None:
    """Repeats of a state do not count as events, and its end is told by the reading, at once."""
    lost = Sign(
        class_="device_lost", condition="lost", at=0, vendor="nvidia", device=gpu(1), message="lost", lasting=True
    )
    for _ in range(300):
        node.apply(msgspec.structs.replace(lost, at=node.now))
        node.wait(1)
    assert (node.only().count, node.only().device) == (1, "1")
    node.evidence = Evidence(answers=False)
    node.wait(86400)
    assert node.only().active  # silence is not health
    node.evidence = Evidence(answers=True)
    node.apply(Gone(class_="device_lost", condition="lost", vendor="nvidia", device=gpu(1), at=node.now))
    node.wait(1)
    assert node.ledger.active() == []
    assert (node.all[0].cleared_because or "").startswith("gone")


def test_what_comes_back_within_60_s_opens_the_same_episode_again(node: Node) -> None:
    """A link that flaps is one episode, not one for each time it was up for a moment."""
    for _ in range(3):
        node.apply(
            Sign(
                class_="net_link_down",
                condition="roce0",
                at=node.now,
                vendor="nvidia",
                device=gpu(0),
                message="down",
                lasting=True,
            )
        )
        node.wait(5)
        node.apply(Gone(class_="net_link_down", condition="roce0", vendor="nvidia", device=gpu(0), at=node.now))
        node.wait(5)
    (episode,) = node.all
    assert (episode.count, episode.active, len(node.counted)) == (3, False, 1)


def test_a_cascade_on_one_gpu_is_one_incident_whose_root_alone_pages(node: Node) -> None:
    """48, then 63, 94, 45, 154: the root is the highest rank; 45 and 154 are echoes."""
    for number in ("63", "48", "94", "45", "154"):
        node.xid(number)
        node.now += 1
    episodes = node.all
    assert len({episode.incident for episode in episodes}) == 1
    (root,) = [episode for episode in episodes if episode.root]
    assert (root.class_, root.code) == ("mem_uncorrectable", "48")
    assert set(root.codes) >= {"48", "94"}
    paging = [episode for episode in episodes if routing(episode) is Notify.PAGE]
    assert paging == [root]
    assert all(episode.echo for episode in episodes if episode.code in ("45", "154"))


def test_a_cascade_is_apart_from_what_lasts_on_the_same_gpu(node: Node) -> None:
    """What follows a fault joins it, not an older condition that is told again at each reading."""
    slow = Sign(
        class_="thermal", condition="slowdown", at=node.now, vendor="nvidia", device=gpu(0), message="hot", lasting=True
    )
    node.apply(slow)
    node.wait(70)
    node.apply(msgspec.structs.replace(slow, at=node.now - 61))
    node.xid("119")
    node.wait(5)
    node.apply(msgspec.structs.replace(slow, at=node.now))
    node.apply(
        Sign(
            class_="driver_software",
            condition="blocked",
            at=node.now,
            vendor="nvidia",
            device=gpu(0),
            message="blocks",
            lasting=True,
        )
    )
    by_class = {episode.class_: episode.incident for episode in node.all}
    assert by_class["driver_software"] == by_class["control_processor"] != by_class["thermal"]


def test_an_echo_alone_never_pages(node: Node) -> None:
    """Xid 45 is written at every teardown (168,924 of them against 10 faults at one site)."""
    node.xid("45", events=500)
    assert node.only().echo
    assert routing(node.only()) is Notify.NONE
    node.wait(40)
    assert routing(node.only()) is Notify.NONE


def test_a_gpu_off_the_bus_takes_link_errors_of_its_peers_into_its_incident(node: Node) -> None:
    """Whichever line comes first, the lost GPU is the root."""
    node.xid("74", device=1)
    node.now += 5
    node.xid("79", device=0)
    node.now += 12
    node.apply(
        Sign(
            class_="fabric_switch",
            condition="sxid 20034",
            at=node.now,
            vendor="nvidia",
            place="0000:05:00",
            code="20034",
            message="x",
        )
    )
    assert len({episode.incident for episode in node.all}) == 1
    assert [e.class_ for e in node.all if e.root] == ["device_lost"]


def test_an_echo_belongs_to_the_fault_of_its_own_gpu(node: Node) -> None:
    """Also where another GPU of the run has shown a fault of its own since."""
    node.xid("48", device=1)
    node.now += 2
    node.xid("119", device=3)
    node.now += 1
    node.xid("45", device=1)
    incidents = {(episode.code, episode.device): episode.incident for episode in node.all}
    assert incidents[("45", "1")] == incidents[("48", "1")] != incidents[("119", "3")]


def test_an_echo_stays_with_the_fault_of_its_own_gpu_when_another_gpu_shows_the_same_echo(node: Node) -> None:
    """A program that ends on another GPU in the same moment is not what this GPU's memory did."""
    node.xid("45", device=3)
    node.now += 1
    node.xid("48", device=1)
    node.xid("45", device=1)
    incidents = {(episode.code, episode.device): episode.incident for episode in node.all}
    assert incidents[("45", "1")] == incidents[("48", "1")] != incidents[("45", "3")]


def test_independent_faults_on_two_gpus_are_two_incidents(node: Node) -> None:
    """A second GPU's own ECC error is not swallowed by the first one's incident unless memory is shared by a run."""
    node.xid("119", device=0)
    node.xid("48", device=2)
    assert len({episode.incident for episode in node.all}) == 2
    assert all(episode.root for episode in node.all)


def test_the_same_suspect_code_on_several_gpus_of_a_run_is_the_applications(node: Node) -> None:
    """Xid 69 on two GPUs within 30 s: no page, and counted as the application's, apart from hardware."""
    node.xid("69", device=0)
    assert routing(node.only()) is Notify.NONE  # not told yet
    node.now += 10
    node.xid("69", device=1)
    node.wait(31)
    assert all(episode.application and routing(episode) is Notify.NONE for episode in node.all)
    assert len({episode.incident for episode in node.all}) == 1
    assert all(episode.application for episode in node.counted)


@pytest.mark.parametrize("later", [0, 1])
def test_a_suspect_code_after_a_hardware_fault_of_its_own_gpu_is_explained_by_it(node: Node, later: int) -> None:
    """Xid 48 and 69 on one GPU, 69 on another within 30 s: the first 69 stays with its own GPU's fault."""

    def fault() -> None:
        node.xid("48", device=0)
        node.xid("69", device=0)

    if later == 0:
        fault()
    node.now += 10
    node.xid("69", device=1)
    if later == 1:
        node.now += 10
        fault()
    node.wait(31)
    by_device = {device: [e for e in node.all if e.device == device] for device in ("0", "1")}
    assert len({episode.incident for episode in by_device["0"]}) == 1
    assert {episode.incident for episode in by_device["0"]}.isdisjoint(e.incident for e in by_device["1"])
    assert not any(episode.application for episode in node.all)


def test_a_suspect_code_on_one_gpu_alone_is_what_its_class_says_after_30_s(node: Node) -> None:
    """Xid 69 without peers is the GPU's; it is shown at once and reaches people once that is told."""
    node.xid("69")
    assert node.counted == []
    node.wait(29)
    assert node.counted == []
    node.wait(2)
    assert [episode.class_ for episode in node.counted] == ["compute_engine"]
    assert routing(node.only()) is load().classes["compute_engine"].notify


@pytest.mark.parametrize("code", ["13", "31"])
def test_an_applications_error_that_follows_one_gpu_through_runs_accuses_it(node: Node, code: str) -> None:
    """Suspected at the second run, taken for certain at the third; other GPUs stay out of it."""
    severities = []
    for run in range(3):
        node.run(f"job-{run}")
        node.xid(code, device=2)
        node.wait(31)
        node.now += 3600
        accused = [episode for episode in node.all if episode.class_ == "compute_engine"]
        severities.append(accused[0].severity if accused else None)
    assert severities == [None, Severity.DEGRADING, Severity.RUN_ENDING]
    assert {e.device for e in node.all if e.class_ == "compute_engine"} == {"2"}
    assert code in next(e for e in node.all if e.class_ == "compute_engine").codes


def test_programs_that_fail_on_any_gpu_of_a_node_accuse_none_of_them(node: Node) -> None:
    """Three of them on one GPU within a week, while as many failed on the others, is chance."""
    for run, device in enumerate((2, 0, 2, 1, 2, 3)):
        node.run(f"job-{run}")
        node.xid("31", device=device)
        node.wait(31)
        node.now += 3600
    assert not [episode for episode in node.all if episode.class_ == "compute_engine"]


def test_a_gpu_is_accused_by_what_it_has_more_than_all_others(node: Node) -> None:
    for run, device in enumerate((0, 2, 2, 2, 2)):
        node.run(f"job-{run}")
        node.xid("31", device=device)
        node.wait(31)
        node.now += 3600
    accused = [episode for episode in node.all if episode.class_ == "compute_engine"]
    assert {episode.device for episode in accused} == {"2"}
    assert accused[0].severity is Severity.RUN_ENDING


def test_an_applications_error_on_all_gpus_in_many_runs_accuses_nobody(node: Node) -> None:
    """A program with a bug shows it wherever it runs."""
    for run in range(4):
        node.run(f"job-{run}")
        for device in range(4):
            node.xid("31", device=device)
        node.wait(31)
        node.now += 3600
    assert not [episode for episode in node.all if episode.class_ == "compute_engine"]


def test_power_lost_on_several_devices_of_a_run_is_one_shared_component(node: Node) -> None:
    """Never an application error: a board, rack or switch (design.md, Faults)."""
    for device in range(3):
        node.apply(
            Sign(
                class_="power",
                condition="brake",
                at=node.now,
                vendor="nvidia",
                device=gpu(device),
                message="brake",
                lasting=True,
            )
        )
        node.now += 5
    assert len({episode.incident for episode in node.all}) == 1
    assert not any(episode.application for episode in node.all)


def test_the_line_wins_over_the_code_table_and_that_over_the_class(node: Node) -> None:
    """Severity by what the line itself says (a non-fatal NVLink Xid is not fatal)."""
    node.xid("149", severity=Severity.DEGRADING)
    assert node.only().severity is Severity.DEGRADING
    assert routing(node.only()) is not Notify.PAGE


def test_an_escalation_is_a_new_series_and_the_old_one_is_kept_at_zero(node: Node) -> None:
    """A link down for more than 20 s under a run gets worse; labels of the opening stay with its own series."""
    down = Sign(
        class_="net_link_down",
        condition="roce0",
        at=node.now,
        vendor="nvidia",
        device=gpu(0),
        message="down",
        lasting=True,
        severity=Severity.DEGRADING,
    )
    node.apply(down)
    first = node.only().labels
    node.now += 21
    node.apply(msgspec.structs.replace(down, at=node.now, severity=Severity.RUN_ENDING))
    episode = node.only()
    assert episode.severity is Severity.RUN_ENDING
    assert episode.former_labels == (first,)
    assert episode.labels != first
    assert routing(episode) is Notify.PAGE


def test_labels_stay_when_a_code_comes_later(node: Node) -> None:
    """The alert on a fault must not begin anew because the vendor's code arrived with a slow tier."""
    down = Sign(
        class_="net_link_down",
        condition="link roce0",
        at=node.now,
        vendor="nvidia",
        device=gpu(0),
        message="down",
        lasting=True,
    )
    node.apply(down)
    first = node.only().labels
    node.apply(msgspec.structs.replace(down, condition="code", code="81078603"))
    assert (node.only().labels, node.only().code, node.only().codes) == (first, "81078603", ("81078603",))


def test_an_event_ends_by_quiet_while_the_device_answers(node: Node) -> None:
    """Silence of the driver holds the episode open for ever; a reset ends what a reset mends."""
    node.xid("48")
    node.evidence = Evidence(answers=False)
    node.wait(30 * 86400.0)
    assert node.only().active
    node.evidence = Evidence(answers=True)
    node.wait(1)
    assert node.ledger.active() == []


def test_a_reset_ends_what_a_reset_mends_at_once(node: Node) -> None:
    """And the next one asks for more than a reset."""
    node.xid("48")
    first = node.only()
    node.wait(70)
    node.evidence = Evidence(answers=True, reset_after=node.now)
    node.wait(1)
    assert (node.all[0].cleared_because or "").startswith("reset")
    node.evidence = Evidence(answers=True)
    node.xid("48")
    assert node.only().action != first.action


def test_a_reset_from_before_a_fault_does_not_end_it(node: Node) -> None:
    """It was only seen after it; so what follows the fault is of its incident."""
    node.evidence = Evidence(answers=True, reset_after=node.now - 0.5)
    node.xid("119")
    node.wait(1)
    node.apply(Sign(class_="driver_software", condition="blocked", at=node.now, vendor="nvidia", device=gpu(0),
                    message="nvmlDeviceGetTemperature blocks", lasting=True))  # fmt: skip
    assert {episode.class_ for episode in node.ledger.active()} == {"control_processor", "driver_software"}
    assert len({episode.incident for episode in node.ledger.active()}) == 1


def test_an_operator_clears_a_fault_with_a_reason(node: Node) -> None:
    """A repair is remembered: the next action is the one after a repair."""
    node.xid("74")
    first = node.only()
    cleared = node.ledger.clear(first.id, "replaced the GPU's NVLink bridge", node.now, WALL)
    assert cleared is not None
    assert not cleared.active
    assert node.ledger.clear(first.id, "again", node.now, WALL) is None
    node.now += 600
    node.xid("74")
    assert node.only().action == load().action(
        "intra_node_link", "nvidia", code="74", family="xid", history="after_repair"
    )


def test_what_an_operator_cleared_stays_cleared_while_it_lasts(node: Node) -> None:
    """Until it is gone and comes back, or gets worse."""
    down = Sign(
        class_="net_link_down",
        condition="roce0",
        at=node.now,
        vendor="nvidia",
        device=gpu(0),
        message="down",
        lasting=True,
    )
    gone = Gone(class_="net_link_down", condition="roce0", vendor="nvidia", device=gpu(0), at=node.now)

    def again() -> None:
        node.now += 5
        node.apply(msgspec.structs.replace(down, at=node.now))

    again()
    node.ledger.clear(node.only().id, "the cable is out on purpose", node.now, WALL)
    for _ in range(30):
        again()
    assert node.ledger.active() == []
    node.apply(gone)
    node.now += 120
    again()
    assert node.only().id == 2
    node.ledger.clear(2, "again", node.now, WALL)
    node.now += 5
    node.apply(msgspec.structs.replace(down, at=node.now, severity=Severity.RUN_ENDING))
    assert node.only().severity is Severity.RUN_ENDING


def test_old_records_of_a_first_start_are_kept_and_touch_nothing(node: Node) -> None:
    """Historical: not active, not counted, not paged; a state query makes it active, still uncounted."""
    node.xid("79", historical=True, at=node.now - 5000)
    assert node.ledger.active() == []
    assert node.counted == []
    (kept,) = node.all
    assert (kept.historical, routing(kept)) == (True, Notify.NONE)
    node.apply(
        Sign(
            class_="device_lost",
            condition="lost",
            at=node.now,
            vendor="nvidia",
            device=gpu(0),
            message="lost",
            lasting=True,
        )
    )
    episode = node.only()
    assert (episode.id, episode.historical, routing(episode)) == (kept.id, True, Notify.TICKET)
    assert node.counted == []


def test_faults_of_an_unknown_device_are_kept_by_place_and_bounded(node: Node) -> None:
    """A log that names a thousand addresses must not fill the memory."""
    for number in range(1000):
        node.apply(
            Sign(
                class_="device_lost",
                condition="xid 79",
                at=node.now,
                vendor="nvidia",
                place=f"0000:{number:04x}",
                message="x",
            )
        )
    assert len({episode.place for episode in node.all}) <= 257


def test_a_fault_of_the_host_counts_for_the_only_vendor_and_the_only_run(node: Node) -> None:
    """An IB port that goes down on an NVIDIA node ends NVIDIA's run."""
    node.apply(
        Sign(class_="net_link_down", condition="mlx5_0/1", at=node.now, vendor="host", message="down", lasting=True)
    )
    episode = node.only()
    assert (episode.vendor, episode.device, episode.run_id) == ("nvidia", None, "job-1")
    node.apply(Gone(class_="net_link_down", condition="mlx5_0/1", vendor="host", at=node.now))
    node.wait(1)
    assert node.ledger.active() == []


def test_a_restart_goes_on_with_the_same_episode(node: Node) -> None:
    """The 60 s window is kept across restarts, as JSON in the journal."""
    node.xid("48")
    kept = [msgspec.json.decode(msgspec.json.encode(e), type=Episode) for e in node.ledger.take_changes()]
    after = Node()
    after.ledger = Ledger(load(), "n1", kept, counted=after.counted.append)
    after.now = node.now + 50
    after.xid("48")
    assert (after.only().id, after.only().count, after.counted) == (kept[0].id, 2, [])
    after.now += 61
    after.xid("48")
    assert after.only().id == kept[0].id + 1


def test_every_change_is_handed_to_the_journal_once(node: Node) -> None:
    """Repeats of a state are written once a minute, not at every poll."""
    node.xid("48")
    assert [episode.id for episode in node.ledger.take_changes()] == [1]
    assert node.ledger.take_changes() == []
    lost = Sign(
        class_="device_lost", condition="lost", at=0, vendor="nvidia", device=gpu(1), message="lost", lasting=True
    )
    writes = 0
    for _ in range(300):
        node.now += 1
        node.apply(msgspec.structs.replace(lost, at=node.now))
        writes += len(node.ledger.take_changes())
    assert 5 <= writes <= 8


def test_a_storm_costs_little_per_line(node: Node) -> None:
    """4,000 past episodes do not make a new line dearer than a few of them do (a ratio, not a time)."""
    import time

    def lines() -> float:
        started = time.perf_counter()
        for number in range(500):
            node.xid("31", device=number % 4)
        return time.perf_counter() - started

    lines()
    few = min(lines() for _ in range(3))
    for _ in range(1000):
        node.wait(61)
        for device in range(4):
            node.xid("94", device=device)
    node.wait(200)
    lines()
    assert min(lines() for _ in range(3)) < 5 * few

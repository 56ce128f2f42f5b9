"""Boards as the sources read them: H100 SXM, Ascend 910B and the two dies of an Ascend A3, with all their families."""

from __future__ import annotations

import random

import msgspec

from accelwatch.readings.health import Health, Level
from accelwatch.readings.identity import DeviceKey, Identity, Vendor
from accelwatch.readings.link import Fabric, Link, LinkChange, LinkKind, LinkState, Optics, Pcie
from accelwatch.readings.memory import EccCount, ErrorKind, Repairs
from accelwatch.readings.process import DeviceProcess
from accelwatch.readings.sensors import Clock, Sensors, Throttle
from accelwatch.readings.snapshot import Device

GIB = 1 << 30
CORRECTED, UNCORRECTED = ErrorKind.CORRECTED, ErrorKind.UNCORRECTED


class Model(msgspec.Struct, frozen=True):
    """Watts, hertz and bytes; `idle`: nothing holds it, `context`: a process does, `spin`: it waits at full use."""

    name: str
    vendor: Vendor
    idle: float
    context: float
    spin: float
    full: float
    limit: float
    clock: float
    idle_clock: float
    memory: int
    links: int
    dies: int = 1


# reference/reliability.md section 4.2 (H100), captures of npu-smi for the others; a die of the A3 that is not the
# first of its NPU tells no power.
H100 = Model("NVIDIA H100 80GB HBM3", Vendor.NVIDIA, 72, 122, 155, 560, 700, 1.98e9, 0.345e9, 80 * GIB, 18)
A2 = Model("910B2", Vendor.ASCEND, 95, 102, 108, 330, 400, 1.8e9, 0.8e9, 64 * GIB, 7)
A3 = Model("Ascend910", Vendor.ASCEND, 182, 190, 205, 620, 800, 1.8e9, 0.8e9, 64 * GIB, 7, dies=2)


class Load(msgspec.Struct):
    """What a device does at a moment. `power`: watts of the board; `packets`: per second over its network port."""

    power: float
    utilization: float
    memory: int = 0
    packets: float = 0.0


class Board:
    """One device: what work asks of it in, what its source reads of it out."""

    def __init__(self, model: Model, index: int, rng: random.Random, unwired: int = 0) -> None:
        self.model, self.index, self.rng = model, index, rng
        self.driver = "570.124.06" if model.vendor is Vendor.NVIDIA else "25.0.rc1.1"
        self.unwired = unwired  # NVLinks that this board never had
        self.load = Load(model.idle, 0.0)
        self.limit = model.limit
        self.summer = 0.0  # degrees that the room is warmer
        self.clock_cap = 1.0  # of the highest clock
        self.busy = False
        self.pids: tuple[DeviceProcess, ...] = ()
        self.energy = rng.uniform(1e6, 9e9)
        self.replays = rng.randrange(3)
        # What lies behind the board when the agent comes: corrected errors of its life, long before.
        self.lifetime = {"hbm": rng.choice((0, 0, 0, 3, 41)), "sram": rng.choice((0, 0, 0, 0, 1))}
        self.volatile = {"hbm": 0, "sram": 0}
        self.link_errors = [{"replay": rng.randrange(2), "crc_flit": rng.randrange(4)} for _ in range(model.links)]
        self.sio_errors = rng.randrange(5)
        self.identity = self._identity()
        self._links: tuple[Link, ...] | None = None
        self._ecc: tuple[EccCount, ...] | None = None

    def reloaded(self) -> None:
        """The driver was loaded anew: what it counts since then begins at 0."""
        self.energy, self.replays = 0.0, 0
        self.volatile = {"hbm": 0, "sram": 0}
        self.link_errors = [{"replay": 0, "crc_flit": 0} for _ in range(self.model.links)]
        self.sio_errors = 0
        self.identity = self._identity()
        self._links = self._ecc = None

    def corrected(self, memory: str, count: int) -> None:
        self.lifetime[memory] += count
        self.volatile[memory] += count
        self._ecc = None

    def link_error(self, link: int, counter: str, count: int) -> None:
        self.link_errors[link][counter] = self.link_errors[link].get(counter, 0) + count
        self._links = None

    def sio_error(self) -> None:
        self.sio_errors += 1
        self._links = None

    def run(self, seconds: float) -> None:
        """Time in which it did what `load` says."""
        self.energy += self.load.power * seconds

    # --- what is read

    def sensors(self) -> Sensors:
        """Every value."""
        model, load = self.model, self.load
        share = (load.power - model.idle) / (model.limit - model.idle)
        heat = 31 + 0.6 * self.summer + 34 * max(0.0, share) + self.rng.uniform(-1, 1)
        self.busy = load.utilization > 0.2
        clock = model.clock * self.clock_cap if load.utilization > 0 or load.memory else model.idle_clock
        watts: float | None = round(load.power, 1)
        if model.dies > 1 and self.index % model.dies:
            watts = None
        nvidia = model.vendor is Vendor.NVIDIA
        capped = self.busy and load.power >= 0.97 * self.limit
        return Sensors(
            power_watts=watts,
            power_limit_watts=self.limit if nvidia else None,
            energy_joules=round(self.energy, 3) if nvidia else None,
            temperature_celsius=round(heat),
            memory_temperature_celsius=round(heat + 8),
            utilization_ratio=round(min(1.0, max(0.0, load.utilization)), 2),
            memory_used_bytes=load.memory + (GIB // 2 if nvidia else 3 * GIB),
            memory_total_bytes=model.memory,
            clocks=(Clock("sm" if nvidia else "aicore", clock), Clock("memory", 2.6e9 if nvidia else 1.6e9)),
            throttle=((Throttle.SW_POWER_CAP,) if capped else ()) if nvidia else None,
        )

    def full(self) -> Device:
        """As a full reading gives it."""
        nvidia = self.model.vendor is Vendor.NVIDIA
        if self._ecc is None:
            self._ecc = self._counts()
        if self._links is None:
            self._links = self._nvlinks() if nvidia else self._hccs()
        # The generation drops while the GPU idles, by design.
        generation = 5 if self.busy or self.load.utilization > 0.2 else self.rng.choice((1, 1, 5))
        pcie = Pcie(generation=generation, generation_max=5, width=16, width_max=16, replays=self.replays)
        return Device(
            identity=self.identity,
            sensors=self.sensors(),
            health=Health(recovery_action=0) if nvidia else Health(level=Level.OK, error_codes=()),
            ecc=(*self._ecc,),  # a full reading is read anew, equal or not
            repairs=Repairs(
                rows_corrected=0,
                rows_uncorrected=0,
                pending=False if nvidia else None,
                failed=False if nvidia else None,
                banks_without_spare=0 if nvidia else None,
                sram_threshold_exceeded=False if nvidia else None,
            ),
            pcie=pcie if nvidia else None,
            fabric=Fabric(state="completed", status=0, healthy=True) if nvidia else None,
            links=(*self._links,),
            processes=self.pids,
        )

    def fast(self, full: Device) -> Device:
        """As the polls between two full readings: power, utilization, energy and throttling are new."""
        assert full.sensors is not None
        now = self.sensors()
        sensors = msgspec.structs.replace(
            full.sensors,
            power_watts=now.power_watts,
            energy_joules=now.energy_joules,
            utilization_ratio=now.utilization_ratio,
            throttle=now.throttle,
        )
        return msgspec.structs.replace(full, sensors=sensors)

    def _identity(self) -> Identity:
        i = self.index
        if self.model.vendor is Vendor.NVIDIA:
            pci = f"0000:{0x1B + 0x11 * i:02x}:00.0"
            return Identity(
                key=DeviceKey(Vendor.NVIDIA, pci),
                model=self.model.name,
                uuid=f"GPU-{i:08x}-6a1c-4f1e-9b0d-3c5a7e9f1b2d",
                serial=f"16548480{i:05d}",
                pci=pci,
                driver=self.driver,
                firmware="96.00.89.00.01",
                library=f"12.{self.driver}",
                index=i,
            )
        npu, chip = divmod(i, self.model.dies)
        return Identity(
            key=DeviceKey(Vendor.ASCEND, f"npu{npu}/chip{chip}"),
            model=self.model.name,
            serial=f"1023B5{npu:06d}",
            pci=f"0000:{0x81 + 2 * i:02x}:00.0",
            driver=self.driver,
            firmware="7.5.0.1.129",
            library=self.driver,
            npu_id=npu,
            chip_id=chip,
            phy_id=i,
            logic_id=i,
        )

    def _counts(self) -> tuple[EccCount, ...]:
        counts = []
        for lifetime, table in ((False, self.volatile), (True, self.lifetime)):
            memories = ("hbm", "sram") if self.model.vendor is Vendor.NVIDIA else ("hbm",)
            for memory in memories:
                counts += [
                    EccCount(memory=memory, kind=CORRECTED, count=table[memory], lifetime=lifetime),
                    EccCount(memory=memory, kind=UNCORRECTED, count=0, lifetime=lifetime),
                ]
        return tuple(counts)

    def _nvlinks(self) -> tuple[Link, ...]:
        wired = self.model.links - self.unwired
        return tuple(
            Link(
                key=self.identity.key,
                link=f"nvlink{n}",
                kind=LinkKind.NVLINK,
                state=LinkState.UP if n < wired else LinkState.DOWN,
                speed_bits_per_second=4.25e11 if n < wired else None,
                errors=dict(self.link_errors[n]) if n < wired else None,
            )
            for n in range(self.model.links)
        )

    def _hccs(self) -> tuple[Link, ...]:
        key = self.identity.key
        links = [
            Link(
                key=key,
                link=f"hccs{n}",
                kind=LinkKind.HCCS,
                state=LinkState.UP,
                healthy=True,
                verdict="OK",
                lanes_lost=0,
                errors={"retry": self.link_errors[n].get("replay", 0), "error": 0},
            )
            for n in range(self.model.links)
        ]
        if self.model.dies > 1:
            errors = {"rx_error": self.sio_errors, "tx_error": 0}
            links.append(Link(key=key, link="sio0", kind=LinkKind.HCCS, state=LinkState.UP, errors=errors))
        return tuple(links)


class Port:
    """A network port: of an NPU (RoCE) or of the host (an RDMA adapter)."""

    def __init__(
        self, key: DeviceKey | None, name: str, kind: LinkKind, rng: random.Random, cabled: bool = True
    ) -> None:
        self.key, self.name, self.kind, self.rng, self.cabled = key, name, kind, rng, cabled
        self.packets = 0
        self.errors: dict[str, int] = {}
        self.up = cabled
        self.drops = rng.randrange(3)  # from before the agent came
        self.dropped: list[tuple[float, bool]] = []  # monotonic seconds of the device, newest first
        if key is not None and cabled:
            for days in sorted(rng.sample(range(2, 60), self.drops)):
                self.dropped += [(-days * 86400.0, True), (-days * 86400.0 - 4.0, False)]
        self.rx = [rng.uniform(0.9, 1.4) for _ in range(4)]  # milliwatts
        self._held: Link | None = None
        self._polls = 0

    def count(self, counter: str, number: int) -> None:
        self.errors[counter] = self.errors.get(counter, 0) + number

    def reloaded(self) -> None:
        self.packets, self.drops = 0, 0
        self.errors = dict.fromkeys(self.errors, 0)
        self.dropped = []
        self._held = None

    def set_up(self, up: bool, now: float) -> None:
        """A person pulls or plugs the cable."""
        if up != self.up:
            self.up = up
            self.drops += not up
            self.dropped.insert(0, (now, up))

    def read(self, now: float) -> Link:
        """Of an NPU: state and history are new at each poll, counters at every sixth, optics at every sixtieth."""
        if self.key is None:
            return Link(
                key=None,
                link=self.name,
                kind=self.kind,
                state=LinkState.UP if self.up else LinkState.DOWN,
                speed_bits_per_second=4e11,
                verdict="LinkUp" if self.up else "Polling",
                drops=self.drops,
                errors=dict(self.errors),
                packets=self.packets,
            )
        if self._held is None or self._polls % 6 == 0:
            self._held = self._slow()
        self._polls += 1
        history = tuple(LinkChange(round(now - at), up) for at, up in self.dropped[:10])
        return msgspec.structs.replace(
            self._held,
            state=LinkState.UP if self.up else LinkState.DOWN,
            drops=self.drops,
            ups=self.drops + 1,
            history=history,
        )

    def _slow(self) -> Link:
        drift = [max(0.55, min(1.6, watts + self.rng.uniform(-0.01, 0.01))) for watts in self.rx]
        self.rx = drift
        return Link(
            key=self.key,
            link=self.name,
            kind=self.kind,
            speed_bits_per_second=2e11,
            healthy=True if self.up else None,
            verdict="Success" if self.up else None,
            errors=dict(self.errors),
            packets=self.packets,
            fec="rs",
            optics=Optics(
                present=self.cabled,
                temperature_celsius=round(44 + self.rng.uniform(-3, 3), 1),
                voltage_volts=3.3,
                tx_power_milliwatts=tuple(1.1 for _ in drift),
                rx_power_milliwatts=tuple(round(watts, 4) for watts in drift),
                rx_power_low_milliwatts=0.2,
                tx_power_low_milliwatts=0.2,
                rx_loss_of_signal=0,
            ),
        )

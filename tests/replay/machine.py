"""A node through weeks of ordinary work: its boards, ports, jobs and kernel log. Nothing in it ever breaks."""

from __future__ import annotations

import random
from collections.abc import Iterator

import msgspec

from accelwatch.readings.kernel import KernelRecord, KernelRecords
from accelwatch.readings.link import LinkKind
from accelwatch.readings.process import DeviceProcess, ProcessExit
from accelwatch.readings.snapshot import Device, Snapshot

from . import jobs
from .boards import GIB, H100, Board, Model, Port
from .jobs import Job

# Rates of what a sound node shows, per device and day unless said otherwise. Corrected errors: a few a day on a sound
# memory (reference/nvidia.md section 3), on one board of the node tens. The rest is ours.
DAY = 86400.0
CORRECTED_PER_DAY, NOISY_CORRECTED_PER_DAY = 0.2, 25.0
LINK_ERRORS_PER_DAY, REPLAYS_PER_DAY = 0.5, 1.5
BUSY_PORT_ERRORS = {  # per port and hour of traffic
    "roce_new_pkt_rty_num": 40.0,
    "roce_out_of_order_num": 300.0,
    "roce_unexpected_ack_num": 30.0,
    "out_of_sequence": 200.0,
    "packet_seq_err": 30.0,
    "port_xmit_discards": 40.0,
    "port_rcv_switch_relay_errors": 90.0,
    "VL15_dropped": 3.0,
    "symbol_error": 0.05,
}
HARMLESS = (
    "perf: interrupt took too long (2506 > 2500), lowering kernel.perf_event_max_sample_rate to 79750",
    "workqueue: drm_fb_helper_damage_work hogged CPU for >10000us 4 times, consider switching to WQ_UNBOUND",
    "nfs: RPC call returned error 512",
    "TCP: request_sock_TCP: Possible SYN flooding on port 29500. Sending cookies.",
    "nvidia-uvm: Loaded the UVM driver, major device number 511.",
    "mlx5_core 0000:1a:00.0: mlx5_cmd_out_err:818:(pid 0): QUERY_FLOW_TABLE(0x932) op_mod(0x0) status: ok",
    "EDAC MC1: 1 CE memory read error on CPU_SrcID#0_MC#1_Chan#0_DIMM#0 (channel:0 slot:0 page:0x3c1f offset:0x0 "
    "grain:32 syndrome:0x0 - err_code:0x0101:0x0090 )",
    "pcieport 0000:16:01.0: AER: Correctable error message received from 0000:16:01.0",
    "pcieport 0000:16:01.0: AER: Corrected error received: 0000:1a:00.0",
    'audit: type=1400 audit(1790000000.0:77): apparmor="DENIED" operation="open" profile="snap.lxd"',
    "docker0: port 1(veth1a2b3c4) entered disabled state",
)


class Machine:
    """`monotonic` is the kernel's clock, `skew` what the wall clock is ahead of the truth."""

    def __init__(self, model: Model, devices: int, seed: int) -> None:
        self.rng = random.Random(seed)
        self.model = model
        self.nvidia = model is H100
        self.boards = [
            Board(model, n, self.rng, unwired=2 if self.nvidia and n == devices - 1 else 0) for n in range(devices)
        ]
        self.noisy = self.rng.randrange(devices)
        self.ports: list[Port] = []
        if self.nvidia:
            self.ports = [Port(None, f"mlx5_{n}/1", LinkKind.IB, self.rng) for n in range(8)]
            self.ports.append(Port(None, "mlx5_8/1", LinkKind.ROCE, self.rng))
            self.ports.append(Port(None, "mlx5_9/1", LinkKind.ROCE, self.rng, cabled=False))
        else:
            self.ports = [Port(board.identity.key, "roce0", LinkKind.ROCE, self.rng) for board in self.boards]
            self.ports[-1] = Port(self.boards[-1].identity.key, "roce0", LinkKind.ROCE, self.rng, cabled=False)
        for port in self.ports:
            port.errors = dict.fromkeys(("symbol_error",) if port.key is None else ("mac_rx_fcs_err_pkt_num",), 0)
        self.monotonic, self.wall = 2 * 86400.0, 1_790_000_000.0
        self.boots = 1
        self.jobs: list[Job] = []
        self.drained = False
        self._wanted = 2  # devices of the next job
        self._pids = 4000
        self._job_number = 7000
        self._sequence = 0
        self._log: list[KernelRecord] = []  # of this boot
        self._logged = 0  # of them, those that were read
        self._free_until = {n: self.wall + self.rng.uniform(0, 1200) for n in range(devices)}
        self._boot_log()
        self.ended: list[tuple[Job, float]] = []
        self.ingredients: dict[str, int] = {}

    @property
    def boot_id(self) -> str:
        return f"5d1c0a7e-0000-4000-8000-{self.boots:012d}"

    def count(self, ingredient: str) -> None:
        self.ingredients[ingredient] = self.ingredients.get(ingredient, 0) + 1

    @property
    def steady(self) -> bool:
        """Whether jobs have gone on with what they do for some minutes, and will for one more."""
        return not self.drained and all(job.steady for job in self.jobs)

    # --- time

    def pass_time(self, seconds: float) -> list[ProcessExit]:
        """Time passes; gives the processes of runs that ended in it."""
        self.monotonic += seconds
        self.wall += seconds
        exits: list[ProcessExit] = []
        held = set()
        for job in self.jobs:
            before = job.phase
            job.step(self.boards, seconds)
            held.update(job.devices)
            if job.phase is not before and job.phase is not None:
                self.count(f"{job.kind}: {job.phase.name}")
        for job in [job for job in self.jobs if job.over]:
            exits += self._end(job)
        for n, board in enumerate(self.boards):
            if n not in held:
                board.load = jobs.Load(board.model.idle + self.rng.uniform(0, 2), 0.0)
            board.run(seconds)
        self._errors(seconds)
        if not self.drained:
            self._schedule(seconds)
        self._processes()
        return exits

    def end_all(self, how: str = "term") -> list[ProcessExit]:
        """The node is drained, or a scheduler ends what runs on it."""
        exits = []
        for job in list(self.jobs):
            job.end = how
            exits += self._end(job)
        self._processes()
        return exits

    def _end(self, job: Job) -> list[ProcessExit]:
        self.jobs.remove(job)
        self.ended.append((job, self.wall))
        self.count(f"{job.kind}: ended by {job.end}")
        pause = self.rng.choice((self.rng.uniform(5, 120), self.rng.uniform(120, 5000)))
        for device in job.devices:
            self._free_until[device] = self.wall + pause
        exits = job.exits(self.monotonic, self.wall)
        if job.end == "segfault":
            died = next(end for end in exits if end.signal == 11)
            self.log(
                f"python3[{died.pid}]: segfault at 7f3a10 ip 00007f2a9c sp 00007ffd error 4 in libtorch_cpu.so[7f2a]"
            )
        if job.end == "xid":
            died = next(end for end in exits if end.code == 1)
            board = self.boards[next(rank.device for rank in job.ranks if rank.pid == died.pid)]
            self.log(
                f"NVRM: Xid (PCI:{board.identity.pci.removesuffix('.0')}): 31, pid={died.pid}, name=python3, Ch 00000008, "
                "intr 00000000. MMU Fault: ENGINE GRAPHICS GPCCLIENT_T1_4 faulted @ 0x7f2a_9c000000. Fault is of type "
                "FAULT_PDE ACCESS_TYPE_VIRT_READ"
            )
        if job.end != "done" and (job.world or 0) > len(job.devices):
            # Peers that are gone: connections in flight run out of their retries once or twice, then are torn down.
            for port in self._ports_of(job):
                counter = "local_ack_timeout_err" if port.key is None else "roce_new_pkt_rty_num"
                port.count(counter, self.rng.randrange(1, 9))
                port.count("req_cqe_error" if port.key is None else "roce_qp_status_err_num", self.rng.randrange(400))
        return exits

    # --- what is read

    def devices(self) -> tuple[Device, ...]:
        return tuple(board.full() for board in self.boards)

    def links(self) -> Snapshot:
        """Of rdma, or of hccn_tool."""
        return Snapshot(links=tuple(port.read(self.monotonic) for port in self.ports))

    def processes(self) -> Snapshot:
        node = "nvidia" if self.nvidia else "davinci"
        return Snapshot(processes=tuple(process for job in self.jobs for process in job.processes(node)))

    def records(self, everything: bool = False) -> KernelRecords | None:
        """What the kernel has written since the last reading; `everything`: an agent that begins reads it all."""
        new = self._log if everything else self._log[self._logged :]
        self._logged = len(self._log)
        if not new:
            return None
        return KernelRecords(
            boot_id=self.boot_id, records=tuple(new), backlog=everything, last_sequence=new[-1].sequence
        )

    def unread(self) -> KernelRecords | None:
        """What was written while no agent was there, of this boot."""
        records = self.records()
        return None if records is None else msgspec.structs.replace(records, backlog=True)

    def log(self, text: str, seconds: float | None = None) -> None:
        self._sequence += 1
        at = self.monotonic if seconds is None else seconds
        self._log.append(KernelRecord(self._sequence, at, 4, text))

    # --- what an operator does

    def reboot(self) -> None:
        """With all that counts since boot."""
        self.jobs.clear()
        self.boots += 1
        self.wall += 240.0
        self.monotonic = 75.0
        self._log, self._logged, self._sequence = [], 0, 0
        for board in self.boards:
            board.reloaded()
        for port in self.ports:
            port.reloaded()
        self._boot_log()
        self._processes()

    def reload_driver(self, driver: str) -> None:
        for board in self.boards:
            board.driver = driver
            board.reloaded()
        self.log(f"NVRM: loading NVIDIA UNIX x86_64 Kernel Module  {driver}  Fri Mar  7 02:11:50 UTC 2025")

    def _boot_log(self) -> None:
        for n, text in enumerate(self._boot_lines()):
            self.log(text, 2.0 + 0.31 * n)

    def _boot_lines(self) -> Iterator[str]:
        yield "Linux version 5.15.0-113-generic (buildd@lcy02) (gcc 11.4.0) #123-Ubuntu SMP"
        yield "ACPI: [Firmware Bug]: BIOS _OSI(Linux) query ignored"
        yield "pci 0000:16:01.0: PCIe Bus Error: severity=Corrected, type=Physical Layer, (Receiver ID)"
        for n in range(10):
            card = f"0000:{0x1A + n:02x}:00.0"
            yield f"mlx5_core {card}: firmware version: 28.39.3560"
            yield f"mlx5_core {card}: 252.048 Gb/s available PCIe bandwidth (32.0 GT/s PCIe x8 link)"
            if n >= 8:
                name = f"enp{0x1A + n}s0np0"
                yield f"mlx5_core {card} {name}: Link down"
                if n == 8:
                    yield f"mlx5_core {card} {name}: Link up"
                    yield f"IPv6: ADDRCONF(NETDEV_CHANGE): {name}: link becomes ready"
        if self.nvidia:
            yield "nvidia: loading out-of-tree module taints kernel."
            yield f"NVRM: loading NVIDIA UNIX x86_64 Kernel Module  {self.boards[0].driver}  Fri Mar  7 02:11:50 UTC 2025"
            yield "nvidia-modeset: Loading NVIDIA Kernel Mode Setting Driver for UNIX platforms"
            for board in self.boards:
                yield f"NVRM: GPU at PCI:{board.identity.pci.removesuffix('.0')}: {board.identity.uuid}"
                yield f"NVRM: GPU Board Serial Number: {board.identity.serial}"
        else:
            yield "ascend_event: loading out-of-tree module taints kernel."
            for board in self.boards:
                yield f"[ascend] [devdrv] [devdrv_probe 2201] device probe success. (dev_id={board.index})"
        yield "EXT4-fs (nvme0n1p2): mounted filesystem with ordered data mode. Quota mode: none."
        yield "systemd[1]: Started Journal Service."

    # --- inside

    def _schedule(self, seconds: float) -> None:
        rng = self.rng
        busy = {device for job in self.jobs for device in job.devices}
        free = [n for n, until in self._free_until.items() if n not in busy and self.wall >= until]
        if not free:
            return
        wanted, hours = self._wanted, 24.0
        if len(free) < wanted:
            # A short job slips in before the one that waits, now and then.
            if rng.random() > seconds / 14_400:
                return
            wanted = min(len(free), rng.choice((1, 1, 2, 3)))
            hours = 0.5
        else:
            whole = len(self.boards)
            self._wanted = rng.choice((whole, whole, whole, whole // 2, whole // 2, 4, 2, 1, 5))
        devices = free[:wanted]
        self._job_number += rng.randrange(1, 40)
        self._pids = 4000 + (self._pids + 400) % 4_000_000
        kind = "train"
        if wanted <= 2 and rng.random() < 0.6:
            kind = rng.choice(("notebook", "inference"))
        hours = min(hours, rng.choice((0.3, 0.7, 2.0, 4.0, 9.0, 16.0)) * rng.uniform(0.7, 1.3))
        ends = ("done", "done", "done", "term", "term", "error", "segfault", *(("xid",) if self.nvidia else ()))
        end = rng.choice(ends) if kind == "train" else "term"
        if end == "xid" and rng.random() < 0.6:  # five a month on a node of eight, as on Delta (reliability.md 1.2)
            end = "error"
        world: int | None = wanted * rng.choice((1, 1, 2, 4, 32)) if kind == "train" else None
        launcher = rng.choice(("slurmstepd", "torchrun")) if kind == "train" else rng.choice(("jupyter-lab", "vllm"))
        phases = {
            "train": lambda: jobs.training(rng, hours, wanted),
            "notebook": lambda: jobs.notebook(rng, hours),
            "inference": lambda: jobs.inference(rng, hours),
        }[kind]()
        first = 0 if world is None or world == wanted or rng.random() < 0.3 else wanted
        job = Job(
            name=str(self._job_number) if launcher == "slurmstepd" else f"job-{self._job_number}",
            kind=kind,
            devices=devices,
            world=world,
            launcher=launcher,
            phases=phases,
            end=end,
            rng=rng,
            base_pid=self._pids,
            first_rank=first,
            process_each=kind == "train" or rng.random() < 0.5,
        )
        job.begin(self.wall, int(self.monotonic * 100))
        self.jobs.append(job)
        self.count(f"{kind}: started on {wanted}")
        if job.phase is not None:
            self.count(f"{kind}: {job.phase.name}")

    def _processes(self) -> None:
        for board in self.boards:
            board.pids = ()
        for job in self.jobs:
            for n, device in enumerate(job.devices):
                pid = job.ranks[n if job.process_each else 0].pid
                board = self.boards[device]
                board.pids = (DeviceProcess(pid=pid, name="python3", memory_bytes=max(board.load.memory, GIB)),)

    def _ports_of(self, job: Job) -> list[Port]:
        return [self.ports[device % len(self.ports)] for device in job.devices]

    def _errors(self, seconds: float) -> None:
        """What a sound node counts. One draw in a while: rates are low."""
        rng, day = self.rng, 86400.0
        for n, board in enumerate(self.boards):
            per_day = NOISY_CORRECTED_PER_DAY if n == self.noisy else CORRECTED_PER_DAY
            if rng.random() < per_day * seconds / day:
                board.corrected("hbm", rng.choice((1, 1, 1, 2, 6)))
                self.count("corrected ECC errors")
            if rng.random() < LINK_ERRORS_PER_DAY * seconds / day:
                board.link_error(rng.randrange(board.model.links - 2), rng.choice(("replay", "crc_flit")), 1)
                self.count("link replay or CRC error")
            if rng.random() < REPLAYS_PER_DAY * seconds / day:
                board.replays += rng.choice((1, 1, 2))
                board.sio_error()
        for job in self.jobs:
            if (job.world or 0) <= len(job.devices) or job.phase is None or job.phase.name not in ("train", "ramp"):
                continue
            for port in self._ports_of(job):
                port.packets += int(90_000 * seconds)
                if rng.random() < 0.1:
                    for counter, per_hour in BUSY_PORT_ERRORS.items():
                        if counter.startswith("roce") is (port.key is not None):
                            mean = per_hour * seconds / 360
                            port.count(counter, int(rng.expovariate(1 / mean)) if mean else 0)
        if rng.random() < 12 * seconds / day:
            self.log(rng.choice(HARMLESS))
            self.count("harmless kernel line")

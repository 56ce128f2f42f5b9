"""What an on-call engineer is told in each of these, and what not. A scene gives its flaws; none: all is as it ought to be."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from paging.pages import Page
from paging.stack import Stack
from real_alertmanager import until

RUN = "4711"
# A run is judged after a minute of work (runs/stall.py, ARMED_BUSY_SECONDS) and some readings.
ARMED_SECONDS = 90.0
# A port is down for 20 s before it ends a run (design.md, Faults); polls, a wait of up to 48 s with a cause, scrape and
# evaluation on top.
PAGED_SECONDS, HANGS_SECONDS = 90.0, 150.0
# A run works again for a minute, its alert is kept for two (rules/hangs.yml), and a group speaks once a minute.
OVER_SECONDS = 420.0
# Beyond every `for` and `keep_firing_for` of what a fault brings, and two groups' intervals.
QUIET_SECONDS = 200.0

# What the Ascend driver writes when a device's system stops (reference/ascend.md section 6).
_NPU_LINE = (
    "[ascend] [ERROR] [drv_soft_fault] [heart_beat_judge 318] <kworker/0:1:1> Heartbeat lost! (device={device}; "
    "old_count=17; lost_count=4; total_lost_count=4)"
)

Scene = Callable[[Stack], list[str]]


def wait(what: str, found: Callable[[], Any], seconds: float, flaws: list[str]) -> Any:
    """What is found, or a flaw."""
    answers: list[Any] = []

    def true() -> bool:
        answers.append(found())
        return bool(answers[-1])

    try:
        until(what, true, seconds)
    except AssertionError:
        flaws.append(f"{what}: not within {seconds:g} s")
    return answers[-1]


def hang(stack: Stack) -> list[int]:
    """Every rank of the run waits; gives what ends it on the real nodes."""
    if stack.plan.fleet:
        stack.steer("hang", RUN)
    return [stack.break_("hang", node) for node in stack.plan.runs[0].nodes]


def resume(stack: Stack, numbers: list[int]) -> None:
    """The run goes on."""
    if stack.plan.fleet:
        stack.steer("resume", RUN)
    for number in numbers:
        stack.hardware.clear(number)


def only_page(stack: Stack, flaws: list[str], words: tuple[str, ...]) -> Page | None:
    """The one page of the run, which has to name what is to be known."""
    pages = stack.pages.all()
    if len(pages) != 1:
        flaws.append(f"{len(pages)} pages: {[page.incident + ': ' + page.text for page in pages]}")
        return pages[0] if pages else None
    (page,) = pages
    if page.incident != f"run/{RUN}":
        flaws.append(f"the page is of {page.incident}")
    flaws += [f"the page does not say {word!r}: {page.text}" for word in words if word not in page.text]
    return page


def struck(stack: Stack, fault: str, node: str, device: int, words: tuple[str, ...]) -> list[str]:
    """A device's fault, then the whole run hangs: one page; when the fault is over and the run works, one end."""
    flaws: list[str] = []
    stack.pages.forget()
    number, began = stack.break_(fault, node, device), time.time()
    waits = hang(stack)
    wait("the page", stack.pages.all, PAGED_SECONDS, flaws)
    rang = [page.rang - began for page in stack.pages.all()]
    of_run = f'{{run_id="{RUN}"}}'
    hangs = f'ALERTS{{alertname="AccelwatchRunHang",alertstate="firing",run_id="{RUN}"}}'
    wait("the rules to see the hang", lambda: stack.ask(hangs), HANGS_SECONDS, flaws)
    culprit = [
        (s["metric"].get("node"), s["metric"].get("device")) for s in stack.ask(f"accelwatch:run:culprit{of_run}")
    ]
    if culprit != [(node, str(device))]:
        flaws.append(f"the rules hold {culprit} for the culprit, not {node} {device}")
    time.sleep(2 * stack.plan.scrape)
    page = only_page(stack, flaws, (*words, node, RUN, "Do: ", f"why {RUN} --prometheus {stack.prometheus}"))
    stack.hardware.clear(number)
    resume(stack, waits)
    if fault == "ecc_uncorrected":  # by its own evidence only after a reset: an operator says that it was done
        wait("the fault in the journal", lambda n=node: stack.clear(n, class_="mem_uncorrectable"), 30, flaws)
    ended = time.time()
    if page is not None:
        wait("its end", lambda: stack.pages.all()[0].over, OVER_SECONDS, flaws)
        over = stack.pages.all()[0].over
        print(
            f"  {fault}: page after {rang[0]:.1f} s, over {(over or time.time()) - ended:.0f} s after the fault;"
            f" {len(stack.pages.all()[0].bodies)} notifications of it, with {_names(stack.pages.all()[0])}",
            flush=True,
        )
        print(f"  it says: {page.text}", flush=True)
        only_page(stack, flaws, ())
    return flaws


def _names(page: Page) -> str:
    return ", ".join(sorted({alert["labels"]["alertname"] for alert in page.alerts}))


def link(stack: Stack) -> list[str]:
    """One RoCE port of an Ascend node drops."""
    return struck(stack, "roce_down", "as-1", 5, ("Ascend NPU 5", "AccelwatchNetLinkDown"))


def memory(stack: Stack) -> list[str]:
    """An uncorrectable ECC error on an NVIDIA node."""
    return struck(stack, "ecc_uncorrected", "nv-1", 3, ("NVIDIA GPU 3", "code 48"))


def dark(stack: Stack) -> list[str]:
    """A node of the fleet goes dark and the run hangs: one page, that it is back."""
    flaws: list[str] = []
    stack.pages.forget()
    node = next(s["metric"]["node"] for s in stack.ask('accelwatch_run_devices{rack!="real"}'))
    began = time.time()
    stack.steer("dark", node)
    waits = [stack.break_("hang", name) for name in stack.plan.runs[0].nodes]
    wait("the page", stack.pages.all, 240, flaws)
    rang = [page.rang - began for page in stack.pages.all()]
    hangs = f'ALERTS{{alertname="AccelwatchRunHang",alertstate="firing",run_id="{RUN}"}}'
    wait("the rules to see the hang", lambda: stack.ask(hangs), 420, flaws)
    time.sleep(2 * stack.plan.scrape)
    page = only_page(stack, flaws, (node, RUN, "Do: ", "AccelwatchNodeDark"))
    stack.steer("back", node)
    ended = time.time()
    resume(stack, waits)
    if page is not None:
        wait("its end", lambda: stack.pages.all()[0].over, OVER_SECONDS, flaws)
        over = stack.pages.all()[0].over or time.time()
        print(
            f"  dark: page after {rang[0]:.0f} s, over {over - ended:.0f} s after it is back, {_names(stack.pages.all()[0])}",
            flush=True,
        )
        print(f"  it says: {page.text}", flush=True)
    return flaws


def silence(stack: Stack) -> list[str]:
    """After a fault the driver blocks, then the agent is killed, then the node is gone: nothing is resolved."""
    flaws: list[str] = []
    stack.pages.forget()
    node = "nv-2"
    stack.break_("ecc_uncorrected", node, 6)
    wait("the page", stack.pages.all, PAGED_SECONDS, flaws)
    stack.break_("blocked", node)
    time.sleep(QUIET_SECONDS / 2)
    stack.kill(node)
    time.sleep(QUIET_SECONDS / 2)
    stack.agent(node)  # and once more, since what an agent takes up from its journal is to go on, too
    time.sleep(QUIET_SECONDS / 4)
    stack.kill(node)
    of_node = f'alertstate="firing",node="{node}"'
    silent = f'ALERTS{{alertname="AccelwatchAgentSilent",{of_node}}}'
    wait("the agent to be told silent", lambda: stack.ask(silent), QUIET_SECONDS, flaws)
    stack.kill(f"{node}-exporter")
    dark = f'ALERTS{{alertname="AccelwatchNodeDark",{of_node}}}'
    wait("the node to be told dark", lambda: stack.ask(dark), QUIET_SECONDS, flaws)
    time.sleep(QUIET_SECONDS)
    pages = stack.pages.all()
    if any(page.over for page in pages):
        flaws.append(f"resolved though nobody knows: {[page.bodies for page in pages if page.over]}")
    # That the agent is silent is no more so, in words, once the whole node is dark: an alert of its own gives way to it.
    ended = [
        alert["labels"]
        for page in pages
        for alert in page.alerts
        if alert["status"] == "resolved" and alert["labels"]["alertname"] != "AccelwatchAgentSilent"
    ]
    if ended:
        flaws.append(f"told as resolved: {ended}")
    if len(pages) != 1:
        flaws.append(f"{len(pages)} pages: {[page.incident + ': ' + page.text for page in pages]}")
    return flaws


def jobs(stack: Stack) -> list[str]:
    """A user's job that dies of its own doing, and faults where nobody runs anything: nobody is called."""
    flaws: list[str] = []
    stack.pages.forget()
    deaths: list[Callable[[], int]] = [
        lambda: _death(
            stack, "python3[20001]: segfault at 7f ip 00005581 sp 00007ffc error 4 in libtorch.so[7f00]", 11
        ),
        lambda: _death(stack, "Out of memory: Killed process 20001 (python3) total-vm:1kB, anon-rss:1kB", 9),
        lambda: _death(stack, None, 0),
    ]
    for death in deaths:
        number = death()
        time.sleep(15)
        stack.hardware.clear(number)
        time.sleep(15)
    stack.xid("nv-idle", 2, 48)
    stack.break_("lost", "nv-idle", 4)
    wait("the idle node's faults", lambda: len([e for e in stack.faults("nv-idle") if e.active]) >= 2, 30, flaws)
    time.sleep(60)
    flaws += [f"somebody is called: {page.text}" for page in stack.pages.all()]
    tickets = {(alert["labels"].get("node"), alert["labels"]["alertname"]) for page in stack.pages.all("ticket")
               for alert in page.alerts}  # fmt: skip
    # The second of its two faults joins the ticket after its group_interval of five minutes.
    if "nv-idle" not in {node for node, _ in tickets}:
        flaws.append(f"no ticket of the idle node: {sorted(tickets)}")
    return flaws


def _death(stack: Stack, line: str | None, number: int) -> int:
    """The processes of the user's run die on all of its devices; without a line of the kernel, by an Xid 31."""
    if line is None:
        for device in range(8):
            stack.xid("nv-user", device, 31, 20_000 + device)
    else:
        stack.kernel("nv-user", line)
    return stack.break_("process_death", "nv-user", signal=number)


def storm(stack: Stack) -> list[str]:
    """A thousand faults over all nodes in a minute: a page per incident at most, and every one in a journal."""
    flaws: list[str] = []
    stack.pages.forget()
    real = [spec.name for spec in stack.plan.nodes]
    share = 1000 * len(real) // (len(real) + stack.plan.fleet)
    before = {node: sum(e.count for e in stack.faults(node)) for node in real}
    told = dict.fromkeys(real, 0)
    stack.steer("storm", "--faults", str(1000 - share), "--over", "60s")
    began = time.monotonic()
    for number in range(share):
        node, device = real[number % len(real)], number // len(real) % 8
        if node.startswith("nv"):
            stack.xid(node, device, (48, 62, 110, 119, 95)[number % 5])
        else:
            stack.kernel(node, _NPU_LINE.format(device=device))
        told[node] += 1
        time.sleep(max(0.0, began + 60 * (number + 1) / share - time.monotonic()))
    for node in real:
        kept = wait(
            f"{told[node]} lines in the journal of {node}",
            lambda n=node: sum(e.count for e in stack.faults(n)) - before[n] >= told[n],
            60,
            flaws,
        )
        if not kept:
            flaws.append(f"{node}: {sum(e.count for e in stack.faults(node)) - before[node]} of {told[node]}")
    time.sleep(90)
    pages = stack.pages.all()
    incidents = [page.incident for page in pages]
    flaws += [f"{incidents.count(name)} pages of {name}" for name in set(incidents) if incidents.count(name) > 1]
    hit = {f"run/{run.id}" for run in stack.plan.runs if any(node.startswith("nv") for node in run.nodes)}
    flaws += [f"no page of {name}, though devices of it failed" for name in sorted(hit - set(incidents))]
    runs = {f"run/{text.partition(':')[0]}" for text in stack.plan.fleet_runs} | {
        f"run/{r.id}" for r in stack.plan.runs
    }
    flaws += [f"a page of {name}, where no run is" for name in sorted(set(incidents) - runs)]
    size = max((len(str(body)) for page in pages for body in page.bodies), default=0)
    used = {name: stack.pss_mib(name) for name in ("alertmanager", *real)}
    # What the unit gives an agent (systemd/accelwatch.service, MemoryHigh); Alertmanager has no more to keep.
    flaws += [f"{name} holds {mib:.0f} MiB" for name, mib in used.items() if mib > 192]
    shown = ", ".join(f"{name} {mib:.0f}" for name, mib in used.items())
    print(f"  storm: {len(pages)} pages of {sorted(set(incidents))}; {sum(told.values())} lines in the journals of "
          f"{len(real)} agents; longest notification {size} characters; PSS in MiB: {shown}", flush=True)  # fmt: skip
    return flaws

"""The alerts of fault classes, made from the taxonomy: `make rules` writes them into alerts/rules/faults.yml.

They are alike but for the class's words and its first action, and these must be the taxonomy's own.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path

from accelwatch.pager.wording import alert_name
from accelwatch.taxonomy.loader import load
from accelwatch.taxonomy.model import FaultClass, Notify

MARK = "      # --- one alert per class, made from the taxonomy by `make rules`\n"
INTRODUCTION = """
      # None of them waits (no `for`), since the detector has waited for as long as the class needs. The restart of an
      # agent is bridged above; `keep_firing_for` bridges a gap in what Prometheus records.

"""

# What is wrong, after "<vendor> device <n> of <node>" or "<node>"; of those in OF_A_RUN after "run <id>".
WORDS = {
    "device_lost": "is lost",
    "mem_uncorrectable": "has uncorrectable memory errors",
    "mem_repair": "repairs its memory",
    "mem_correctable": "corrects memory errors",
    "onchip_sram": "has uncorrectable errors in on-chip memory",
    "compute_engine": "has an engine that failed",
    "control_processor": "has a control processor that does not answer",
    "intra_node_link": "has a failed link to its neighbours",
    "fabric_switch": "has a fault in the switch between devices",
    "pcie_host_link": "has a bad PCIe link",
    "net_link_down": "has a network port that is down",
    "net_link_flap": "has a network port that drops and comes back",
    "net_errors": "loses packets on a network port",
    "thermal": "is too hot",
    "power": "has a fault in its power supply",
    "app_device_exception": "did what its devices refused",
    "collective_timeout": "timed out waiting for a rank",
    "hang_no_error": "stands still on a node",
    "fail_slow": "holds up its peers",
    "driver_software": "has a driver that failed or hangs",
    "silent_corruption": "computes wrong results",
    "host": "has a fault of the host itself",
    "storage": "has a failing disk or file system",
    "software_job": "ended by its own doing",
    "unknown": "reports something that is not known here",
}
# One alert per run, not per device: every rank of it says the same.
OF_A_RUN = ("app_device_exception", "collective_timeout", "hang_no_error", "software_job")


def only_informs(class_: FaultClass) -> bool:
    """Alerts of the class never reach a person: the comparison's, the job's own doing, a node's share of a hang."""
    return class_.notify is Notify.NONE or class_.name == "hang_no_error"


def rules_text() -> str:
    """The alerts of all classes, in the taxonomy's order, as YAML of a group's list of rules."""
    classes = load().classes
    return MARK + INTRODUCTION + "\n".join(_rule(class_) for class_ in classes.values())


def _rule(class_: FaultClass) -> str:
    of_run = class_.name in OF_A_RUN
    info = only_informs(class_)
    lines = [f"      # {class_.meaning}", f"      - alert: {alert_name(class_.name)}", *_expression(class_)]
    if class_.name == "collective_timeout":
        lines += [
            "        # The cause on another node may be polled, scraped and evaluated later than the ranks that wait.",
            "        for: 1m",
        ]
    if not info:
        lines.append("        keep_firing_for: 1m")
    level = "info" if info else "ticket" if of_run else '"{{ $labels.severity }}"'
    lines += [
        "        labels:",
        f"          severity: {level}",
        '          incident: "{{ with $labels.run_id }}run/{{ . }}{{ else }}node/{{ $labels.node }}{{ end }}"',
        "        annotations:",
        f"          summary: >-\n            {_subject(of_run)} {WORDS[class_.name]}",
        "          description: |-",
        *(f"            {line}" for line in _description(class_, of_run)),
        f"          runbook_url: runbooks/{alert_name(class_.name)}.md",
    ]
    return "\n".join(lines) + "\n"


def _expression(class_: FaultClass) -> list[str]:
    name = class_.name
    seen = "accelwatch:fault:last_seen_timestamp_seconds"
    if name in OF_A_RUN:
        notify = "" if only_informs(class_) else ',notify="ticket"'
        here = f'{seen}{{class="{name}"{notify}'
        lines = [
            f'          max by (cluster, run_id, vendor, class, drill) ({here},run_id!=""}})',
            f'          or max by (cluster, rack, node, vendor, class, drill) ({here},run_id=""}})',
        ]
        if name == "collective_timeout":
            lines.append(
                "          unless on (cluster, run_id) accelwatch:fault:routed"
                '{run_id!="",drill!="true",fault_severity="run_ending",class!~"collective_timeout|fail_slow"}'
            )
            lines[:2] = ["          (", *(f"  {line}" for line in lines[:2]), "          )"]
        return ["        expr: >-", *lines]
    if only_informs(class_):
        return [f'        expr: max without (notify) ({seen}{{class="{name}"}})']
    return [f'        expr: accelwatch:fault:routed{{class="{name}"}}']


def _subject(of_run: bool) -> str:
    drill = "{{ if $labels.drill }}DRILL: {{ end }}"
    if of_run:
        return drill + "{{ with $labels.run_id }}run {{ . }}{{ else }}a job on {{ $labels.node }}{{ end }}"
    return drill + "{{ with $labels.device }}{{ $labels.vendor }} device {{ . }} of {{ end }}{{ $labels.node }}"


def _description(class_: FaultClass, of_run: bool) -> list[str]:
    if of_run:
        asked = 'printf "accelwatch:fault:last_seen_timestamp_seconds{class=%q,cluster=%q,run_id=%q}"'
        head = (
            f"{{{{ with {asked} $labels.class $labels.cluster $labels.run_id | query"
            ' | sortByLabel "node" }}'
            "It is told {{ len . }} times, such as by {{ with index . 0 }}{{ .Labels.vendor }}"
            "{{ with .Labels.device }} device {{ . }}{{ end }} of node {{ .Labels.node }}"
            "{{ with .Labels.code }}, code {{ . }}{{ end }}{{ end }}. {{ end }}"
        )
        return [
            head + class_.meaning,
            f"Do: {_by_vendor(class_, {'run': '{{ $labels.run_id }}', 'URL': '{{ $externalURL }}'})}",
            _why(),
        ]
    action = _by_vendor(class_, {"GPU": "{{ $gpu }}"})
    uses_gpu = "$gpu" in action
    gpu = "{{ $gpu = .Labels.pci }}" if uses_gpu else ""
    asked = 'printf "last_over_time(accelwatch_device_info{cluster=%q,node=%q,vendor=%q,device=%q}[1h])"'
    head = (
        "{{ $labels.vendor }}{{ with $labels.device }} device {{ . }}{{ end }}"
        f"{{{{ if $labels.device }}}}{{{{ with {asked} $labels.cluster $labels.node $labels.vendor $labels.device"
        " | query }}{{ with index . 0 }} ({{ .Labels.model }}, serial {{ .Labels.serial }}, PCI {{ .Labels.pci }})"
        f"{gpu}{{{{ end }}}}{{{{ end }}}}{{{{ end }}}}"
        " of node {{ $labels.node }}{{ with $labels.rack }}, rack {{ . }}{{ end }}, "
        "{{ with $labels.run_id }}run {{ . }}{{ else }}no run{{ end }}"
        "{{ with $labels.code }}, code {{ . }}{{ end }}. "
    )
    declared = '{{ $gpu := "<GPU>" }}' if uses_gpu else ""
    return [declared + head + class_.meaning, f"Do: {action}", _why()]


def _by_vendor(class_: FaultClass, values: Mapping[str, str]) -> str:
    """The first action of the alert's vendor."""
    texts = {vendor: _filled(actions.first, values) for vendor, actions in class_.actions.items()}
    if len(set(texts.values())) == 1:
        return next(iter(texts.values()))
    parts = [f'{{{{ if eq $labels.vendor "nvidia" }}}}{texts["nvidia"]}']
    if "host" in texts:
        parts.append(f'{{{{ else if eq $labels.vendor "ascend" }}}}{texts["ascend"]}{{{{ else }}}}{texts["host"]}')
    else:
        parts.append(f"{{{{ else }}}}{texts['ascend']}")
    return "".join(parts) + "{{ end }}"


def _filled(action: str, values: Mapping[str, str]) -> str:
    """What no label holds (an NPU's number and chip) stays in angle brackets."""
    for name, value in values.items():
        action = action.replace(f"<{name}>", value)
    return action


def _why() -> str:
    return (
        "{{ with $labels.run_id }}accelwatch why {{ . }}{{ else }}accelwatch fleet{{ end }} "
        "--prometheus {{ $externalURL }}"
    )


def main() -> None:
    """Writes the alerts of classes into the file of rules that is named, after what stands there by hand."""
    path = Path(sys.argv[1])
    by_hand, _, _ = path.read_text(encoding="utf-8").partition(MARK)
    path.write_text(by_hand + rules_text(), encoding="utf-8")


if __name__ == "__main__":
    main()

"""The configuration: durations, defaults, and complaints with line and key."""

import pytest

from accelwatch.commands.rules import MIN_RUN_DEVICES, Site
from accelwatch.config import Config, ConfigError, parse


def test_an_empty_file_gives_the_defaults_of_the_contract() -> None:
    """Defaults are those of the documented example."""
    config = parse("", "x.yml")
    assert config == Config()
    assert (config.listen, config.state_dir, config.sources.nvml.interval) == ("0.0.0.0:9817", "/var/lib/accelwatch", 1)


@pytest.mark.parametrize(("text", "wanted"), [("500ms", 0.5), ("5s", 5), ("2m", 120), ("24h", 86400), ("7", 7)])
def test_durations_are_words_or_seconds(text: str, wanted: float) -> None:
    """Every documented form of a duration is read."""
    assert parse(f"sources: {{rdma: {{interval: {text}}}}}", "x").sources.rdma.interval == wanted


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        (
            "node: a\nsources:\n  nvml:\n    intervall: 5s\n",
            "x.yml:4: sources.nvml.intervall: unknown key; expected one of",
        ),
        ("sources:\n  nvml: {interval: 5 parsecs}\n", "x.yml:2: sources.nvml.interval: Expected a duration"),
        ("sources:\n  rdma: {enabled: maybe}\n", "x.yml:2: sources.rdma.enabled: "),
        ("node: a\nnode: b\n", "x.yml:2: node: given twice (first in line 1)"),
        ("a: b\nnode: {\n", "x.yml:3: not valid YAML"),
        ("- a\n", "x.yml:1: the file: Expected a mapping"),
        ("node: x\nlisten: 9817\n", "x.yml:2: listen: Expected `str`"),
        ("listen: nowhere\n", "x.yml:1: listen: Expected HOST:PORT"),
        ("web_config: web.yml\n", "x.yml:1: web_config: Expected an absolute path"),
        ("state_dir: here\n", "x.yml:1: state_dir: Expected an absolute path"),
        ("labels:\n  a-b: c\n", "x.yml:2: labels.a-b: Expected a Prometheus label name"),
        ("labels: {node: c}\n", "x.yml:1: labels.node: this label is set by the agent"),
        ("? [a]\n: b\n", "x.yml:1: the file: Expected a word as the key"),
        ("a: b\nnode: 2024-13-45\n", "x.yml:2: node: not a value: month must be"),
        ("node: !!bool perhaps\n", "x.yml:1: node: not a value"),
        ("sources: {rdma: {interval: 1" + "0" * 400 + "}}\n", "x.yml:1: sources.rdma.interval: Expected a duration"),
        ("[" * 50_000, "x.yml:1: nested deeper than"),
        ("a: &a [*a]\n", "x.yml:1: nested deeper"),
        (
            "a: &a [x, x]\n"
            + "".join(f"{b}: &{b} [*{a}, *{a}]\n" for a, b in zip("abcdefghijklmno", "bcdefghijklmnop", strict=True)),
            "x.yml:1: more than 20000 values",
        ),
        (
            "alertmanager: {basic_auth: {user: a}}\n",
            "x.yml:1: alertmanager.basic_auth.user: unknown key; expected one of: username",
        ),
    ],
)
def test_a_bad_file_names_file_line_key_and_what_was_expected(text: str, complaint: str) -> None:
    """The complaint is what a person needs to mend the file."""
    with pytest.raises(ConfigError) as caught:
        parse(text, "x.yml")
    assert str(caught.value).startswith(complaint)


@pytest.mark.parametrize(
    "text",
    [
        "expect: {devices: 8}",
    ],
)
def test_a_key_of_a_later_version_is_refused_not_ignored(text: str) -> None:
    """Nobody believes in TLS that is not there."""
    with pytest.raises(ConfigError, match="not implemented"):
        parse(text, "x")


@pytest.mark.parametrize(
    ("section", "complaint"),
    [
        ("urls: ['am:9093']", "x:1: alertmanager.urls[0]: Expected the base URL of an Alertmanager such as `http://"),
        ("urls: ['http://a', 'http://u:geheim@b']", "x:1: alertmanager.urls[1]: No user or password in a URL"),
        ("urls: ['http://a:9093']", "x:1: alertmanager.urls: Expected `labels: {cluster: ...}` beside it"),
        ("urls: http://a", "x:1: alertmanager.urls: Expected a list"),
        ("basic_auth: {username: a}", "x:1: alertmanager.basic_auth: Object missing required field `password_file`"),
        ("min_run_devices: 0", "x:1: alertmanager.min_run_devices: Expected 1 or more devices, got 0"),
        ("prometheus: 'prometheus:9090'", "x:1: alertmanager.prometheus: Expected a URL such as `http://prom"),
        ("prometheus: 'http://a; rm b'", "x:1: alertmanager.prometheus: Expected a URL such as `http://prom"),
        ("min_run_devices: many", "x:1: alertmanager.min_run_devices: Expected `int`, got `str`"),
        (
            "basic_auth: {username: a, password_file: secret}",
            "x:1: alertmanager.basic_auth.password_file: Expected an absolute path",
        ),
    ],
)
def test_alertmanagers_are_named_by_their_url_and_passwords_by_their_file(section: str, complaint: str) -> None:
    """A password in a URL is in every log; the complaint does not repeat it."""
    with pytest.raises(ConfigError) as caught:
        parse(f"alertmanager: {{{section}}}", "x")
    assert str(caught.value).startswith(complaint)
    assert "geheim" not in str(caught.value)
    good = parse(
        "labels: {cluster: c}\nalertmanager: {urls: ['http://a:9093', 'https://b/am'], runbooks: 'https://wiki/run'}",
        "x",
    )
    assert good.alertmanager.urls == ("http://a:9093", "https://b/am")


@pytest.mark.parametrize(
    ("section", "complaint"),
    [
        ("command: /usr/bin/drain", "x:1: remediation.command: Expected a list, got `str`"),
        ("command: [drain]", "x:1: remediation.command[0]: Expected the absolute path of a program, got `drain`"),
        ("command: [/d], max_per_hour: 0", "x:1: remediation.max_per_hour: Expected 1 to 60 commands, got 0"),
        ("command: [/d], timeout: 1h", "x:1: remediation.timeout: Expected up to 10m, got 3600 s"),
        ("dry_run: false", "x:1: remediation: Expected `command` beside it"),
        ("command: [/d], retry: 3", "x:1: remediation.retry: unknown key; expected one of: command, dry_run"),
    ],
)
def test_a_command_for_faults_is_a_list_that_begins_with_an_absolute_path(section: str, complaint: str) -> None:
    """And what a site says of one that it does not have is an error."""
    with pytest.raises(ConfigError) as raised:
        parse(f"remediation: {{{section}}}", "x")
    assert str(raised.value).startswith(complaint)
    good = parse("remediation: {command: [/usr/local/sbin/drain, -m, '10'], min_interval: 5m}", "x").remediation
    assert (good.command, good.dry_run, good.min_interval) == (("/usr/local/sbin/drain", "-m", "10"), True, 300.0)


def test_who_says_nothing_has_the_same_least_run_in_agent_and_rules() -> None:
    """Else one of them pages for a run that the other takes for small."""
    assert parse("", "x").alertmanager.min_run_devices == MIN_RUN_DEVICES == Site().min_run_devices
    assert parse("alertmanager: {min_run_devices: 2}", "x").alertmanager.min_run_devices == 2


@pytest.mark.parametrize(
    ("section", "complaint"),
    [
        ("{paths: [logs/*.log]}", "x:1: sources.hccl_log.paths[0]: Expected an absolute glob pattern"),
        ("{enabled: true}", "x:1: sources.hccl_log.enabled: Expected `paths` beside it"),
    ],
)
def test_log_files_are_named_by_absolute_patterns(section: str, complaint: str) -> None:
    """A relative pattern would mean another place under systemd than in a shell."""
    with pytest.raises(ConfigError) as caught:
        parse(f"sources: {{hccl_log: {section}}}", "x")
    assert str(caught.value).startswith(complaint)
    assert parse("sources: {hccl_log: {paths: [/a/**/plog-*.log]}}", "x").sources.hccl_log.interval == 2


def test_the_hash_differs_exactly_where_the_configuration_does() -> None:
    """Drift between nodes shows in config_hash, spelling does not."""
    one, same = parse("sources: {nvml: {interval: 1s}}", "a"), parse("# nothing\n", "b")
    assert one.digest == same.digest
    assert parse("sources: {nvml: {interval: 2s}}", "c").digest != one.digest
    assert parse("node: n1\nlabels: {rack: r1}", "c").digest == parse("node: n2\nlabels: {rack: r2}", "c").digest

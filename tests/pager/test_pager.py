"""Senders in their threads: each Alertmanager apart, reloads, failures told once, an end that loses nothing."""

from __future__ import annotations

import datetime
import json
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from accelwatch.clock import SystemClock
from accelwatch.config import Config, parse
from accelwatch.metrics.agent import AgentMetrics
from accelwatch.pager.notice import Candidate, Standing
from accelwatch.pager.pager import Pager
from accelwatch.pager.post import PostError
from accelwatch.taxonomy.loader import load
from pager.test_standing import episode


class Posts:
    """Notes the bodies of one Alertmanager; `problem` is raised while it is set, `gate` held while it is not."""

    def __init__(self) -> None:
        self.bodies: list[Any] = []
        self.problem: Exception | None = None
        self.clock: float | None = None
        self.gate = threading.Event()
        self.gate.set()

    def post(self, body: bytes) -> float | None:
        self.gate.wait(10)
        if self.problem is not None:
            raise self.problem
        self.bodies.append(json.loads(body))
        return self.clock

    @property
    def alerts(self) -> list[Any]:
        return [alert for body in self.bodies for alert in body]


class Site:
    def __init__(self) -> None:
        self.posts: dict[str, Posts] = {}
        self.metrics = AgentMetrics()
        self.pager = Pager(self.config("a"), load(), SystemClock(), self.metrics, lambda where, _: self.of(where.host))
        self.pager.start()

    def of(self, host: str) -> Posts:
        return self.posts.setdefault(host, Posts())

    @staticmethod
    def config(*hosts: str, more: str = "") -> Config:
        urls = ", ".join(f"'http://{host}:9093'" for host in hosts)
        return parse(f"node: n1\nlabels: {{cluster: c}}\nalertmanager: {{urls: [{urls}]{more}}}", "x")

    def offer(self, standing: Standing = Standing.POST, **changes: Any) -> None:
        self.pager.offer([Candidate(episode=episode(**changes), standing=standing)])

    def value(self, series: str) -> float | None:
        for line in self.metrics.collect().text.decode().splitlines():
            if line.startswith(series):
                return float(line.rpartition(" ")[2])
        return None


@pytest.fixture
def site() -> Iterator[Site]:
    made = Site()
    yield made
    for posts in made.posts.values():
        posts.gate.set()
    made.pager.close()


def until(found: Callable[[], Any], seconds: float = 5.0) -> None:
    deadline = time.monotonic() + seconds
    while not found():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_page_has_the_nodes_labels_and_is_counted(site: Site) -> None:
    site.offer()
    until(lambda: site.of("a").alerts)
    (alert,) = site.of("a").alerts
    assert (alert["labels"]["node"], alert["labels"]["cluster"], alert["labels"]["path"]) == ("n1", "c", "fast")
    assert alert["annotations"]["runbook_url"] == "runbooks/AccelwatchDeviceLost.md"
    assert alert["generatorURL"] == "http://n1:9817/"
    until(lambda: (site.value('accelwatch_pager_posts_total{alertmanager="a:9093",result="success"}') or 0) >= 2)
    assert site.value('accelwatch_pager_up{alertmanager="a:9093"}') == 1


def test_one_alertmanager_that_hangs_holds_up_neither_the_others_nor_the_agent(site: Site) -> None:
    site.of("b").gate.clear()
    site.pager.configure(site.config("a", "b"))
    began = time.monotonic()
    for _ in range(100):
        site.offer()
    assert time.monotonic() - began < 1
    until(lambda: site.of("a").alerts)
    assert site.of("b").bodies == []
    site.offer()
    until(lambda: site.value('accelwatch_pager_queue_length{alertmanager="b:9093"}') == 1)
    site.of("b").gate.set()
    until(lambda: site.of("b").alerts)


def test_failures_are_counted_and_said_once(site: Site, capsys: pytest.CaptureFixture[str]) -> None:
    until(lambda: site.of("a").bodies)
    site.of("a").problem = PostError("a:9093: Connection refused")
    site.offer()
    until(lambda: (site.value('accelwatch_pager_posts_total{alertmanager="a:9093",result="failure"}') or 0) >= 2)
    assert site.value('accelwatch_pager_up{alertmanager="a:9093"}') == 0
    site.of("a").problem = None
    until(lambda: site.of("a").alerts)
    until(lambda: site.value('accelwatch_pager_up{alertmanager="a:9093"}') == 1)
    said = "".join(capsys.readouterr())
    assert (said.count("does not take pages"), said.count("takes pages again")) == (1, 1)
    assert said.count("Connection refused") == 1


def test_a_flaw_in_a_post_ends_no_thread(site: Site) -> None:
    until(lambda: site.of("a").bodies)
    site.of("a").problem = RuntimeError("a flaw")
    site.offer()
    until(lambda: (site.value('accelwatch_pager_posts_total{alertmanager="a:9093",result="failure"}') or 0) >= 1)
    site.of("a").problem = None
    until(lambda: site.of("a").alerts)


def test_a_reload_tells_the_new_alertmanager_and_leaves_the_old(site: Site) -> None:
    """The old one's page is not resolved: it ends when nobody repeats it."""
    site.offer()
    until(lambda: site.of("a").alerts)
    site.pager.configure(site.config("b"))
    site.offer()
    until(lambda: site.of("b").alerts)
    site.offer(Standing.END, active=False, cleared_wall=time.time())
    until(lambda: len(site.of("b").alerts) == 2, 8)
    assert len(site.of("a").alerts) == 1
    assert site.value('accelwatch_pager_up{alertmanager="a:9093"}') is None


def test_without_addresses_it_is_off(site: Site) -> None:
    site.pager.configure(parse("", "x"))
    assert not site.pager.on


def test_an_agent_that_ends_sends_what_waits_for_its_root(site: Site) -> None:
    """Once, and within its time, also where nobody answers."""
    until(lambda: site.of("a").bodies)
    site.offer()
    site.pager.close()
    assert len(site.of("a").alerts) == 1
    other = Site()
    until(lambda: other.of("a").bodies)
    other.of("a").gate.clear()
    other.offer()
    began = time.monotonic()
    other.pager.close()
    assert time.monotonic() - began < 3
    other.of("a").gate.set()


def test_of_a_storm_only_the_roots_are_put_into_words(site: Site) -> None:
    """What is no root was never posted, and its end is nobody's news."""
    until(lambda: site.of("a").bodies)
    storm = [Candidate(episode=episode(id=n, root=False), standing=Standing.KEEP) for n in range(2, 1000)]
    site.pager.offer([Candidate(episode=episode(id=1), standing=Standing.POST), *storm])
    assert len(site.pager._notices) == 1
    until(lambda: site.of("a").alerts)
    ended = [
        Candidate(episode=episode(id=n, root=False, active=False, cleared_wall=time.time()), standing=Standing.END)
        for n in range(2, 1000)
    ]
    site.pager.offer([Candidate(episode=episode(id=1), standing=Standing.KEEP), *ended])
    assert len(site.pager._notices) == 1


def test_a_node_whose_clock_is_an_hour_slow_pages_all_the_same(site: Site) -> None:
    """Its alerts carry Alertmanager's time, as the answers tell it."""
    until(lambda: site.of("a").bodies)
    posts = Posts()
    posts.clock = time.time() + 3600
    site.posts["b"] = posts
    site.pager.configure(site.config("b"))
    until(lambda: posts.bodies)
    site.offer()
    until(lambda: posts.alerts)
    ends = datetime.datetime.fromisoformat(posts.alerts[0]["endsAt"]).timestamp()
    assert ends == pytest.approx(time.time() + 3600 + 1800, abs=10)

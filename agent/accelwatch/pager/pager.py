"""The fast path: from episodes that are worth a page to every Alertmanager that is configured."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable

from accelwatch.clock import Clock
from accelwatch.config import Alertmanager, Config
from accelwatch.faults.episode import Episode
from accelwatch.faults.labels import routing
from accelwatch.metrics.agent import AgentMetrics
from accelwatch.pager import address, wording
from accelwatch.pager.notice import Candidate, Notice, Standing
from accelwatch.pager.outbox import Offer
from accelwatch.pager.post import Poster
from accelwatch.pager.sender import Posts, Sender
from accelwatch.taxonomy.loader import Taxonomy
from accelwatch.taxonomy.model import Notify

# What an ending agent gives the last posts; systemd kills it after ten.
CLOSE_SECONDS = 1.5

MakePoster = Callable[[address.Address, Alertmanager], Posts]


class Pager:
    """Called by the pipeline's thread; never blocks it. Off while no URL is configured."""

    def __init__(
        self,
        config: Config,
        taxonomy: Taxonomy,
        clock: Clock,
        metrics: AgentMetrics,
        make: MakePoster | None = None,
        secure: Callable[[], bool] = lambda: False,
    ) -> None:
        """`secure`: whether the node's own page is served by TLS now."""
        self._secure = secure
        self._taxonomy = taxonomy
        self._clock = clock
        self._metrics = metrics
        self._make = make or (lambda where, settings: Poster(where, settings.basic_auth))
        self._lock = threading.Lock()  # around what a reload changes
        self._senders: dict[str, Sender] = {}
        self._settings = Alertmanager()
        self._config = Config()
        self._notices: dict[int, tuple[Episode | None, Notice]] = {}
        self._started = self._offered = False
        self.configure(config)

    def start(self) -> None:
        """Begins to post."""
        with self._lock:
            self._started = True
            for sender in self._senders.values():
                sender.start()

    @property
    def on(self) -> bool:
        """Whether there is anybody to post to."""
        return bool(self._senders)

    @property
    def count(self) -> int:
        """Alertmanagers that are posted to."""
        return len(self._senders)

    def configure(self, config: Config) -> None:
        """Takes on the addresses of a configuration. One that goes is told nothing more, and resolves nothing."""
        with self._lock:
            again = config.alertmanager.basic_auth != self._settings.basic_auth
            was, now = self._settings, config.alertmanager
            links = [(of.runbooks, of.dashboards, of.prometheus) for of in (was, now)]
            if config.labels != self._config.labels or links[0] != links[1]:
                self._notices = {number: (None, notice) for number, (_, notice) in self._notices.items()}
            self._config, self._settings = config, config.alertmanager
            wanted = {where.name: where for where in map(address.parse, config.alertmanager.urls)}
            for name in [n for n in self._senders if again or n not in wanted]:
                self._senders.pop(name).stop()
                self._metrics.forget_pager(name)
            for name, where in wanted.items():
                if name not in self._senders:
                    self._metrics.know_pager(name)
                    sender = Sender(name, self._make(where, self._settings), self._clock, self._metrics.pager_posted)
                    self._senders[name] = sender
                    if self._started:
                        sender.start()

    def offer(self, candidates: Iterable[Candidate]) -> None:
        """How every episode stands that is, or was lately, worth a page."""
        with self._lock:
            offers = {c.episode.id: self._offer(c) for c in candidates if self._speaks_of(c)}
            self._offered = True
            for number in [n for n in self._notices if n not in offers]:
                del self._notices[number]
            for sender in self._senders.values():
                sender.take(offers)
                self._metrics.pager_waits(sender.name, sender.waiting, sender.dropped)

    def close(self) -> None:
        """Sends what waits, once; no page is resolved by an agent that ends."""
        with self._lock:
            senders = list(self._senders.values())
        for sender in senders:
            sender.stop()
        deadline = time.monotonic() + CLOSE_SECONDS
        for sender in senders:
            sender.join(max(0.0, deadline - time.monotonic()))

    def _speaks_of(self, candidate: Candidate) -> bool:
        """Of a storm's thousands only the roots are put into words; at the start also what an agent before may have
        posted and not resolved.
        """
        episode = candidate.episode
        if candidate.standing in (Standing.POST, Standing.RESUME) or episode.id in self._notices:
            return True
        return not self._offered and candidate.standing is Standing.END and routing(episode) is Notify.PAGE

    def _offer(self, candidate: Candidate) -> Offer:
        episode = candidate.episode
        kept = self._notices.get(episode.id)
        if kept is None or kept[0] is not episode:
            kept = self._notices[episode.id] = (episode, self._notice(candidate))
        return Offer(
            standing=candidate.standing,
            notice=kept[1],
            fresh=candidate.fresh,
            ended=None if episode.active else episode.cleared_wall,
        )

    def _notice(self, candidate: Candidate) -> Notice:
        episode, config = candidate.episode, self._config
        labels = wording.labels(episode, config.node_name, config.labels)
        class_ = self._taxonomy.class_(episode.class_)
        return Notice(
            labels=labels,
            annotations=wording.texts(episode, candidate.known, config.node_name, class_, self._settings.prometheus)
            | wording.runbook(self._settings.runbooks, labels["alertname"])
            | wording.dashboard(self._settings.dashboards, labels),
            starts=episode.first_wall,
            url=wording.node_page(config.node_name, config.listen, secure=self._secure()),
        )

"""The root helper: answers a fixed list of questions to the agent's user over a local socket, and does nothing else.

It parses no output of a tool and no log, speaks no HTTP, and takes no path from who asks. As a unit it is given its
sockets by systemd (systemd/accelwatch-helper*.socket); by hand: `python -m accelwatch.privileged.helper --socket PATH
--user NAME`.
"""

from __future__ import annotations

import errno
import getopt
import os
import pwd
import re
import signal
import socket
import sys
import threading
from collections.abc import Callable, Collection, Sequence

from accelwatch.privileged.connections import Connections, listen
from accelwatch.privileged.local import HCCN_INSTALLED, LocalReads, PathLike
from accelwatch.privileged.wire import Answer, Question, question
from accelwatch.systemd import Notifier, given_sockets

TYPE_CHECKING = False
if TYPE_CHECKING:
    from accelwatch.sources.commands import Output, ToolRunner

HCCN_LIMIT_SECONDS = 60.0
# What `sources.hccn_tool` asks; held to it by a test.
HCCN_QUERIES = frozenset(("-dev_info", "-link", "-link_stat", "-net_health", "-stat", "-speed", "-fec", "-optical"))
# `FileDescriptorName=` of the two socket units.
HELPER_NAME, EVENTS_NAME = "helper", "events"
# `--user` a name or a number; without `--socket` on the socket that systemd gives.
OPTIONS = ("user=", "socket=", "proc=", "kernel-log=", "hccn-tool=")
_NUMBER = re.compile(r"[0-9]{1,4}")


class Refused(Exception):
    """The question is none of the list, or its arguments are out of bounds."""


class Helper:
    """Answers on `listener`, which is bound, to processes of `uid`."""

    def __init__(
        self,
        listener: socket.socket,
        uid: int,
        *,
        proc: PathLike,
        kernel_log: PathLike,
        hccn_tool: str | None,
        events: socket.socket | None = None,
    ) -> None:
        self._connections = Connections(listener, uid, self._answer)
        self._uid = uid
        self._proc = proc
        self._kernel_log = kernel_log
        self._hccn_tool = hccn_tool
        self._reads = LocalReads(_Tools(), events)

    def serve(self) -> None:
        """Until the listener is closed."""
        self._connections.serve()

    def _answer(self, line: bytes, groups: Callable[[], Collection[int]] = frozenset) -> tuple[Answer, int | None]:
        try:
            asked = question(line)
            answers: dict[str, Callable[[Question], tuple[Answer, int | None]]] = {
                "kernel_log": self._opened_log,
                "process_events": self._opened_events,
                "open_files": self._files,
                "environment": self._variables,
                "traffic": self._traffic,
                "hccn_tool": lambda asked: self._tool(asked, groups()),
            }
            if asked.ask not in answers:
                raise Refused(f"no such question: {asked.ask[:40]!r}")
            return answers[asked.ask](asked)
        except (Refused, ValueError) as error:
            return Answer(error=f"refused: {error}", number=errno.EINVAL), None
        except OSError as error:
            return Answer(error=error.strerror or str(error), number=error.errno or errno.EIO), None

    def _opened_log(self, _question: Question) -> tuple[Answer, int | None]:
        return Answer(opened=True), self._reads.open_kernel_log(self._kernel_log)

    def _opened_events(self, _question: Question) -> tuple[Answer, int | None]:
        return Answer(opened=True), self._reads.open_process_events().detach()

    def _files(self, question: Question) -> tuple[Answer, int | None]:
        """Device nodes only: what else a process has open is nobody's business."""
        return Answer(files=self._reads.open_files(self._proc, _pid(question))), None

    def _holder(self, question: Question) -> int:
        if not self._reads.holds_device(self._proc, pid := _pid(question)):
            raise Refused(f"process {pid} holds no accelerator")
        return pid

    def _variables(self, question: Question) -> tuple[Answer, int | None]:
        return Answer(variables=self._reads.environment(self._proc, self._holder(question))), None

    def _traffic(self, question: Question) -> tuple[Answer, int | None]:
        try:
            return Answer(traffic=self._reads.traffic(self._proc, self._holder(question))), None
        except ValueError as error:
            return Answer(error=str(error), number=errno.EIO), None

    def _tool(self, question: Question, groups: Collection[int]) -> tuple[Answer, int | None]:
        if not is_hccn_query(question.arguments) or not 0 < question.timeout <= HCCN_LIMIT_SECONDS:
            raise Refused("hccn_tool: not a query that the agent makes")
        from pathlib import Path

        from accelwatch.privileged.trust import who_may_change
        from accelwatch.sources.base import SourceError, SourceTimeout
        from accelwatch.sources.commands import DRIVER_LIBRARIES, find_tool

        tool = find_tool("hccn_tool", self._hccn_tool, HCCN_INSTALLED)
        if tool is None:
            raise Refused("hccn_tool: not found on this host")
        for needed in (tool, *filter(os.path.isdir, DRIVER_LIBRARIES)):  # where it finds its libraries, too
            open_to = who_may_change(Path(needed), self._uid, groups)
            if open_to is not None:
                raise Refused(f"{tool}: is not run as root, since {open_to}: make it the driver's alone")
        try:
            output = self._reads.hccn_tool([tool, *question.arguments], question.timeout)
        except SourceError as error:
            return Answer(error=str(error), timed_out=isinstance(error, SourceTimeout)), None
        return Answer(output=(output.status, output.stdout, output.stderr)), None


class _Tools:
    """What runs a tool is imported with the first: most of the helper's memory, and a host of GPUs has none to run."""

    def __init__(self) -> None:
        self._runner: ToolRunner | None = None

    def run(self, argv: Sequence[str], timeout: float) -> Output:
        """See `sources.commands.Runner`."""
        if self._runner is None:
            from accelwatch.sources.commands import ToolRunner

            self._runner = ToolRunner()
        return self._runner.run(argv, timeout)


def _pid(question: Question) -> int:
    if not 0 < question.pid < 1 << 31:
        raise Refused("pid out of bounds")
    return question.pid


def is_hccn_query(arguments: Sequence[str]) -> bool:
    """Whether these are `-i N -QUERY -g`, or `-g -QUERY -i N` (950) with or without `-u N -p N`: `-g` only reads."""
    match list(arguments):
        case ["-i", number, query, "-g"] | ["-g", query, "-i", number]:
            numbers = [number]
        case ["-g", query, "-i", number, "-u", die, "-p", port]:
            numbers = [number, die, port]
        case _:
            return False
    return query in HCCN_QUERIES and all(_NUMBER.fullmatch(one) for one in numbers)


def _serve_or_end(helper: Helper) -> None:
    """A helper that is deaf must end, so that it is started again."""
    try:
        helper.serve()
    finally:
        os.kill(os.getpid(), signal.SIGTERM)


def main(argv: Sequence[str] | None = None) -> int:
    """Serves until SIGTERM."""
    given = {"--proc": "/proc", "--kernel-log": "/dev/kmsg"}
    try:
        options, rest = getopt.getopt(list(sys.argv[1:] if argv is None else argv), "", OPTIONS)
        given.update(options)
        if rest or "--user" not in given:
            raise getopt.GetoptError(
                f"unknown argument {rest[0]}" if rest else "whose questions are answered? --user NAME"
            )
    except getopt.GetoptError as error:
        return _usage(str(error))
    user, path = given["--user"], given.get("--socket")
    uid = int(user) if user.isdecimal() else pwd.getpwnam(user).pw_uid
    sockets = given_sockets()
    if path is None and HELPER_NAME not in sockets:
        return _usage(
            f"no --socket, and systemd gives none named {HELPER_NAME!r}: systemctl start accelwatch-helper.socket"
        )
    helper = Helper(
        sockets[HELPER_NAME] if path is None else listen(path, uid),
        uid,
        proc=given["--proc"],
        kernel_log=given["--kernel-log"],
        hccn_tool=given.get("--hccn-tool"),
        events=sockets.get(EVENTS_NAME),
    )
    threading.Thread(target=_serve_or_end, args=(helper,), daemon=True).start()
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # as in the agent: ignored, it hides how a tool ended
    Notifier().send("READY=1")
    signal.sigwait({signal.SIGTERM, signal.SIGINT})
    return 0


def _usage(problem: str) -> int:
    """As argparse has it, which is half a megabyte."""
    print(f"accelwatch-helper: error: {problem}", file=sys.stderr)
    return 2


if __name__ == "__main__":
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGINT})
    raise SystemExit(main())

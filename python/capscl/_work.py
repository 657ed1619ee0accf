"""Long calls that Ctrl-C can end.

A long call is made in a thread beside the caller's, which waits for it. Meanwhile SIGINT raises
nothing (an exception at an arbitrary place would leave the call running with arrays that are gone):
it is noted, the call asks between two batches or steps whether it shall stop, and when it has ended
whoever handled the signal before gets it.
"""

from __future__ import annotations

import queue
import signal
import threading
from types import FrameType
from typing import Any, Callable, List, Optional, Tuple

Job = Tuple[Callable[..., Any], Tuple[Any, ...], threading.Event]


class Work:
    """One long call. `stopped` is what its callbacks answer; `post` brings them to the caller."""

    def __init__(self) -> None:
        self._raised: Optional[BaseException] = None
        self._interrupted = False
        self._in_post = False
        self._jobs: "queue.SimpleQueue[Optional[Job]]" = queue.SimpleQueue()
        self._on_stop: Callable[[], None] = lambda: None

    @property
    def stopped(self) -> bool:
        return self._interrupted or self._raised is not None

    def post(self, function: Callable[..., Any], *arguments: Any) -> None:
        """From the call's thread: runs a function in that of the caller, and waits for its end."""
        if self.stopped:
            return
        done = threading.Event()
        self._jobs.put((function, arguments, done))
        done.wait()

    def run(
        self, function: Callable[[], None], on_stop: Callable[[], None] = lambda: None
    ) -> None:
        """Calls `function`; raises what it or a function of `post` raised, or KeyboardInterrupt.

        on_stop is called, from the caller's thread, when the call shall stop.
        """
        self._on_stop = on_stop
        before = self._take_signals()
        try:
            failed = self._wait_for(function)
        finally:
            if before is not None:
                signal.signal(signal.SIGINT, before)
        if self._interrupted and before is not None:
            before(signal.SIGINT, None)  # raises KeyboardInterrupt, unless it is the caller's own
        if self._raised is not None:
            raise self._raised
        if failed:
            raise failed[0]

    def _take_signals(self) -> Optional[Callable[[int, Optional[FrameType]], Any]]:
        """The handler that is to be put back; None: signals are not for this thread."""
        if threading.current_thread() is not threading.main_thread():
            return None
        before = signal.getsignal(signal.SIGINT)
        if not callable(before):
            return None
        signal.signal(signal.SIGINT, self._interrupt)
        return before

    def _interrupt(self, number: int, frame: Optional[FrameType]) -> None:
        if self._in_post:  # the caller's own function, which may go on for ever
            raise KeyboardInterrupt
        self._interrupted = True
        self._on_stop()

    def _wait_for(self, function: Callable[[], None]) -> List[BaseException]:
        failed: List[BaseException] = []

        def work() -> None:
            try:
                function()
            except BaseException as error:
                failed.append(error)
            finally:
                self._jobs.put(None)

        thread = threading.Thread(target=work, name="capscl", daemon=True)
        thread.start()
        while True:
            job = self._jobs.get()
            if job is None:
                break
            try:
                self._do(*job)
            except BaseException as error:  # a signal just as the caller's function ended
                self._fail(error)
        thread.join()
        return failed

    def _do(
        self, function: Callable[..., Any], arguments: Tuple[Any, ...], done: threading.Event
    ) -> None:
        try:
            if not self.stopped:
                self._in_post = True
                function(*arguments)
        except BaseException as error:
            self._fail(error)
        finally:
            try:
                self._in_post = False
            finally:
                done.set()

    def _fail(self, error: BaseException) -> None:
        self._in_post = False
        self._raised = error
        self._on_stop()

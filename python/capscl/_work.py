"""Long calls that Ctrl-C can end.

Python raises KeyboardInterrupt in the main thread, and only while Python code runs there. So a long
call of the main thread is made in a thread beside it, which asks between two batches (or steps)
whether it shall stop.
"""

from __future__ import annotations

import queue
import threading
from typing import Any, Callable, Optional, Tuple

Job = Tuple[Callable[..., Any], Tuple[Any, ...], threading.Event]


class Work:
    """One long call. `stopped` is what its callbacks answer; `post` brings them to the caller."""

    def __init__(self) -> None:
        self.raised: Optional[BaseException] = None
        self._jobs: "queue.SimpleQueue[Optional[Job]]" = queue.SimpleQueue()
        self._on_stop: Callable[[], None] = lambda: None

    @property
    def stopped(self) -> bool:
        return self.raised is not None

    def _stop(self, error: BaseException) -> None:
        if self.raised is None:
            self.raised = error
        self._on_stop()

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
        failed = []

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
            try:
                job = self._jobs.get()
                if job is None:
                    break
                function_, arguments, done = job
                try:
                    if not self.stopped:
                        function_(*arguments)
                finally:
                    done.set()
            except BaseException as error:  # KeyboardInterrupt, or of the caller's own function
                self._stop(error)
        thread.join()
        if self.raised is not None:
            raise self.raised
        if failed:
            raise failed[0]

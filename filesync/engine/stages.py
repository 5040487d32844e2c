"""Run the stages of a prepared request, and ask its remotes what must be known before the first.

Which stages there are is decided in passes, what their messages mean by whoever takes them.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from dataclasses import dataclass
from pathlib import Path

from filesync.engine.command import build_argv
from filesync.engine.drive import Driven, Driver, Stopped, Take
from filesync.engine.errors import Failure, FailureClass
from filesync.engine.events import Event, Totals
from filesync.engine.messages import Message, Problem
from filesync.engine.no_folder import IS_FILE, destination_is_file, source_is_file
from filesync.engine.outcome import conclude
from filesync.engine.passes import Stage
from filesync.engine.paths import full_path
from filesync.engine.prepare import Prepared
from filesync.engine.problems import Problems
from filesync.engine.readers import RunReader
from filesync.engine.request import Compare, Endpoint
from filesync.engine.texts import Text
from filesync.engine.tuning import PairFacts, RemoteFacts, known_facts, read_features

# rclone's exit code for a folder that is not there, such as a root before its first run.
MISSING_EXIT = 3


@dataclass(frozen=True, slots=True)
class Stages:
    """The processes of one run: all have its command line, its driver and its reader."""

    rclone: Path
    prepared: Prepared
    driver: Driver
    reader: RunReader

    def drive(
        self,
        stage: Stage,
        take: Take,
        stdout_path: Path | None = None,
        *,
        max_delete: int | None = None,
    ) -> Driven:
        """Run one process to its end, and give its exit code."""
        prepared = self.prepared
        argv = build_argv(
            self.rclone,
            stage,
            prepared.request,
            sides=prepared.sides,
            files=prepared.files,
            max_delete=max_delete,
            sent_bytes=self.reader.bytes_transferred,
        )
        exit_code = yield from self.driver.drive(argv, take, stdout_path, reader=self.reader)
        return exit_code

    def ask(self, stage: Stage, take: Take | None = None) -> Generator[Event, None, bytes]:
        """Run a short command for what it prints; `take` looks at its messages too.

        Raises:
            Stopped: it failed, and the run with it.
        """
        return (yield from self.ask_for_file(stage, take)).read_bytes()

    def ask_for_file(self, stage: Stage, take: Take | None = None) -> Generator[Event, None, Path]:
        """Give where what a command printed lies, until another one is asked; as `ask` does."""
        answer_path = self.prepared.files.answer

        def both(message: Message) -> list[Event]:
            if take is not None:
                take(message)
            return self.reader.take(message)

        exit_code = yield from self.drive(stage, both, answer_path)
        if exit_code != 0:
            _, failure = conclude(exit_code, Totals(), self.reader.problems)
            raise Stopped(
                failure
                or Failure.of(
                    FailureClass.INTERNAL, Text("exit code {exit_code}", exit_code=exit_code)
                )
            )
        return answer_path

    def check_passwords(self) -> Iterator[Event]:
        """End the run where the names in an encrypted root do not decrypt.

        A copy would go on and put its files beside those that nobody can read any more.

        Raises:
            Stopped: an encrypted side has another password.
        """
        request = self.prepared.request
        for endpoint in (request.source, request.destination):
            if endpoint.remote.encryption is not None:
                yield from self._check_password(endpoint is request.destination)

    def _check_password(self, at_destination: bool) -> Iterator[Event]:
        problems = Problems()

        def take(message: Message) -> list[Event]:
            if isinstance(message, Problem):
                problems.add(message)
            return []

        exit_code = yield from self.drive(Stage("names", at_destination=at_destination), take)
        main = problems.main
        if exit_code not in (0, MISSING_EXIT) and main is not None:
            raise Stopped(Failure.of(main.failure_class, main.text))

    def pair_facts(self, *, by_hash: bool = False) -> Generator[Event, None, PairFacts]:
        """Give what both sides can tell of their files; asks only where servers differ.

        `by_hash` says that hashes are to be compared although the request does not ask for it.
        """
        request = self.prepared.request
        by_hash = by_hash or request.compare is Compare.CHECKSUM
        source = yield from self._remote_facts(
            request.source, by_hash=by_hash, at_destination=False
        )
        destination = yield from self._remote_facts(
            request.destination, by_hash=by_hash, at_destination=True
        )
        return PairFacts(source, destination)

    def _remote_facts(
        self, endpoint: Endpoint, *, by_hash: bool, at_destination: bool
    ) -> Generator[Event, None, RemoteFacts]:
        known = known_facts(endpoint.remote, by_hash=by_hash)
        if known is not None:
            return known
        try:
            answer = yield from self.ask(Stage("features", at_destination=at_destination))
        except Stopped:
            words = self.reader.problems.last_words
            if words is None or not words.text.endswith(IS_FILE):
                raise
            side = destination_is_file if at_destination else source_is_file
            raise Stopped(Failure.of(FailureClass.CONFIG, side(full_path(endpoint)))) from None
        return read_features(answer)

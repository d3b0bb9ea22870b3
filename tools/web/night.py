"""A finished night out of a journal, shown as a live one is; the journal stays as it is."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import get_args

from daemon.journal.reader import JournalReader
from daemon.messages import Kind
from tools.live.board import Board, Daemon, Subject
from tools.night.record import Record, Selection, read_records
from tools.shared.day import HOUR_S


class Night(Board):
    """Knows the subjects of a night, and nothing of the present.

    Args:
        reader: of the journal.
        selection: which night of it.
        watch: goes through the subjects, and may show how far that is.

    Raises:
        JournalError: it has no epoch in the selection.
    """

    is_past = True

    def __init__(
        self,
        reader: JournalReader,
        selection: Selection,
        watch: Callable[[Sequence[str]], Iterable[str]] = iter,
    ) -> None:
        records = read_records(reader, selection, [])
        self.records: Mapping[str, Record] = {record.subject: record for record in records}
        """By subject: what is corrected."""
        start = min(record.times[0] for record in records)
        end = max(record.times[-1] + record.durations[-1] for record in records)
        self.hours = float(end - start) / HOUR_S
        """How long it was, h."""
        # where the journal lies: by it a browser tells the corrections of one from another's
        super().__init__(str(reader.path.resolve()), self.hours + 1)
        for name in watch([*self.records]):
            for kind in get_args(Kind):
                for entry in selection.read(reader, f"stage.{name}.{kind}"):
                    self.remember(entry.message)

    @property
    def subjects(self) -> dict[str, Subject]:
        """All that have an epoch in it."""
        return self._subjects

    @property
    def daemon(self) -> Daemon:
        """There is none: nothing can be lost."""
        return Daemon(endpoint=self._endpoint, version=None, lost=None, troubles={})

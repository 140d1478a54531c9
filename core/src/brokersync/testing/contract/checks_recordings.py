"""Checks of the recordings that a plugin has, each of which is read as the broker was."""

from __future__ import annotations

from pathlib import Path

import attrs

from brokersync.testing.contract.base import ContractBase
from brokersync.testing.contract.expecting import expect, told
from brokersync.testing.recording.leaks import leaks_in
from brokersync.testing.recording.recording import RecordedReading, load, rewrite_index, texts_of


class RecordingChecks(ContractBase):
    """Of recorded sessions."""

    async def test_recordings_are_read_as_they_were(self) -> None:
        """What the plugin reads from each is what it read when it was recorded, and it asks for nothing else."""
        from brokersync.testing.recording.recorder import recorded, replay  # it stands on the stage, which stands on us

        for folder in self._folders():
            recording = load(folder)
            expect(recording.key == self.key, f"the recording {folder.name} is of {recording.key}")
            readings, missed = await replay(recording, self.loaded)
            expect(not missed, f"{folder.name}: {missed[0] if missed else ''}")
            for reading in readings:
                expect(reading.error is None, f"{folder.name}: {reading} failed with {told(reading.error)}")
            now = tuple(map(recorded, readings))
            if self.writes:
                rewrite_index(attrs.evolve(recording, readings=now), folder)
                continue
            for then, later in zip(recording.readings, now, strict=True):
                _expect_alike(folder.name, then, later)
        expect(not self.writes, "the recordings were written; look at them, and run without --contract-write")

    async def test_recordings_show_nothing_private(self) -> None:
        """Nothing in their files has the form of a key or a token."""
        for folder in self._folders():
            found = leaks_in(texts_of(load(folder)), (), (), (), ())
            expect(not found, f"{folder.name}: {found[0] if found else ''}; record it anew")

    def _folders(self) -> list[Path]:
        folders = self.recorded()
        if not folders:
            self.cannot_try("there are no recordings")
        return folders


def _expect_alike(name: str, then: RecordedReading, now: RecordedReading) -> None:
    where = f"{name}: {then.source} of {', '.join(then.accounts)}"
    expect(then.rows == now.rows, f"{where} gave {then.rows} rows, and gives {now.rows}")
    expect(
        then.quarantined == now.quarantined,
        f"{where} had {then.quarantined} rows in quarantine, and has {now.quarantined}",
    )
    for one, other in zip(then.trades, now.trades, strict=False):
        expect(
            one == other,
            f"{where} gave the trade {one}, and gives {other}; --contract-write keeps it as it is read now",
        )
    expect(len(then.trades) == len(now.trades), f"{where} gave {len(then.trades)} trades, and gives {len(now.trades)}")

"""What is kept for owners: its keys, its end, and how long."""

from __future__ import annotations

from brokersync.connections import Connections
from brokersync.rotation import KeyRotation, Rotation


class Custody(Connections):
    """Looks after what is kept."""

    async def rotate_key(self, *, data_keys: bool = False) -> KeyRotation:
        """Replace the master key, and with `data_keys` every owner's data key too; syncs go on meanwhile.

        A key file gets a new key and loses the old ones; of `BROKERSYNC_KEY` the first key takes over, and a
        `KeyProvider` of your own is asked to wrap anew. An interrupted rotation is repeated from its start.
        """
        shared = self._shared
        return await Rotation(shared.store, shared.keys, shared.clock, shared.worker)(data_keys=data_keys)

"""Whether an installed plugin may run: decided before a line of it does."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Any

import attrs

from brokersync.governance.approvals import Approvals
from brokersync.governance.facts import BrokerFacts, Candidate
from brokersync.governance.record import Record, folder_hash, is_editable, read_record
from brokersync.governance_settings import GovernanceMode, GovernanceSettings, Pin
from brokersync.manifest import Manifest
from brokersync.packages import PackageError, package_folders


class Verdict(StrEnum):
    """`held`: somebody may let it run. `refused`: it can not be let run as it is."""

    HELD = "held"
    REFUSED = "refused"


@attrs.frozen
class Objection:
    """Why a plugin does not run, as a sentence, and what to do."""

    verdict: Verdict
    reason: str
    remedy: str


@attrs.frozen
class Gate:
    """The operator's word on which plugins run. `is_ours` knows the plugins of this project."""

    _settings: GovernanceSettings
    _approvals: Approvals
    _is_ours: Callable[[str, str], bool]

    @property
    def approvals(self) -> Approvals:
        """What was decided until now."""
        return self._approvals

    def preferred(self, key: str, distributions: Sequence[str]) -> str | None:
        """Which of several distributions with one key is meant: the approved one, and ours in safe mode."""
        approved = self._approvals.distribution(key)
        if approved is not None and approved in distributions:
            return approved
        ours = [name for name in distributions if self._settings.safe and self._is_ours(key, name)]
        return ours[0] if ours else None

    def at_a_glance(self, one: Candidate) -> Objection | None:
        """What can be said without reading a file of the plugin: for a listing, and of one that runs already."""
        return self._by_configuration(one) or self._by_decision(one)

    def objection(self, one: Candidate, manifest: Callable[[], Manifest]) -> Objection | None:
        """What speaks against running it now; its files are read where an approval pins them."""
        record = read_record(one.folder) if one.folder is not None else None
        told = self._by_configuration(one) or _by_what_it_brings(one, record) or self._by_decision(one)
        approved = self._approvals.of(one.key)
        if told is not None or approved is None:
            return told
        return _by_its_files(one, record) or self._by_pin(one, approved, facts_of(one, manifest(), record))

    def harm(self, one: Candidate) -> Objection | None:
        """What is wrong with it whoever trusts it, such as code that has run already."""
        return _by_what_it_brings(one, read_record(one.folder) if one.folder is not None else None)

    def approvable(self, one: Candidate) -> Objection | None:
        """Why it can not be approved as it lies there."""
        record = read_record(one.folder) if one.folder is not None else None
        return self._by_configuration(one) or _by_what_it_brings(one, record) or _by_its_files(one, record)

    def _by_configuration(self, one: Candidate) -> Objection | None:
        told = self._settings
        if one.key in told.deny:
            return _held("The configuration denies this broker.", "Take it out of governance.deny to let it run.")
        if told.allow is not None and one.key not in told.allow:
            return _held("The configuration allows other brokers only.", "Put it into governance.allow to let it run.")
        if told.safe and not self._is_ours(one.key, one.distribution):
            return _held(
                "It is a third party's, and safe mode is on.",
                "End safe mode (governance.safe, BROKERSYNC_SAFE) to let it run.",
            )
        return None

    def _by_decision(self, one: Candidate) -> Objection | None:
        known = self._approvals.of(one.key)
        if known is None:
            if self._settings.mode is GovernanceMode.TRUST:
                return None
            return _held("It waits for approval; none of its code was run.", _approve(one))
        if known.get("state") != "approved":
            return _held("It was revoked; none of its code is run any more.", _approve(one))
        if str(known.get("distribution")) != one.distribution:
            return _held(
                f"{known.get('distribution')} was approved for this broker, not {one.distribution}.", _approve(one)
            )
        if self._settings.pin is Pin.FILES and str(known.get("version")) != one.version:
            return _held(f"Version {known.get('version')} was approved, and this is {one.version}.", _approve(one))
        return None

    def _by_pin(self, one: Candidate, approved: Mapping[str, Any], facts: BrokerFacts) -> Objection | None:
        if facts.files != approved.get("files") and str(approved.get("version")) == one.version:
            return _held(f"Its files are not those of {one.version} that were approved.", _approve(one))
        wider = facts.wider_than(approved)
        if wider:
            return _held(f"It declares what was not approved: {', '.join(wider)}.", _approve(one))
        return None


def facts_of(one: Candidate, manifest: Manifest, record: Record | None = None) -> BrokerFacts:
    """What is known of a plugin now; none of its code is run."""
    if record is None and one.folder is not None:
        record = read_record(one.folder)
    development = _in_place(one, record)
    if development:
        files = folder_hash(package_folders(one.package))
    else:
        files = record.files_hash if record is not None else ""
    patterns = (pattern for some in manifest.host_patterns.values() for pattern in some)
    return BrokerFacts(
        key=one.key,
        distribution=one.distribution,
        version=one.version,
        files=files,
        hosts=tuple(sorted({*manifest.hosts.values(), *patterns})),
        capabilities=tuple(sorted(manifest.capabilities)),
        development=development,
    )


def _by_what_it_brings(one: Candidate, record: Record | None) -> Objection | None:
    """What is wrong with a distribution whoever trusts it."""
    if record is None or _in_place(one, record):
        return None
    ran = record.ran_before()
    if ran:
        return _refused(
            f"It brings {', '.join(ran)}, which Python runs when it starts: its code has run already, before"
            " anybody could hold it.",
            f"Uninstall it: pip uninstall {one.distribution}",
        )
    if not record.brings(one.package):
        return _refused(
            f"Its entry point names the package {one.package!r}, which it does not bring.",
            "Report it to the plugin's authors.",
        )
    return None


def _by_its_files(one: Candidate, record: Record | None) -> Objection | None:
    """What speaks against the files that would be run."""
    if _in_place(one, record):
        return _by_its_hooks(record)  # what lies in its folder now is what is pinned
    if record is None or one.folder is None:
        return _refused(
            "It has no RECORD of its files, so that nobody can tell what would be run.",
            f"Install it from a wheel: pip install {one.distribution}",
        )
    faults = record.faults(one.package)
    if faults:
        return _refused(
            f"Its files are not those that were installed: {'; '.join(faults)}.",
            f"Find out why, then install it anew: pip install --force-reinstall {one.distribution}",
        )
    return _by_its_place(one)


def _in_place(one: Candidate, record: Record | None) -> bool:
    """Whether it was installed in place; a wheel that only says so of itself brings its package all the same."""
    return (
        one.folder is not None and is_editable(one.folder) and not (record is not None and record.brings(one.package))
    )


def _by_its_hooks(record: Record | None) -> Objection | None:
    runs = [path for path in (record.ran_before() if record is not None else ()) if record is None or record.runs(path)]
    if not runs:
        return None
    return _refused(
        f"It was installed in place by {', '.join(runs)}, which runs code when Python starts.",
        "Install a wheel of it, or trust what is installed (governance.mode).",
    )


def _by_its_place(one: Candidate) -> Objection | None:
    """A folder that stands before it on the import path would be run in its place."""
    assert one.folder is not None  # it has a RECORD
    wanted = (one.folder.parent / one.package).resolve()
    try:
        found = [Path(folder).resolve() for folder in package_folders(one.package)]
    except PackageError as error:
        return _refused(f"It can not be used: {error}.", "Report it to the plugin's authors.")
    if found != [wanted]:
        return _refused(
            f"Its package would be imported from {' and '.join(map(str, found))}, and lies in {wanted}.",
            "Take the other one off the import path.",
        )
    return None


def _held(reason: str, remedy: str) -> Objection:
    return Objection(Verdict.HELD, reason, remedy)


def _refused(reason: str, remedy: str) -> Objection:
    return Objection(Verdict.REFUSED, reason, remedy)


def _approve(one: Candidate) -> str:
    return f"Look at it, then: brokersync providers approve {one.key}"

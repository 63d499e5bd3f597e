"""The suite for sinks finds what is broken: each mutant of a good sink fails the tests that are named beside it."""

import os
import re
import subprocess
import sys
from dataclasses import replace
from itertools import islice
from pathlib import Path

import numpy as np
import pytest

from nvisy.connector.sink import Outcome
from nvisy.errors import Rejected
from nvisy.testing.memory_sink import DESCRIPTOR, MemoryIndex, MemorySink, MemoryWriter, Store
from nvisy.testing.sink_conformance import GenerationConformance, SinkConformance


class DropsARecord(MemoryWriter):
    def _replace(self, new):
        return super()._replace(replace(new, records=new.records[:2]))


class DoublesARecord(MemoryIndex):
    def records(self, key):
        for hit in super().records(key):
            yield from [hit, hit]


class SwallowsAnError(MemoryWriter):
    def _replace(self, new):
        outcome = super()._replace(new)
        return Outcome(written=len(new.records)) if outcome.fault else outcome


class FailsTheWholeBatch(MemoryWriter):
    def apply(self, sets):
        fault = next(filter(None, map(self._fault, sets)), "")
        return [Outcome(fault=Rejected(fault)) for _ in sets] if fault else super().apply(sets)


class IgnoresADelete(MemoryWriter):
    def _replace(self, new):
        return super()._replace(new) if new.records else Outcome()


class LeavesOrphans(MemoryWriter):
    def _replace(self, new):
        old = self._store.sets.get((new.lane, new.key))
        outcome = super()._replace(new)
        if old and new.records and not outcome.superseded and not outcome.fault:
            kept = {r.id: r for r in (*old.records, *new.records)}
            self._store.sets[new.lane, new.key] = replace(new, records=tuple(kept.values()))
        return outcome


class IgnoresVersions(MemoryWriter):
    def _replace(self, new):
        old = self._store.sets.get((new.lane, new.key))
        if old:
            self._store.sets[new.lane, new.key] = replace(old, version=-1)
        return super()._replace(new)


class ForgetsDeletes(MemoryWriter):
    def _replace(self, new):
        outcome = super()._replace(new)
        if not new.records:
            self._store.sets.pop((new.lane, new.key), None)
        return outcome


class ForgetsVersionsWithoutChanges(MemoryWriter):
    def _replace(self, new):
        old = self._store.sets.get((new.lane, new.key))
        if old and old.digest == new.digest:
            return Outcome(unchanged=len(new.records))
        return super()._replace(new)


class ComparesVersionsAsFloats(MemoryWriter):
    def _replace(self, new):
        old = self._store.sets.get((new.lane, new.key))
        if old and abs(old.version - new.version) < 2:
            self._store.sets[new.lane, new.key] = replace(old, version=new.version)
        return super()._replace(new)


class RewritesEverything(MemoryWriter):
    def _replace(self, new):
        outcome = super()._replace(new)
        return replace(outcome, written=outcome.written + outcome.unchanged, unchanged=0)


class KeepsOldPlaces(MemoryWriter):
    def _replace(self, new):
        old = self._store.sets.get((new.lane, new.key))
        known = {(r.id, r.vector_hash): r for r in old.records} if old else {}
        records = [known.get((r.id, r.vector_hash), r) for r in new.records]
        return super()._replace(replace(new, records=tuple(records)))


class MixesLanes(MemoryWriter):
    def _replace(self, new):
        return super()._replace(replace(new, lane="the only one"))


class IgnoresTheFence(MemoryWriter):
    def apply(self, sets):
        self._token = self._store.token
        return super().apply(sets)


class ForgetsStamps(MemoryWriter):
    def head(self, lane, key):
        found = self._store.sets.get((lane, key))
        return found.version if found and found.records else None


class HeadsWithoutLanes(MemoryWriter):
    def head(self, _lane, key):
        return max((s.version for s in self._store.sets.values() if s.key == key), default=None)


class HeadsAsFloats(MemoryWriter):
    def head(self, lane, key):
        found = super().head(lane, key)
        return found if found is None else int(np.float32(found))


class ListsLanesOfRecordsAlone(MemoryWriter):
    def lanes(self):
        return {s.lane for s in self._store.sets.values() if s.records}


class ListsLanesTwice(MemoryWriter):
    def lanes(self):
        return [s.lane for s in self._store.sets.values()]


class SweepsNothing(MemoryWriter):
    def sweep(self, lane, below):
        return sum(len(s.records) for s in self._store.sets.values() if s.lane == lane and s.version < below)


class SweepsOneTooMany(MemoryWriter):
    def sweep(self, lane, below):
        return super().sweep(lane, below + 1)


class SweepsEveryLane(MemoryWriter):
    def sweep(self, lane, below):
        return sum(super(SweepsEveryLane, self).sweep(each, below) for each in self.lanes())


class SweepsByTheRecord(MemoryWriter):
    """As if a version without changes had left the records' own as it was."""

    def __init__(self, *args):
        super().__init__(*args)
        self.wrote = {}

    def _replace(self, new):
        old = self._store.sets.get((new.lane, new.key))
        if old is None or old.digest != new.digest:
            self.wrote[new.lane, new.key] = new.version
        return super()._replace(new)

    def sweep(self, lane, below):
        for key, version in self.wrote.items():
            if version < below:
                self._store.sets[key] = replace(self._store.sets[key], version=version)
        return super().sweep(lane, below)


class SweepsRecordsAlone(MemoryWriter):
    def sweep(self, lane, below):
        before = dict(self._store.sets)
        count = super().sweep(lane, below)
        gone = {key: replace(s, records=()) for key, s in before.items() if key not in self._store.sets}
        self._store.sets.update(gone)
        return count


class SweepsAPage(MemoryWriter):
    def sweep(self, lane, below):
        before = dict(self._store.sets)
        count = super().sweep(lane, below)
        gone = [key for key in before if key not in self._store.sets]
        self._store.sets.update({key: before[key] for key in gone[25:]})
        return count


class CountsKeys(MemoryWriter):
    def sweep(self, lane, below):
        before = len(self._store.sets)
        super().sweep(lane, below)
        return before - len(self._store.sets)


class SweepsInSpiteOfTheFence(MemoryWriter):
    def sweep(self, lane, below):
        self._token = self._store.token
        return super().sweep(lane, below)


class WritesForTheFormerLog(MemoryWriter):
    def _check_fence(self):
        self._owner = self._store.owner
        super()._check_fence()


class AdoptsUnasked(MemorySink):
    def prepare(self, owner, *, adopt=False):
        return super().prepare(owner, adopt=True)


class NeverAdopts(MemorySink):
    def prepare(self, owner, *, adopt=False):
        return super().prepare(owner)


class AdoptsAnything(MemorySink):
    def prepare(self, owner, *, adopt=False):
        if adopt and self._store.owner:
            self._store.owner = replace(owner, log=self._store.owner.log)
        return super().prepare(owner, adopt=adopt)


class AdoptsForOnce(MemorySink):
    def prepare(self, owner, *, adopt=False):
        theirs = self._store.owner
        found = super().prepare(owner, adopt=adopt)
        self._store.owner = theirs or owner
        return found


class AdoptsByMakingItAnew(MemorySink):
    def prepare(self, owner, *, adopt=False):
        if adopt and self._store.owner and self._store.owner.log != owner.log:
            self._store.owner = None
            self._store.sets.clear()
        return super().prepare(owner, adopt=adopt)


class AdoptsWithTheFormersToken(MemorySink):
    def prepare(self, owner, *, adopt=False):
        token = self._store.token
        found = super().prepare(owner, adopt=adopt)
        self._store.token = token
        return found


class AdoptsItselfAndForgetsTheFence(MemorySink):
    def prepare(self, owner, *, adopt=False):
        found = super().prepare(owner, adopt=adopt)
        if adopt:
            self._store.token = 0
        return found


class RewritesNothingNewer(MemoryWriter):
    def rewrite(self, sets):
        return self.apply(sets)


class RemovesWithoutTheFence(MemoryWriter):
    def remove(self, ids):
        self._owner = None
        self._check_fence = lambda: None
        return super().remove(ids)


class HoldsAHundred(MemoryIndex):
    def held(self, keys=None):
        return islice(super().held(keys), 100)


class ForgetsKeysInAListing(MemoryIndex):
    def heads(self, keys=None):
        return super().heads()

    def held(self, keys=None):
        return super().held()


class FindsNoRecord(MemoryIndex):
    def record(self, record_id):
        return None


class CutsOffAtAHundred(MemoryIndex):
    def search(self, vector, k, where):
        return super().search(vector, min(k, 100), where)


class FiltersTooLate(MemoryIndex):
    def search(self, vector, k, where):
        nearest = {hit.id for hit in super().search(vector, 20, None)}
        return [hit for hit in super().search(vector, k, where) if hit.id in nearest]


class IgnoresTheFilter(MemoryIndex):
    def search(self, vector, k, where):
        return super().search(vector, k, None)


class GivesTheFarthestFirst(MemoryIndex):
    def search(self, vector, k, where):
        return list(reversed(super().search(vector, k, where)))


class GivesTextForNumbers(MemoryIndex):
    def records(self, key):
        for hit in super().records(key):
            yield replace(
                hit, metadata={n: str(v) if isinstance(v, int) else v for n, v in hit.metadata.items()}
            )


class ListsAsItComes(MemoryIndex):
    def records(self, key):
        return reversed(list(super().records(key)))


class ServesAtOnce(MemorySink):
    def prepare(self, owner, *, adopt=False):
        found = super().prepare(owner, adopt=adopt)
        self._first.current = self._generation
        return found


class ServesNothing(MemorySink):
    def serve(self, token):
        self._take_over(token)


class ServesWhatIsNotThere(MemorySink):
    def serve(self, token):
        self._take_over(token)
        self._first.current = self._generation


class ServesWithoutTheFence(MemorySink):
    def _take_over(self, token):
        pass


class HasOneGeneration(MemorySink):
    def __init__(self, store, generation=1):
        super().__init__(store)


class DropsWhatReadersSee(MemorySink):
    def drop(self, token):
        current, self._first.current = self._first.current, None
        super().drop(token)
        self._first.current = current


class DropsNothing(MemorySink):
    def drop(self, token):
        if self._first.current == self._generation:
            super().drop(token)


class MovesOpenReaders(MemorySink):
    def index(self, *, own=False):
        index = super().index(own=own)
        if not own:
            index.search = lambda *args: super(MovesOpenReaders, self).index().search(*args)
            index.records = lambda key: super(MovesOpenReaders, self).index().records(key)
        return index


MUTANTS = {
    DropsARecord: ["shrinking_leaves_no_orphans", "records_of_one_document"],
    DoublesARecord: ["write_then_read", "same_batch_twice_is_once"],
    SwallowsAnError: ["a_bad_set_is_a_fault_and_the_others_are_applied"],
    FailsTheWholeBatch: ["a_bad_set_is_a_fault_and_the_others_are_applied"],
    IgnoresADelete: ["delete", "a_remembered_delete_refuses_an_older_upsert"],
    LeavesOrphans: ["overwrite_by_key", "shrinking_leaves_no_orphans"],
    IgnoresVersions: ["an_older_version_is_superseded"],
    ForgetsDeletes: ["a_remembered_delete_refuses_an_older_upsert"],
    ForgetsVersionsWithoutChanges: ["a_version_without_changes_counts"],
    ComparesVersionsAsFloats: ["a_higher_incarnation_wins_over_any_offset"],
    RewritesEverything: ["same_batch_twice_is_once", "kept_records_are_not_rewritten"],
    KeepsOldPlaces: ["kept_records_are_not_rewritten"],
    MixesLanes: ["two_lanes_do_not_touch_each_other"],
    IgnoresTheFence: ["a_newer_token_fences_the_old_writer"],
    ForgetsStamps: ["a_set_without_records_is_a_stamp", "a_head_tells_the_highest_version"],
    HeadsWithoutLanes: ["a_head_is_one_lanes_and_exact"],
    HeadsAsFloats: ["a_head_is_one_lanes_and_exact"],
    ListsLanesOfRecordsAlone: ["lanes_are_all_that_anything_is_known_of", "a_set_without_records_is_a_stamp"],
    ListsLanesTwice: ["lanes_are_all_that_anything_is_known_of"],
    SweepsNothing: ["a_sweep_removes_what_is_lower", "a_sweep_twice_is_once"],
    SweepsOneTooMany: ["a_sweep_removes_what_is_lower", "a_sweep_goes_by_the_head"],
    SweepsEveryLane: ["a_sweep_keeps_to_its_lane"],
    SweepsByTheRecord: ["a_sweep_goes_by_the_head"],
    SweepsRecordsAlone: ["a_sweep_removes_what_is_lower", "a_swept_key_may_come_back"],
    SweepsAPage: ["a_sweep_takes_many_keys"],
    CountsKeys: ["a_sweep_removes_what_is_lower", "a_sweep_takes_many_keys"],
    SweepsInSpiteOfTheFence: ["a_newer_token_fences_a_sweep"],
    WritesForTheFormerLog: ["adopting_ends_the_former_logs_writers"],
    AdoptsUnasked: ["another_owner_is_refused", "another_log_is_told_how_to_adopt"],
    NeverAdopts: ["an_adopted_collection_stays_as_it_is"],
    AdoptsAnything: ["nobody_adopts_another_graph_or_model"],
    AdoptsForOnce: ["an_adopted_collection_stays_as_it_is"],
    AdoptsByMakingItAnew: ["an_adopted_collection_stays_as_it_is"],
    AdoptsWithTheFormersToken: ["adopting_ends_the_former_logs_writers"],
    AdoptsItselfAndForgetsTheFence: ["adopting_what_is_ours_changes_nothing"],
    RewritesNothingNewer: ["a_rewrite_goes_over_everything", "a_rewrite_brings_back_what_was_taken_out"],
    RemovesWithoutTheFence: ["mending_is_fenced_and_screened"],
    HoldsAHundred: ["held_records_come_with_their_vectors"],
    ForgetsKeysInAListing: ["held_records_of_some_documents", "heads_say_what_was_applied"],
    FindsNoRecord: ["a_record_by_its_id"],
    CutsOffAtAHundred: ["search_takes_a_big_k"],
    FiltersTooLate: ["a_filter_leaves_the_nearest"],
    IgnoresTheFilter: ["filters_mean_what_they_say"],
    GivesTheFarthestFirst: ["search_gives_the_nearest_first"],
    GivesTextForNumbers: ["metadata_keeps_its_types"],
    ListsAsItComes: ["records_stream_in_order"],
    ServesAtOnce: [
        "readers_see_a_generation_when_it_serves",
        "a_generation_that_is_prepared_again_serves_no_one_else",
    ],
    ServesNothing: ["readers_see_a_generation_when_it_serves"],
    ServesWhatIsNotThere: ["what_was_never_made_cannot_serve"],
    ServesWithoutTheFence: ["a_newer_token_fences_who_would_serve_or_drop"],
    HasOneGeneration: ["a_generation_has_vectors_and_a_marker_of_its_own"],
    DropsWhatReadersSee: ["a_generation_that_readers_do_not_see_is_dropped"],
    DropsNothing: ["a_generation_that_readers_do_not_see_is_dropped"],
    MovesOpenReaders: ["an_open_reader_stays_with_its_generation"],
}


def mutated(store, part, generation=1):
    """A sink in memory, all or a part of which is broken."""
    return part(store, generation) if issubclass(part, MemorySink) else Mutated(store, part)


class Mutated(MemorySink):
    """A sink in memory whose writer or index is broken."""

    def __init__(self, store, part):
        super().__init__(store)
        self.part = part

    def open(self, token):
        super().open(token)
        return (self.part if issubclass(self.part, MemoryWriter) else MemoryWriter)(self._store, token)

    def index(self, *, own=False):
        super().index(own=own)
        part = self.part if issubclass(self.part, MemoryIndex) else MemoryIndex
        return part(self._store, self._store.owner)


SUITES = """
import pytest
from nvisy.testing.memory_sink import DESCRIPTOR, Store
from nvisy.testing.sink_conformance import GenerationConformance
from tests.unit.testing.test_sink_conformance import MUTANTS, mutated

for mutant in MUTANTS:
    class Suite(GenerationConformance):
        descriptor = DESCRIPTOR
        part = mutant
        many = 60

        @pytest.fixture
        def make_sink(self):
            return lambda: mutated(self.store, self.part)

        @pytest.fixture
        def make_generation(self):
            return lambda number: mutated(self.store, self.part, number)

        @pytest.fixture(autouse=True)
        def _new(self):
            self.store = Store()

    globals()["Test" + mutant.__name__] = Suite
"""


def test_it_catches_every_mutant(tmp_path):
    (tmp_path / "test_mutants.py").write_text(SUITES)
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    expected = {f"Test{m.__name__}::test_{name}" for m, names in MUTANTS.items() for name in names}
    chosen = [f"test_mutants.py::{name}" for name in sorted(expected)]
    command = [sys.executable, "-m", "pytest", "-q", "-rf", "--tb=no", *chosen]
    root = str(Path(__file__).parents[3])
    env = {**os.environ, "PYTHONPATH": root}
    done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, check=False)
    failed = set(re.findall(r"FAILED .*::(Test\w+::test_\w+)", done.stdout))
    assert expected - failed == set(), done.stdout[-3000:]


def test_a_conformance_test_cannot_be_overridden():
    with pytest.raises(TypeError, match="test_delete"):
        type("Sub", (SinkConformance,), {"test_delete": lambda self: None, "descriptor": DESCRIPTOR})


def test_who_says_that_there_are_generations_has_to_prove_it():
    store = Store()
    with pytest.raises(pytest.fail.Exception, match="DID NOT RAISE"):
        type("Sub", (SinkConformance,), {"descriptor": DESCRIPTOR})().test_generations_are_proved_or_refused(
            lambda: MemorySink(store)
        )
    with pytest.raises(TypeError, match="test_what_was_never_made"):
        type("Sub", (GenerationConformance,), {"test_what_was_never_made_cannot_serve": lambda self: None})


def test_a_test_may_be_excused_with_a_reason():
    # Nothing is skipped here: what is tested is that the suite takes an override which says why.
    @pytest.mark.xfail(reason="this store has no deletes")
    def excused(self):
        raise NotImplementedError("never run")

    type("Sub", (SinkConformance,), {"test_delete": excused, "descriptor": DESCRIPTOR})

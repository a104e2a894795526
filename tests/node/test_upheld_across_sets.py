"""What the witnesses upheld stays upheld since then, whoever the witnesses are later."""

from __future__ import annotations

from pathlib import Path

import pytest

from openledger_node.ledger.kinds import AuditVerdict
from openledger_node.node import derivations
from openledger_node.node.derivation_maps import maps_in_force
from tests.kit.homes import WITNESS, Coop, words

TIMES = "epoch_ms = 0\nt0_ms = 1000\nmaturity_epochs = 0\n"
TEXT = words("ann", 400)


@pytest.mark.rule("R3", "V4", "A10")
def test_a_claim_that_one_seat_upheld_counts_since_then_after_four_took_over(
    tmp_path: Path,
) -> None:
    with Coop(tmp_path) as coop:
        coop.join("ann", "ben", "cy")
        coop.add_text("ann", "original", TEXT)
        coop.settle()
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(derivations, "derived_in", lambda *given: ((), ()))
            copy = coop.add_text("ben", "copy", TEXT)
        coop.settle()
        claimed = coop["ann"].data_derive(copy)
        assert claimed.derivation_id is not None
        first = coop.settle().epoch
        core = coop[WITNESS].core
        verdict = AuditVerdict(bytes.fromhex(claimed.derivation_id), 1)
        core.append([core.draft("audit.verdict", verdict)])
        upheld = coop.settle().epoch

        def in_force() -> list[bool]:
            with coop["cy"].core.store.read() as snapshot:
                named = [bytes.fromhex(copy)]
                return [
                    bool(maps_in_force(snapshot, named, epoch=epoch).redirect)
                    for epoch in (first, upheld)
                ]

        coop.add_text("cy", "more", words("more", 9))
        coop.settle()
        assert in_force() == [False, True]
        others = ["ann", "ben", "cy"]
        for home in coop.ids:
            for name in coop.ids:
                if name != home:
                    coop[home].account_name(coop.ids[name], name)
        times = coop.write("times.toml", TIMES)
        coop[WITNESS].witness_propose(add=others, params_file=times)
        coop.settle()
        for name in others:
            coop[name].witness_ready()
        coop.settle()
        assert coop["cy"].witness_status().quorum == 3
        assert in_force() == [False, True]

"""nvidia-smi's answers: none of them was recorded on a GPU of ours; the form is that of its documentation."""

import pytest

from benchmarks.provenance.differences import differences
from benchmarks.provenance.nvidia import gpus, reason_names, rows, value
from benchmarks.provenance.reading import Said

H100 = (
    "NVIDIA H100 80GB HBM3, 570.86.15, P0, Default, Enabled, 1980, 2619, 1980, 2619, 41, 118.53, 700.00, 81559, 4, 0, "
)
ORIN = "Orin (nvgpu), 540.4.0, [N/A], [N/A], [N/A], " + ", ".join(["[N/A]"] * 10) + ", [N/A]"
NO_FIELD = Said('Field "clocks_event_reasons.active" is not a valid field to query.', 2)


def smi(table, counters=NO_FIELD, old=False):
    """A program in place of nvidia-smi; `old`: one that knows the field's former name alone."""

    def ask(command):
        program, query, form = command
        assert (program, form) == ("nvidia-smi", "--format=csv,noheader,nounits")
        assert "uuid" not in query and "serial" not in query
        if "counters" in query:
            return counters
        return NO_FIELD if old and "clocks_event_reasons.active" in query else table

    return ask


def test_a_card_is_described_with_units_in_the_names():
    found = gpus(smi(Said(H100 + "0x0000000000000001", 0), Said("1500000, 0, 0, [N/A], 0", 0)))
    assert found == {"gpus": [{
        "name": "NVIDIA H100 80GB HBM3", "driver": "570.86.15", "performance_state": "P0", "compute_mode": "Default",
        "persistence_mode": "Enabled", "sm_clock_mhz": 1980.0, "memory_clock_mhz": 2619.0, "sm_clock_most_mhz": 1980.0,
        "memory_clock_most_mhz": 2619.0, "celsius": 41.0, "power_draw_watts": 118.53, "power_limit_watts": 700.0,
        "memory_total_mib": 81559.0, "memory_used_mib": 4.0, "utilization_percent": 0.0, "reasons": ["gpu_idle"],
        "slowed_seconds": {
            "sw_power_cap": 1.5, "sw_thermal_slowdown": 0.0, "hw_thermal_slowdown": 0.0, "sync_boost": 0.0,
        },
    }]}  # fmt: skip


def test_an_older_driver_is_asked_by_the_fields_former_name():
    found = gpus(smi(Said(H100 + "0x0000000000000000", 0), old=True))
    assert found["gpus"][0]["reasons"] == ["none"] and "slowed_seconds" not in found["gpus"][0]


def test_what_a_card_does_not_tell_is_absent_and_never_zero():
    assert gpus(smi(Said(ORIN, 0)))["gpus"] == [{"name": "Orin (nvgpu)", "driver": "540.4.0"}]
    for cell in ("[N/A]", "N/A", "[Not Supported]", "[Unknown Error]", ""):
        assert value(cell) is None
    assert value("0") == "0"


def test_several_cards_keep_their_order():
    text = "\n".join([H100 + "0x0000000000000001", ORIN])
    assert [card["name"] for card in gpus(smi(Said(text, 0)))["gpus"]] == ["NVIDIA H100 80GB HBM3", "Orin (nvgpu)"]


def test_without_nvidia_smi_nothing_is_said():
    assert gpus(lambda command: Said("absent", None)) == {}


@pytest.mark.parametrize(
    ("said", "why"),
    [
        (Said("NVIDIA-SMI has failed because it couldn't communicate with the driver.", 9), "has failed"),
        (Said("no answer within 10 s", None), "no answer"),
        (Said("NVIDIA H100, 570.86.15", 0), "a row of 2 values instead of 16"),
        (Said(H100.replace("1980", "fast") + "0x0", 0), "fast"),
        (Said(H100 + "Not Active", 0), "Not Active"),
        (NO_FIELD, "not a valid field"),
    ],
)
def test_an_answer_that_is_not_understood_is_told(said, why):
    found = gpus(smi(said))
    assert set(found) == {"gpus_absent"} and why in found["gpus_absent"]
    assert why in differences(found, found, gpu_used=True)[0]
    assert differences(found, found, gpu_used=False) == []


def test_counters_that_are_not_understood_are_told():
    assert "a row of 1 values" in gpus(smi(Said(H100 + "0x0", 0), Said("17", 0)))["gpus_absent"]


def test_the_bits_of_a_mask_have_nvmls_names():
    assert reason_names("0x0000000000000000") == []
    assert reason_names("0x0000000000000064") == ["sw_power_cap", "sw_thermal_slowdown", "hw_thermal_slowdown"]
    assert reason_names("0x188") == ["hw_slowdown", "hw_power_brake_slowdown", "display_clock_setting"]
    assert reason_names("0x201") == ["gpu_idle", "0x200"]


def test_rows_of_another_width_are_refused():
    with pytest.raises(ValueError, match="a row of 1 values instead of 2"):
        rows("a, b\n\nc\n", 2)
    assert rows("a, b\n\nc, d\n", 2) == [["a", "b"], ["c", "d"]]


QUIET = {"utilization_percent": 0.0, "reasons": ["gpu_idle"], "slowed_seconds": {"sw_power_cap": 4.0}}


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ([QUIET], [QUIET], []),
        ([QUIET], [{**QUIET, "reasons": ["none"]}], []),
        ([{**QUIET, "utilization_percent": 50.0}], [QUIET], ["GPU 0 was not quiet: 50 % busy before the start"]),
        ([QUIET], [{**QUIET, "reasons": ["sw_power_cap"]}], ["GPU 0 was held back after the run: sw_power_cap"]),
        (
            [QUIET],
            [{**QUIET, "slowed_seconds": {"sw_power_cap": 6.5}}],
            ["GPU 0 was held back for 2.5 s during the run"],
        ),
        ([QUIET], [], ["there were 1 GPUs before the run and 0 after it"]),
        ([{**QUIET, "power_limit_watts": 700.0}], [{**QUIET, "power_limit_watts": 350.0}], ["power limit of GPU 0"]),
    ],
)
def test_a_gpu_that_was_held_back_is_a_problem_where_it_was_used(before, after, expected):
    found = differences({"gpus": before}, {"gpus": after}, gpu_used=True)
    assert len(found) == len(expected)
    assert all(text in sentence for text, sentence in zip(expected, found, strict=True))
    assert differences({"gpus": before}, {"gpus": after}, gpu_used=False) == []

"""The acceptance folder belongs to one run at a time."""

from benchmarks.acceptance.command import _alone


def test_two_acceptances_never_write_into_one_folder(tmp_path):
    with _alone(tmp_path) as first, _alone(tmp_path) as second:
        assert (first, second) == (True, False)
    with _alone(tmp_path) as third:
        assert third, "nothing is left behind"
    assert not list(tmp_path.iterdir())

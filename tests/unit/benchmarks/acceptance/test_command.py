"""What is refused before a site is run."""

from benchmarks.acceptance import command
from benchmarks.acceptance.command import _alone
from benchmarks.cli import main


def test_two_acceptances_never_write_into_one_folder(tmp_path):
    with _alone(tmp_path) as first, _alone(tmp_path) as second:
        assert (first, second) == (True, False)
    with _alone(tmp_path) as third:
        assert third, "nothing is left behind"
    assert not list(tmp_path.iterdir())


def test_a_page_that_could_not_be_drawn_is_told_before_the_run(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(command, "find_spec", lambda _: None)
    assert main(["site", "site.yaml", "--minutes", "30", "--out", str(tmp_path / "out")]) == 69
    assert "needs matplotlib; run: pip install 'edge-runtime[bench]'" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()

"""What video needs of packages is told before anything starts, with both ways to install it."""

import importlib.util

import pytest
from support.endoscopes import site_pipelines

from edge_runtime.config import Config, Destination, Pipeline, SendTo, Spool, Stage, Video
from edge_runtime.errors import EXIT_UNAVAILABLE, BackendUnavailable
from edge_runtime.video_packages import require_video_packages

BROKER = Destination(name="broker", type="mqtt", host="h", port=1883, topic="t")


def config(video=True, broker=True):
    send_to = (SendTo(name="broker"),) if broker and video else ()
    return Config(
        spool=Spool(path="s"),
        pipelines=(Pipeline(name="p", stages=(Stage(name="a", engine="e"),), send_to=send_to),),
        video=(Video(name="tower", pipeline="p", url="/a.mp4"),) if video else (),
        destinations=(BROKER,),
    )


@pytest.fixture
def without(monkeypatch):
    """Makes packages look as if they were not installed."""
    found = importlib.util.find_spec

    def hide(*names):
        monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name in names else found(name))

    return hide


@pytest.mark.parametrize(("package", "who"), [("av", "video tower needs PyAV"), ("paho", "broker needs paho-mqtt")])
def test_a_missing_package_is_told_with_both_ways_to_install_it(without, package, who):
    without(package)
    with pytest.raises(BackendUnavailable) as caught:
        require_video_packages(config())
    said = str(caught.value)
    assert who in said and "pip install 'edge-runtime[video]'" in said and "make install EXTRAS=video" in said


def test_what_is_not_used_may_be_missing(without):
    without("av", "paho")
    require_video_packages(config(video=False))
    without("paho")
    require_video_packages(config(broker=False))


@pytest.mark.parametrize("command", ["check", "run"])
def test_check_and_run_refuse_with_the_code_of_what_is_unavailable(without, tmp_path, capfd, command):
    import yaml

    from edge_runtime.cli import main

    file = tmp_path / "site.yaml"
    document = {
        "spool": {"path": str(tmp_path / "spool")}, "pipelines": site_pipelines()[:1],
        "video": [{"name": "tower", "url": "/a.mp4", "pipeline": "endoscopy"}],
        "destinations": [{"name": name, "type": kind, "path": str(tmp_path / name)}
                         for name, kind in (("disk", "folder"), ("lines", "jsonlines"), ("recording", "recording"))],
    }  # fmt: skip
    file.write_text(yaml.safe_dump(document))
    without("av")
    assert main([command, str(file)]) == EXIT_UNAVAILABLE
    said = capfd.readouterr()
    assert "make install EXTRAS=video" in said.out + said.err
    assert not (tmp_path / "spool").exists()

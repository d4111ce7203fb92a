"""The real networks on the real head through the daemon: however a series was cut or coded, the brain is the same."""

import json
import random
import shutil
import subprocess
import sys

import numpy as np
import pydicom
import pytest
from support.mr_brain import PUBLISHED_DICE, PUBLISHED_ML, ROOT, engines_folder
from support.pacs import wait_until
from support.site import send

from benchmarks.daemon import Daemon
from benchmarks.heads import BRAIN, HEAD, brain_on_series, dice, load_nifti, write_mr_series

pytestmark = [pytest.mark.real, pytest.mark.peer]

VARIANTS = {
    "axial, shuffled": {"plane": "axial"},
    "sagittal": {"plane": "sagittal"},
    "coronal, rescaled": {"plane": "coronal", "slope": 0.25, "intercept": -1000.0},
    "axial, JPEG lossless": {"plane": "axial", "coder": ["dcmcjpeg", "+e1"]},
    "sagittal, JPEG-LS": {"plane": "sagittal", "coder": ["dcmcjpls", "+el"]},
    "coronal, RLE": {"plane": "coronal", "coder": ["dcmcrle"]},
    "axial, JPEG 2000": {"plane": "axial", "coder": "jpeg2000"},
    "axial, big endian": {"plane": "axial", "coder": ["dcmconv", "+te"]},
}


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """A daemon with the example's pipeline, a short quiet time, and a folder as destination."""
    folder = tmp_path_factory.mktemp("mr")
    overrides = [
        f"engines.path={engines_folder()}",
        "pipelines.mr-brain.complete_after_seconds=1",
        f"destinations.disk.path={folder / 'out'}",
    ]
    with Daemon(ROOT / "examples" / "mr-brain.yaml", folder / "spool", overrides) as daemon:
        daemon.wait_ready(120)
        yield daemon, folder


def encode(paths, coder):
    for path in paths:
        coded = path.with_suffix(".coded")
        if coder == "jpeg2000":
            data_set = pydicom.dcmread(path)
            data_set.compress(pydicom.uid.JPEG2000Lossless, generate_instance_uid=False)
            data_set.save_as(coded)
        else:
            extra = ["+ud"] if coder[0] in ("dcmcjpeg", "dcmcjpls", "dcmcrle") else []
            subprocess.run([*coder, *(["+un"] if extra else []), str(path), str(coded)], check=True)
        coded.replace(path)


def brain_of(seg_path, paths):
    """Segment 1 on the source's grid in the order of `paths`, found by the frames' source images."""
    seg = pydicom.dcmread(seg_path)
    index = {str(pydicom.dcmread(p, stop_before_pixels=True).SOPInstanceUID): i for i, p in enumerate(paths)}
    mask = np.zeros((len(paths), seg.Rows, seg.Columns), bool)
    for pixels, frame in zip(seg.pixel_array, seg.PerFrameFunctionalGroupsSequence, strict=True):
        source = frame.DerivationImageSequence[0].SourceImageSequence[0].ReferencedSOPInstanceUID
        mask[index[str(source)]] = pixels > 0
    return mask


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_seg_is_the_published_brain_on_the_sources_grid(site, tmp_path, variant):
    daemon, folder = site
    options = dict(VARIANTS[variant])
    coder = options.pop("coder", None)
    paths = write_mr_series(load_nifti(HEAD), tmp_path / "in", name=variant, **options)
    if coder:
        encode(paths, coder)
    shuffled = tmp_path / "shuffled"
    shuffled.mkdir()
    order = random.Random(variant).sample(range(len(paths)), len(paths))
    for position, index in enumerate(order):
        shutil.copy(paths[index], shuffled / f"{position:04d}.dcm")
    out = folder / "out"
    before = set(out.glob("*.json"))
    syntax = {"jpeg2000": "-xv", "dcmcjpeg": "-xs", "dcmcjpls": "-xt", "dcmcrle": "-xr", "dcmconv": "-xb"}
    proposed = [syntax[coder if isinstance(coder, str) else coder[0]]] if coder else []
    sent = send(shuffled, daemon.dicom_port, *proposed)
    assert sent.returncode == 0, sent.stderr.decode()
    wait_until(lambda: len(set(out.glob("*.json"))) > len(before), 60)
    (document,) = set(out.glob("*.json")) - before
    result = json.loads(document.read_text())
    assert result["complete"]
    seg = document.with_name(document.name.replace("result.json", "seg.dcm"))
    agreement = dice(brain_of(seg, paths), brain_on_series(load_nifti(BRAIN), options["plane"]))
    assert agreement >= 0.93
    assert agreement == pytest.approx(PUBLISHED_DICE, abs=0.005)
    (volume,) = result["findings"][-1]["measurements"]
    assert volume["value"] == pytest.approx(PUBLISHED_ML, rel=0.005)
    spool_syntaxes = {pydicom.dcmread(p, stop_before_pixels=True).file_meta.TransferSyntaxUID for p in paths}
    assert len(spool_syntaxes) == 1
    for kind in ("sr", "seg", "overlay-1"):
        path = document.with_name(document.name.replace("result.json", f"{kind}.dcm"))
        checked = subprocess.run(["dciodvfy", str(path)], capture_output=True, check=False)
        assert not [line for line in checked.stderr.decode().splitlines() if line.startswith("Error")]


def test_the_demo_prints_its_findings_and_ends_with_its_folder():
    engines_folder()
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.demo_mr"], cwd=ROOT, capture_output=True, timeout=200, check=False
    )
    assert done.returncode == 0, done.stderr.decode()
    lines = done.stdout.decode().splitlines()
    assert lines[-1].startswith("RESULTS ")
    folder = ROOT / lines[-1].removeprefix("RESULTS ")
    assert {path.suffix for path in folder.iterdir()} == {".dcm", ".json", ".png"}
    assert any("Dice" in line and "0.936" in line for line in lines)


def test_analyse_gives_the_same_brain_offline_and_dumps_the_tensors(tmp_path):
    paths = write_mr_series(load_nifti(HEAD), tmp_path / "in", name="offline")
    command = [
        sys.executable,
        "-m",
        "edge_runtime.cli",
        "analyse",
        str(ROOT / "examples/mr-brain.yaml"),
        str(tmp_path / "in"),
    ]
    options = ["--out", str(tmp_path / "out"), "--dump-tensors", "--set", f"engines.path={engines_folder()}"]
    done = subprocess.run([*command, *options], capture_output=True, timeout=200, check=False)
    assert done.returncode == 0, done.stderr.decode() + done.stdout.decode()
    folder, dumped = sorted((tmp_path / "out").iterdir())
    agreement = dice(brain_of(folder / "seg.dcm", paths), brain_on_series(load_nifti(BRAIN)))
    assert agreement == pytest.approx(PUBLISHED_DICE, abs=0.005)
    tensors = {path.name: np.load(path).shape for path in dumped.glob("*.npy")}
    assert (1, 1, 256, 256, 256) in tensors.values() and (1, 2, 128, 128, 128) in tensors.values()

"""The kernels compile for every GPU that is supported, and are compiled once."""

import logging
import shutil
import subprocess

import numpy as np
import pytest
from support import host_kernels

from edge_runtime.errors import BackendUnavailable, DeviceError
from edge_runtime.kernels import SUPPORTED, Kernels, image
from edge_runtime.kernels import compile as compiling

ELF = b"\x7fELF"


@pytest.fixture
def one_kernel(monkeypatch):
    """Sources that compile in no time."""
    monkeypatch.setattr(compiling, "sources", lambda: {"one.cu": b'extern "C" __global__ void one() {}'})


@pytest.mark.slow
@pytest.mark.parametrize("capability", SUPPORTED, ids=lambda c: f"{c[0]}.{c[1]}")
def test_nvrtc_compiles_every_kernel_for_every_gpu(capability):
    assert image(capability, None).startswith(ELF)


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("nvcc") is None, reason="nvcc is not installed")
def test_nvcc_compiles_every_kernel_too(tmp_path):
    text = "".join(f'#include "{name}"\n' for name in compiling.sources() if name.endswith(".cu"))
    source = tmp_path / "kernels.cu"
    source.write_text(text)
    options = [*compiling.OPTIONS, f"-I{host_kernels.SOURCES}", "-arch=sm_75", "--ptx"]
    subprocess.run(["nvcc", *options, str(source), "-o", str(tmp_path / "out")], check=True)


def test_a_gpu_newer_than_nvrtc_gets_ptx(one_kernel, caplog):
    assert b".target sm_121" in image((12, 9), None)
    assert "does not know this GPU" in caplog.text


def test_a_gpu_that_is_too_old_is_refused():
    with pytest.raises(BackendUnavailable, match=r"is 7\.0; the kernels need 7\.5"):
        image((7, 0), None)


def test_a_second_start_compiles_nothing(one_kernel, tmp_path, monkeypatch):
    first = image((8, 9), tmp_path)
    monkeypatch.setattr(compiling, "_compile", lambda *_: pytest.fail("it is compiled again"))
    assert image((8, 9), tmp_path) == first


@pytest.mark.parametrize("damage", [lambda data: data[:-7], lambda data: data[:60] + b"?" + data[61:], lambda _: b""])
def test_a_damaged_entry_is_made_again(one_kernel, tmp_path, damage, caplog):
    first = image((8, 9), tmp_path)
    (entry,) = tmp_path.iterdir()
    entry.write_bytes(damage(entry.read_bytes()))
    assert image((8, 9), tmp_path) == first and "damaged" in caplog.text
    assert image((8, 9), tmp_path) == first
    assert list(tmp_path.iterdir()) == [entry]


def test_other_sources_options_or_gpus_have_entries_of_their_own(one_kernel, tmp_path, monkeypatch):
    image((8, 9), tmp_path)
    image((8, 6), tmp_path)
    monkeypatch.setattr(compiling, "OPTIONS", compiling.OPTIONS[:-1])
    image((8, 6), tmp_path)
    monkeypatch.setattr(compiling, "sources", lambda: {"two.cu": b'extern "C" __global__ void two() {}'})
    image((8, 6), tmp_path)
    assert len(list(tmp_path.iterdir())) == 4


def test_a_folder_that_cannot_be_written_costs_one_line(one_kernel, tmp_path, caplog):
    (tmp_path / "file").write_text("")
    with caplog.at_level(logging.WARNING):
        assert image((8, 9), tmp_path / "file" / "cache").startswith(ELF)
    assert [record.message for record in caplog.records][-1].startswith("the kernels cannot be kept")


def test_what_nvrtc_says_of_an_error_is_in_the_message(monkeypatch):
    monkeypatch.setattr(compiling, "sources", lambda: {"one.cu": b"no kernel"})
    with pytest.raises(DeviceError, match=r"(?s)nvrtcCompileProgram failed with .*one\.cu"):
        image((8, 9), None)


def test_without_nvrtc_the_message_says_what_to_install(monkeypatch):
    import cuda.bindings.nvrtc

    def missing():
        raise RuntimeError("libnvrtc.so: cannot open")

    monkeypatch.setattr(cuda.bindings.nvrtc, "nvrtcVersion", missing)
    with pytest.raises(BackendUnavailable, match="install cuda-bindings and nvidia-cuda-nvrtc"):
        image((8, 9), None)


def test_a_device_without_kernels_is_refused():
    from edge_runtime.device.host import HostDevice

    device = HostDevice()
    with pytest.raises(BackendUnavailable, match="runs no kernels"):
        Kernels(device, None)
    device.close()


def test_float16_is_rounded_as_numpy_does_it(tmp_path):
    source = tmp_path / "half.cu"
    source.write_text(
        f'#include "{host_kernels.SOURCES}/edge.cuh"\n'
        "EDGE_KERNEL(half, (const float* in, u16* out, float* back, u32 count)) {\n"
        "  const u32 at = edge_x();\n"
        "  if (at < count) { out[at] = edge_half(in[at]); back[at] = edge_float(out[at]); }\n}\n"
    )
    exact = np.arange(65536, dtype=np.uint16).view(np.float16).astype(np.float32)
    exact = exact[np.isfinite(exact)]
    between = np.sort(exact).astype(np.float64)
    noise = np.random.default_rng(0).integers(0, 2**32, 10_000, np.uint64).astype(np.uint32).view(np.float32)
    values = np.concatenate([exact, ((between[1:] + between[:-1]) / 2).astype(np.float32), noise[np.isfinite(noise)]])
    out, back = np.zeros(values.size, np.uint16), np.zeros(values.size, np.float32)
    library = host_kernels.build(f'#include "{source}"\n')
    host_kernels.launch("half", (values.size, 1, 1), (1, 1, 1), values, out, back, np.uint32(values.size), of=library)
    with np.errstate(over="ignore"):
        expected = values.astype(np.float16)
    assert (out == expected.view(np.uint16)).all() and (back == expected.astype(np.float32)).all()

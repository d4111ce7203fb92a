"""The container's recipe, read without building it."""

from pathlib import Path

import pytest
from support.dockerfile import is_ignored, problems

ROOT = Path(__file__).parents[3]
TEXT = (ROOT / "Dockerfile.jetson").read_text()
IGNORE = (ROOT / ".dockerignore").read_text()


def test_nothing_is_wrong_with_the_dockerfile():
    assert problems(TEXT, IGNORE, ROOT) == []


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("WORKDIR /source", "WROKDIR /source", "unknown instruction WROKDIR"),
        ("COPY converters converters", "COPY convertors converters", "COPY of convertors, which does not exist"),
        ("COPY converters converters", "COPY tests tests", "which .dockerignore leaves out"),
        ("--from=build", "--from=builder", "unknown stage builder"),
        ("ARG TENSORRT=", "ARG TENSORTR=", "RUN uses undeclared TENSORRT"),
        ("ARG BUILD_IMAGE=ubuntu:24.04\n", "", "FROM uses undeclared BUILD_IMAGE"),
        ("USER 10001:10001", "USER root", "the image runs as root"),
        ("USER 10001:10001\n", "", "the image runs as root"),
        ("HEALTHCHECK", "LABEL", "no HEALTHCHECK"),
        ('ENTRYPOINT ["edge-runtime", "run"]', "ENTRYPOINT edge-runtime run", "starts a shell"),
    ],
)
def test_what_would_break_the_image_is_told(old, new, told):
    assert old in TEXT
    assert any(told in problem for problem in problems(TEXT.replace(old, new), IGNORE, ROOT))


def test_no_weights_and_no_history_reach_the_builder():
    assert is_ignored("engines/mr-brain-locator/checkpoint/bbox_model.pt", IGNORE)
    assert is_ignored(".git/HEAD", IGNORE)
    assert is_ignored("edge_runtime/__pycache__/cli.pyc", IGNORE)
    assert not is_ignored("edge_runtime/roles/main.py", IGNORE)


def test_the_environment_sees_the_systems_tensorrt_and_both_images_are_of_one_ubuntu():
    assert "-m venv --system-site-packages" in TEXT
    images = [line for line in TEXT.splitlines() if line.startswith("ARG") and "_IMAGE=" in line]
    assert ["24.04" in image or "ubuntu24.04" in image for image in images] == [True, True]

"""Images of the programs in examples/, for the tests that look at them."""
import json
import os

from harness import ARIL, ROOT, Skip, need, run

EXAMPLES = os.path.join(ROOT, "examples")


def build_examples():
    """The examples' programs, in build/examples."""
    need("ninja", "musl-gcc")
    directory = os.path.dirname(os.path.dirname(ARIL))
    if os.path.join(ROOT, "build") != directory:
        raise Skip("manifests of examples name build/")
    run(["ninja", "-C", directory, "examples"], timeout=120)


def build_image(directory, *arguments):
    image = os.path.join(directory, "image")
    run([ARIL, "build", "-o", image, *arguments])
    return image


def inspect(image):
    """What `aril inspect` says; its parts sum to the file's size."""
    seen = json.loads(run([ARIL, "inspect", "--json", image]))
    size = os.path.getsize(image)
    total = sum(part["size"] for part in seen["parts"])
    assert seen["size"] == size == total, f"parts sum to {total}, the file has {size} bytes"
    return seen

import os

from application import application
from harness import run


@application("git", "clones a repository twice, commits, pushes, merges, gc, fsck", packages=["git"])
def check(git):
    repository = git.path("repository")
    if not os.path.exists(repository):
        run(["git", "init", "-q", repository])
        for n in range(10):
            git.write(f"repository/file{n}", f"{n}\n" * 100)
            run(["git", "-C", repository, "add", "."])
            run(["git", "-C", repository, "-c", "user.name=Aril", "-c", "user.email=aril@example.org",
                 "commit", "-qm", f"number {n}"])
    output = git.output()
    commits = "".join(f"commit number {n}\n" for n in reversed(range(10)))
    assert output.startswith(f"{commits}a change\n"), output
    assert "1 file changed, 1 insertion(+), 100 deletions(-)" in output, output
    assert output.endswith("sound\n"), output

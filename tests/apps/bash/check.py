from application import application


@application("bash", "pipelines, subshells, traps, background jobs, process substitution, coprocesses; its "
             "output and status are Linux's", packages=["bash", "diffutils"], tier="essential")
def check(bash):
    bash.same_as_linux("bash", "work.sh", status=5)
